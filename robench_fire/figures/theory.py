"""The figures of the FIRE paper's theory, its numbers beside ours, and a sentence that says what came out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from robench_fire.figures.style import COLOURS, GREY, LINES, PARETO, Drawn, figure, styled
from robench_fire.theory import distances, gaussian, manifold


class Result(NamedTuple):
    """A figure, and its numbers as JSON values."""

    drawn: Drawn
    numbers: dict[str, Any]


@styled
def draw_gaussian() -> Result:
    """Section 4 and Fig. 6 and 9: what linear classifiers can reach, and what three risks find of it."""
    whole = gaussian.curve()
    natural, adversarial = (whole.at(int(each.argmax())) for each in (whole.natural, whole.adversarial))
    found = {method: gaussian.solutions(method) for method in distances.REGULARISERS}
    alpha_maa, maa = whole.maa
    made, panels = figure((9.6, 3.8), (1, 3), sharey=True)
    for axes, (method, each) in zip(panels, found.items(), strict=True):
        _plane(axes, whole, each)
        axes.set(title=f"{method}, λ from 0 to 10⁴", xlabel="natural accuracy")
    panels[0].set_ylabel("adversarial accuracy")
    made.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    data = [
        {"curve": "every direction", "alpha": a, "natural": n, "adversarial": r, "pareto": int(p)}
        for a, n, r, p in zip(*(part[::20].tolist() for part in whole), strict=True)
    ]
    data += [{"curve": method, **one._asdict()} for method, each in found.items() for one in each]
    numbers = {
        "alpha_nat": natural[0], "accuracy_nat": list(natural[1:]), "alpha_adv": adversarial[0],
        "accuracy_adv": list(adversarial[1:]), "maa": maa, "alpha_maa": alpha_maa, "paper": gaussian.PAPER,
        "covered": {method: gaussian.covered(each, whole)._asdict() for method, each in found.items()},
        "alpha_of_mu": float(np.arctan2(gaussian.MU[1], gaussian.MU[0])),
    }  # fmt: skip
    return Result(Drawn(made, data, _gaussian_says(numbers)), numbers)


def _plane(axes: Any, whole: gaussian.Curve, found: Sequence[gaussian.Solution]) -> None:
    """The curve, its Pareto-optimal part, the MAA, and the minima of a risk."""
    axes.plot(whole.natural, whole.adversarial, color=GREY, linewidth=1, label="every direction")
    best = whole.natural[whole.pareto], whole.adversarial[whole.pareto]
    axes.plot(*best, color=PARETO, linewidth=4, alpha=0.5, label="Pareto-optimal")
    points = [each.natural for each in found], [each.adversarial for each in found]
    axes.plot(*points, "o", color=COLOURS[0], markersize=4, label="minima of the risk")
    top = np.argmax(whole.natural + whole.adversarial)
    axes.plot(whole.natural[top], whole.adversarial[top], "k*", markersize=11, label="maximum average accuracy")
    axes.set(xlim=(0.58, 0.8), ylim=(0.15, 0.33))


def _gaussian_says(found: dict[str, Any]) -> str:
    paper, shares = found["paper"], found["covered"]
    same = all(
        abs(found[name] - paper[name]) < 0.002 for name in ("alpha_nat", "alpha_adv")
    ) and all(
        abs(one - other) < 0.0015
        for name in ("accuracy_nat", "accuracy_adv") for one, other in zip(found[name], paper[name], strict=True)
    )  # fmt: skip
    told = "The extreme points of the curve are the paper's" if same else "The extreme points are not the paper's"
    covers = ", ".join(f"{method} {100 * each['share']:.0f} %" for method, each in shares.items())
    gap = found["maa"] - min(each["maa"] for each in shares.values())
    all_of_it = shares["FIRE"]["share"] > 0.95
    claim = "confirmed" if all_of_it and shares["TRADES"]["share"] < 0.95 else "not reproduced"
    return (
        f"{told}. That FIRE's solutions cover all Pareto-optimal points and TRADES's do not is {claim}: they cover, of "
        f"the Pareto-optimal arc, {covers}. All end near the direction of mu (alpha {found['alpha_of_mu']:.3f}), since "
        f"a strong penalty leaves the linear part of the cross-entropy, and come within {gap:.5f} of the MAA, "
        f"{found['maa']:.4f} at alpha {found['alpha_maa']:.3f}."
    )


@styled
def draw_manifold() -> Result:
    """Fig. 2, 3 and 4: how flat the manifold of a logistic model is."""
    models, regularised = manifold.models(), manifold.regularised()
    rows = [
        ("q(1|x), least error", manifold.probabilities(models)),
        ("distance from x = 0", manifold.distances(models)),
        ("q(1|x), FIRE risk", manifold.probabilities(regularised)),
    ]
    made, panels = figure((8.4, 7.2), (3, 3))
    data: list[dict[str, Any]] = []
    for (quantity, surfaces), row in zip(rows, panels, strict=True):
        top = np.pi / 2 if quantity.startswith("distance") else 1.0
        for surface, axes in zip(surfaces, row, strict=False):
            drawn = axes.contourf(*surface.x, surface.value, np.linspace(0, top, 11), cmap="cividis")
            axes.set(title=surface.name, xlabel="x₁", ylabel="x₂", aspect="equal")
            flat = zip(*(part.ravel().tolist() for part in (*surface.x, surface.value)), strict=True)
            data += [{"model": surface.name, "quantity": quantity, "x1": a, "x2": b, "value": c} for a, b, c in flat]
        for axes in row[len(surfaces) :]:
            axes.set_axis_off()
        made.colorbar(drawn, ax=list(row), ticks=[0, top / 2, top], format="%.2f", label=quantity)
    lengths = {name: float(np.linalg.norm(theta)) for name, theta in (models | regularised).items()}
    farthest = {surface.name: float(surface.value.max()) for surface in rows[1][1]}
    numbers = {"length_of_theta": lengths, "farthest_within_eps": farthest}
    return Result(Drawn(made, data, _manifold_says(lengths, farthest)), numbers)


def _manifold_says(lengths: dict[str, float], farthest: dict[str, float]) -> str:
    first, *_, last = (lengths[name] for name in manifold.REGULARISED)
    flattened = "confirmed" if last < first / 10 else "not reproduced"
    flatter = "confirmed" if farthest["robust"] < 0.9 * farthest["natural"] else "not reproduced as stated"
    return (
        f"That regularisation flattens the manifold is {flattened}: theta is {first:.1f} long without it and "
        f"{last:.3f} with lam 100. That the direction of the least adversarial error is by itself flatter is "
        f"{flatter}: the errors do not depend on the length of theta, and at equal length the distance within "
        f"eps reaches {farthest['robust']:.2f} for it and {farthest['natural']:.2f} for that of the least natural "
        "error."
    )


@styled
def draw_distance() -> Result:
    """Fig. 5, and the regularisers as functions of one another."""
    made, panels = figure((9.6, 3.8), (1, 3))
    data = _against_euclid(panels[0]) + _against_each_other(panels[1], panels[2])
    for axes in panels:
        axes.legend(loc="upper left")
    h = np.linspace(-10, 10, 401)
    largest = float((distances.fisher_rao(h[:, None], h) - np.abs(h[:, None] - h) / 2).max())
    near, far = np.zeros(()), np.array(0.01)
    ratio = float(distances.kl(near, far) / (distances.squared_fisher_rao(near, far) / 2))
    numbers = {"largest_excess_over_proposition_1": largest, "kl_over_half_squared_distance_near_0": ratio}
    holds = "holds" if largest < 1e-12 else "does not hold"
    said = (
        f"Proposition 1 {holds}: the distance exceeds half the difference of logits by {max(largest, 0):.0e} at most. "
        f"Near equality KL is half of the squared distance (ratio {ratio:.5f}, equation 17); far from it KL grows "
        "without bound, and the distance not beyond π."
    )
    return Result(Drawn(made, data, said), numbers)


def _against_euclid(axes: Any) -> list[dict[str, Any]]:
    data, h = [], np.linspace(-10, 10, 401)
    for number, start in enumerate((0.0, 3.0, 6.0)):
        found, bound = distances.fisher_rao(np.full_like(h, start), h), np.abs(h - start) / 2
        axes.plot(h, bound, color=GREY, linewidth=0.8)
        axes.plot(h, found, color=COLOURS[number], linestyle=LINES[number], label=f"from h = {start:.0f}")
        data += [{"panel": "latent", "h": start, "other": a, "fisher_rao": b, "half_euclidean": c}
                 for a, b, c in zip(h.tolist(), found.tolist(), bound.tolist(), strict=True)]  # fmt: skip
    axes.set(title="Fisher-Rao; ½ |h' − h| in grey", xlabel="logit h'", ylabel="distance", ylim=(0, 5))
    return data


def _against_each_other(over_logits: Any, over_distance: Any) -> list[dict[str, Any]]:
    """Scaled so that all are equal to second order where the predictions are."""
    data, shift = [], np.linspace(0, 8, 201)
    middle = np.zeros_like(shift)
    half = distances.squared_fisher_rao(middle, shift) / 2
    scaled = {
        "KL": distances.kl(middle, shift), "d² / 2": half, "2 H²": 2 * distances.squared_hellinger(middle, shift),
        "‖q − q'‖²": distances.squared_euclidean(middle, shift),
    }  # fmt: skip
    for number, (name, value) in enumerate(scaled.items()):
        for axes, across in ((over_logits, shift), (over_distance, half)):
            axes.plot(across, value, color=COLOURS[number], linestyle=LINES[number], label=name)
        data += [{"panel": "divergence", "h": 0.0, "other": a, "measure": name, "scaled": b}
                 for a, b in zip(shift.tolist(), value.tolist(), strict=True)]  # fmt: skip
    over_logits.set(title="from h = 0, scaled", xlabel="logit h'", ylabel="value", ylim=(0, 3))
    over_distance.set(title="as functions of one another", xlabel="d² / 2", ylabel="value", ylim=(0, 3))
    return data


NAMES: dict[str, Callable[[], Result]] = {
    "gaussian": draw_gaussian, "manifold": draw_manifold, "distance": draw_distance,
}  # fmt: skip
"""What `robench theory` draws."""
