"""Studies: one short script for each table or figure, run from the repository's root as `python -m experiments.<name>`."""
