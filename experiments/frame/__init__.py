"""Written once for every paper: choosing data, training, validating, packing, tables."""
