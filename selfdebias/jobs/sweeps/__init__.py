"""Many jobs from one command line: how they are run and recorded, and the table and the plot of what they measured."""
