"""What the seeds of a plan reached: evaluations that are alike, attacks by themselves, transfer, masks. No torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from robench_fire.quantity import same
from robench_fire.runs.folders import BATCH_SIZE, Run, read_masks, shaped
from robench_fire.runs.shapes import PASSED
from robench_fire.statistics.masks import packed
from robench_fire.statistics.summary import percent

Chosen = tuple[str, int, int, int, str]
"""An evaluation: attack, number of test images, seed, batch size, and the images' order, "" for the test set's own."""
ROWS = ("pgd20", "aa")
"""Evaluations that make a row of a table."""
TABLED = (*ROWS, "fgsm", "pgd20-cw", "square")
"""These, and those that are columns of `robench table --attacks`: what is made of every run."""
ATTACKS = (*TABLED, "quick", "aa-plus", "aa-rand", "apgd-ce", "apgd-t", "fab-t")
"""Evaluations, as evaluation.evaluate.SETS has them, without importing torch."""
ATTACK_NAMES = {"aa": "AutoAttack", "pgd20": "PGD-20", "square": "Square", "fgsm": "FGSM", "pgd20-cw": "PGD-20 CW"}
"""As tables and sentences call them."""
ALONE, STANDARD = ("fgsm", "pgd20-cw", "square"), "Standard"
"""Evaluations that stand beside PGD-20 and AutoAttack; on whose images "transfer" is measured."""


def evaluation_name(
    attack: str, norm: str, eps: str, examples: int, seed: int, batch_size: int = BATCH_SIZE, order: str = ""
) -> str:
    """``aa-Linf-8_255-1000``; another seed than 0, batch than 500 and order than the test set's own are appended."""
    name = f"{attack}-{norm}-{eps.replace('/', '_')}-{examples}"
    name += (f"-seed{seed}" if seed else "") + (f"-batch{batch_size}" if batch_size != BATCH_SIZE else "")
    return name + (f"-{order}" if order else "")


def shared_evaluation(claim: dict[str, Any], found: dict[int, list[dict[str, Any]]]) -> Chosen | None:
    """What most seeds have been evaluated with at the claim; AutoAttack first, then more images, in their own order."""
    counts: defaultdict[Chosen, int] = defaultdict(int)
    for evaluations in found.values():
        for each in evaluations:
            at_claim = each["norm"] == claim["kind"] and same(each["eps"], claim["eps"])
            if at_claim and each["attack"] in ("aa", "pgd20"):
                counts[each["attack"], each["examples"], each["seed"], each["batch_size"], each.get("order", "")] += 1
    return max(counts, key=lambda key: (key[0] == "aa", counts[key], key[1], not key[4], -key[2]), default=None)


def pick(evaluations: list[dict[str, Any]], claim: dict[str, Any], chosen: Chosen) -> dict[str, Any] | None:
    """The evaluation that is ``chosen``, at the claimed norm and radius."""
    wanted = (claim["kind"], *chosen)
    for each in evaluations:
        found = tuple(each[name] for name in ("norm", "attack", "examples", "seed", "batch_size"))
        if (*found, each.get("order", "")) == wanted and same(each["eps"], claim["eps"]):
            return each
    return None


def alone(
    runs: Mapping[int, Run], scored: Mapping[int, dict[str, Any]], claim: dict[str, Any], chosen: Chosen
) -> dict[str, dict[str, float]]:
    """By attack, robust accuracy in the same setting, where that attack was run by itself on all seeds."""
    made: dict[str, dict[str, float]] = {}
    for name in ALONE:
        found = {str(k): pick(runs[k].evaluations(), claim, (name, *chosen[1:])) for k in sorted(scored)}
        if all(found.values()):
            made[name] = {k: each["robust"] for k, each in found.items() if each}
    hashes = {str(k): each["weights_sha256"] for k, each in sorted(scored.items())}
    name, first = evaluation_name("transfer", claim["kind"], claim["eps"], chosen[1], chosen[2]), runs[min(scored)]
    black = transferred(first, name, STANDARD, first.read("provenance.json")["paper"]["method"], hashes)
    return made | ({"transfer": black} if black else {})


def transferred(run: Run, name: str, source: str, target: str, weights: Mapping[str, str]) -> dict[str, float]:
    """By seed of ``source``, what its perturbed images leave of ``target``, as `robench transfer` wrote it above a run.

    ``weights``: the hashes of the target's weights by seed; of others nothing is said.
    """
    for folder in run.folder.parents[1:6]:
        if (path := folder / f"{name}.json").exists():
            facts = shaped(path, PASSED)
            known = facts.get("weights_sha256", {})
            values = (facts["transfer"].get(source, {}).get(target) or {}).get("values", [])
            if source != target and known.get(target) == weights and values and len(values) == len(known[source]):
                return dict(zip(known[source], values, strict=True))
    return {}


def masks(runs: Mapping[int, Run], scored: Mapping[int, dict[str, Any]]) -> dict[str, dict[str, str]]:
    """By seed, which test images are right, "clean" and "robust", packed; of seeds whose own masks are there.

    A file that does not give its evaluation's accuracies is not its mask, and left out.
    """
    found = {}
    for seed, each in sorted(scored.items()):
        names = ("attack", "norm", "eps", "examples", "seed", "batch_size", "order")
        name = evaluation_name(*(each[name] for name in names if name in each))
        path = runs[seed].folder / f"eval.{name}.npy"
        if path.exists():
            both = read_masks(path)
            pairs = list(zip(("clean", "robust"), both, strict=True))
            if all(len(mask) == each["examples"] and abs(percent(mask) - each[name]) < 1e-6 for name, mask in pairs):
                found[str(seed)] = {name: packed(mask) for name, mask in pairs}
    return found
