"""A job as a plan of stages, the stages, and what runs them; sweeps of jobs."""
