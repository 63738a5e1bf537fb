"""Keeps the libraries from loading code of others and from talking over the progress bars."""

from __future__ import annotations

import logging
import os
import warnings


def settle_libraries() -> None:
    """Forbids remote code, and leaves progress bars and warnings to us; imports the libraries that it speaks to."""
    os.environ["DIFFUSERS_DISABLE_REMOTE_CODE"] = "1"
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
