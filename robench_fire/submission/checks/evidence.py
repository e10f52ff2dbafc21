"""Whether the files of a bundle are all there and say one thing. Runs no model."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from robench_fire.errors import DataError
from robench_fire.evaluation.evaluate import SETS
from robench_fire.evaluation.reliability import Check
from robench_fire.files import sha256
from robench_fire.models import unpickling
from robench_fire.models.names import display_name
from robench_fire.problem.dataset import Split, head
from robench_fire.runs.folders import curve_of, read_json, read_masks, text_of
from robench_fire.statistics.curves import kept_epoch
from robench_fire.submission import bundle
from robench_fire.submission.bundle import CHECKED, SUMS, TAKEN
from robench_fire.submission.claims.claim import Claim, FileClaim, SeedClaim, count, doubts, selected_by
from robench_fire.submission.claims.lacking import RAN, few, in_words, unreliable
from robench_fire.submission.texts import FOR_PEOPLE
from robench_fire.verification.evaluations import against_masks, log_lacks, misshapen
from robench_fire.verification.finding import unlike

OPEN = re.compile(r"FILL IN|custom license URL")
"""Lines that a person changes; a box that is ticked changes nothing."""
FIELD = re.compile(r"- \*\*[^*]+\*\*:")
THEIRS = ("readme_row.md", "table.tex")
"""What another version of RobustBench makes otherwise."""


def missing(folder: Path) -> list[str]:
    """Files without which nothing else can be checked."""
    try:
        given = set(bundle.sums(folder))
    except DataError:
        return [SUMS]
    return sorted((set(TAKEN) | given) - bundle.contents(folder))


def there(folder: Path) -> list[Check]:
    """Whether what cannot be made again is there, and every file has the hash that it was given."""
    if absent := missing(folder):
        none = f"{folder} is not a bundle: it has no {SUMS}; `robench submit RUN -o DIR` makes one"
        return [Check("files", False, none if absent == [SUMS] else f"missing: {', '.join(absent)}")]
    changed = [name for name in bundle.changed(folder) if name not in FOR_PEOPLE]
    said = f"changed or unknown, by SHA-256: {', '.join(changed)}" if changed else "all there, every SHA-256 agrees"
    return [Check("files", not changed, said)]


def agrees(folder: Path, claim: Claim, test: Split) -> list[Check]:
    """Whether what was measured is consistent with itself and with the claim."""
    masks = read_masks(folder / "evidence" / "masks.npy")
    found = [_listed("evaluation", _evaluation(claim, masks, test), f"{in_words(claim.facts)}, as the masks")]
    if isinstance(claim, SeedClaim):
        seed = f"{claim.seed} of {len(claim.validation)}: {claim.rule}"
        found.append(_listed("seed", _seed(folder, claim), seed))
    architecture = claim.model_info()["architecture"]
    return [
        *found,
        _listed("checkpoint", _checkpoint(folder, claim), "both files hold the weights that were evaluated"),
        _listed("log", _log(folder, claim), "of this evaluation"),
        _listed("architecture", _architecture(claim), architecture),
    ]


def _listed(name: str, wrong: list[str], right: str) -> Check:
    return Check(name, not wrong, "; ".join(wrong) or right)


def _evaluation(claim: Claim, masks: NDArray[Any], test: Split) -> list[str]:
    """Inconsistencies; of what is no draft, also whether AutoAttack was run on all images and judged."""
    facts = claim.facts
    images = int(facts["examples"]) if claim.missing else len(test.labels)
    if shaped := misshapen(masks, images):
        return shaped
    attack = str(facts["attack"]) if claim.missing and facts["attack"] in SETS else "aa"
    wrong = unlike(
        {
            "attack": (facts["attack"], attack),
            "attacks": (list(facts["after"]), [each.name for each in SETS[attack]]),
            "number of images": (facts["examples"], images),
            "test images' hash": (facts["images_sha256"], head(test, images).sha256()),
        }
    )
    wrong += _row(claim) if isinstance(claim, SeedClaim) else []
    wrong += _draft(claim, len(test.labels)) if claim.missing else _judged(claim)
    return wrong + against_masks(facts, masks)


def _draft(claim: Claim, images: int) -> list[str]:
    """Where a draft's list of what is missing is not what its evaluation lacks."""
    facts, said = claim.facts, {each.what for each in claim.missing}
    if any(in_words(facts) in each for each in said):  # beside what is asked for: another attack or radius
        counts = set()
    else:
        counts = {few(facts, images)} if facts["attack"] == "aa" else {in_words(facts)}
    counts -= {few({"examples": images}, images)}
    lacks = [*counts, *(each.what for each in unreliable(doubts(claim), []))]
    more = sorted(each for each in said if each.startswith(RAN) and each not in counts)
    return [f"the list of what is missing lacks {each!r}" for each in lacks if each not in said] + [
        f"what is said to be missing, {each!r}, is not so" for each in more
    ]


def _row(claim: SeedClaim) -> list[str]:
    """Where the evaluation is not what the row of all seeds says."""
    facts, row = claim.facts, claim.row
    return unlike(
        {
            "the row's clean accuracy": (row.per_seed[claim.seed]["clean"], facts["clean"]),
            "the row's robust accuracy": (row.per_seed[claim.seed]["robust"], facts["robust"]),
            "radius": ((facts["norm"], facts["eps"]), (row.norm, row.eps)),
            "weights' hash": (facts["weights_sha256"], row.facts["weights_sha256"][str(claim.seed)]),
        }
    )


