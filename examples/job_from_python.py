"""Run a whole job from Python, and read its numbers: what `selfdebias ...` does on the command line."""

import json

import selfdebias

OVERRIDES = ["prompts.text='an emoji of a cook'", "guidance.strength=3", "logger=none"]

job = selfdebias.run(OVERRIDES)  # the job's folder; stages that are finished are found again
results = json.loads((job / "results.json").read_text())
for arm, measured in results["arms"].items():
    share = measured["shares"]["gender"]["man"]
    print(f"{arm}: {share['value']:.2f} men (95% interval {share['low']} to {share['high']})")
print(f"report: {job / 'report.html'}")

debiaser = selfdebias.SelfDebias.from_pretrained(job)  # for a pipeline of your own; see own_pipeline.py
print(debiaser)
