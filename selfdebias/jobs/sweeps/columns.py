"""The rows and columns of a sweep's table: an arm of a job or of pooled jobs, and what was swept and measured of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from selfdebias.jobs.sweeps.pooling import Group, Results, ones_of, share_of
from selfdebias.jobs.sweeps.record import DONE
from selfdebias.metrics import quality
from selfdebias.metrics.metric import ReferenceMetric
from selfdebias.metrics.number import Number, leaves
from selfdebias.metrics.preservation import PRECISION_OF_SWITCHED
from selfdebias.metrics.verdicts import FAIRER, LESS_FAIR, told_apart
from selfdebias.report.measures import arms_of, images_of, title_of
from selfdebias.report.table import Column, Table
from selfdebias.report.verdict import highest_level
from selfdebias.report.wording import Notes, bare, plain, span, written

AGAINST = "to vanilla"
UNTESTED = "?"  # a verdict that there is none of
FACTS = ("value", "low", "high", "floor", "n")
UNTOLD = "~"  # behind a value whose interval holds a fair sampler
WIDEST = 16  # terminal columns of a swept value
OF_TWINS = ("kept_cosine", "precision_ratio")  # measured against vanilla, so not of vanilla itself


@dataclass(frozen=True)
class Row:
    """One row: an arm of a group.

    Attributes:
        group: whose numbers it shows.
        arm: the arm; "" in a group without numbers.
        shared: whether it is the vanilla arm that all groups share.
        same: the other groups that share it.
    """

    group: Group
    arm: str
    shared: bool = False
    same: list[Group] = field(default_factory=list)

    @property
    def is_baseline(self) -> bool:
        """Whether it is the arm that the others are held against."""
        return self.arm == self.group.baseline

    def measure(self, name: str) -> Number:
        """The number called `name`, such as gender.fd_hard or kid, with what belongs to it."""
        found, *others = (group.measure(self.arm, name) for group in (self.group, *self.same))
        if any((it.value, it.low, it.high) != (found.value, found.low, found.high) for it in others):
            return Number(reason="is not the same in all jobs")
        return found

    def vanilla(self, name: str) -> Number:
        """The same number of the arm that it is held against."""
        return self.group.measure(self.group.baseline, name)

    def difference(self, name: str) -> Number:
        """What the number differs by from that of the arm that it is held against, of the same seeds."""
        return self.group.measure(self.arm, f"difference.{self.group.baseline}.{name}")

    @property
    def images(self) -> str:
        """Number of images of the arm, in a job with a list of prompts by prompt."""
        results = self.group.results
        if results is None:
            return ""
        ones = ones_of(results)
        counts = sorted({images_of(one, self.arm) or 0 for one in ones if self.arm in one["arms"]})
        return (f"{len(ones)} x " if "rows" in results else "") + "/".join(map(str, counts))


def rows_of(groups: Sequence[Group]) -> list[Row]:
    """The rows in their order: the vanilla arm first where all groups share one, then the arms of each group."""
    rows = []
    if shared_vanilla(groups):
        first, *others = (group for group in groups if group.results is not None)
        rows.append(Row(first, first.baseline, True, others))
    for group in groups:
        arms = arms_in(group.results) if group.results is not None else [""]
        compared = [arm for arm in arms if arm != group.baseline]
        rows += [Row(group, arm) for arm in compared or arms]
    return rows


def shared_vanilla(groups: Sequence[Group]) -> bool:
    """Whether the groups with numbers were drawn beside the same vanilla images."""
    stages = {group.vanilla_stages for group in groups if group.results is not None}
    return len(stages) == 1 and stages != {frozenset()}


def table_of(rows: Sequence[Row], fairness: str, notes: Notes, intervals: bool) -> Table:
    """The table: which job a row is, and its numbers.

    Args:
        rows: Rows of the table.
        fairness: The measure that rows are held against vanilla by.
        notes: Takes the reasons of the numbers that are not there.
        intervals: Whether each number is written with its interval; else a mark says where a fair sampler is within it.
    """
    first, *others = heads = head_columns(rows)
    columns = [first._replace(footer=["floor"]), *others, *number_columns(rows, fairness, notes, intervals)]
    return Table.of_columns(columns, names=len(heads), name_width=WIDEST)


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """The shortest name of each key that no other one has, in whole words.

    Example:
        >>> list(short_names(["guidance.strength", "generate.seed", "collect.seed", "clustering"]).values())
        ['strength', 'generate.seed', 'collect.seed', 'clustering']
    """
    names = {}
    for key in keys:
        words = key.split(".")
        ends = [".".join(words[-count:]) for count in range(1, len(words) + 1)]
        others = [f".{other}" for other in keys if other != key]
        names[key] = next((end for end in ends if not any(it.endswith(f".{end}") for it in others)), key)
    return names


def head_columns(rows: Sequence[Row]) -> list[Column]:
    """The columns that say which job a row is: swept keys, arm where there are several, state where not all are done."""
    keys = list(dict.fromkeys(key for row in rows for key in row.group.values))
    columns: list[Column] = []
    for key, name in short_names(keys).items():
        shared = "" if columns else "vanilla"  # the row of all jobs has no value, and its first cell says what it is
        columns.append(Column(name, [shared if row.shared else plain(row.group.values.get(key, "")) for row in rows]))
    if not keys:
        columns = [Column("job", ["vanilla" if row.shared else row.group.jobs[0].name for row in rows])]
    if {row.arm for row in rows if row.arm and not row.is_baseline} - {"guided"}:
        columns.append(Column("arm", [plain(row.arm) for row in rows]))
    if any(job.state != DONE for row in rows for job in row.group.jobs):
        columns.append(Column("state", ["" if row.shared else row.group.state for row in rows]))
    return columns


def number_columns(rows: Sequence[Row], fairness: str, notes: Notes, intervals: bool) -> list[Column]:
    """The columns of numbers; one that no row has is left out. The arguments are those of `table_of`."""
    known = [row for row in rows if row.group.results is not None]
    columns = [Column("N", [row.images for row in rows])]
    against_reference = {it.key: (_title(it, known), ".3g") for it in quality.METRICS if it.in_sweeps}
    for name, (title, style) in (measures(known[0], fairness) | against_reference).items():
        columns += _column(title, name, rows, style, notes, intervals)
        if name == fairness and not shared_vanilla([row.group for row in rows]):
            columns += _column(f"vanilla {title}", name, rows, style, notes, intervals, vanilla=True)
        if name == fairness:
            verdicts = verdicts_of(rows, fairness)
            columns += [Column(AGAINST, verdicts)] if {FAIRER, LESS_FAIR} & {*verdicts} else []
    return columns


def measures(row: Row, fairness: str) -> dict[str, tuple[str, str]]:
    """What is shown, by its name: title and style."""
    results = row.group.results
    assert results is not None
    attributes, share = attributes_in(results), share_of(results)
    shown = {f"shares.{share[0]}.{share[1]}": (share[1], ".2f")} if share else {}
    shown |= {f"{attribute}.fd_hard": (f"{attribute} fd_hard", ".3f") for attribute in attributes}
    shown |= {f"{attributes[0]}.deviation_ratio": ("dev. ratio", ".3f"), "mode_fd": ("mode_fd", ".3f")}
    shown |= {} if fairness in shown else {fairness: (fairness.replace(".", " "), ".3f")}
    return shown | {"kept_cosine": ("kept", ".3f"), "precision_ratio": (PRECISION_OF_SWITCHED.title, ".3f")}


def _title(metric: ReferenceMetric, rows: Sequence[Row]) -> str:
    """Heading of a metric with its features, where all jobs have the same."""
    every = [row.group.results for row in rows if row.group.results is not None]
    titles = {title_of(metric, one) for results in every for one in ones_of(results)}
    return titles.pop() if len(titles) == 1 else metric.title


def _column(
    title: str, name: str, rows: Sequence[Row], style: str, notes: Notes, intervals: bool, vanilla: bool = False
) -> list[Column]:
    found = [row.vanilla(name) if vanilla else row.measure(name) for row in rows]
    known = [entry for entry in found if entry.value is not None]
    if not known:
        return []
    write: Callable[[Number], str] = partial(written if intervals else _marked, notes=notes, style=style)
    cells = []
    for row, entry in zip(rows, found, strict=True):
        says_nothing = row.group.results is None or (row.is_baseline and name in OF_TWINS)
        cells.append("" if says_nothing else write(entry))
    floor = span((entry.floor for entry in known), style) if style == ".3f" else ""
    return [Column(plain(title), cells, [floor])]


def _marked(found: Number, notes: Notes, style: str) -> str:
    """The value, with a mark where its interval holds a fair sampler."""
    return bare(found, notes, style) + (UNTOLD if found.at_floor and found.value is not None else "")


def verdicts_of(rows: Sequence[Row], fairness: str) -> list[str]:
    """Whether each arm is fairer than vanilla or less fair, "" where no difference is detectable, `UNTESTED` without an interval.

    All rows are corrected for together.
    """
    compared = [row for row in rows if row.group.results is not None and not row.is_baseline]
    asked = [(row.measure(fairness), row.vanilla(fairness), row.difference(fairness)) for row in compared]
    found = told_apart(asked, highest_level(row.group.results for row in compared))
    told = dict(zip(map(id, compared), found, strict=True))
    shown = {FAIRER: FAIRER, LESS_FAIR: LESS_FAIR, None: UNTESTED}
    return [shown.get(told[id(row)], "") if id(row) in told else "" for row in rows]


def arms_in(results: Results) -> list[str]:
    """The arms of a job, also of one with a list of prompts: vanilla first, then guided, then the others."""
    return arms_of({"arms": {arm: {} for one in ones_of(results) for arm in one["arms"]}})


def attributes_in(results: Results) -> list[str]:
    """The attributes that are reported."""
    return list(results["prompts"]["attributes"])


def numbers_of(groups: Sequence[Group]) -> Table:
    """All numbers of all arms, for CSV.

    Columns: the swept keys; `jobs`, the config hashes; `prompt`, the name of the prompt where a job has several, "" for the
    mean over them; `arm`; `metric`, its place in results.json, as in `results.csv`; `value`, `low` and `high` of the
    interval, `floor`, `n`. A number that there is not is None.

    Args:
        groups: Jobs put together; those without numbers are left out.
    """
    groups = [group for group in groups if group.results is not None]
    keys = list(dict.fromkeys(key for group in groups for key in group.values))
    lines = []
    for group in groups:
        own = [*(group.values.get(key, "") for key in keys), " ".join(it.name for it in group.folders)]
        for prompt, arm, tree in _arms(group.results or {}):
            numbers = [(path, Number.from_json(leaf)) for path, leaf in leaves(tree) if isinstance(leaf, Mapping)]
            for metric, found in sorted(numbers, key=lambda it: it[0].split("/")):
                lines.append([*own, prompt, arm, metric, *(getattr(found, fact) for fact in FACTS)])
    return Table([*keys, "jobs", "prompt", "arm", "metric", *FACTS], lines)


def _arms(results: Results) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yields (prompt, arm, its part of the results): first the means over prompts, where there are several."""
    means = results["over_prompts"] if "rows" in results else results["arms"]
    yield from (("", arm, means.get(arm) or {}) for arm in arms_in(results))
    for prompt, one in results.get("rows", {}).items():
        yield from ((prompt, arm, tree) for arm, tree in one["arms"].items())
