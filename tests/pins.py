"""Makes `constraints.txt` of what `pip freeze` prints of an environment in which the tests pass; `make constraints` runs it.

    python -m pip freeze --all --exclude-editable | python tests/pins.py > constraints.txt

It needs Python's own library alone.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable

HEAD = """\
# The versions that are tested, of all that `pip install -e '.[dev]'` brings on Linux; `make` installs these.
# `make constraints` writes this file anew. It names no build of torch and none of the packages that a build for CUDA brings:
# torch itself asks for those, each with its version. What other platforms need beside these is left to pip.
"""
LEFT_OUT = re.compile(r"pip==|(nvidia|cuda|triton)\b")


def pins(frozen: Iterable[str]) -> list[str]:
    """Pins that hold on every platform.

    Args:
        frozen: Lines of `pip freeze`.

    Returns:
        The lines without pip and the packages of a CUDA build, and without the local part of a version (`+cpu`).

    Raises:
        ValueError: If a line pins no version, such as that of a package from a folder.

    >>> pins(["numpy==2.4.6", "nvidia-cublas==13.1.1.3", "torch==2.14.1+cpu"])
    ['numpy==2.4.6', 'torch==2.14.1']
    """
    lines = [line.strip() for line in frozen if not LEFT_OUT.match(line)]
    for pin in lines:
        if "==" not in pin:
            raise ValueError(f"`frozen` must be lines of NAME==VERSION, got {pin!r}.")
    return [pin.partition("+")[0] for pin in lines]


if __name__ == "__main__":
    print(HEAD + "\n".join(pins(sys.stdin)))
