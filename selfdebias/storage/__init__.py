"""Files on disk: atomic, resumable, checked by hash, and never a pickle."""
