"""SR-UNet (Vaccaro et al., MM 2021): training by Eq. 4, its tables, and per-film networks."""
