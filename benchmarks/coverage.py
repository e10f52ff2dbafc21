"""Does the interval of `robench compare` hold what it says? Coverage and false alarms on data with known truth.

    python benchmarks/coverage.py [--repeats 2000] [-o FILE]

Each image has a difficulty of its own, shared by both methods, another for each method, each seed a skill, and each
(seed, image) noise of its own: a probit model, whose population accuracies are known in closed form. Its spreads are
chosen so that accuracy, the standard deviation between seeds and the agreement of two seeds are those of adversarially
trained networks: 50 %, 0.1 to 1 points, and 85 to 95 %. ``--repeats`` data sets are drawn per setting; coverage of a
95 % interval from 2,000 has a standard error of 0.5 points.
"""

from __future__ import annotations

import argparse
import json
from math import sqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from scipy.stats import norm

from robench_fire.statistics.paired import difference


class Setting(NamedTuple):
    """Standard deviations of a probit model: of images, of each method's own view of them, of seeds, of the rest."""

    seeds: int
    images: int
    method: float
    seed: float
    gap: float  # between the two methods' means
    image: float = 3.0
    rest: float = 1.0

    @property
    def truth(self) -> float:
        """The difference of the population's accuracies, in points."""
        scale = sqrt(self.image**2 + self.method**2 + self.seed**2 + self.rest**2)
        return 100 * float(norm.cdf(self.gap / scale) - norm.cdf(0))


def draw(each: Setting, random: Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """Scores (seeds, images) of two methods."""
    shared = random.normal(0, each.image, each.images)
    made = []
    for mean in (each.gap, 0.0):
        own = shared + random.normal(0, each.method, each.images)
        skill = random.normal(0, each.seed, (each.seeds, 1))
        noise = random.normal(0, each.rest, (each.seeds, each.images))
        made.append(100.0 * (mean + own + skill + noise > 0))
    return made[0], made[1]


def measured(each: Setting, repeats: int, random: Generator) -> dict[str, float]:
    found = [difference(*draw(each, random)) for _ in range(repeats)]
    inside = [one.low <= each.truth <= one.high for one in found]
    return {
        **each._asdict(),
        "truth": each.truth,
        "coverage": 100 * float(np.mean(inside)),
        "alarms": 100 * float(np.mean([one.p < 0.05 for one in found])),
        "half_width": float(np.mean([one.half for one in found])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("-o", "--output", type=Path)
    asked = parser.parse_args()
    random, rows = default_rng(0), []
    print("seeds images  view  skill   truth  coverage  alarms  half width")
    for images in (300, 10_000):
        for method, seed in ((0.5, 0.02), (1.0, 0.05), (1.0, 0.2)):
            for seeds in (2, 3, 5, 10):
                for gap in (0.0, 0.05):
                    row = measured(Setting(seeds, images, method, seed, gap), asked.repeats, random)
                    rows.append(row)
                    print(f"{seeds:5} {images:6}  {method:4}  {seed:5}  {row['truth']:6.2f}  {row['coverage']:8.1f}"
                          f"  {row['alarms']:6.1f}  {row['half_width']:10.2f}", flush=True)  # fmt: skip
    if asked.output:
        asked.output.write_text(json.dumps({"repeats": asked.repeats, "settings": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
