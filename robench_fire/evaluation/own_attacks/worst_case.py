"""What all attacks together leave of some weights, where one of them is a user's own. No torch."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from robench_fire.quantity import same
from robench_fire.runs.folders import read_json
from robench_fire.statistics.masks import packed
from robench_fire.statistics.summary import percent, wilson

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SAME = ("weights_sha256", "images_sha256", "norm")


class Found(NamedTuple):
    """A finished evaluation, and its mask (N,): which images are still correct, in the test set's own order."""

    path: Path
    facts: dict[str, Any]
    robust: NDArray[np.bool_]

    @property
    def shown(self) -> str:
        """What its attack is called; an own one with the beginning of its code's SHA-256."""
        return shown(self.facts, digest=True)


def is_own(facts: Mapping[str, Any]) -> bool:
    """Whether an evaluation is by an attack of a user's own."""
    return "attack_sha256" in facts


def shown(facts: Mapping[str, Any], digest: bool = False) -> str:
    """What the attack of an evaluation is called."""
    if not is_own(facts):
        return str(facts["attack"])
    return f"{facts['attack_function']}" + f" ({facts['attack_sha256'][:8]})" * digest


def beside(stem: Path, about: Mapping[str, Any], always: bool = False) -> list[Found]:
    """The evaluations ``stem``.* of the same weights and images at the same norm and radius as ``about`` says.

    Other seeds and batches of an attack are others of its. None where no attack is the user's own, but ``always``.
    """
    if "images_sha256" not in about:
        return []
    paths = sorted(stem.parent.glob(f"{glob.escape(stem.name)}.*.json"))
    facts = [(path, read_json(path)) for path in paths if path.with_suffix(".npy").exists()]
    alike = [
        (path, each) for path, each in facts
        if all(each.get(name) == about[name] for name in SAME) and same(each["eps"], about["eps"])
    ]  # fmt: skip
    if not always and not any(is_own(each) for _, each in alike):
        return []
    import numpy as np  # here and below, because it takes longer to import than `robench --help` to print

    found = [Found(path, each, np.load(path.with_suffix(".npy"), allow_pickle=False)[1]) for path, each in alike]
    return [each for each in found if abs(percent(each.robust) - each.facts["robust"]) < 1e-6]  # its own mask


def left(found: Sequence[Found]) -> NDArray[np.bool_]:
    """(N,) what none of several attacks broke."""
    import numpy as np

    mask: NDArray[np.bool_] = np.logical_and.reduce([each.robust for each in found])
    return mask


def over_seeds(found: Mapping[int, Sequence[Found]]) -> dict[str, Any]:
    """The worst case of a row: what the attacks that were run on all its seeds leave of each together.

    "attacks": by name, what each leaves of each seed by itself. "sha256": of the code of those that are a user's own.
    "robust" and "masks": of all together. "some": the seeds of own attacks that were not run on all. Empty where no
    attack is a user's own.
    """
    names = {seed: dict.fromkeys(each.shown for each in all_) for seed, all_ in found.items()}
    every = [name for name in dict.fromkeys(name for own in names.values() for name in own)
             if all(name in own for own in names.values())]  # fmt: skip
    own = {each.shown: each.facts["attack_sha256"] for all_ in found.values() for each in all_ if is_own(each.facts)}
    some = {name: [seed for seed in sorted(names) if name in names[seed]] for name in own if name not in every}
    made: dict[str, Any] = {"some": some} if some else {}
    if not set(own) & set(every):
        return made
    counted = {seed: [each for each in all_ if each.shown in every] for seed, all_ in sorted(found.items())}
    masks = {str(seed): left(all_) for seed, all_ in counted.items()}
    alone = {
        name: {seed: percent(left([each for each in counted[int(seed)] if each.shown == name])) for seed in masks}
        for name in every
    }
    return made | {
        "attacks": alone,
        "sha256": {name: own[name] for name in every if name in own},
        "robust": {seed: percent(mask) for seed, mask in masks.items()},
        "masks": {seed: packed(mask) for seed, mask in masks.items()},
    }


def together(facts: Sequence[Mapping[str, Any]], stems: Mapping[str, Path]) -> dict[str, list[dict[str, Any]]]:
    """What several evaluations leave together of the weights that ``facts`` are of; ``stems``: where those lie.

    "worst_case": of all attacks at one norm and radius, where one is the user's own. "union": under all norms that
    were asked for, where these are several: images that are correct whichever the adversary chooses.
    """
    worst, union = [], []
    for weights, stem in stems.items():
        own = [each for each in facts if each["weights"] == weights and "shard" not in each]
        threats = {(each["norm"], each["eps"]): each for each in own}
        for about in threats.values():
            if found := beside(stem, about):
                worst.append({"weights": weights, "norm": about["norm"], "eps": about["eps"]} | _left(found))
        if len({norm for norm, _ in threats}) > 1:
            every = [each for about in threats.values() for each in beside(stem, about, always=True)]
            union.append({"weights": weights, "threats": [list(each) for each in threats]} | _left(every))
    return {name: each for name, each in (("worst_case", worst), ("union", union)) if each}


def _left(found: Sequence[Found]) -> dict[str, Any]:
    mask = left(found)
    low, high = wilson(int(mask.sum()), len(mask))
    names = list(dict.fromkeys(each.shown for each in found))
    return {"attacks": names, "examples": len(mask), "robust": percent(mask), "robust_interval": [low, high]}
