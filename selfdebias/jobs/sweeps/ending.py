"""The end of a sweep in a terminal: the numbers that matter most in one table, the best row, and what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from selfdebias.jobs.sweeps.columns import (
    AGAINST,
    UNTESTED,
    UNTOLD,
    Row,
    attributes_in,
    measures,
    short_names,
    verdicts_of,
)
from selfdebias.jobs.sweeps.pooling import MODE_FD, Group, ones_of, share_of
from selfdebias.metrics.number import Number
from selfdebias.metrics.verdicts import FAIRER, LESS_FAIR, told_apart
from selfdebias.report.movement import LESS_EVEN, is_even
from selfdebias.report.table import Table, narrowed
from selfdebias.report.verdict import highest_level
from selfdebias.report.wording import Notes, number, plain, written

ROWS, MISSING, NAMED = 13, 5, 4  # rows, jobs without numbers, and rows in one sentence, that are shown
WIDTH = 80
UNTOLD_IN_WORDS = f"{UNTOLD}: its interval holds a fair sampler; of few images that says little"


def shown_of(table: Table, rows: Sequence[Row], fairness: str) -> Table:
    """The columns that matter most, as many as fit, and the best rows where there are many.

    Args:
        table: With all rows and columns.
        rows: What its rows show.
        fairness: The measure that rows are held against vanilla by.
    """
    title = next((measures(row, fairness)[fairness][0] for row in rows if row.group.results is not None), fairness)
    shares = dict.fromkeys(
        it[1] for row in rows if row.group.results is not None and (it := share_of(row.group.results))
    )
    wanted = ["N", *shares, title, f"vanilla {title}", AGAINST, "mode_fd", "kept", "precision of switched", "KID"]
    kept: Sequence[int] = range(len(rows))
    if len(rows) > ROWS:
        order = sorted(kept, key=lambda place: (not rows[place].is_baseline, _rank(rows[place].measure(fairness))))
        kept = sorted(order[:ROWS])
    left = len(rows) - ROWS
    notes = [f"and {left} more rows, further from even, in table.md"] if left > 0 else []
    return narrowed(table, wanted, kept, WIDTH, notes)


def pooled_in_words(groups: Sequence[Group], keys: Sequence[str]) -> list[str]:
    """That a row is of several jobs, where one is; else nothing.

    Args:
        groups: The jobs of each row.
        keys: Those in which the jobs of a row may differ.
    """
    if all(len(group.folders) < 2 for group in groups):
        return []
    return [f"Jobs that differ in {', '.join(keys)} alone are pooled: one row of all their images."]


def marks_in_words(table: Table, notes: Notes) -> list[str]:
    """What the marks in the cells of a table say."""
    cells = [str(cell) for row in table.rows for cell in row]
    said = [UNTOLD_IN_WORDS] if any(cell.endswith(UNTOLD) for cell in cells) else []
    why = [line for line in notes.lines() if any(line.split()[0] in cell for cell in cells)]
    return [*said, *why[:3]]


def best_in_words(rows: Sequence[Row], fairness: str) -> str:
    """The row that is clearly the nearest to even by the measure, beside vanilla; where none is, that and why; "" below two rows.

    The terminal, `table.md` and the page all say this. A row is the best one only if its interval overlaps with no other row's.

    Args:
        rows: Those of the table.
        fairness: The measure, of which 0 is best.
    """
    found = [row for row in rows if not row.is_baseline and row.measure(fairness).value is not None]
    if len(found) < 2:
        return ""
    best, *others = sorted(found, key=lambda row: _rank(row.measure(fairness)))
    own, vanilla = best.measure(fairness), best.vanilla(fairness)
    if lacking := [row for row in found if row.measure(fairness).low is None]:
        without = f"{len(lacking)} of {len(found)} rows have no interval"
        return f"no row is best by {plain(fairness)}: {without}, so chance may have ordered them"
    near = [best, *(row for row in others if overlap(own, row.measure(fairness)))]
    if len(near) > 1:
        which = f"all {len(near)} rows" if near == [best, *others] else f"{len(near)} of {len(found)} rows"
        named = f" ({'; '.join(map(name_of, near))})" if len(near) <= NAMED else ""
        return f"no row is best by {plain(fairness)}: the intervals of {which}{named} overlap; more images may tell them apart"
    beside = f" (vanilla {written(vanilla, Notes())})" if vanilla.value is not None else ""
    return f"best by {plain(fairness)}: {name_of(best)} with {written(own, Notes())}{beside}"


def against_in_words(rows: Sequence[Row], fairness: str) -> list[str]:
    """How many rows are fairer than vanilla, and how many less fair; arguments as of `beside_in_words`."""
    compared = [row for row in rows if row.group.results is not None and not row.is_baseline]
    if not compared:
        return []
    found = Counter(verdicts_of(rows, fairness))
    alike = len(compared) - found[FAIRER] - found[LESS_FAIR] - found[UNTESTED]
    said = f"{found[FAIRER]} {FAIRER}, {found[LESS_FAIR]} {LESS_FAIR}, {alike} with no detectable difference"
    if found[UNTESTED]:
        without = f"{found[UNTESTED]} without an interval, of which it cannot be told"
        said = without if found[UNTESTED] == len(compared) else f"{said}, {without}"
    settings = "1 setting" if len(compared) == 1 else f"{len(compared)} settings"
    return [f"{settings} against vanilla, by {plain(fairness)}: {said}"]


def verdicts_explained(rows: Sequence[Row], fairness: str, titles: Collection[str]) -> list[str]:
    """What a table with columns of these titles says of rows against vanilla; [] where no arm is held against it."""
    verdicts = {*verdicts_of([row for row in rows if row.group.results is not None and not row.is_baseline], fairness)}
    if not verdicts:
        return []
    untold = "an empty cell" if AGAINST in titles else "which is so for all jobs here"
    if verdicts == {UNTESTED}:
        untold = "of none can it be told, since none has an interval"
    elif UNTESTED in verdicts:
        untold += f", {UNTESTED} where it cannot be told without an interval"
    return [
        f"{AGAINST}: by the paired difference in {fairness} from vanilla, with Holm's correction over all rows; where there is "
        f"none (other seeds, earlier results), by intervals that are apart. No detectable difference: {untold}."
    ]


def beside_in_words(rows: Sequence[Row], fairness: str) -> list[str]:
    """What the measure does not show: other attributes that became less even than vanilla's, or a target that is not even.

    Args:
        rows: Those of the table.
        fairness: The measure that rows are held against vanilla by.
    """
    compared = [row for row in rows if row.group.results is not None and not row.is_baseline]
    uneven = [one for row in compared for one in ones_of(row.group.results or {}) if not is_even(one)]
    if not uneven:
        return _less_even(compared, fairness)
    modes = uneven[0]["modes"]
    first = 2 * next(iter(modes.get("balanced") or [0]))  # all axes that are balanced have one target
    target = modes["target"][first : first + 2] if "axes" in modes else modes["target"]
    shares = ", ".join(number(share, ".2g") for share in target)
    of = " for the two sides of an axis" if "axes" in modes else ""
    by = "" if fairness == MODE_FD else f"; {plain(fairness)} is not: table.fairness={MODE_FD} compares rows by that"
    return [f"the target is {shares}{of}, not even shares: {MODE_FD} is the distance from it{by}"]


def _less_even(compared: Sequence[Row], fairness: str) -> list[str]:
    """The judged attributes that are less even than in vanilla images: where that is detectable, else the one that rose most."""
    known = dict.fromkeys(name for row in compared for name in attributes_in(row.group.results or {}))
    others = [name for name in known if name != fairness.partition(".")[0]]
    asked = [(name, row, f"{name}.fd_hard") for name in others for row in compared]
    numbers = [(row.measure(key), row.vanilla(key), row.difference(key)) for _, row, key in asked]
    found = told_apart(numbers, highest_level(row.group.results for row in compared))
    sure, rises = dict[str, list[Row]](), dict[str, tuple[float, str]]()
    for (name, row, key), told in zip(asked, found, strict=True):
        before, after = row.vanilla(key).value, row.measure(key).value
        sure.setdefault(name, []).extend([row] if told == LESS_FAIR else [])
        if before is not None and after is not None:
            said = f"{key} {number(after, '.3f')}, vanilla {number(before, '.3f')}"
            rises[name] = max(rises.get(name, (0.0, "")), (after - before, said))
    told_so = []
    for name, own in sure.items():
        where = "; ".join(map(name_of, own)) if len(own) <= NAMED else f"{len(own)} of {len(compared)} rows"
        told_so += [f"{plain(name)} at {where} ({rises[name][1]})"] if own else []
    if told_so:
        return [f"less even than vanilla: {'; '.join(told_so)}"]
    most = max(rises, key=lambda name: rises[name], default="")
    if not most or rises[most][0] <= LESS_EVEN:
        return []
    return [f"perhaps less even than vanilla: {plain(most)} ({rises[most][1]})"]


def overlap(one: Number, other: Number) -> bool:
    """Whether two numbers have intervals with a common point."""
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.low <= other.high and other.low <= one.high


def name_of(row: Row) -> str:
    """A row by its swept values.

    Example:
        >>> from selfdebias.jobs.sweeps.pooling import Group
        >>> name_of(Row(Group({"guidance.strength": "6.0", "clustering.k": "2"}, [], None), "guided"))
        'strength=6.0, k=2'
    """
    values = row.group.values
    said = ", ".join(f"{name}={plain(values[key])}" for key, name in short_names(list(values)).items())
    arm = "" if row.arm == "guided" else plain(row.arm)
    return ", ".join(filter(None, [said, arm])) or row.group.jobs[0].name


def few(lines: Sequence[str]) -> list[str]:
    """The first lines about jobs without numbers, and how many more there are."""
    more = len(lines) - MISSING
    return [*lines[:MISSING], f"and {more} more without numbers, in table.md"] if more > 0 else list(lines)


def _rank(found: Number) -> float:
    return float("inf") if found.value is None else found.value
