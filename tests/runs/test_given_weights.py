"""Weights that a training is given: --start and --teacher, a file or a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from command_line import ran
from needs import defense_file
from written_runs import write_run

from robench_fire.boards.rows import collect
from robench_fire.files import sha256
from robench_fire.models import checkpoints
from robench_fire.models.small_cnns import DigitsCNN
from robench_fire.runs.compose import Request, compose
from robench_fire.runs.folders import Run, find
from robench_fire.runs.given_weights import given
from robench_fire.training.engine import initialised

SHORT = "--no-eval --device cpu --jobs 1 --epochs 1 --set recipe.attack.steps=1 --set recipe.attack.step=0.2".split()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two plans, one of which has two seeds; files of weights; a defense that reads a teacher."""
    folder = tmp_path_factory.mktemp("given")
    ran(folder, "train", "madry", "digits", "--seeds", "2", *SHORT)
    ran(folder, "train", "trades", "digits", "--seeds", "1", *SHORT)
    files = {"good": DigitsCNN(), "five": DigitsCNN(5), "narrow": DigitsCNN(10, 4)}
    for name, model in files.items():
        torch.save(model.state_dict(), folder / f"{name}.pt")
    (folder / "broken.pt").write_bytes(b"no weights")
    defense_file(folder, "teacher")
    for name in ("madry", "trades"):
        (folder / name).symlink_to(find(folder / "runs" / "digits" / "Linf" / name)[0].folder.parent)
    return folder


WRONG = [
    ("trades --start five.pt", 3, "--start five.pt does not fit the architecture: classifier.2.weight is (5, 64), not "
     "(10, 64), classifier.2.bias is (5,), not (10,); it is of other classes: --set recipe.start.head=new gives it a "
     "new last layer"),
    ("trades --start narrow.pt", 3, "and 8 more; it must hold weights of digits-cnn"),
    ("trades --start narrow.pt --set recipe.start.head=new", 3, "and 8 more; it must hold weights of digits-cnn"),
    ("trades --start broken.pt", 4, "broken.pt cannot be read safely"),
    ("trades --start nowhere.pt", 4, "--start nowhere.pt: no such file or folder; `robench ls runs` lists the runs"),
    ("trades --start runs", 2, "--start runs holds several plans; name the folder of one"),
    ("trades --start madry --seeds 3", 4, "has seeds 0, 1 and is asked for the one of seed 2: train it there too, or "
     "name one seed's folder"),
    ("trades --start good.pt --set recipe.start=none", 3, "recipe.start is what --start FILE|RUN names, and is not "
     "set in another way"),
    ("trades --start good.pt --set recipe.start.of=abc", 3, "recipe.start is what --start FILE|RUN names"),
    ("trades --set recipe.start.head=new", 3, "recipe.start.head: none has no settings of its own"),
    ("trades --start good.pt --launcher ray", 2, "--start and --teacher name weights of this machine, which others do "
     "not see: train on this one, without --launcher"),
    ("teacher.py", 3, "teacher learns from a teacher: say --teacher FILE|RUN"),
    ("trades --teacher good.pt", 3, "--teacher: the loss of trades reads no teacher; leave it out"),
    ("teacher.py --teacher five.pt", 3, "a file is read as digits-cnn, the network that is trained; for another one "
     "name the folder of a run"),
    ("teacher.py --teacher narrow.pt", 3, "and 8 more; a file is read as digits-cnn"),
    ("teacher.py --teacher broken.pt", 4, "broken.pt cannot be read safely"),
    ("teacher.py --teacher runs", 2, "--teacher runs holds several plans; name the folder of one"),
    ("teacher.py --teacher madry --seeds 3", 4, "has seeds 0, 1 and is asked for the one of seed 2"),
    ("teacher.py --teacher good.pt --set recipe.teacher.head=new", 3, "only a network that is trained gets a new head"),
    ("teacher.py --teacher good.pt --launcher ray", 2, "--start and --teacher name weights of this machine"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "code", "expected"), WRONG, ids=[each[0] for each in WRONG])
def test_weights_that_do_not_fit_are_refused_at_once(place: Path, words: str, code: int, expected: str) -> None:
    defense, *rest = words.split()
    own = f"./{defense}" if defense.endswith(".py") else defense
    before = sorted(path.name for path in (place / "runs").rglob("*"))
    said = ran(place, "train", own, "digits", "--seeds", "1", *SHORT, *rest, code=code).stderr
    assert expected in said
    assert len(said.splitlines()) == 1
    assert sorted(path.name for path in (place / "runs").rglob("*")) == before


def test_weights_of_other_images_are_refused(place: Path) -> None:
    own = str(place / "teacher.py")
    said = ran(place, "show", own, "mnist", "--teacher", str(place / "madry"), code=3).stderr
    assert "knows 10 classes of 1x8x8 images; mnist has 10 of 1x28x28" in said


def newest(folder: Path, name: str, seed: int = 0) -> Run:
    found = [run for run in find(folder / "runs" / "digits" / "Linf" / name) if run.seed == seed]
    return max(found, key=lambda run: (run.folder / "train.json").stat().st_mtime)


