"""features: where images lie in a plane of a network's features, before and after perturbation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robench_fire.errors import DataError, UsageError
from robench_fire.figures.style import COLOURS, Drawn, figure, plain, styled
from robench_fire.runs.folders import read_json
from robench_fire.runs.shapes import FEATURES, misfit

MOST = 4  # files, a column each
SHOWN = 200  # images a panel
MEASURES = ("moved", "separable_clean", "separable_perturbed")


def files(sources: Sequence[Path]) -> list[tuple[str, dict[str, Any]]]:
    """What `robench features -o` wrote, by the name of the method, or of the file where it says none.

    Raises:
        DataError: for anything else.
        UsageError: if they are too many.
    """
    if folders := [each for each in sources if each.is_dir()]:
        raise DataError(
            f"{folders[0]} is a folder, and this figure is of what `robench features` found: "
            f"`robench features {folders[0]} -o features.json`, then `robench plot features features.json`"
        )
    if len(sources) > MOST:
        raise UsageError(f"`features` shows at most {MOST} files, and here are {len(sources)}")
    return [(_name(path, facts), facts) for path in sources for facts in [_read(path)]]


def _read(path: Path) -> dict[str, Any]:
    facts = read_json(path)
    if wrong := misfit(facts, FEATURES) or _lacking(facts):
        raise DataError(f"{path} is not what `robench features -o` writes: {wrong}")
    return facts


def _lacking(facts: dict[str, Any]) -> str:
    if not facts["models"]:
        return "it holds no model"
    if missing := [each for each in MEASURES if each not in facts["mean"]]:
        return f"it has no mean of {', '.join(missing)}"
    counts = [{len(each) for each in one["embedded"].values()} for one in facts["models"]]
    return "it has labels of other images than it shows" if any(len(each) > 1 for each in counts) else ""


def _name(path: Path, facts: dict[str, Any]) -> str:
    names = {re.sub(r" seed \d+$", "", each["name"]) for each in facts["models"]}
    return names.pop() if len(names) == 1 else path.stem


@styled
def features(found: Sequence[tuple[str, dict[str, Any]]]) -> Drawn:
    """The first model of each file: above, clean images as their class numbers, below, the same perturbed."""
    made, panels = figure((max(4.6, 2.3 * len(found)), 5.2), (2, len(found)), squeeze=False)
    data: list[dict[str, Any]] = []
    for (name, facts), column in zip(found, panels.T, strict=True):
        plane = facts["models"][0]["embedded"]
        both = [np.array(plane[kind], float).reshape(-1, 2) for kind in ("clean", "perturbed")]
        data += [{"method": name, "images": kind, "label": label, "x": float(x), "y": float(y)}
                 for kind, points in zip(("clean", "perturbed"), both, strict=True)
                 for label, (x, y) in zip(plane["label"], points, strict=True)]  # fmt: skip
        for axes, points in zip(column, both, strict=True):
            _digits(axes, points[:SHOWN], plane["label"][:SHOWN])
            axes.set(**_limits(both))
        moved, clean, adv = (facts["mean"][measure]["mean"] for measure in MEASURES)
        column[0].set_title(f"{plain(name, 22)}\nlinear probe {clean:.1f} %")
        column[1].set_title(f"moved by {moved:.2f} spreads\nlinear probe {adv:.1f} %")
    panels[0, 0].set_ylabel("clean")
    panels[1, 0].set_ylabel("perturbed")
    facts = found[0][1]
    made.suptitle(
        f"features, PGD-20 at {plain(facts['norm'])} {plain(facts['eps'])}, {facts['embedding']}", fontsize=10
    )
    data += [{"method": name, "images": "all seeds", "measure": measure, **facts["mean"][measure]}
             for name, facts in found for measure in MEASURES]  # fmt: skip
    return Drawn(made, data, " ".join(_says(name, facts) for name, facts in found))


def _digits(axes: Any, points: Any, labels: Sequence[int]) -> None:
    """Each class in the form of its number, which shows without colours as well."""
    for label in sorted(set(labels)):
        its = points[np.array(labels) == label]
        axes.plot(its[:, 0], its[:, 1], linestyle="none", marker=f"${int(label)}$", markersize=4.5 + 2 * (label > 9),
                  color=COLOURS[label % 7], markeredgewidth=0)  # fmt: skip
    axes.set(xticks=[], yticks=[])


def _limits(both: Sequence[Any]) -> dict[str, tuple[float, float]]:
    """The same for both panels, so that movement is seen."""
    every = np.concatenate(both)
    every = every[np.isfinite(every).all(1)] if np.isfinite(every).all(1).any() else np.zeros((1, 2))
    low, high = every.min(0), every.max(0)
    room = 0.05 * (high - low) + 1e-9
    return {name: (float(low[k] - room[k]), float(high[k] + room[k])) for k, name in enumerate(("xlim", "ylim"))}


def _says(name: str, facts: dict[str, Any]) -> str:
    moved, clean, adv = (facts["mean"][measure]["mean"] for measure in MEASURES)
    return (
        f"{name}: perturbation moves features by {moved:.2f} times the spread of clean ones, and a linear probe goes "
        f"from {clean:.1f} to {adv:.1f} %."
    )
