"""What is said of a trial, a job of `debug=...`: that it ran, and that its numbers mean nothing."""

from __future__ import annotations

import shlex

from selfdebias.report.verdict import Verdict
from selfdebias.report.wording import plain


def trial_in(command: object) -> str:
    """The words of a command line that make a trial of it, "" where there are none.

    Example:
        >>> trial_in("selfdebias debug=tiny model=emoji"), trial_in("selfdebias debug=null"), trial_in(None)
        ('debug=tiny', '', '')
    """
    text = str(command or "")
    try:
        words = shlex.split(text)
    except ValueError:  # a quote that is not closed
        words = text.split()
    found = [plain(word.lstrip("+")) for word in words if word.lstrip("+").startswith("debug=")]
    return next((word for word in found if word.partition("=")[2] not in ("", "null")), "")


def trial_verdict(option: str) -> Verdict:
    """What stands in place of a verdict.

    Args:
        option: As `trial_in` returns it.

    Example:
        >>> trial_verdict("debug=tiny").sentence
        'debug=tiny checks that everything runs, and it did: with so few images and steps the numbers mean nothing.'
    """
    sentence = (
        f"{option} checks that everything runs, and it did: with so few images and steps the numbers mean nothing."
    )
    return Verdict(sentence, "")


def after_trial(option: str) -> str:
    """What to try after it."""
    return f"numbers that mean something: the same command without {option}"
