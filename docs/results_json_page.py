"""The reference of the keys of `results.json`: what the functions that write them say, and what a number consists of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from docs.tables import code, summary, table, text
from selfdebias.jobs.stages.evaluate import describe_judge
from selfdebias.judges.labelled import summarise_error
from selfdebias.metrics import (
    composition,
    corrected,
    differences,
    preservation,
    prompts,
    quality,
    shares,
    spaces,
    verdicts,
    within_modes,
)
from selfdebias.metrics.modes import summarise_modes
from selfdebias.metrics.shares import mode_metrics_of
from selfdebias.metrics.summary import describe_spaces, summarise_cost

Said = str | Callable[..., Any]
HEAD = """\
# results.json

`results.json` in a job's folder holds every number of the job. `results.csv` holds the same numbers, one a line, under arm and
path: `guided,gender/fd_hard`. `metrics.jsonl`, of a job of one prompt, has those of the arms, as `guided/gender/fd_hard`.
`report.html` and `table.md` show the most important ones.
[Metrics](metrics.md) says what each metric is.

```python
import json
from pathlib import Path

results = json.loads(Path("runs/jobs/HASH/results.json").read_text())
number = results["arms"]["guided"]["gender"]["fd_hard"]
print(number["value"], number.get("low"), number.get("high"), number.get("reason"))
```

## A number

A plain number, or an object with the fields below; fields without a value are left out. What could not be measured is `null`
with the reason, never NaN.

::: selfdebias.metrics.number.Number
    options: {members: false, heading_level: 3}

"""
TOP: Mapping[str, Said] = {
    "config_hash": "Names the job: the hash of its configuration, and the last part of its folder.",
    "seeds": "Seeds of the stages that sample, `collect` and `generate`.",
    "prompts": "What was asked for: `text`, and the `attributes` that the judge reports.",
    "level": "Coverage that intervals and verdicts aim at, `metrics.level`.",
    "judge": describe_judge,
    "judge/error": summarise_error,
    "features": "What distances, precision and recall compare images by: `name`, `dim`; of an extractor more.",
    "spaces": describe_spaces,
    "arms": "The numbers of each arm, by its name: see below.",
    "baseline": "Name of the arm that the others are compared with, `vanilla` as a rule.",
    "verdicts": verdicts.verdicts,
    "twins": "By arm, how many of its images have a paired sample in the baseline.",
    "modes": summarise_modes,
    "cost": summarise_cost,
    "skipped_edits": "By arm, edits that were left out because a gradient was not finite.",
    "skipped": "By arm, files of given folders that could not be read, with the reason of each.",
    "dependence": "By arm, what an image depends on: `image`, its own seed alone; `batch`, those sampled with it; `run`, all of "
    "the job.",
    "told": "By arm, of those that were told the attribute: how.",
}
FOLDERS: Mapping[str, Said] = {
    "sources": "By arm, where its images come from: `path`, `images`, `sha256`, `drawn_together`, `without_colour`.",
    "reference": "Reference images from outside: `path`, `images`, `sha256`.",
}
ARM: Mapping[str, Said] = {
    "ATTRIBUTE": shares.attribute_metrics,
    "shares": shares.attribute_shares,
    "corrected": corrected.corrected_metrics,
    "by_run": shares.by_run,
    "unclassified": "By attribute, share of the images that the judge is not sure of.",
    "blanked": "Share of the images that the model's safety checker replaced; they count nowhere else.",
    "mode_fd": mode_metrics_of,
    "mode_kl": mode_metrics_of,
    "mode_shares": mode_metrics_of,
    "axes": "With axes, one for each: `fd`, the distance of its sides' shares from the target, `kl`, and `share`, that of side 1.",
    **{metric.key: metric.meaning for metric in (*quality.METRICS, quality.CLIP_SCORE)},
    quality.FID: "`frechet_distance` by Inception's features, with `metrics=inception`; it takes the place of that key.",
    "within_modes": within_modes.distances_within_modes,
    "turned": preservation.switched_quality,
    "turned_cosine": "Mean cosine of the switched images to their paired samples.",
    "kept_cosine": "Mean cosine of the images that kept their mode to their paired samples.",
    "kept_share": "Share of the images that kept their mode.",
    "twin_cosine": "Mean cosine of all images to their paired samples.",
    "psnr": preservation.psnr,
    "quality": spaces.quality_by_features,
    "paired_agreement": preservation.paired_agreement,
    "composition": composition.composition,
    "difference": differences.differences,
}
SEVERAL: Mapping[str, Said] = {
    "rows": "By prompt, all that is above but `config_hash`.",
    "row_names": "The prompts in their order.",
    "over_prompts": prompts.over_prompts,
}

SWEEP: Mapping[str, Said] = {
    "command": "The command of the sweep, or of the table.",
    "rows": "A list, one for each row of the table: `values` of the swept keys, `config_hashes` of the jobs that are pooled, "
    "`results`, keyed as above, over the images of all of them, and `missing`, jobs without results, with the reason.",
}


def results_json_page() -> str:
    """The page."""
    return "\n".join([
        HEAD, "## A job\n", _keys(TOP),
        "Of an evaluation of folders further:\n", _keys(FOLDERS),
        "## An arm\n\nThe arms are `vanilla`, `guided` and those that a guidance adds, or the folders that were given.\n"
        "`ATTRIBUTE` stands for each judged attribute, such as `gender`.\n", _keys(ARM),
        "## A job with several prompts\n", _keys(SEVERAL),
        "## A sweep\n", _keys(SWEEP),
    ])  # fmt: skip


def _keys(keys: Mapping[str, Said]) -> str:
    rows = ((code(key), text(said if isinstance(said, str) else summary(said))) for key, said in keys.items())
    return table(("Key", "What it holds"), rows)