def _judged(claim: Claim) -> list[str]:
    """What of the verdict does not hold: no flag, no failed check, and every trained seed was at hand."""
    found, checks = claim.facts["reliability"], claim.facts["reliability"]["checks"]
    wrong = [f"the reliability check {check['name']!r} failed" for check in checks if check["passed"] is False]
    wrong += [] if checks else ["no reliability check was made"]
    wrong += unlike({"flags": (claim.facts["flags"], [])})
    with_ = dict(found.get("siblings") or {})
    others: dict[str, Any] = {}
    if isinstance(claim, SeedClaim):
        known = {f"seed-{seed}": digest for seed, digest in claim.row.facts["weights_sha256"].items()}
        names = (f"seed-{seed}" for seed in claim.validation if seed != claim.seed)
        others = {name: known.get(name, with_.get(name)) for name in names}
    return wrong + unlike({"the seeds that it was judged with": (with_, others)})


def _seed(folder: Path, claim: SeedClaim) -> list[str]:
    path = folder / "provenance" / "curve.jsonl"
    curve = curve_of(text_of(path), path)
    trained = read_json(folder / "provenance" / "train.json")
    kept = kept_epoch(curve, claim.row.plan["recipe"]["select"])
    return unlike(
        {
            "validation accuracy": (claim.validation[claim.seed], selected_by(kept)),
            "the trained weights' hash": (trained["weights_sha256"], claim.facts["weights_sha256"]),
            "synthetic images": (claim.synthetic, count(trained["extra_images"]) if claim.synthetic else ""),
            "number of epochs": (len(curve), claim.row.plan["recipe"]["epochs"]),
        }
    )


def _checkpoint(folder: Path, claim: Claim) -> list[str]:
    stored, flat = bundle.checkpoints(folder, claim)
    wrong = unlike({"the evaluated file's hash": (sha256(stored), claim.facts["weights_sha256"])})
    weights = unpickling.read(flat)
    alike = isinstance(weights, dict) and bundle.same(weights, bundle.plain_weights(claim, stored))
    return wrong + ([] if alike else [f"the .pt holds other tensors than {stored.name}"])


def _log(folder: Path, claim: Claim) -> list[str]:
    return log_lacks(claim.facts, (folder / "evidence" / "autoattack.log").read_text(encoding="utf-8"))


def _architecture(claim: Claim) -> list[str]:
    if isinstance(claim, FileClaim):
        return []  # the evaluation's, by which the file was read
    return unlike({"architecture": (claim.row.architecture, display_name(claim.row.plan["recipe"]["arch"]))})


def as_rendered(folder: Path, claim: Claim, made: dict[str, str]) -> list[Check]:
    """Whether everything that follows from the claim says what it says when it is made again, and is all there is."""
    maker = str(read_json(folder / CHECKED).get("robustbench", ""))
    here = version("robustbench")
    own = {path.relative_to(folder).as_posix() for path in bundle.checkpoints(folder, claim)}
    wrong = [
        f"{name} is not a bundle's" for name in sorted(bundle.contents(folder) - own - set(made) - bundle.taken(claim))
    ]
    for name, text in made.items():
        path = folder / name
        found = path.read_text(encoding="utf-8") if path.exists() else ""
        if name in FOR_PEOPLE:
            wrong += [f"{name} {each}" for each in _completed(found, text)]
        elif name == "zoo_entry.patch":  # what stands around the entry depends on RobustBench's version
            wrong += [f"{name} adds something else than the entry"] if _added(found) != _added(text) else []
        elif found != text and not (name in THEIRS and maker != here):
            wrong.append(f"{name} is not what the claim gives")
    for name in (CHECKED, "evidence/admission.json"):
        told = read_json(folder / name)
        passed = bool(told["checks"]) and all(each["passed"] is True for each in told["checks"])
        wrong += unlike({f"passed in {name}": (told["passed"], passed)})
    others = "" if maker in ("", here) else f" (made with robustbench {maker}, this is {here})"
    return [_listed("documents", wrong, f"{len(made)} files are what the claim gives{others}")]


def _completed(found: str, made: str) -> list[str]:
    """What a person did to a text beside what people may: tick boxes, fill blanks, add lines of their own.

    Every line must still stand, in its order and outside comments; no claimed field may be given a second value.
    """
    said, wanted = _lines(found), [line for line in _lines(made) if not OPEN.search(line)]
    rest = iter(said)
    lost = [line for line in wanted if line not in rest][:1]
    fields = {line.partition("**:")[0] for line in wanted if FIELD.match(line)}
    more = [line for line in said if FIELD.match(line) and line not in wanted and line.partition("**:")[0] in fields]
    return [f"does not say {line!r}, which the evidence gives, in its place" for line in lost] + [
        f"says {line!r}, which the evidence does not give" for line in more
    ]


def _lines(text: str) -> list[str]:
    """The lines that a reader sees, boxes not ticked."""
    seen = re.sub(r"<!--.*?(-->|\Z)", "", text, flags=re.DOTALL)
    return [re.sub(r"^- \[[xX]\]", "- [ ]", line) for line in seen.splitlines() if line.strip()]


def _added(patch: str) -> list[str]:
    """What stands in front of a patch, the files that it touches and the lines that it adds or removes."""
    head, _, rest = patch.partition("diff --git ")
    return head.splitlines() + [line for line in rest.splitlines() if line.startswith(("+", "-"))]
