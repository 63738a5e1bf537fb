"""What mkdocs makes at each build: reference and results, from the same sources as the command line and the lab notebook."""
