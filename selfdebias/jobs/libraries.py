"""How loud the libraries are, and what they may run: the command line settles it for its process, `fit` while it runs."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

REMOTE_CODE = "DIFFUSERS_DISABLE_REMOTE_CODE"


def settle_libraries() -> None:
    """Forbids remote code, and leaves progress bars and warnings to us; imports the libraries that it speaks to."""
    os.environ[REMOTE_CODE] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import pytorch_lightning  # noqa: F401  (sets the level of its logger when it is imported)
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
        library.set_verbosity_error()
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning")


@contextmanager
def settled_libraries() -> Iterator[None]:
    """Settles the libraries for a while: afterwards diffusers and transformers speak as before. Lightning stays quiet."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    libraries = (diffusers_logging, transformers_logging)
    before = [(it, it.get_verbosity(), it.is_progress_bar_enabled()) for it in libraries]
    remote = os.environ.get(REMOTE_CODE)
    settle_libraries()
    try:
        yield
    finally:
        for library, verbosity, has_bars in before:
            library.set_verbosity(verbosity)
            if has_bars:
                library.enable_progress_bar()
        os.environ.pop(REMOTE_CODE)
        if remote is not None:
            os.environ[REMOTE_CODE] = remote
