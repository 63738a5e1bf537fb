"""A job as a plan of stages, and its one runner."""
