"""Networks on frames and on files: engines, plans, journals, and what a user may ask for."""
