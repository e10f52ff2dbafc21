"""One seed's folder: its plan, training, weights and evaluations against the hashes that name them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from robench_fire.evaluation.corruptions import stored
from robench_fire.json_text import from_json
from robench_fire.models.own import text
from robench_fire.models.own.code import Code
from robench_fire.problem.settings import plan_fingerprint
from robench_fire.runs.folders import PLAN, Run, read_json, read_sealed
from robench_fire.verification.evaluations import evaluation, hashed
from robench_fire.verification.finding import Finding, lacking, listed, tried, unlike
from robench_fire.verification.images import Images, own_of

OWN = ("plan.json", "provenance.json", "train.json", "curve.jsonl", "weights.safetensors", "labeller.json",
       "pseudo_labels.npy", ".lock")  # fmt: skip
"""Files of a finished run beside its evaluations'."""


def run(found: Run, images: Images) -> list[Finding]:
    """Everything that can be said of a run without its model."""
    plan, train = found.folder / PLAN, found.folder / "train.json"
    told = tried("plan", plan, lambda: [_plan(found)])
    if not found.trained:
        return [*told, lacking("training", train, "it is not finished")]
    told += tried("training", train, lambda: _training(found))
    weights = known.get("weights_sha256") if (known := _readable(train)) else None
    own = own_of(_readable(plan))
    for path in sorted(found.folder.glob("eval.*.json")):
        told += evaluation(path, weights, images, own)
    for path in _corruptions(found):
        told += tried("corruptions", path, partial(_corrupted, path, weights))
    copies, code = _code(found)
    return told + code + _others(found, copies)


def _corruptions(found: Run) -> list[Path]:
    return sorted(found.folder.glob("corruptions.*.json"))


def _corrupted(path: Path, weights: str | None) -> list[Finding]:
    """Accuracies under common corruptions against their masks."""
    facts, sealed = stored.read(path), read_sealed(path)[1]
    if not stored.finished(facts):
        return [lacking("corruptions", path, "it is not finished")]
    wrong = [] if sealed else ["it has no seal any more"]
    wrong += unlike({"weights_sha256": (facts["weights_sha256"], weights or facts["weights_sha256"])})
    return [listed("corruptions", path, wrong, "its seal, its masks and its weights")]


def _code(found: Run) -> tuple[list[str], list[Finding]]:
    """The copies of the code of a network of the user's own, against the beginning of its SHA-256 in the plan."""
    network = text.read(str(_readable(found.folder / PLAN).get("recipe", {}).get("arch", "")))
    if network is None:
        return [], []
    noted = _readable(found.folder / "provenance.json").get("network", {}).get("files", "")
    names = [name for name in str(noted).split(", ") if name]
    files = {name: found.folder / name for name in names}
    if not files:
        return [], [lacking("network code", found.folder / PLAN, "no copy of it is recorded")]
    if gone := [name for name, path in files.items() if not path.is_file()]:
        return names, [Finding("network code", str(files[gone[0]]), False, "it is not here")]
    first = files[names[0]]
    now = Code(first, found.folder, files).digest()
    wrong = unlike({"the beginning of its SHA-256": (now, network.digest)})
    return names, [listed("network code", first, wrong, "the SHA-256 in its plan")]


def _readable(path: Path) -> dict[str, Any]:
    """A JSON; empty where it cannot be read, which is said elsewhere."""
    try:
        found = from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _plan(found: Run) -> Finding:
    """A plan's digest names the folder above its seeds."""
    own = plan_fingerprint(found.read(PLAN))
    wrong = unlike({"its fingerprint": (own, found.folder.parent.name)})
    return listed("plan", found.folder / PLAN, [f"{each}, as its folder is called" for each in wrong], "its folder")


def _training(found: Run) -> list[Finding]:
    """What a training left, in the order in which one file names the next."""
    path = found.folder / "train.json"
    facts, sealed = read_sealed(path)
    curve, weights = found.folder / "curve.jsonl", found.weights
    labels, labeller = found.folder / "pseudo_labels.npy", found.folder / "labeller.json"
    steps: dict[tuple[str, Path], Callable[[], list[Finding]]] = {
        ("training", path): partial(_facts, found, facts, sealed),
        ("provenance", found.folder / "provenance.json"): partial(_provenance, found, sealed),
        ("weights", weights): lambda: [hashed("weights", weights, facts["weights_sha256"])],
        ("curve", curve): lambda: [_curve(curve, found, facts)],
        ("pseudo-labels", labels): partial(_labels, labels, facts),
        ("labeller", labeller): partial(_labeller, labeller, facts),
    }
    return [finding for (what, file), step in steps.items() for finding in tried(what, file, step)]


def _facts(found: Run, facts: dict[str, Any], sealed: bool) -> list[Finding]:
    path = found.folder / "train.json"
    if not sealed and "curve_sha256" not in facts:
        return [lacking("training", path, "no seal is recorded: its times and costs are taken as they stand")]
    wrong = [] if sealed else ["it has hashes of its files, but no seal any more"]
    wrong += unlike({"seed": (facts["seed"], found.seed), "plan": (facts["plan"], plan_fingerprint(found.read(PLAN)))})
    return [listed("training", path, wrong, "its seal, its seed and its plan")]


def _provenance(found: Run, needed: bool) -> list[Finding]:
    """``needed``: whether the training was recorded by a version that seals."""
    path = found.folder / "provenance.json"
    _, sealed = read_sealed(path)
    if not sealed and not needed:
        return [lacking("provenance", path, "no seal is recorded")]
    return [listed("provenance", path, [] if sealed else ["it has no seal any more"], "its seal")]


def _curve(path: Path, found: Run, facts: dict[str, Any]) -> Finding:
    given = facts.get("curve_sha256")
    if given is not None or not path.exists():
        return hashed("curve", path, given)
    rows = found.curve()
    wrong = unlike({"number of epochs": (len(rows), found.read(PLAN)["recipe"]["epochs"])})
    wrong += unlike({"its last epoch": (rows[-1], facts["final"])}) if "final" in facts else []
    return listed("curve", path, wrong, "the epochs and the last of them; no hash of it is recorded")


def _labels(path: Path, facts: dict[str, Any]) -> list[Finding]:
    """Of a run whose labels were hidden."""
    return [hashed("pseudo-labels", path, facts.get("pseudo_labels_sha256"))] if path.exists() else []


def _labeller(path: Path, facts: dict[str, Any]) -> list[Finding]:
    """Who labelled them, which train.json says too."""
    if not path.exists():
        return []
    alike = read_json(path) == facts.get("labeller")
    return [listed("labeller", path, ["train.json says otherwise"] * (not alike), "train.json")]


def _others(found: Run, copies: list[str]) -> list[Finding]:
    """Files that nothing here is read from."""
    known = {path.name.removesuffix(".json") for path in found.folder.glob("eval.*.json")}
    ends = (".json", ".npy", ".log", ".adv.safetensors")
    mine = {
        *OWN,
        *(path.name for path in _corruptions(found)),
        *(Path(name).parts[0] for name in copies),
        *(name + end for name in known for end in ends),
    }
    return [
        lacking("other files", path, "no result is read from it")
        for path in sorted(found.folder.iterdir()) if path.name not in mine
    ]  # fmt: skip
