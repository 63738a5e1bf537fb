"""A study of variants: the same job with one thing changed after another, each pooled over generate seeds, in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from experiments.columns import USUAL, header, row
from experiments.pooled import hashes_of, kept, run_pooled, who_judged, write_study

Every = dict[str, dict]  # pooled results by variant
SOFT = ("guidance.temperature=0.3",)  # transport's previous default, which some of the studies have


def vanilla_and_guided(every: Every) -> list[str]:
    """One row of the vanilla images that all variants share, and the guided arm of each variant."""
    first = next(iter(every.values()))
    return [row("vanilla", first, "vanilla"), *(row(name, results, "guided") for name, results in every.items())]


def run_variants(
    study: str,
    variants: Mapping[str, Sequence[str]],
    asked: Sequence[str],
    seeds: Mapping[str, Sequence[int]],
    page: Callable[[Every], str],
    run: Callable[[Sequence[str], Sequence[int]], dict] = run_pooled,
) -> None:
    """Run the variants that are asked for, and write the study anew after each of them, with all rows that are of today's jobs.

    Args:
        study: name of its files.
        variants: overrides of the command line by the name of the row.
        asked: names of the variants that are run.
        seeds: generate seeds by variant.
        page: from pooled results by variant, in the order of `variants`, to the text of the page.
        run: from overrides and seeds to pooled results with ``config_hashes``.
    """
    hashes = {name: hashes_of(variants[name], seeds[name]) for name in variants}
    for name in asked:
        found = run(variants[name], seeds[name])
        every = {**kept(study, hashes), name: found}  # read only now: another process may have added rows
        every = {name: every[name] for name in variants if name in every}
        write_study(study, page(every), every)


@dataclass(frozen=True)
class Study:
    """What is varied, over which seeds, and how the table is written.

    Args:
        name: of the study's module and files.
        title: of its page, without the seeds.
        seeds: generate seeds.
        seeds_of: those of variants that have others.
        variants: overrides of the command line by the name of the row.
        common: overrides of all of them, before their own.
        rows: from pooled results by variant to the lines of the table.
        header: names of the columns and the line below them; "" for those of `pooled.row`.
        notes: from pooled results by variant to what stands below the table.
        command: what runs it, after ``python -m experiments.``; "" for a module of its name.
    """

    name: str
    title: str
    seeds: tuple[int, ...]
    variants: Mapping[str, Sequence[str]]
    common: Sequence[str] = ()
    rows: Callable[[Every], list[str]] = vanilla_and_guided
    header: str = ""
    notes: Callable[[Every], list[str]] = lambda every: []
    seeds_of: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    command: str = ""

    def main(self, arguments: Sequence[str], seeds: Sequence[int] = ()) -> None:
        """Run the variants, and write one table, anew after each of them.

        Rows of variants that are not asked for are kept if they were measured with the configuration that is asked for.

        Args:
            arguments: overrides of the command line; words without ``=`` choose the variants whose names hold one of them.
            seeds: generate seeds; none for those of the study.
        """
        overrides = [text for text in arguments if "=" in text]
        words = [text for text in arguments if "=" not in text] or [""]
        variants = {name: [*overrides, *self.common, *variant] for name, variant in self.variants.items()}
        asked = [name for name in variants if any(word in name for word in words)]
        run_variants(self.name, variants, asked, self._seeds(seeds), self.page)

    def _seeds(self, seeds: Sequence[int]) -> dict[str, Sequence[int]]:
        """Return the generate seeds of each variant; those that are given hold for all."""
        return {name: seeds or self.seeds_of.get(name, self.seeds) for name in self.variants}

    def page(self, every: Every) -> str:
        """The page of the variants that are measured.

        Args:
            every: pooled results by variant.
        """
        seeds = dict.fromkeys(tuple(results["seeds"]["generate"]) for results in every.values())
        head = f"# {self.title}, generate seeds {'; '.join(', '.join(map(str, own)) for own in seeds)}"
        command = (
            f"`python -m experiments.{self.command or self.name}`: {len(every)} of its {len(self.variants)} variants."
        )
        notes = self.notes(every)
        names = self.header or header(USUAL, every)
        text = [head, "", command, "", names, *self.rows(every), "", who_judged(next(iter(every.values())))]
        if len(seeds) > 1:
            text[2] += f" Seeds: {'; '.join(_seeds_in_words(own, every) for own in seeds)}."
        return "\n".join([*text, *([""] if notes else []), *notes]).rstrip()


def _seeds_in_words(seeds: tuple[int, ...], every: Every) -> str:
    """Of which rows some seeds are, by the number of images of their vanilla arm, and the floor there."""
    own = next(results for results in every.values() if tuple(results["seeds"]["generate"]) == seeds)
    found = own["arms"]["vanilla"][own["prompts"]["attributes"][0]]["fd_hard"]
    return f"{', '.join(map(str, seeds))} of the rows with N = {found['n']} (floor {found['floor']:.3f})"
