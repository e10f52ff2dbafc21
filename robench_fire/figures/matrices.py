"""transfer: every method on images made on every other one. confusion: which class is taken for which, under attack."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robench_fire.errors import DataError, UsageError
from robench_fire.figures.source import Plan, plans
from robench_fire.figures.style import Drawn, figure, plain, styled
from robench_fire.runs.folders import find, read_json
from robench_fire.runs.shapes import TRANSFER, misfit

if TYPE_CHECKING:
    from robench_fire.evaluation.adversarial_images import Predicted

ALONE = {"square": "Square alone", "aa": "AutoAttack"}
WRITTEN = 12  # rows that have room for a number in each cell
MOST = 3  # plans in one figure of confusion


def transfer_file(sources: Sequence[Path]) -> Path:
    """What `robench transfer` wrote at, or below, one of these.

    Raises:
        DataError: if there is nothing of the kind.
        UsageError: if there are several.
    """
    found = [each for source in sources
             for each in ([source] if source.is_file() else sorted(source.rglob("transfer-*.json")))]  # fmt: skip
    if not found:
        runs = sources[0] if find(sources[0]) else "RUNS"
        raise DataError(f"no transfer between methods in {sources[0]}; make it first: `robench transfer {runs}`")
    if len(found) > 1:
        raise UsageError(f"here are several: {', '.join(map(str, found))}; name one of these files")
    return found[0]


@styled
def transfer(path: Path) -> Drawn:
    """Robust accuracy: rows attack, columns are attacked; below, attacks that need no other model.

    Raises:
        DataError: if the file is not one of `robench transfer`.
    """
    facts = read_json(path)
    if wrong := misfit(facts, TRANSFER):
        raise DataError(f"{path} is not what `robench transfer` writes: {wrong}")
    try:
        names = list(facts["transfer"])
        means = [[_mean(facts["transfer"][one][other]) for other in names] for one in names]
        alone = {said: [_mean(facts["alone"][attack][name]) for name in names] for attack, said in ALONE.items()}
        about = f"PGD-20, {facts['norm']} {facts['eps']}, {facts['examples']:,} images"
    except (KeyError, TypeError, AttributeError) as fault:
        raise DataError(f"{path} is not what `robench transfer` writes ({type(fault).__name__}: {fault})") from None
    alone = {said: values for said, values in alone.items() if not all(map(math.isnan, values))}
    rows, texts = [*names, *alone], np.array([*means, *alone.values()], float)
    called = _called(path, names)
    made, axes = figure((4.6, max(2.6, 1.6 + 0.3 * len(rows))))
    shown = _heat(axes, texts, "{:.0f}")
    made.colorbar(shown, ax=axes, label="robust accuracy, %", shrink=0.9)
    axes.set_xticks(range(len(names)), [plain(called[name], 14) for name in names], rotation=40, ha="right",
                    rotation_mode="anchor")  # fmt: skip
    axes.set_yticks(range(len(rows)), [plain(called.get(name, name), 20) for name in rows])
    axes.axhline(len(names) - 0.5, color="white", linewidth=3)
    axes.set(xlabel="attacked", ylabel="perturbed on", title=plain(about, 60))
    data = [{"perturbed_on": called[one], "attacked": called[other], **_summary(facts["transfer"][one][other])}
            for one in names for other in names]  # fmt: skip
    data += [{"perturbed_on": said, "attacked": called[name], **_summary(facts["alone"][attack][name])}
             for attack, said in ALONE.items() if said in alone for name in names]  # fmt: skip
    return Drawn(made, data, _transfer_says(list(called.values()), np.array(means, float)))


def _called(path: Path, names: Sequence[str]) -> dict[str, str]:
    """The names of the file, and what tables call those that end in a plan's fingerprint, if the runs are beside it."""
    known = {plan.row.fingerprint: plan.name for plan in plans([path.parent])} if find(path.parent) else {}
    return {name: known.get(name.rpartition(" ")[2], name) for name in names}


def _mean(found: Mapping[str, Any] | None) -> float:
    return float(found["mean"]) if found else math.nan


def _summary(found: Mapping[str, Any] | None) -> dict[str, Any]:
    """NaN where there is none, as for a single seed on itself."""
    known = found or {"mean": math.nan, "std": None, "n": 0}
    return {"percent": float(known["mean"]), "std": "" if known["std"] is None else known["std"], "seeds": known["n"]}


