"""What ended a job, as the exit code and the one line that the command line answers with."""

from __future__ import annotations

import errno

from selfdebias.config.rules import ConfigError
from selfdebias.jobs.stopping import STOPPED, exit_code
from selfdebias.storage import StorageError

OF_THE_DISK = (errno.EIO, errno.ESTALE, errno.EBUSY, errno.EROFS, errno.ELOOP, errno.ENAMETOOLONG)


class LaunchError(Exception):
    """A launcher started no job of a sweep; one line says why."""


def explained(error: BaseException) -> tuple[int, str] | None:
    """The exit code and the line for what a user can do something about; None for a fault of the program.

    Example:
        >>> explained(ConfigError("`seed` must be a whole number, got x."))
        (2, 'selfdebias: `seed` must be a whole number, got x.')
        >>> explained(KeyboardInterrupt())[0], explained(TypeError("a fault"))
        (130, None)
    """
    if isinstance(error, ConfigError):
        return 2, f"selfdebias: {error}"
    if isinstance(error, StorageError | LaunchError):
        return 1, f"selfdebias: {error}"
    if disk_is_full(error):
        where = f" at {error.filename}" if isinstance(error.filename, str) else ""  # type: ignore[attr-defined]
        return 1, f"selfdebias: the disk is full{where}; free some space, and the same command goes on."
    if isinstance(error, OSError) and error.errno in OF_THE_DISK:
        where = f" {error.filename}" if isinstance(error.filename, str) else " a file"
        return (
            1,
            f"selfdebias: the disk refused{where} ({error.strerror}); once that is mended, the same command goes on.",
        )
    code = exit_code(error)
    return None if code is None else (code, STOPPED)


def disk_is_full(error: BaseException) -> bool:
    """Whether there was no space left, or no more of it is allowed."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
