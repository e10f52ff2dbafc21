"""One finished evaluation: its numbers against its masks, its files against their hashes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robench_fire.evaluation import adversarial_images
from robench_fire.files import sha256
from robench_fire.runs.evaluations import evaluation_name
from robench_fire.runs.folders import read_masks, read_sealed
from robench_fire.statistics.summary import percent, wilson
from robench_fire.verification.finding import Finding, far, lacking, listed, tried, unlike
from robench_fire.verification.images import Images, own_of

NAMED = ("attack", "norm", "eps", "examples", "seed", "batch_size", "order")
"""Facts that an evaluation's name is made of."""
UNSEALED = "no seal is recorded: what nothing else here gives, like its seconds and its verdict, is taken as it stands"


def evaluation(path: Path, weights: str | None, images: Images, own: str | None = None) -> list[Finding]:
    """Everything that can be said of the evaluation ``path``, a JSON, without its model.

    ``weights``: the hash of those that it should be of; ``own``: that of its plan's images, see own_of; None where
    they are not known.
    """
    found = tried("evaluation", path, lambda: [_sealed(path)])
    if not found[0].passed and found[0].passed is not None:
        return found
    facts, _ = read_sealed(path)
    steps = {
        ("accuracies", path): lambda: [_accuracies(path, facts, weights)],
        ("masks", path.with_suffix(".npy")): lambda: [_masks(path.with_suffix(".npy"), facts)],
        ("test images", path): lambda: [_images(path, facts, images, own)],
        ("perturbed images", _beside(path, ".adv.safetensors")): lambda: _perturbed(path, facts),
        ("log", path.with_suffix(".log")): lambda: [_log(path.with_suffix(".log"), facts)],
    }
    for (what, file), step in steps.items():
        found += tried(what, file, step)
    return found


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name.removesuffix(".json") + ending)


def _sealed(path: Path) -> Finding:
    facts, sealed = read_sealed(path)
    if sealed:
        return Finding("evaluation", str(path), True, "its seal")
    if "masks_sha256" in facts:
        return Finding("evaluation", str(path), False, "it has hashes of its files, but no seal any more")
    return lacking("evaluation", path, UNSEALED)


def _accuracies(path: Path, facts: dict[str, Any], weights: str | None) -> Finding:
    """What an evaluation says against its own name, its masks and the weights."""
    named = evaluation_name(*(facts[name] for name in NAMED if name in facts))
    wrong = unlike(
        {
            "its name": (facts.get("name", named), named),
            "its file's name": (path.name.rpartition("eval.")[2], f"{named}.json"),
            "weights_sha256": (facts["weights_sha256"], weights or facts["weights_sha256"]),
        }
    )
    stored = path.with_suffix(".npy")
    if not stored.exists():
        return listed("accuracies", path, wrong, "its name; its masks are not here")
    wrong += against_masks(facts, read_masks(stored))
    return listed("accuracies", path, wrong, "its masks, its weights and its name")


def against_masks(facts: dict[str, Any], masks: NDArray[Any]) -> list[str]:
    """Where the numbers of an evaluation are not those of its masks (2, N)."""
    images = facts["examples"]
    if shaped := misshapen(masks, images):
        return shaped
    clean, robust = masks
    wrong = unlike(
        {
            "clean accuracy": (facts["clean"], percent(clean)),
            "robust accuracy": (facts["robust"], percent(robust)),
        }
    )
    if after := list(facts.get("after", {}).values()):
        wrong += unlike({"accuracy after the last attack": (after[-1], percent(robust))})
        falling = sorted([percent(clean), *after], reverse=True)
        wrong += [] if falling == [percent(clean), *after] else [f"accuracy rises after an attack: {after}"]
        counts = [value * images / 100 for value in after]
        wrong += [f"{value} % is no number of {images:,} images" for value, count in zip(after, counts, strict=True)
                  if abs(count - round(count)) > 1e-6]  # fmt: skip
    if "robust_interval" in facts:
        low, high = wilson(int(robust.sum()), images)
        given = facts["robust_interval"]
        wrong += far({"Wilson's lower end": (given[0], low), "Wilson's upper end": (given[1], high)})
    if "attack_seconds" in facts:
        wrong += far({"seconds": (facts["seconds"], sum(facts["attack_seconds"].values()))})
    return wrong + (["images are robust that are not classified correctly"] if (robust & ~clean).any() else [])


