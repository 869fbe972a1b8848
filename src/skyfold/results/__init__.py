"""Results: what a fit found, as tables, figures, derived quantities and files."""
