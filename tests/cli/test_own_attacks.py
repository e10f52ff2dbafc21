"""`robench eval --attack ./attack.py:name` and several norms: files, the worst case, tables, boards."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import ran
from masked_models import taught
from own_attacks import CLIMB, written
from safetensors.torch import save_file
from written_runs import write_run

from robench_fire.devices import workers
from robench_fire.evaluation import resumable
from robench_fire.files import sha256
from robench_fire.runs.compose import Request
from robench_fire.runs.folders import Run, read_json

FEW = ("--examples", "30", "--jobs", "1")
RUN = "runs/digits/Linf/madry"
pytestmark = pytest.mark.usefixtures("brief_attacks")


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory, brief_attacks: None) -> Path:
    """A folder with two trained seeds after AutoAttack, and an attack."""
    folder = tmp_path_factory.mktemp("attacked")
    for seed in (0, 1):
        run = write_run(folder / "runs", Request(defense="madry", dataset="digits"), seed, 90.0, None)
        save_file(taught(seed).state_dict(), run.weights)
        run.write("train.json", {"seconds": 1.0, "weights_sha256": sha256(run.weights)})
    written(folder)
    ran(folder, "eval", "runs", "--attack", "aa", *FEW)
    return folder


@pytest.fixture
def here(attacked: Path, tmp_path: Path) -> Path:
    shutil.copytree(attacked, tmp_path / "here")
    return tmp_path / "here"


def seed_of(folder: Path, seed: int) -> Run:
    (run,) = (folder / RUN).glob(f"*/seed-{seed}")
    return Run(run)


def robust(run: Run, name: str) -> np.ndarray:
    (path,) = run.folder.glob(f"eval.{name}*.npy")
    return np.load(path)[1]  # type: ignore[no-any-return]


def test_it_counts_into_the_worst_case_everywhere(here: Path) -> None:
    told = ran(here, "eval", "runs", "--attack", "aa,./attack.py:climb,./attack.py:far", *FEW).stdout
    assert "Worst case" in told
    assert re.search(
        r"attack.py:far Linf 0.2: of \d+ perturbed images \d+ leave the ball \(the longest .* is 0.4\)", told
    )
    run = seed_of(here, 0)
    (stored,) = run.folder.glob("eval.attack-climb@*.json")
    facts = read_json(stored)
    assert facts["attack_sha256"] == sha256(here / "attack.py")
    assert (facts["attack_function"], stored.name) == ("attack.py:climb", f"eval.{facts['name']}.json")
    assert stored.with_suffix(".log").exists()
    together = robust(run, "aa-") & robust(run, "attack-climb@")
    listed = json.loads(ran(here, "eval", "runs", "--attack", "aa", "--json", *FEW).stdout)
    (first, _) = listed["worst_case"]
    assert first["robust"] == 100 * together.mean()
    assert [name[:14] for name in first["attacks"]] == ["aa", "attack.py:clim", "attack.py:far "]
    (row,) = json.loads(ran(here, "table", "runs", "-f", "json").stdout)["rows"]
    worst = row["robench_fire"]["worst_case"]
    assert worst["robust"]["0"] == 100 * together.mean()
    assert [*worst["sha256"].values()] == [sha256(here / "attack.py")] * 2
    table = ran(here, "table", "runs").stdout
    assert re.search(
        r"Worst case of AutoAttack, attack.py:climb \([0-9a-f]{8}\), attack.py:far .*: .* by itself,", table
    )
    ran(here, "table", "runs", "--publish", "board")
    assert "Worst case" in ran(here, "table", "board").stdout
    ran(here, "verify", "board")
    disagree = ran(here, "verify", "runs", "--recompute", "5", code=7).stderr.splitlines()[-2:]
    assert all("train.json" in line for line in disagree)  # which is not of a training
    (board,) = (here / "board").rglob("*.json")
    plain = json.loads(board.read_text())
    del plain["robench_fire"]["seal"]
    plain["robench_fire"]["worst_case"]["robust"]["0"] += 10
    board.write_text(json.dumps(plain))
    assert "was changed by hand" in ran(here, "table", "board", code=4).stderr


def test_what_breaks_more_than_autoattack_makes_its_verdict_unreliable(here: Path) -> None:
    """Whose stored mask says that it left everything: nothing that was computed is so weak."""
    run = seed_of(here, 0)
    (stored,) = run.folder.glob("eval.aa-*.json")
    facts, masks = read_json(stored), np.load(stored.with_suffix(".npy"))
    assert facts["reliability"]["verdict"] == "reliable"
    masks[1] = masks[0]
    np.save(stored.with_suffix(".npy"), masks)
    run.write(stored.name, facts | {"robust": facts["clean"], "masks_sha256": sha256(stored.with_suffix(".npy"))})
    told = ran(here, "eval", str(run.folder), "--attack", "aa,./attack.py:climb", *FEW).stdout
    reason = r"attack.py:climb \([0-9a-f]{8}\) broke \d+ of 30 images that AutoAttack left"
    assert re.search(reason, told)
    assert read_json(stored)["reliability"]["verdict"] == "unreliable"
    ran(here, "eval", str(run.folder), "--attack", "aa", "--strict", *FEW, code=6)
    table = ran(here, "table", "runs").stdout
    assert re.search(rf"Unreliable, seed 0: {reason}", table)
    assert re.search(r"attack.py:climb \([0-9a-f]{8}\) was run on seed 0 only, and is in no worst case", table)
    ran(here, "eval", "runs", "--attack", "./attack.py:climb", *FEW)
    (row,) = json.loads(ran(here, "table", "runs", "-f", "json").stdout)["rows"]
    assert float(row["external"]) < float(row["autoattack_acc"])
    assert row["unreliable"] is True


def test_a_checkpoint_has_its_worst_case(here: Path) -> None:
    shutil.copy(seed_of(here, 0).weights, here / "mine.safetensors")
    file = ("mine.safetensors", "--dataset", "digits", "--arch", "digits-cnn")
    ran(here, "eval", *file, "--attack", "aa,./attack.py:climb", *FEW)
    for table in (("mine.safetensors",), ("--with", "Both=mine.safetensors", "runs")):
        assert "Worst case of AutoAttack, attack.py:climb" in ran(here, "table", *table).stdout


@pytest.mark.slow
@pytest.mark.usefixtures("forked_workers")
def test_shards_and_processes_give_the_same_masks(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ("--attack", "./attack.py:climb", "--examples", "30", "-b", "10")
    run = seed_of(here, 0)
    ran(here, "eval", str(run.folder), *asked, "--jobs", "1")
    whole = robust(run, "attack-climb@")
    for path in run.folder.glob("eval.attack-climb@*"):
        path.unlink()
    for index in (1, 2):
        ran(here, "eval", str(run.folder), *asked, "--jobs", "1", "--shard", f"{index}/2")
    ran(here, "eval", str(run.folder), *asked, "--merge")
    assert (robust(run, "attack-climb@") == whole).all()
    for path in run.folder.glob("eval.attack-climb@*"):
        path.unlink() if path.is_file() else shutil.rmtree(path)
    monkeypatch.setattr(workers, "cores", lambda: 2)
    monkeypatch.delattr(resumable, "here")
    ran(here, "eval", str(run.folder), *asked, "--jobs", "2")
    assert (robust(run, "attack-climb@") == whole).all()


def test_a_run_folder_executes_nothing(here: Path) -> None:
    ran(here, "eval", "runs", "--attack", "./attack.py:climb", *FEW)
    trap = CLIMB + "\nraise SystemExit('executed')\n"
    for folder in (here, *(seed_of(here, seed).folder for seed in (0, 1))):
        written(folder, trap)
    told = ran(here, "eval", "runs", "--attack", "aa", *FEW).stdout
    assert "Worst case" in told
    for words in (("table", "runs"), ("verify", "runs"), ("ls", "runs")):
        ran(here, *words, code=7 if words[0] == "verify" else 0)
    assert "cannot be imported" in ran(here, "eval", "runs", "--attack", "./attack.py:climb", *FEW, code=3).stderr


def test_changed_code_is_another_attack(here: Path) -> None:
    folder = seed_of(here, 0).folder
    for text in (CLIMB, CLIMB + "\n# changed\n"):
        written(here, text)
        ran(here, "eval", str(folder), "--attack", "./attack.py:climb", *FEW)
    assert len(list(folder.glob("eval.attack-climb@*.json"))) == 2


def test_an_attack_on_other_images_than_autoattacks_hears_that_it_is_alone(here: Path) -> None:
    told = ran(here, "eval", "runs", "--attack", "./attack.py:climb", "--examples", "10", "--jobs", "1").stdout
    assert re.search(r"all of attack.py:climb \(\w+\); no other attack was run on these images \(--examples", told)


def test_several_norms_have_their_union(here: Path) -> None:
    asked = ("--attack", "pgd20", "--norm", "Linf,L2", "--eps", "0.1,0.5", *FEW)
    listed = json.loads(ran(here, "eval", "runs", *asked, "--json").stdout)
    run = seed_of(here, 0)
    both = robust(run, "pgd20-Linf-0.1-") & robust(run, "pgd20-L2-0.5-")
    assert listed["union"][0]["robust"] == 100 * both.mean()
    assert listed["union"][0]["threats"] == [["Linf", "0.1"], ["L2", "0.5"]]
    assert "Union: correct under all of pgd20, under each norm." in ran(here, "eval", "runs", *asked).stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("eval runs --attack ./attack.py", 3, r"--attack ./attack.py: an attack of your own is FILE.py:FUNCTION"),
        ("eval runs --attack ./attack.py:clim", 3, "unknown function 'clim': did you mean climb"),
        ("eval runs --attack aa,./other.py:climb", 3, "--attack ./other.py: no such file; an attack of your own"),
        ("eval runs --attack apgd", 2, "unknown attack 'apgd'"),
        ("eval runs --norm Linf,L2 --eps 0.1", 2, "--norm Linf,L2 needs 2 radii in --eps, in that order"),
        ("eval runs --norm Linf,L3 --eps 0.1,0.2", 2, "choose Linf or L2, or Linf,L2"),
        ("train fire digits --attack ./attack.py:climb", 2, "an attack of your own is for `robench eval`"),
    ],
)
def test_what_cannot_be_asked_is_one_line(words: str, code: int, said: str, attacked: Path) -> None:
    told = ran(attacked, *words.split(), code=code).stderr
    assert re.search(said, told)
    assert len(told.strip().splitlines()) == 1
