"""Where pretrained weights come from, and what must be in their files."""
