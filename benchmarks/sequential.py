"""How many images does `robench compare --until` need, and how often does the truth leave its confidence sequence?

    python benchmarks/sequential.py [--repeats 2000] [-o FILE]

Populations of image-by-image differences with a known mean, taken in ``--repeats`` random orders. One seed of each
method: 9 % of the images are right for one of them only. Five seeds: the methods differ on 23 % of the images, by 20 to
100 points. So do the methods of the digits board. "sign": when 0 has left the sequence; "used": when that has
happened or the half width is ``until``, in blocks of the command's size, of the first hundred orders.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from robench_fire.comparison.until import block_size
from robench_fire.statistics.sequential import BOLDEST, interval, left_out

UNTIL = {300: 4.0, 10_000: 1.0}
GAPS = (0.0, 0.5, 1.0, 2.0, 5.0)
FEW = 100
Values = NDArray[Any]


def population(images: int, seeds: int, gap: float, random: Generator) -> Values:
    """Differences in points, (images,), whose mean is ``gap`` but for what a single seed on a single image makes."""
    step = 100 // seeds
    sizes = random.choice(np.arange(1, seeds + 1), images, p=np.arange(seeds, 0, -1) / (seeds * (seeds + 1) / 2))
    values = np.zeros(images)
    differing = random.permutation(images)[: round(images * (0.09 if seeds == 1 else 0.23))]
    values[differing] = step * sizes[differing] * random.choice([-1, 1], len(differing))
    lacking = round((gap * images - values.sum()) / step)
    same = np.flatnonzero(values * np.sign(lacking) <= 0)  # images that can still change in that direction
    values[random.permutation(same)[: abs(lacking)]] += step * np.sign(lacking)
    return values


def first(reached: NDArray[np.bool_], images: int) -> int:
    return int(reached.argmax()) + 1 if reached.any() else images


def used(values: Values, until: float, sign: int) -> int:
    """After how many images the command stops: it looks after each block, and the sequence only narrows."""
    images, size = len(values), block_size(len(values))
    ends = [min(end, images) for end in range(size, images + size, size)]
    low, high = 0, len(ends) - 1
    while low < high:
        middle = (low + high) // 2
        bounds = interval(values[: ends[middle]], images)
        low, high = (low, middle) if (bounds[1] - bounds[0]) / 2 <= until else (middle + 1, high)
    return min(ends[low], next(end for end in ends if end >= sign))


def half_of_the_paper(values: Values, images: int) -> float:
    """The half width with the paper's bets: one gambler, whose bet shrinks as 1 / sqrt(t log t)."""
    goal = math.log(40)

    def lowest(draws: Values) -> float:
        t = np.arange(1, len(draws) + 1)
        means = (0.5 + np.cumsum(draws)) / (t + 1)
        variances = np.concatenate([[0.25], (0.25 + np.cumsum((draws - means) ** 2)) / (t + 1)])[:-1]
        bets = np.sqrt(2 * goal / (variances * t * np.log(t + 1)))
        before = np.concatenate([[0.0], np.cumsum(draws)[:-1]])
        low = draws.sum() / images
        high = low + 1 - len(draws) / images
        for _ in range(24):
            middle = (low + high) / 2
            rest = (images * middle - before) / (images - t + 1)
            capital = np.cumsum(np.log1p(np.minimum(bets, BOLDEST / rest) * (draws - rest)))
            low, high = (middle, high) if (capital >= goal).any() else (low, middle)
        return float(low)

    draws = (values / 100 + 1) / 2
    return 100 * (1 - lowest(1 - draws) - lowest(draws))


def measured(images: int, seeds: int, gap: float, repeats: int, random: Generator) -> dict[str, Any]:
    values = population(images, seeds, gap, random)
    few: list[Values] = []
    signs, left, truth = [], 0, float(values.mean())
    for _ in range(repeats):
        order = random.permutation(values)
        signs.append(first(left_out(order, images, 0.0), images))
        left += bool(left_out(order, images, truth)[-1])
        few += [order] * (len(few) < FEW)
    ends = [used(each, UNTIL[images], sign) for each, sign in zip(few, signs, strict=False)]
    quarter = images // 4
    fixed = 1.96 * values.std() * math.sqrt((1 - quarter / images) / quarter)

    def width(half: Callable[[Values], float]) -> float:
        return float(np.mean([half(each[:quarter]) for each in few]))

    return {
        "images": images, "seeds": seeds, "gap": gap, "truth": truth, "std": float(values.std()),
        "left_out": 100 * left / repeats, "sign": float(np.median(signs)),
        "until": UNTIL[images], "used": float(np.median(ends)), "quarter": quarter, "fixed": fixed,
        "half": width(lambda each: float(np.diff(interval(each, images))[0]) / 2),
        "paper": width(lambda each: half_of_the_paper(each, images)),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("-o", "--output", type=Path)
    asked = parser.parse_args()
    random, rows = default_rng(0), []
    print("images seeds   std  truth  left out, %   sign  until   used  half width after a quarter: ours, paper, fixed")
    for images in UNTIL:
        for seeds in (1, 5):
            for gap in GAPS:
                row = measured(images, seeds, gap, asked.repeats, random)
                rows.append(row)
                print(f"{images:6} {seeds:5} {row['std']:5.1f} {row['truth']:6.2f} {row['left_out']:12.2f} "
                      f"{row['sign']:6.0f} {row['until']:6} {row['used']:6.0f}  {row['half']:.2f} {row['paper']:.2f} "
                      f"{row['fixed']:.2f}", flush=True)  # fmt: skip
    if asked.output:
        asked.output.write_text(json.dumps({"repeats": asked.repeats, "settings": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