def _transfer_says(names: Sequence[str], means: NDArray[Any]) -> str:
    others = np.where(np.eye(len(names), dtype=bool), np.nan, means)
    if np.isnan(others).all():
        return "There is one method here; images of its other seeds are all that attacks it."
    one, other = divmod(int(np.nanargmin(others)), len(names))
    averages = [
        (float(np.nanmean(row)), name) for row, name in zip(others, names, strict=True) if not np.isnan(row).all()
    ]
    hard, easy = min(averages), max(averages)
    return (
        f"Images perturbed on {hard[1]} break most, {hard[0]:.1f} % of the other methods' are left; those of {easy[1]} "
        f"least, {easy[0]:.1f} %. The worst pair: {names[one]} leaves {means[one, other]:.1f} % of {names[other]}."
    )


@styled
def confusion(found: Sequence[tuple[Plan, Sequence[Predicted]]]) -> Drawn:
    """Per plan, clean and under AutoAttack, the share of a class's images that is predicted as each, over the seeds."""
    made, panels = figure((4.6, 0.5 + 2.2 * len(found)), (len(found), 2), squeeze=False, sharex=True, sharey=True)
    data: list[dict[str, Any]] = []
    said = []
    for (plan, seeds), row in zip(found, panels, strict=True):
        both = {"clean": _counts(seeds, False), "AutoAttack": _counts(seeds, True)}
        for (name, counts), axes in zip(both.items(), row, strict=True):
            share = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
            shown = _heat(axes, share, "{:.0f}", least=0.5, size=5.5)
            axes.set_title(f"{plain(plan.name, 18)}, {name}")
            _class_ticks(axes, len(counts))
            data += [{"method": plan.name, "images": name, "true": i, "predicted": j, "count": int(counts[i, j]),
                      "percent": float(share[i, j])} for i, j in np.ndindex(*counts.shape)]  # fmt: skip
        row[0].set_ylabel("true class")
        said.append(_confused(plan.name, both["AutoAttack"]))
    for axes in panels[-1]:
        axes.set_xlabel("predicted")
    made.colorbar(shown, ax=list(panels.ravel()), label="% of a class's images", shrink=0.8)
    return Drawn(made, data, " ".join(said))


def _counts(seeds: Sequence[Predicted], attacked: bool) -> NDArray[Any]:
    """(K, K) images by true and predicted class, all seeds together; the attacked where AutoAttack broke them."""
    classes = seeds[0].said.shape[1]
    counts = np.zeros((classes, classes), int)
    for each in seeds:
        says = each.said.argmax(1)
        if attacked:
            says[each.broken] = each.said_then.argmax(1)
        np.add.at(counts, (each.labels, says), 1)
    return counts


def _confused(name: str, counts: NDArray[Any]) -> str:
    """Which classes hold, and which are taken for another most."""
    share = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    own, off = share.diagonal(), share - np.diag(share.diagonal())
    true, taken = divmod(int(off.argmax()), len(off))
    return (
        f"{name} under AutoAttack: class {own.argmax()} holds best ({own.max():.0f} % right), {own.argmin()} worst "
        f"({own.min():.0f} %); {true} is taken for {taken} most often ({off.max():.0f} % of its images)."
    )


def _heat(axes: Any, values: NDArray[Any], text: str, least: float = -1.0, size: float = 8.0) -> Any:
    """Cells from dark (0 %) to light (100 %), with numbers where there is room, for readers without colours."""
    shown = axes.imshow(np.ma.masked_invalid(values), cmap="cividis", vmin=0, vmax=100, aspect="auto")
    axes.grid(visible=False)
    if len(values) <= WRITTEN + len(ALONE):
        for (i, j), value in np.ndenumerate(values):
            if math.isnan(value) or value >= least:
                axes.text(j, i, "–" if math.isnan(value) else text.format(value), ha="center", va="center",
                          fontsize=size, color="#8A8A8A" if math.isnan(value) else "black" if value > 55 else "white",
                          )  # fmt: skip
    return shown


def _class_ticks(axes: Any, classes: int) -> None:
    marks = range(0, classes, -(-classes // 10))
    axes.set_xticks(marks)
    axes.set_yticks(marks)
