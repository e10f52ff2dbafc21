"""`robench submit --check`: whatever was edited in a bundle is found, with its hashes edited too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bundle_edits as edits
import numpy as np
import pytest
import submission_runs as made
import torch
from bundle_checks import (
    ADV,
    CLAIM,
    CURVE,
    ENVIRONMENT,
    INFO,
    INSIDE,
    ISSUE,
    LOG,
    MASKS,
    NOT,
    OURS,
    PATCH,
    PLAN,
    PT,
    ROW,
    SAFE,
    SEEDS,
    SUMMARY,
    SUMS_OF_DATA,
    TRAIN,
    VERDICT,
    byte,
    failed,
    tensors,
    text,
    told,
)

from robench_fire.boards.rows import Row
from robench_fire.submission.bundle import read
from robench_fire.submission.checks import check

pytestmark = pytest.mark.slow

Break = Callable[[Path], object]


masks, forged, row, verdicts = edits.masks, edits.forged, edits.row, edits.verdicts


def info(**values: Any) -> Break:
    ((name, value),) = values.items()
    return told(INFO, name, value=value)


def both(*breaks: Break) -> Break:
    def change(folder: Path) -> None:
        for each in breaks:
            each(folder)

    return change


def reissued(**changes: Any) -> Break:
    """Change the claim, and everything that follows from it."""
    return lambda folder: edits.issued(folder, **changes)


def by_hand(folder: Path) -> None:
    """Seed 2, which no rule names."""
    told(CLAIM, "seed", value=2)(folder)
    told(CLAIM, "validation", value={"0": 10, "1": 50, "2": 20, "3": 30, "4": 40})(folder)


def anothers_log(folder: Path) -> None:
    text(LOG, read(folder).facts["weights_sha256"], "0" * 64)(folder)


def fewer(folder: Path) -> None:
    np.save(folder / MASKS, np.load(folder / MASKS)[:, :-1])


def moved(old: str, new: str) -> Break:
    def change(folder: Path) -> None:
        (folder / new).parent.mkdir(parents=True, exist_ok=True)
        (folder / old).rename(folder / new)

    return change


def lacking(path: str, key: str) -> Break:
    def change(folder: Path) -> None:
        whole = json.loads((folder / path).read_text())
        del whole[key]
        (folder / path).write_text(json.dumps(whole))

    return change


def own_seed(measure: str) -> Callable[[Row], dict[str, Any]]:
    """One image more of the seed that is submitted, in the row of all seeds only, without the masks that say more."""
    return lambda before: {
        "per_seed": before.per_seed
        | {0: before.per_seed[0] | {measure: before.per_seed[0][measure] + 100 / made.TEST}},
        "facts": {name: value for name, value in before.facts.items() if name != "masks"},
    }


CLEAN, ROBUST, STAND = (
    "clean accuracy by RobustBench", "robust accuracy on them by RobustBench", "images claimed robust stand",
)  # fmt: skip


ADMISSION = "evidence/admission.json"
LOSES = "ISSUE.md does not say '- **"


EDITED: list[tuple[str, Break, str, str]] = [
    ("tensor in .pt", tensors(PT, lambda flat: flat | {"fc.bias": flat["fc.bias"] + 1}), "checkpoint", "the .pt holds"),
    ("tensor more", tensors(PT, lambda flat: flat | {"more": torch.ones(1)}), "checkpoint", "the .pt holds other"),
    ("tensor less", tensors(PT, lambda flat: dict(list(flat.items())[1:])), "checkpoint", "the .pt holds other"),
    ("list in .pt", tensors(PT, lambda flat: list(flat.items())), "checkpoint", "the .pt holds other"),
    ("byte of .pt", byte(PT, 0.5), "checkpoint", "the .pt holds other tensors"),
    ("byte of .safetensors", byte(SAFE, 0.5), "checkpoint", "the evaluated file's hash is "),
    ("clean_acc", info(clean_acc="99.00"), "documents", NOT),
    ("autoattack_acc", info(autoattack_acc="99.00"), "documents", NOT),
    ("reported", info(reported="99.99"), "documents", NOT),
    ("passes", info(number_forward_passes=7), "documents", NOT),
    ("eps", info(eps="4/255"), "documents", NOT),
    ("dataset", info(dataset="cifar100"), "documents", NOT),
    ("footnote", info(footnote="Best of five."), "documents", NOT),
    ("null", info(venue=None), "documents", NOT),
    ("empty", info(link=""), "documents", NOT),
    ("other key", info(rank="1"), "documents", NOT),
    ("authors", info(authors="Someone Else"), "documents", NOT),
    ("network", info(architecture="WideResNet-70-16"), "documents", NOT),
    ("additional_data", info(additional_data=True), "documents", NOT),
    ("external", info(external="1.00"), "documents", NOT),
    ("board", moved(INFO, INFO.replace("Linf", "L2")), "documents", NOT),
    ("no JSON", text(INFO, "{", "["), "documents", NOT),
    ("patch", text(PATCH, "depth=10", "depth=16"), "documents", "zoo_entry.patch adds something else than the entry"),
    ("patch more", text(PATCH, "+        }),\n", "+        }),\n+import os\n"), "documents", "zoo_entry.patch adds"),
    ("other file", text(PATCH, "+++ b/robustbench/", "+++ b/robustbench/../"), "documents", "zoo_entry.patch adds"),
    ("accuracy in issue", text(ISSUE, "racy**: ", "racy**: 9"), "documents", f"{LOSES}Clean accuracy**: "),
    ("field in issue", text(ISSUE, "- **Venue**: ", "- Venue: "), "documents", f"{LOSES}Venue**: TPAMI"),
    ("card", text("MODEL_CARD.md", "| Reliability |", "| Safety |"), "documents", "MODEL_CARD.md does not say"),
    ("comment", text(ISSUE, "- **Venue**: ", "<!-- - **Venue**: "), "documents", f"{LOSES}Venue**: TPAMI"),
    ("second value", text(ISSUE, "- **Venue**: ", "- **Venue**: ICML\n- **Venue**: "), "documents",
     "ISSUE.md says '- **Venue**: ICML', which the evidence does not give"),
    ("checklist", text("CHECKLIST.md", f"{CLEAN}: ", f"{CLEAN}: 9"), "documents", "CHECKLIST.md does not say "),
    ("first check", told(made.CHECKED, "passed", value=False), "documents", f"passed in {made.CHECKED} is False, not "),
    ("admission", told(ADMISSION, "passed", value=False), "documents", f"passed in {ADMISSION} is False, not True"),
    ("readme_row.md", text("readme_row.md", "TPAMI", "ICML"), "documents", "readme_row.md is not what the claim"),
    ("rank", text("readme_row.md", "<sub>**", "<sub>**1"), "documents", "readme_row.md is not what the claim gives"),
    ("table.tex", text("table.tex", "& N &", "& Y &"), "documents", "table.tex is not what the claim gives"),
    ("page", text("leaderboard_row.html", "<td>", "<td><script>"), "documents", "leaderboard_row.html is not what"),
    ("refs.bib", text("refs.bib", "{2022}", "{2021}"), "documents", "refs.bib is not what the claim gives"),
    ("plan", told(PLAN, "recipe", "epochs", value=1000), "documents", f"{PLAN} is not what the claim gives"),
    ("other seeds", told(SEEDS, "seeds", "1", "robust", value=99.0), "documents", f"{SEEDS} is not what the claim"),
    ("rule", told(SEEDS, "rule", value="the best of all"), "documents", f"{SEEDS} is not what the claim gives"),
    ("environment", told(ENVIRONMENT, "by_hand", value={}), "documents", f"{ENVIRONMENT} is not what the claim gives"),
    ("data", text(SUMS_OF_DATA, "803d5", "00000"), "documents", f"{SUMS_OF_DATA} is not what the claim gives"),
    ("verdict", told(VERDICT, "verdict", value="unreliable"), "claim", "not reliable (its evaluation: unreliable)"),
    ("verdict", told(VERDICT, "verdict", value="unknown"), "claim", "not reliable (its evaluation: unknown)"),
    ("no checks", told(VERDICT, "checks", 1, "passed", value=False), "evaluation", "the reliability check 'accuracy"),
    ("flags", told(SUMMARY, "flags", value=["zero gradients"]), "evaluation", "flags is ['zero gradients'], not []"),
    ("clean mask", masks(lambda found: found[0].fill(True)), "evaluation", ", not 100.0"),
    ("robust mask", masks(lambda found: found[1].fill(False)), "evaluation", ", not 0.0"),
    ("impossible mask", masks(lambda found: np.logical_not(found[0], out=found[0])), "evaluation", "images are robust"),
    ("other images", masks(edits.swapped), ROBUST, "; 2 images differ"),
    ("other clean images", masks(edits.shifted), CLEAN, " images differ"),
    ("fewer images in masks", fewer, "evaluation", "bool of shape (2, 11), not booleans of shape (2, 12)"),
    ("masks of numbers", lambda folder: np.save(folder / MASKS, np.ones((2, 12), np.uint8)), "evidence", "holds uint8"),
    ("summary", told(SUMMARY, "robust", value=99.0), "evaluation", "robust accuracy is 99.0, not "),
    ("after", told(SUMMARY, "after", "square", value=99.0), "evaluation", "accuracy after the last attack is 99.0"),
    ("attack", told(SUMMARY, "attack", value="apgd-ce"), "evaluation", "attack is apgd-ce, not aa"),
    ("images", told(SUMMARY, "examples", value=10_000), "evaluation", "number of images is 10000, not 12"),
    ("images' hash", told(SUMMARY, "images_sha256", value="0"), "evaluation", "test images' hash is 0, not "),
    ("norm", told(SUMMARY, "norm", value="L2"), "evaluation", "radius is ('L2', '8/255'), not ('Linf', '8/255')"),
    ("radius", told(SUMMARY, "eps", value="4/255"), "evaluation", "radius is ('Linf', '4/255'), not ('Linf', '8/255')"),
    ("no object", lambda folder: (folder / SUMMARY).write_text("{}"), "claim", "aa_summary.json names no norm of Linf"),
    ("log", text(LOG, "eps 8/255, seed 0", "eps 1/255, seed 0"), "log", "does not say 'norm Linf, eps 8/255, seed 0'"),
    ("another's log", anothers_log, "log", "it does not say '"),
    ("log of other accuracy", text(LOG, "after SQUARE: ", "after SQUARE: 9"), "log", "say 'robust accuracy after SQ"),
    ("empty log", lambda folder: (folder / LOG).write_text(""), "log", "it does not say '"),
    ("empty curve", lambda folder: (folder / CURVE).write_text(""), "evidence", ": "),
    ("short curve", text(CURVE, '{"epoch": 1,', '\n{"epoch": 1,'), "evidence", "curve.jsonl is no curve ("),
    ("training", told(TRAIN, "weights_sha256", value="0"), "seed", "the trained weights' hash is 0, not "),
    ("validation", told(CLAIM, "validation", "0", value=99.0), "seed", "validation accuracy is 99.0, not "),
    ("seed", both(by_hand, told(CLAIM, "seed", value=1)), "claim", "--seed 1: choose 0 (the one"),
    ("seed by hand", by_hand, "claim", "--seed 2: choose 0 (the one that is submitted unless another rule"),
    ("no such seed", told(CLAIM, "seed", value=9), "claim", "--seed 9: choose 0 (the one"),
    ("one seed", told(CLAIM, "validation", value={"0": 50.0}), "claim", "0 of the evaluated seeds 0, 1, 2"),
    ("no seeds", told(CLAIM, "validation", value=[]), "claim", f"{CLAIM} cannot be read (AttributeError"),
    ("no name", told(CLAIM, "name", value="../mine"), "claim", f"{CLAIM} cannot be read (ValueError('../mine')"),
    ("other name", told(CLAIM, "name", value="Someone2030New"), "claim", "missing: Someone2030New.safetensors, Some"),
    ("format", told(CLAIM, "format", value=2), "claim", f"{CLAIM} is of format 2; this robench reads format 1"),
    ("no clean", lacking(SUMMARY, "clean"), "claim", "aa_summary.json has no clean"),
    ("page as .pt", lambda folder: (folder / PT).write_text("<html>"), "evidence", f"{PT} cannot be read safely (Unp"),
    ("no JSON", text(CLAIM, "{", "["), "claim", f"{CLAIM} is not JSON"),
    ("row", told(ROW, "clean_acc", value="99.00"), "claim", "row.json was changed by hand: its clean_acc is 99.00"),
    ("row's seeds", told(ROW, OURS, "seeds", "1", "clean", value=99.0), "claim", "changed by hand: its clean_acc is "),
    ("row's network", told(ROW, "architecture", value="X"), "claim", "changed by hand: its architecture is X"),
    ("row's nothing", told(ROW, OURS, value={}), "claim", "row.json is not a leaderboard row of ours: it has no"),
    ("outside eps", tensors(ADV, edits.outside), INSIDE, "1 of 12 are outside Linf"),
    ("no number", tensors(ADV, lambda x: x * torch.nan), INSIDE, "12 of 12 are"),
    ("noise", tensors(ADV, edits.noisy), INSIDE, "that no attack broke are not the clean image"),
    ("clean images", tensors(ADV, edits.clean_images), ROBUST, " images differ"),
    ("fewer images", tensors(ADV, lambda x: x[1:]), "perturbed images", "not a tensor of shape (12, 3, 32, 32)"),
    ("flat images", tensors(ADV, lambda x: x.flatten(1)), "perturbed images", "not a tensor of shape (12, 3, 32, 32)"),
]  # fmt: skip


FORGED: list[tuple[str, Break, str, str]] = [
    ("all weights", edits.untrained, CLEAN, " images differ"),
    ("all weights", edits.untrained, "non-zero gradients with respect to the input", "non-zero for 0.0% of 12 images"),
    ("robust accuracy", forged(edits.all_robust), ROBUST, " images differ"),
    ("robust accuracy", both(tensors(ADV, edits.clean_images), forged(edits.all_robust)), STAND, " fall under"),
    ("clean accuracy", forged(edits.one_clean_more), CLEAN, "; 1 images differ"),
    ("other images", forged(edits.swapped), ROBUST, "; 2 images differ"),
    ("clean in the row", row(own_seed("clean")), "evaluation", "the row's clean accuracy is "),
    ("robust in the row", row(own_seed("robust")), "evaluation", "the row's robust accuracy is "),
    ("a name that is taken", reissued(name="Carmon2019Unlabeled"), "claim", "already has Carmon2019Unlabeled"),
    ("a published name", reissued(name="Madry2018Towards"), "claim", "RobustBench already has Madry2018Towards"),
    ("a radius", edits.at_16, "claim", "eps 16/255: RobustBench's board is at 8/255"),
    ("another seed unreliable", verdicts("unreliable"), "claim", "not reliable (seed 3: unreliable)"),
    ("another seed unknown", verdicts("unknown"), "claim", "not reliable (seed 3: unknown)"),
    ("not evaluated", row(edits.without), "claim", "seed 0 of the evaluated seeds 1, 2, 3, 4 and the trained ones 0,"),
    ("network", row(lambda before: {"architecture": "WRN-70-16"}), "claim", "changed by hand: its architecture is WRN"),
]  # fmt: skip


OF_FILES = ("files", "claim", "evidence", "evaluation", "seed", "checkpoint", "log", "documents")
TABLE = [*(("edited", *each) for each in EDITED), *(("forged", *each) for each in FORGED)]


@pytest.mark.parametrize(
    ("break_it", "name", "said"), [each[2:] for each in TABLE], ids=["-".join((*e[:2], e[3])) for e in TABLE]
)
def test_what_is_edited_with_its_hashes_is_found(
    own_bundle: Path, break_it: Break, name: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in OF_FILES:
        monkeypatch.setattr(check, "_by_robustbench", lambda *_: [])  # which takes the longest, and finds other things
    break_it(own_bundle)
    edits.sum_up(own_bundle)
    found = failed(own_bundle)
    assert name in found
    assert said in found[name]


def one_attack(folder: Path) -> None:
    facts = read(folder).facts
    edits.issued(folder, facts=facts | {"after": {"square": facts["after"]["square"]}})


def verdict(**values: Any) -> Break:
    """Change what is known of the reliability, and everything that follows from it."""

    def change(folder: Path) -> None:
        facts = read(folder).facts
        edits.issued(folder, facts=facts | {"reliability": facts["reliability"] | values})

    return change


SUBTLE: dict[str, Break] = {
    "the checkpoint's hash in the issue": text(ISSUE, "SHA-256**: `", "SHA-256**: `0"),
    "a model_info file more": lambda folder: made.copied(folder / "model_info", folder / "model_info" / "more"),
    "one attack of four": one_attack,
    "judged without its siblings": verdict(siblings={}),
    "judged without a check": verdict(checks=[]),
    "synthetic images of a plan without any": reissued(synthetic="1M"),
    "a link that is no address": reissued(link="javascript:alert(1)"),
}


@pytest.mark.parametrize("break_it", SUBTLE.values(), ids=list(SUBTLE))
def test_what_only_a_close_look_finds(own_bundle: Path, break_it: Break) -> None:
    break_it(own_bundle)
    edits.sum_up(own_bundle)
    assert failed(own_bundle)
