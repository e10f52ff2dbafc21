"""``python -m tests.faults --kills 350`` kills train, eval, bench and publish at drawn moments: docs/reliability.md.

Then it changes bytes of a finished run, one at a time. Exit code 1 if anything was lost, left over, said wrongly or
missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support"), str(HERE.parents[1])]
os.environ["OMP_NUM_THREADS"] = "1"

LATER = """
    rich.spinner rich._emoji_codes jsonschema
    matplotlib.pyplot matplotlib.backends.backend_svg
    robench_fire.figures.points robench_fire.reports.report robench_fire.tables.render
    robench_fire.cli.results.table robench_fire.boards.rows
""".split()
"""What commands import when they need it."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=(__doc__ or "").split(";")[0])
    parser.add_argument("--kills", type=int, default=350, help="of trainings; others get their share (350)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    parser.add_argument("--jobs", type=int, default=1, help="commands at a time (1)")
    parser.add_argument("--only", default="", help="commands whose title has this text, like 'train fire'")
    parser.add_argument("--out", type=Path, help="a JSON file for what came of it")
    asked = parser.parse_args()
    import processes

    processes.FORKS.set_forkserver_preload([*processes.PRELOADED, *LATER])
    import campaign

    wanted = {title: each for title, each in campaign.shares(asked.kills).items() if asked.only in title}
    with tempfile.TemporaryDirectory(prefix="robench-faults-") as folder:
        os.environ["ROBENCH_DATA"] = os.environ["XDG_STATE_HOME"] = str(Path(folder) / "own")
        keep = partial(campaign.written, asked.out) if asked.out else lambda found: None
        found = campaign.run(wanted, Path(folder), asked.seed, asked.jobs, keep)
        found["bytes"] = campaign.bytes_changed(Path(folder) / "runs")
        keep(found)
    every, changed = found["all"], found["bytes"]["all"]
    print(f"{every['kills']} kills in {found['seconds']} s, {every['kills survived']} survived, "
          f"{every['lost']} files lost, {every['left over']} left over; {changed['found']} changed bytes found, "
          f"{changed['same values']} without effect, {changed['missed']} missed")  # fmt: skip
    return 1 if every["wrong"] or changed["missed"] else 0


if __name__ == "__main__":
    sys.exit(main())
