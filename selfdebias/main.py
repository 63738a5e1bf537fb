"""The command `selfdebias`: its help, and what a command line asks for."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping, Sequence
from importlib import import_module

from selfdebias.config.overrides import groups_of, options_of
from selfdebias.config.sources import Sources, conf_folder
from selfdebias.jobs.commands import outcome, print_out

USAGE = """\
selfdebias: finds the semantic modes of what a diffusion model generates,
without labels, and balances them.

  selfdebias                    the quickstart: the shipped model, vanilla
                                against guided, and a report
  selfdebias key=value ...      change values: guidance.strength=6
  selfdebias group=option ...   choose another part: guidance=random
  selfdebias ... --cfg job      print the resolved configuration and stop
  selfdebias -m key=a,b ...     a sweep; stages with the same key are shared
  selfdebias --config-dir DIR   your own DIR/experiment/x.yaml, DIR/model/y.yaml
  selfdebias --hydra-help       all of Hydra's flags, which work here too
  selfdebias --from FOLDER ...  a job again from its folder, runs/jobs/HASH,
                                with the values that are changed here
  selfdebias stages=[table] table.root=DIR
                                table, plot and page of a sweep, once more
  selfdebias --version | --help

Finished stages are found again and skipped; a stopped job goes on where it was
when the same command is given again. Exit code: 0 done, 2 the command line or
configuration is wrong, 130 stopped by Ctrl-C, 143 by SIGTERM, 1 anything else.

Groups and their options:
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if "--version" in arguments:
        return print_out(f"selfdebias {import_module('selfdebias').__version__}\n")
    code, line = outcome(arguments, help_text)
    if line:
        print(line, file=sys.stderr)
    return code


def help_text(sources: Sources) -> str:
    """The usage, the options of each group, the launchers, and the commented values of config.yaml."""
    from selfdebias.jobs.sweeps.launchers import launchers_in_words

    folder = conf_folder()
    text = (folder / "config.yaml").read_text()
    groups = {group: ", ".join(options_of(group, sources.folders)) for group in groups_of(sources.folders)}
    values = text[text.index("\nstages:") : text.index("\nhydra:")].strip()
    for group, before in (("collect", "discover:"), ("generate", "evaluate:")):
        own = textwrap.indent((folder / group / "default.yaml").read_text(), "  ")
        values = values.replace(f"\n{before}", f"\n{group}:\n{own}\n{before}", 1)
    values = "\n".join(narrow for line in values.splitlines() for narrow in _narrow(line))
    launchers = (
        f"Launchers of a sweep, -m hydra/launcher=... (extras: [slurm], [joblib]):\n{_listed(launchers_in_words())}"
    )
    return f"{USAGE}{_listed(groups)}\n\n{launchers}\n\nValues, with their defaults:\n\n{values}"


def _listed(rows: Mapping[str, str]) -> str:
    """Names, and what there is of each, in 80 columns."""
    each = (
        textwrap.fill(text, 80, initial_indent=f"  {name:<11}", subsequent_indent=" " * 13)
        for name, text in rows.items()
    )
    return "\n".join(each)


def _narrow(line: str, width: int = 80) -> list[str]:
    """A line of YAML in lines of at most `width` signs: a comment that does not fit beside its value goes above it."""
    value, sign, comment = line.partition("  #")
    if len(line) <= width or not sign:
        return [line]
    indent = " " * (len(value) - len(value.lstrip())) + "# "
    return [*textwrap.wrap(comment.strip(), width, initial_indent=indent, subsequent_indent=indent), value.rstrip()]


if __name__ == "__main__":
    sys.exit(main())