def test_a_run_gives_each_seed_its_own(place: Path) -> None:
    """A rate of next to nothing leaves the weights where they began."""
    still = ["--lr", "1e-12"]
    ran(place, "train", "trades", "digits", "--seeds", "2", "--start", str(place / "madry"), *SHORT, *still)
    for seed in (0, 1):
        run = newest(place, "trades", seed)
        assert run.read("plan.json")["recipe"]["start"]["of"].startswith("digits/Linf/madry/")
        own, begun = (
            checkpoints.load(each.weights, DigitsCNN, torch.device("cpu"))
            for each in (run, Run(place / "madry" / f"seed-{seed}"))
        )
        for found, expected in zip(own.parameters(), begun.parameters(), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_what_weights_have_seen_is_known_of_runs(place: Path, tmp_path: Path) -> None:
    """Further images do not come clean by a second training."""
    write_run(tmp_path, Request(defense="trades", dataset="digits"), 0, 90, 50)
    (own,) = find(tmp_path)
    assert given("--start", str(own.folder)).identity.seen == "digits"
    assert given("--start", str(place / "madry")).identity.seen is None  # its name says it
    assert given("--start", str(own.weights)).identity.seen is None
    plan = own.read("plan.json")
    plan["recipe"]["start"] = {"kind": "GivenWeights", "of": "3f" * 32, "head": "kept"}
    own.write("plan.json", plan)
    assert given("--start", str(own.folder)).identity.seen == "other data"


def test_a_file_of_other_classes_gives_all_but_the_last_layer(place: Path) -> None:
    more = ["--start", "five.pt", "--set", "recipe.start.head=new", "--lr", "1e-12"]
    ran(place, "train", "trades", "digits", "--seeds", "1", *SHORT, *more)
    run = newest(place, "trades")
    assert run.read("plan.json")["recipe"]["start"] == {
        "kind": "GivenWeights", "of": sha256(place / "five.pt"), "head": "new"
    }  # fmt: skip
    assert run.read("provenance.json")["by_hand"]["recipe.start.head"] == "new"
    found, given = (torch.load(place / "five.pt") if at else checkpoints.load(run.weights, DigitsCNN, torch.device(
        "cpu")).state_dict() for at in (0, 1))  # fmt: skip
    torch.testing.assert_close(found["classifier.0.weight"], given["classifier.0.weight"], rtol=0, atol=1e-6)
    fresh = initialised(DigitsCNN, 0).state_dict()["classifier.2.weight"]
    torch.testing.assert_close(found["classifier.2.weight"], fresh, rtol=0, atol=1e-6)


@pytest.mark.parametrize("teacher", ["good.pt", "trades", "madry"])
def test_a_teacher_is_a_file_or_a_run(place: Path, teacher: str) -> None:
    """Also side by side; its forward passes are in the record."""
    more = ["--seeds", "2", "--together", "--teacher", teacher]
    ran(place, "train", "./teacher.py", "digits", *SHORT, *more)
    run = newest(place, "teacher", 1)
    known = run.read("plan.json")["recipe"]["teacher"]["of"]
    one = {"good.pt": place / "good.pt", "trades": place / "trades" / "seed-0" / "weights.safetensors"}.get(teacher)
    assert known == sha256(one) if one else known.startswith("digits/Linf/madry/")
    facts = run.read("train.json")
    assert facts["forward_equivalents"] == 2 + 2 * 3 + 1
    assert facts["arithmetic"]["together"] == "2"


def test_another_file_of_a_runs_folder_is_taken_as_it_is(place: Path) -> None:
    other = place / "madry" / "seed-1" / "other.pt"
    torch.save(initialised(DigitsCNN, 7).state_dict(), other)
    composed = compose(Request(defense=str(place / "teacher.py"), dataset="digits", teacher=str(other)))
    assert composed.teacher is not None
    expected = initialised(DigitsCNN, 7).state_dict()
    assert torch.equal(composed.teacher(0).state_dict()["classifier.0.weight"], expected["classifier.0.weight"])
    assert not any(parameter.requires_grad for parameter in composed.teacher(0).parameters())
    assert not composed.teacher(0).training


def test_a_plan_of_its_own_cannot_name_weights(place: Path) -> None:
    path = place / "begins.py"
    path.write_text(
        "from robench_fire.defenses.trades import DEFENSE, PAPER\n"
        "from robench_fire.problem.recipe import GivenWeights\n"
        "def matched(plan):\n    return plan.with_recipe(start=GivenWeights(of='abc'))\n"
    )
    said = ran(place, "show", str(path), "digits", code=3).stderr
    assert "recipe.start is what --start FILE|RUN names, and is not set in another way" in said


def test_a_row_says_what_was_given(place: Path, tmp_path: Path) -> None:
    given = {"start": str(place / "good.pt"), "teacher": str(place / "madry")}
    write_run(tmp_path, Request(defense=str(place / "teacher.py"), dataset="digits", **given), 0, 90, 50)
    (row,) = collect(tmp_path)
    began, learnt = row.footnotes()[1:3]
    assert began == f"Training began from given weights, {sha256(place / 'good.pt')[:12]} (SHA-256)."
    assert learnt.startswith("Learnt from a teacher, digits/Linf/madry/")
    assert learnt.endswith(", whose own training is not among the costs.")
