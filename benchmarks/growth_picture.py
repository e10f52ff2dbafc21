"""The picture of what benchmarks/growth.py measured.

python benchmarks/growth_picture.py [results/growth.json] [-o docs/images/growth.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from robench_fire.figures.style import SQUARE, Drawn, figure, look, save, styled, targets
from robench_fire.runs.folders import read_json

NAMES = {"seconds": "time", "MB": "peak memory"}


@styled
def draw(axes: dict[str, Any]) -> Drawn:
    """Time and memory of every thing that grows, each relative to its smallest size, both axes logarithmic."""
    made, panels = figure((2 * SQUARE[0], SQUARE[1]), (1, 2), sharex=True)
    data = []
    for panel, (name, said) in zip(panels, NAMES.items(), strict=True):
        for number, each in enumerate(axes.values()):
            sizes, values = each["sizes"], each[name]
            more = [size / sizes[0] for size in sizes]
            times = [value / values[0] for value in values]
            exponent = each[f"exponents of {name}"][0]
            panel.plot(more, times, label=f"{each['what']}: {exponent:.2f}", **look(number))
            if name == "seconds":
                data += [{"what": each["what"], "size": size, "seconds": one, "MB": other}
                         for size, one, other in zip(sizes, each["seconds"], each["MB"], strict=True)]  # fmt: skip
        ends = panel.get_xlim()
        panel.plot([1, 100], [1, 100], color="#8A8A8A", linestyle=":", linewidth=1.0, label="in proportion")
        panel.set(xscale="log", yscale="log", xlabel="size / smallest size", ylabel=f"{said} / of the smallest size")
        panel.set_xlim(0.9, max(110.0, ends[1]))
        panel.legend(title="exponent", loc="upper left")
    return Drawn(made, data, "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", type=Path, nargs="?", default=Path("results/growth.json"))
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/images/growth.png"))
    asked = parser.parse_args()
    save(draw(read_json(asked.measured)["axes"]), targets(asked.output, force=True))


if __name__ == "__main__":
    main()
