"""Writes the studies' questions and claims, tables and estimated costs into the lab notebook, `experiments/README.md`."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from experiments.pooled import RESULTS
from experiments.study import read_study
from selfdebias.config.combinations import model_of_arms, reference_count
from selfdebias.config.compose import load, load_sweep
from selfdebias.jobs.run import make_plan
from selfdebias.storage.atomic import write_text

NOTEBOOK = Path(__file__).parent / "README.md"
MARK = "<!-- {}: (.*?) -->\n(.*?)<!-- end -->"
NOT_RUN = "Not run yet.\n"
SHOWN = r"^## .*\n|(?:^\|.*\n)+"  # of a page: headings, and tables
CALL = (
    59.5 / 32 / 51
)  # seconds that a UNet call takes for an image of Stable Diffusion 1.4, by the official code's own log


def filled(text: str, kind: str, content: Callable[[str], str]) -> str:
    """The text with the content of each mark of a kind made anew.

    Example:
        >>> filled("<!-- table: a -->\\nold\\n<!-- end -->", "table", lambda name: f"new {name}\\n")
        '<!-- table: a -->\\nnew a\\n<!-- end -->'
    """
    mark = re.compile(MARK.format(kind), re.DOTALL)
    return mark.sub(lambda found: f"<!-- {kind}: {found[1]} -->\n{content(found[1])}<!-- end -->", text)


def table_of(name: str, results: Path = RESULTS) -> str:
    """The tables and plots of a study as its command wrote them, with links to its page and to the hashes of its jobs.

    Args:
        name: of the study's files, such as person or ablation/strength.
        results: folder of all results.
    """
    page = results / f"{name}.md"
    if not page.exists():
        return NOT_RUN
    shown = re.findall(SHOWN, page.read_text(), re.MULTILINE)
    tables = [f"**{it.removeprefix('## ').strip()}**\n" if it.startswith("## ") else it for it in shown]
    place = Path("results", name).parent
    plots = [
        f"![{alt}]({place / file})\n"
        for alt, file in re.findall(r"^!\[(.*)\]\((.*)\)$", page.read_text(), re.MULTILINE)
    ]
    hashes = list(dict.fromkeys(hashes_in(json.loads((results / f"{name}.json").read_text()))))
    jobs = f" Config hashes: [{len(hashes)}](results/{name}.json)." if hashes else ""
    return "\n".join([*tables, *plots, f"[How it was measured, and by whom it was judged](results/{name}.md).{jobs}\n"])


def head_of(name: str) -> str:
    """The head of the section of a study that is a YAML file: question, claim and commands."""
    it = read_study(name)
    parts = [
        f"### {name}", f"**Question.** {it['question']}", f"**Claim.** {it['claim']}",
        f"**Here:** `python -m experiments.study {name}`", *([f"**On a GPU:** `{it['gpu']}`"] if "gpu" in it else []),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def hashes_in(found: Any) -> Iterator[str]:
    """The config hashes anywhere in the numbers of a study.

    Example:
        >>> list(hashes_in({"rows": [{"config_hashes": ["a", "b"], "results": {}}, {"config_hashes": ["c"]}]}))
        ['a', 'b', 'c']
    """
    for item in found.values() if isinstance(found, Mapping) else found if isinstance(found, list) else []:
        yield from hashes_in(item)
    if isinstance(found, Mapping):
        yield from found.get("config_hashes", [])


def cost_of(command: str) -> str:
    """How many images a command samples, each stage that its jobs share counted once, and about how long a GPU takes.

    Args:
        command: of the command line, for one job or with -m.
    """
    words = shlex.split(command)[1:]
    configs = [job.config for job in load_sweep(words[1:])] if words[0] == "-m" else [load(words)]
    sampled = {key: it for config in configs for key, it in _sampled(config).items()}
    images = sum(count for count, _ in sampled.values())
    if not all(str(config["model"]["_target_"]).endswith("StableDiffusionBackbone") for config in configs):
        return f"{images:,} images; no log says how long a GPU takes for them.\n"
    hours = CALL * sum(count * steps for count, steps in sampled.values()) / 3600
    return f"{images:,} images, about {hours:.1f} hours of a GPU: an estimate.\n"


def _sampled(config: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Images and steps of each stage of a job that samples, by its key."""
    sampled = {}
    for it in make_plan(config, {}).values():
        if it.draws_reference:
            sampled[it.key] = (reference_count(config), model_of_arms(config)["steps"])
        elif it.kind == "collect":
            sampled[it.key] = (config["collect"]["n_images"], config["model"]["steps"])
        elif it.kind == "generate":
            sampled[it.key] = (config["generate"]["n_images"], model_of_arms(config)["steps"])
    return sampled


def main() -> None:
    """Fill heads, tables and costs in."""
    text = filled(filled(NOTEBOOK.read_text(), "study", head_of), "table", table_of)
    write_text(NOTEBOOK, filled(text, "cost", cost_of))


if __name__ == "__main__":
    main()
