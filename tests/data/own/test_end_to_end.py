"""From a folder of PNGs to a row of a table, and every command that meets such runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import ran
from own_images import arrays, class_folders, npz

BRIEF = "--epochs 1 --attack pgd20 --jobs 1".split()
TRAINED = "fire trades".split()


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with images of the user's own, and runs on them."""
    folder = tmp_path_factory.mktemp("own")
    class_folders(folder / "numbers", each=20, classes=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROBENCH_DATA", str(folder / "data"))
        for defense in TRAINED:
            ran(folder, "train", defense, "./numbers", "--eps", "0.2", "--seeds", "2", *BRIEF)
        shutil.rmtree(folder / "numbers")  # no run needs it any more
        yield folder


def plans(work: Path) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sorted(work.glob("runs/numbers/Linf/*/*/seed-0/plan.json"))]


def test_a_run_lies_where_its_name_says(work: Path) -> None:
    assert [plan["name"] for plan in plans(work)] == TRAINED
    for plan in plans(work):
        assert plan["dataset"] == "numbers"
        assert isinstance(plan["data"], dict)
        assert (plan["data"]["kind"], plan["data"]["shape"], plan["data"]["train"]) == ("OwnData", [1, 8, 8], 72)
        assert str(work) not in json.dumps(plan)


def test_eval_attacks_it_anew_and_table_has_its_row(work: Path) -> None:
    assert "Linf 0.1" in ran(work, "eval", "runs/numbers/Linf/fire", "--attack", "pgd20", "--eps", "0.1").stdout
    shown = ran(work, "table", "runs").stdout
    assert "numbers (" in shown
    assert "Linf, eps 0.2, 80 test images" in shown
    assert all(method in shown for method in ("FIRE", "TRADES"))


def test_a_checkpoint_is_evaluated_beside_it(work: Path) -> None:
    (weights,) = sorted(work.glob("runs/numbers/Linf/fire/*/seed-0/weights.safetensors"))
    shutil.copy(weights, work / "theirs.safetensors")
    class_folders(work / "numbers", each=20, classes=4)
    words = "eval theirs.safetensors --dataset ./numbers --arch digits-cnn --normalise dataset --attack pgd20"
    assert "say --eps" in ran(work, *words.split(), code=3).stderr
    ran(work, *words.split(), "--eps", "0.2")
    shown = ran(work, "table", "runs", "--with", "Theirs=theirs.safetensors").stdout
    assert shown.count("test images") == 1  # in one table
    assert "Theirs" in shown
    shutil.rmtree(work / "numbers")


@pytest.mark.parametrize(
    "command",
    ["transfer runs", "features runs/numbers/Linf/fire", "ls runs", "rm --yes copy", "report runs -o page.html",
     "compare runs fire trades", "plot curves runs -o curves.png"],
)  # fmt: skip
def test_commands_that_read_runs(command: str, work: Path) -> None:
    if "copy" in command:
        shutil.copytree(work / "runs", work / "copy")
    ran(work, *command.split())


def test_a_report_says_the_command_that_makes_it_again(work: Path) -> None:
    ran(work, "report", "runs", "-o", "again.html")
    page = (work / "again.html").read_text()
    assert "robench train fire ./numbers --seeds 0,1 --arch digits-cnn --eps 0.2" in page


def test_robustbench_has_no_place_for_it(work: Path) -> None:
    said = ran(work, "submit", "runs/numbers/Linf/fire", "-o", "bundle", code=2).stderr
    assert "RobustBench has no board for numbers Linf" in said


def test_what_is_prepared_is_listed(work: Path) -> None:
    listed = ran(work, "ls", "datasets", "--json").stdout
    (name,) = [each for each in json.loads(listed)["datasets"] if each.startswith("numbers (")]
    assert json.loads(listed)["datasets"][name].startswith("your own: 72 + 8 + 80 images")


def test_images_that_are_gone_are_named(work: Path) -> None:
    said = ran(work, "eval", "runs/numbers/Linf/fire", "--data-dir", "elsewhere", code=4).stderr
    assert "the images of numbers (" in said
    assert "run `robench data PATH --data-dir elsewhere`" in said


def test_a_folder_is_prepared_and_described(tmp_path: Path) -> None:
    class_folders(tmp_path / "letters", each=10, classes=2)
    (tmp_path / "letters" / "train" / "digit-1" / "000.png").write_bytes(b"none")
    shown = ran(tmp_path, "data", "./letters", "--data-dir", "data").stdout
    assert "letters: 2 classes of 1x8x8 images, prepared" in shown
    assert "digit-0" in shown
    ran(tmp_path, "data", "digits", "--resize", "32", code=2)


def test_show_says_where_values_come_from(tmp_path: Path) -> None:
    class_folders(tmp_path / "letters")
    shown = ran(tmp_path, "show", "fire", "./letters", "--eps", "4/255", "--data-dir", "data", "--json").stdout
    values = {each["path"]: each for each in json.loads(shown)["values"]}
    assert values["recipe.arch"] == {
        "path": "recipe.arch",
        "value": "digits-cnn",
        "source": "own data (docs/own-data.md)",
    }
    assert values["threat.eps"]["source"] == "--eps"
    said = ran(tmp_path, "show", "fire", "./letters", "--data-dir", "none", code=3).stderr
    assert "data of your own have no usual radius: say --eps" in said
    ran(tmp_path, "show", "fier", "./letters", "--eps", "0.2", "--data-dir", "none", code=2)
    assert not (tmp_path / "none").exists()  # before anything is read
    said = ran(tmp_path, "show", "fire", "./letters", "--eps", "0.2", "--set", "data.name=1", code=3).stderr
    assert "`robench show fire ./letters --eps 0.2` lists them all" in said


def test_two_classes_are_trained_and_attacked(tmp_path: Path) -> None:
    path = npz(tmp_path, "two.npz", **arrays(each=10, classes=2))
    words = ["train", "madry", path, "--eps", "0.1", "--seed", "0", "--data-dir", "data"]
    assert "two (" in ran(tmp_path, *words, *BRIEF).stdout
    ran(tmp_path, *words, *BRIEF, "--norm", "L2")


def test_other_images_of_the_same_name_are_another_table(tmp_path: Path) -> None:
    for each in (10, 12):
        npz(tmp_path, **{**arrays(each=each), **{name: arrays()[name] for name in ("x_test", "y_test")}})
        ran(tmp_path, "train", "fire", "numbers.npz", "--eps", "0.2", "--seed", "0", "--data-dir", "data", *BRIEF)
    assert ran(tmp_path, "table", "runs").stdout.count("Linf, eps 0.2, 12 test images") == 2
    assert "holds runs of several data sets" in ran(tmp_path, "eval", "runs", code=2).stderr
    assert "holds runs of several kinds (numbers (" in ran(tmp_path, "transfer", "runs", code=2).stderr
