"""Files on disk: atomic, resumable, checked by hash, and never a pickle."""


class StorageError(ValueError):
    """One line about a folder that does not hold what was written there; nothing in it was touched."""
