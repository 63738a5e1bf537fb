"""Run a sweep from Python: a job for each value, whose common stages are made once, and one table over all of them."""

import json

import selfdebias

COMMON = ["logger=none"]
STRENGTHS = (3, 6, 12)

jobs = {strength: selfdebias.run([*COMMON, f"guidance.strength={strength}"]) for strength in STRENGTHS}
for strength, job in jobs.items():
    guided = json.loads((job / "results.json").read_text())["arms"]["guided"]
    print(
        f"strength {strength}: fd_hard {guided['gender']['fd_hard']['value']:.3f}, kept {guided['kept_cosine']['value']}"
    )

# The table and page that `selfdebias -m guidance.strength=3,6,12` writes, of the jobs that are under the root:
#   selfdebias "stages=[table]" table.root=runs
