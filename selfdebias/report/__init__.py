"""Turns a finished job into what a person reads: tables, figures, one page, a W&B run."""