def misshapen(masks: NDArray[Any], images: int) -> list[str]:
    """What is wrong with masks that are not booleans (2, ``images``)."""
    if masks.dtype == np.bool_ and masks.shape == (2, images):
        return []
    return [f"the masks are {masks.dtype} of shape {masks.shape}, not booleans of shape (2, {images})"]


def _masks(path: Path, facts: dict[str, Any]) -> Finding:
    return hashed("masks", path, facts.get("masks_sha256"), needed=True)


def hashed(what: str, path: Path, given: str | None, *, needed: bool = False) -> Finding:
    """A file against the hash that was recorded of it; ``needed``: results are read from it."""
    if not path.exists():
        return Finding(what, str(path), False if needed else None, "it is not here")
    if given is None:
        return lacking(what, path, "no hash of it is recorded")
    now = sha256(path)
    return listed(what, path, [f"its SHA-256 is {now[:12]}, recorded {given[:12]}"] * (now != given), "its SHA-256")


def _images(path: Path, facts: dict[str, Any], images: Images, own: str | None) -> Finding:
    dataset, its = facts.get("dataset"), own_of(facts) or own or ""
    if dataset is None:
        return lacking("test images", path, "no data set is recorded")
    if own is not None and its != own:
        return listed("test images", path, unlike({"the SHA-256 of its data": (its, own or "of a bundled one")}), "")
    return images.same(dataset, facts["examples"], facts.get("images_sha256"), path, its)


def _perturbed(path: Path, facts: dict[str, Any]) -> list[Finding]:
    """The file of what broke the model, where there should be one: its hash, and that it is of all broken images."""
    stored = _beside(path, ".adv.safetensors")
    if not stored.exists():
        wanted = "perturbed_sha256" in facts
        return [lacking("perturbed images", stored, "it is not here")] if wanted else []
    found = hashed("perturbed images", stored, facts.get("perturbed_sha256"))
    index, images = adversarial_images.read(stored)
    clean, robust = read_masks(path.with_suffix(".npy"))
    broken = np.flatnonzero(clean & ~robust)
    same = np.array_equal(np.sort(index), broken) and len(images) == len(index)
    wrong = [f"it holds {len(images):,} images, other ones than the {len(broken):,} that its masks call broken"]
    return [found, listed("broken images", stored, wrong * (not same), "what the masks call broken")]


def _log(path: Path, facts: dict[str, Any]) -> Finding:
    if not path.exists():
        return lacking("log", path, "it is not here")
    if facts.get("log_sha256"):
        return hashed("log", path, facts["log_sha256"])
    lacks = log_lacks(facts, path.read_text(encoding="utf-8"))
    return listed("log", path, lacks, "the accuracies; no hash of it is recorded")


def log_lacks(facts: dict[str, Any], text: str) -> list[str]:
    """What AutoAttack's log of an evaluation must say and does not."""
    wanted = [
        facts["weights_sha256"],
        facts["images_sha256"],
        f"norm {facts['norm']}, eps {facts['eps']}, seed {facts['seed']}",
        f"initial accuracy: {facts['clean']:.2f}%",
        *(f"robust accuracy after {name.upper()}: {each:.2f}%" for name, each in facts["after"].items()),
        f"robust accuracy: {facts['robust']:.2f}%",
    ]
    return [f"it does not say {each!r}" for each in wanted if each not in text]


def elsewhere(folder: Path) -> list[Path]:
    """Evaluations of weights that are no run's: of files, and of RobustBench's zoo."""
    if folder.is_file():
        return [folder] if ".eval." in folder.name and folder.suffix == ".json" else []
    return sorted(folder.rglob("*.eval.*.json"))


def evaluated_file(path: Path) -> Path | None:
    """The file of weights beside an evaluation, whose name it begins with; a key and a normalisation may follow."""
    parts = path.name.partition(".eval.")[0].split(".")
    names = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return next((each for name in names if (each := path.with_name(name)).is_file()), None)
