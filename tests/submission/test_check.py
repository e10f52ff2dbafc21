"""`robench submit --check`: whatever is wrong with a bundle is found, and nothing in it is executed."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import submission_runs as made
import torch
from torch import Tensor, nn

from robench_fire.datasets import cifar10
from robench_fire.errors import RobenchError
from robench_fire.models.names import display_name
from robench_fire.submission import zoo_entry
from robench_fire.submission.bundle import read
from robench_fire.submission.checks.admission import admission
from robench_fire.submission.checks.check import entry_for
from robench_fire.submission.zoo_entry import CARRIED
from robench_fire.tables.rows import Row

INFO = f"model_info/cifar10/Linf/{made.NAME}.json"
PT, SAFE = f"checkpoint/{made.NAME}.pt", f"checkpoint/{made.NAME}.safetensors"
SUMMARY, MASKS, LOG, ADV, VERDICT = (
    f"evidence/{name}" for name in ("aa_summary.json", "masks.npy", "autoattack.log", "adv_examples.pt",
                                    "reliability.json")
)  # fmt: skip
SEEDS, PLAN, TRAIN, CURVE, ROW, CLAIM, ENVIRONMENT, SUMS_OF_DATA = (
    f"provenance/{name}" for name in ("seeds.json", "plan.json", "train.json", "curve.jsonl", "row.json",
                                      "submission.json", "environment.json", "data_checksums.txt")
)  # fmt: skip
PATCH, ISSUE, OURS, LOADER = "zoo_entry.patch", "ISSUE.md", "robench_fire", "RobustBench's loader"
PEOPLES = ("ISSUE.md", "MODEL_CARD.md", "CHECKLIST.md")
CARRIED_MODULE = CARRIED.removesuffix(".py").replace("/", ".")
Break = Callable[[Path], object]
byte, tensors, text, told = made.byte, made.tensors, made.text, made.told
masks, forged, row, verdicts = made.masks, made.forged, made.row, made.verdicts


@pytest.fixture(scope="module", autouse=True)
def _cut() -> Iterator[None]:
    with made.cut():
        yield


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.written(tmp_path_factory.getbasetemp())


@pytest.fixture
def own(bundle: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return made.copied(bundle, tmp_path / "own")


def failed(folder: Path) -> dict[str, str]:
    """The checks that do not pass, and what they say."""
    return {each.name: each.found for each in made.checked(folder) if not each.passed}


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
    return lambda folder: made.issued(folder, **changes)


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


def own_seed(measure: str) -> Callable[[Row], dict[str, Any]]:
    """Another accuracy of the seed that is submitted, in the row of all seeds only."""
    return lambda before: {"per_seed": before.per_seed | {0: before.per_seed[0] | {measure: 99.0}}}


CLEAN, ROBUST, STAND = (
    "clean accuracy by RobustBench", "robust accuracy on them by RobustBench", "images claimed robust stand",
)  # fmt: skip
INSIDE, NOT = "perturbed images are in the threat model", f"{INFO} is not what the claim gives"
LOSES = "ISSUE.md no longer says '- **"
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
    ("card", text("MODEL_CARD.md", "| Reliability |", "| Safety |"), "documents", "MODEL_CARD.md no longer says"),
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
    ("other images", masks(made.swapped), ROBUST, "; 2 images differ"),
    ("other clean images", masks(made.shifted), CLEAN, " images differ"),
    ("fewer images in masks", fewer, "evaluation", "bool of shape (2, 23), not booleans of shape (2, 24)"),
    ("masks of numbers", lambda folder: np.save(folder / MASKS, np.ones((2, 24), np.uint8)), "evaluation", "are uint8"),
    ("summary", told(SUMMARY, "robust", value=99.0), "evaluation", "robust accuracy is 99.0, not "),
    ("after", told(SUMMARY, "after", "square", value=99.0), "evaluation", "accuracy after the last attack is 99.0"),
    ("attack", told(SUMMARY, "attack", value="apgd-ce"), "evaluation", "attack is apgd-ce, not aa"),
    ("images", told(SUMMARY, "examples", value=10_000), "evaluation", "number of images is 10000, not 24"),
    ("images' hash", told(SUMMARY, "images_sha256", value="0"), "evaluation", "test images' hash is 0, not "),
    ("norm", told(SUMMARY, "norm", value="L2"), "evaluation", "radius is ('L2', '8/255'), not ('Linf', '8/255')"),
    ("radius", told(SUMMARY, "eps", value="4/255"), "evaluation", "radius is ('Linf', '4/255'), not ('Linf', '8/255')"),
    ("no object", lambda folder: (folder / SUMMARY).write_text("{}"), "claim", "aa_summary.json names no norm of Linf"),
    ("log", text(LOG, "eps 8/255, seed 0", "eps 1/255, seed 0"), "log", "does not say 'norm Linf, eps 8/255, seed 0'"),
    ("another's log", anothers_log, "log", "it does not say '"),
    ("log of other accuracy", text(LOG, "after SQUARE: ", "after SQUARE: 9"), "log", "say 'robust accuracy after SQ"),
    ("empty log", lambda folder: (folder / LOG).write_text(""), "log", "it does not say '"),
    ("empty curve", lambda folder: (folder / CURVE).write_text(""), "evidence", ": "),
    ("short curve", text(CURVE, '{"epoch": 1,', '\n{"epoch": 1,'), "evidence", "JSONDecodeError: "),
    ("training", told(TRAIN, "weights_sha256", value="0"), "seed", "the trained weights' hash is 0, not "),
    ("validation", told(CLAIM, "validation", "0", value=99.0), "seed", "validation accuracy is 99.0, not "),
    ("seed", both(by_hand, told(CLAIM, "seed", value=1)), "claim", "--seed 1: choose 0 (the one"),
    ("seed by hand", by_hand, "claim", "--seed 2: choose 0 (the one that is submitted unless another rule"),
    ("no such seed", told(CLAIM, "seed", value=9), "claim", "--seed 9: choose 0 (the one"),
    ("one seed", told(CLAIM, "validation", value={"0": 50.0}), "claim", "0 of the evaluated seeds 0, 1, 2"),
    ("no seeds", told(CLAIM, "validation", value=[]), "claim", f"{CLAIM} cannot be read (AttributeError"),
    ("no name", told(CLAIM, "name", value="../mine"), "claim", f"{CLAIM} cannot be read (ValueError('../mine')"),
    ("other name", told(CLAIM, "name", value="Someone2030New"), "claim", "missing: Someone2030New.safetensors, Some"),
    ("no JSON", text(CLAIM, "{", "["), "claim", f"{CLAIM} is not JSON"),
    ("row", told(ROW, "clean_acc", value="99.00"), "claim", "row.json was changed by hand: its clean_acc is 99.00"),
    ("row's seeds", told(ROW, OURS, "seeds", "1", "clean", value=99.0), "claim", "changed by hand: its clean_acc is "),
    ("row's network", told(ROW, "architecture", value="X"), "claim", "changed by hand: its architecture is X"),
    ("row's nothing", told(ROW, OURS, value={}), "claim", "row.json is not a leaderboard row of ours (KeyError"),
    ("outside eps", tensors(ADV, made.outside), INSIDE, "1 of 24 are outside Linf"),
    ("no number", tensors(ADV, lambda x: x * torch.nan), INSIDE, "24 of 24 are"),
    ("clean images", tensors(ADV, made.clean_images), ROBUST, " images differ"),
    ("fewer images", tensors(ADV, lambda x: x[1:]), "perturbed images", "not a tensor of shape (24, 3, 32, 32)"),
    ("flat images", tensors(ADV, lambda x: x.flatten(1)), "perturbed images", "not a tensor of shape (24, 3, 32, 32)"),
]  # fmt: skip
FORGED: list[tuple[str, Break, str, str]] = [
    ("all weights", made.untrained, CLEAN, " images differ"),
    ("all weights", made.untrained, "non-zero gradients with respect to the input", "non-zero for 0.0% of 24 images"),
    ("robust accuracy", forged(made.all_robust), ROBUST, " images differ"),
    ("robust accuracy", both(tensors(ADV, made.clean_images), forged(made.all_robust)), STAND, " fall under"),
    ("clean accuracy", forged(made.one_clean_more), CLEAN, "; 1 images differ"),
    ("other images", forged(made.swapped), ROBUST, "; 2 images differ"),
    ("clean in the row", row(own_seed("clean")), "evaluation", "the row's clean accuracy is 99.0, not "),
    ("robust in the row", row(own_seed("robust")), "evaluation", "the row's robust accuracy is 99.0, not "),
    ("a name that is taken", reissued(name="Carmon2019Unlabeled"), "claim", "already has Carmon2019Unlabeled"),
    ("a published name", reissued(name="Madry2018Towards"), "claim", "RobustBench already has Madry2018Towards"),
    ("a radius", made.at_16, "claim", "eps 16/255: RobustBench's board is at 8/255"),
    ("another seed unreliable", verdicts("unreliable"), "claim", "not reliable (seed 3: unreliable)"),
    ("another seed unknown", verdicts("unknown"), "claim", "not reliable (seed 3: unknown)"),
    ("not evaluated", row(made.without), "claim", "seed 0 of the evaluated seeds 1, 2, 3, 4 and the trained ones 0,"),
    ("network", row(lambda before: {"architecture": "WRN-70-16"}), "claim", "changed by hand: its architecture is WRN"),
]  # fmt: skip
TABLE = [*(("edited", *each) for each in EDITED), *(("forged", *each) for each in FORGED)]


@pytest.mark.parametrize(
    ("break_it", "name", "said"), [each[2:] for each in TABLE], ids=["-".join((*e[:2], e[3])) for e in TABLE]
)
def test_what_is_edited_with_its_hashes_is_found(own: Path, break_it: Break, name: str, said: str) -> None:
    break_it(own)
    made.sum_up(own)
    found = failed(own)
    assert name in found
    assert said in found[name]


def one_attack(folder: Path) -> None:
    facts = read(folder).facts
    made.issued(folder, facts=facts | {"after": {"square": facts["after"]["square"]}})


def verdict(**values: Any) -> Break:
    """Change what is known of the reliability, and everything that follows from it."""

    def change(folder: Path) -> None:
        facts = read(folder).facts
        made.issued(folder, facts=facts | {"reliability": facts["reliability"] | values})

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
def test_what_only_a_close_look_finds(own: Path, break_it: Break) -> None:
    break_it(own)
    made.sum_up(own)
    assert failed(own)


class Partly(nn.Module):
    """Logits that depend on the dark pixels of bright images only."""

    def forward(self, x: Tensor) -> Tensor:
        bright = (x.flatten(1).mean(1) > 0.5)[:, None, None, None]
        return torch.where(bright, x, x.round()).flatten(1)[:, :10]


@pytest.mark.parametrize(("bright", "passed"), [(0, False), (30, False), (31, True), (60, True)])
def test_gradients_are_counted_in_parts(bright: int, passed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 60 images in parts of 25, and of no more than the first 60."""
    monkeypatch.setattr("robench_fire.submission.checks.admission.IMAGES", 60)
    x = torch.rand(70, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.1 + 0.2
    x[torch.randperm(60)[:bright]] += 0.5
    found = {each.name: each for each in admission(Partly().eval(), x, torch.zeros(70, dtype=torch.long))}
    slope = found["non-zero gradients with respect to the input"]
    assert slope.passed is passed
    assert f" {bright / 60:.1%} of 60 images" in slope.found


@pytest.mark.parametrize("path", made.FILES)
@pytest.mark.parametrize("what", ["missing", "changed"])
def test_a_file_that_is_missing_or_changed_is_named(own: Path, path: str, what: str) -> None:
    (own / path).unlink() if what == "missing" else byte(path, 0.4)(own)
    found = failed(own)
    if what == "missing":
        assert found == {"files": f"missing: {path}"}
    elif path in PEOPLES:
        assert "files" not in found
    else:
        assert found["files"] == f"changed or unknown, by SHA-256: {path}"


@pytest.mark.parametrize("path", [path for path in made.FILES if path != made.CHECKED])
def test_a_file_that_is_missing_from_the_hashes_too_is_named(own: Path, path: str) -> None:
    (own / path).unlink()
    made.sum_up(own)
    assert Path(path).name in " ".join(failed(own).values())


def test_a_file_more_has_no_hash(own: Path) -> None:
    (own / "evidence" / "notes.txt").touch()
    assert failed(own) == {
        "files": "changed or unknown, by SHA-256: evidence/notes.txt",
        "documents": "evidence/notes.txt is not a bundle's",
    }


def test_everything_that_fails_is_listed(own: Path) -> None:
    for break_it in (byte(PT, 0.5), told(SUMMARY, "robust", value=99.0), tensors(ADV, made.outside)):
        break_it(own)
    found = failed(own)
    assert found["files"] == f"changed or unknown, by SHA-256: {PT}, {SUMMARY}, {ADV}"
    assert {"files", "evaluation", "checkpoint", "log", "documents", INSIDE} <= set(found)


def test_a_person_completes_the_texts(own: Path) -> None:
    text(ISSUE, "- [ ] I agree", "- [x] I agree")(own)
    text(ISSUE, "(FILL IN: where this folder was uploaded)", "https://example.org/bundle")(own)
    for name in PEOPLES:
        (own / name).write_text((own / name).read_text() + "\nAn afterthought.\n")
    assert failed(own) == {}
    text("CHECKLIST.md", "- [ ] Upload", "- [x] Upload")(own)
    assert failed(own) == {}


def test_another_robustbench_compares_only_what_the_patch_adds(own: Path) -> None:
    text(PATCH, " linf = OrderedDict(", " linf = OrderedDict(  # since 9.0")(own)
    text(PATCH, "@@ -402,6 +402,10 @@", "@@ -502,6 +502,10 @@")(own)
    text("readme_row.md", "<sub>", "<sub><b>")(own)
    told(made.CHECKED, "robustbench", value="9.0")(own)
    made.sum_up(own)
    (documents,) = [each for each in made.checked(own) if each.name == "documents"]
    assert documents.passed
    assert "(made with robustbench 9.0, this is 1." in documents.found


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00", b"no hashes\n"])
def test_without_hashes_it_is_no_bundle(own: Path, content: bytes | None) -> None:
    (own / "SHA256SUMS").unlink()
    if content is not None:
        (own / "SHA256SUMS").write_bytes(content)
    assert set(failed(own)) == {"files"}


class Touches:
    """Unpickled, it touches a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("path", [PT, ADV, MASKS])
@pytest.mark.parametrize("how", ["torch", "pickle", "numpy"])
def test_code_in_a_pickle_is_not_executed(own: Path, tmp_path: Path, path: str, how: str) -> None:
    mark = tmp_path / "mark"
    if how == "torch":
        torch.save({"fc.bias": Touches(mark)}, own / path)
    elif how == "pickle":
        (own / path).write_bytes(pickle.dumps(Touches(mark)))
    else:
        with open(own / path, "wb") as file:
            np.save(file, np.array([Touches(mark)], dtype=object))
    made.sum_up(own)
    assert failed(own)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("'model': lambda: WideResNet(depth=10,", "'model': lambda: {code} or WideResNet(depth=10,"),
        ("('Picot2021Adversarial', {{", "{code} or ('Picot2021Adversarial', {{"),
        ("'gdrive_id': 'FILL-IN-AFTER-UPLOAD'", "'gdrive_id': 'a' + {code}"),
    ],
)
def test_code_in_the_patch_is_not_executed(own: Path, tmp_path: Path, old: str, new: str) -> None:
    mark = tmp_path / "mark"
    text(PATCH, old.replace("{{", "{"), new.format(code=f"__import__('pathlib').Path('{mark}').touch()"))(own)
    made.sum_up(own)
    assert failed(own) == {"documents": f"{PATCH} adds something else than the entry"}
    assert not mark.exists()


@pytest.mark.parametrize(
    "arch",
    [
        "timm/resnet18') if {code} is None else timm.create_model('resnet18",
        "timm/resnet18'), 'more': {code}, 'most': str('",
        "wrn-10-1' + {code} + '",
        "wrn-10-1\n{code}",
    ],
)
@pytest.mark.parametrize("forge", [False, True])
def test_code_in_the_plan_is_not_executed(own: Path, tmp_path: Path, arch: str, forge: bool) -> None:
    """Also where everything else fits it, as whoever wants it executed would write it."""
    mark = tmp_path / "mark"
    name = arch.format(code=f"open('{mark}', 'w')")
    for path, keys in ((PLAN, ()), (ROW, (OURS, "plan"))):
        told(path, *keys, "recipe", "arch", value=name)(own)
    told(ROW, "architecture", value=display_name(name))(own)
    with pytest.MonkeyPatch.context() as patch:  # a forger's own package checks nothing
        patch.setattr(zoo_entry, "builder", lambda arch, shape: None)
        with suppress(RobenchError):
            (own / PATCH).write_text(entry_for(read(own), cifar10.DATASET).patch() if forge else "")
    made.sum_up(own)
    found = failed(own)
    assert set(found) == {"claim"}
    assert "architecture" in found["claim"] or "timm" in found["claim"]
    assert not mark.exists()


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("recipe", "normalise"), "image' + open('mark', 'w') + '"),
        (("recipe", "normalise"), None),
        (("recipe",), {"arch": "wrn-10-1"}),
        (("recipe",), {"arch": "wrn-10-1", "extra": None}),
        (("recipe", "arch"), None),
        (("dataset",), "../cifar10"),
        (("dataset",), "os"),
    ],
)
def test_a_plan_that_is_none_is_refused(own: Path, keys: tuple[str, ...], value: Any) -> None:
    told(ROW, OURS, "plan", *keys, value=value)(own)
    told(ROW, keys[0], value=value)(own) if keys == ("dataset",) else None
    made.sum_up(own)
    assert set(failed(own)) == {"claim"}
