"""End to end on real digits, as a user runs it: train, attack, tabulate, interrupt, continue."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from command_line import ran
from processes import forked

from robench_fire.boards.rows import collect
from robench_fire.evaluation.evaluator import Evaluations
from robench_fire.launching.bench import _remarks
from robench_fire.runs.compose import Request, compose
from robench_fire.runs.folders import Run, find

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def benched(brief_attacks: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder after a small real bench with AutoAttack, and what it printed."""
    folder = tmp_path_factory.mktemp("bench")
    words = "bench digits --defenses fire,rst_adv --seeds 2 --epochs 4 --examples 12 --jobs 1"
    return folder, ran(folder, *words.split()).stdout


def test_bench_prints_a_row_for_each_defense(benched: tuple[Path, str]) -> None:
    folder, out = benched
    assert "digits, Linf, eps 0.2, 12 test images" in out
    rows = {row.plan["name"]: row for row in collect(folder / "runs")}
    assert set(rows) == {"fire", "rst_adv"}
    for row in rows.values():
        assert row.attack == "aa"
        assert sorted(row.per_seed) == [0, 1]
        assert row.over_seeds("clean").mean > 30
        assert 0 <= row.over_seeds("robust").mean <= row.over_seeds("clean").mean
        assert "2 of 5 seeds." in row.footnotes()
    assert any("labels of 50% of the training images were hidden" in note for note in rows["rst_adv"].footnotes())


def test_run_folder_holds_what_a_stranger_needs(benched: tuple[Path, str]) -> None:
    for run in find(benched[0] / "runs"):
        plan, provenance, training = (run.read(f"{name}.json") for name in ("plan", "provenance", "train"))
        assert plan["recipe"]["attack"] == {"kind": "Pgd", "steps": 10, "step": "0.05", "start": "gaussian"}
        assert [bool(session["versions"]["torch"]) for session in provenance["sessions"]] == [True]
        assert provenance["by_hand"]["recipe.epochs"] == plan["recipe"]["epochs"]
        assert training["seconds"] > 0
        sections = {"warm_up", "data", "attack", "update", "optimiser", "gaps", "validation"}
        assert set(training["sections"]) == sections
        assert training["forward_equivalents"] == 27
        assert training["flops"] == 2145024 * training["images"]
        assert training["mfu"] > 0
        assert training["energy_joules"] is None
        curve = (run.folder / "curve.jsonl").read_text().splitlines()
        assert len(curve) == plan["recipe"]["epochs"] == (8 if plan["name"] == "rst_adv" else 4)
        assert not (run.folder / "state.pt").exists()
        for evaluation in run.evaluations():
            clean, robust = np.load(run.folder / f"eval.{evaluation['name']}.npy")
            assert clean.dtype == bool
            assert len(clean) == 12
            assert not (robust & ~clean).any()
            assert evaluation["clean"] == pytest.approx(100 * clean.mean())
            assert evaluation["robust"] == pytest.approx(100 * robust.mean())
        if plan["name"] == "rst_adv":
            assert training["labeller"]["accuracy"] > 50
            assert training["labeller"]["flops"] == 231168 * 8 * 699
            assert training["extra_images"] == 698


def test_the_same_command_again_does_nothing(benched: tuple[Path, str]) -> None:
    folder, out = benched
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.suffix in (".safetensors", ".npy")}
    again = ran(folder, *"bench digits --defenses fire,rst_adv --seeds 2 --epochs 4 --examples 12 --jobs 1".split())
    assert again.stdout == out
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_seed_whose_weights_are_elsewhere_is_tabulated_and_not_trained_again(
    benched: tuple[Path, str], tmp_path: Path
) -> None:
    shutil.copytree(benched[0] / "runs", tmp_path / "runs")
    before = ran(tmp_path, "table", "--json").stdout
    (weights,) = tmp_path.glob("runs/digits/Linf/fire/*/seed-1/weights.safetensors")
    weights.unlink()
    assert ran(tmp_path, "table", "--json").stdout == before
    train = "train fire digits --seeds 2 --epochs 4 --examples 12 --jobs 1"
    for command in (train, "eval runs/digits/Linf/fire --examples 12", "transfer runs/digits/Linf --examples 12"):
        said = ran(tmp_path, *command.split(), code=4).stderr
        assert "seed-1/weights.safetensors is not here: bring it back" in said
    assert ran(tmp_path, "table", "--json").stdout == before


def test_more_seeds_extend_the_row(benched: tuple[Path, str]) -> None:
    folder, _ = benched
    ran(folder, *"train fire digits --seeds 3 --epochs 1 --examples 20 --attack pgd20 --output more --jobs 1".split())
    (row,) = collect(folder / "more")
    assert row.attack == "pgd20"
    ran(folder, *"train fire digits --seeds 0,2 --epochs 1 --examples 10 --output more --jobs 1".split())
    (row,) = collect(folder / "more")
    assert (row.attack, sorted(row.per_seed), row.unfinished) == ("aa", [0, 2], (1,))


def test_eval_of_a_run_and_of_its_file_agree(benched: tuple[Path, str]) -> None:
    folder, _ = benched
    run = find(folder / "runs" / "digits" / "Linf" / "fire")[0]
    options = "--attack pgd20 --examples 30 --eps 1/10 --json".split()
    own = json.loads(ran(folder, "eval", str(run.folder), *options).stdout)["evaluations"]
    described = "--dataset digits --arch digits-cnn".split()
    copy = folder / "copy.safetensors"
    copy.write_bytes(run.weights.read_bytes())
    other = json.loads(ran(folder, "eval", str(copy), *described, *options).stdout)["evaluations"]
    assert [own[0][key] for key in ("clean", "robust", "eps")] == [other[0][key] for key in ("clean", "robust", "eps")]
    assert (run.folder / "eval.pgd20-Linf-1_10-30.npy").exists()
    assert (folder / "copy.safetensors.eval.pgd20-Linf-1_10-30.json").exists()
    wrong = ran(folder, "eval", str(copy), "--dataset", "mnist", "--arch", "small-cnn", code=4)
    assert "is missing; run `robench data mnist`" in wrong.stderr or "does not fit" in wrong.stderr


def test_a_mistake_in_eval_is_found_before_anything_is_read(benched: tuple[Path, str]) -> None:
    folder, _ = benched
    run = str(find(folder / "runs")[0].folder)
    assert "eps 8 is outside [0, 1]" in ran(folder, "eval", run, "--eps", "8", code=2).stderr
    assert "needs --eps" in ran(folder, "eval", run, "--norm", "L2", code=2).stderr


def test_table_and_board(benched: tuple[Path, str]) -> None:
    folder, out = benched
    table = ran(folder, "table", "--publish", "board")
    assert table.stdout == out
    markdown = ran(folder, "table", "board", "--format", "md").stdout
    assert re.search(r"\| FIRE \[[\d,]+\] \| DigitsCNN \|", markdown)
    assert ran(folder, "table", "--format", "md").stdout == markdown


def test_a_training_at_another_radius_is_evaluated_at_both(tmp_path: Path) -> None:
    words = "train fire digits --seeds 1 --epochs 2 --examples 8 --set threat.eps=0.1 --jobs 1".split()
    said = ran(tmp_path, *words)
    (row,) = collect(tmp_path)
    there = {str(run.seed): run.read("eval.aa-Linf-0.1-8.json")["robust"] for run in find(tmp_path)}
    assert (row.eps, row.attack, row.facts["at_training_radius"]) == ("0.2", "aa", there)
    assert all(there[str(seed)] >= values["robust"] for seed, values in row.per_seed.items())
    assert any(note.startswith("Trained at eps 0.1, where AutoAttack leaves ") for note in row.footnotes())
    assert "where AutoAttack leaves" in " ".join(said.stdout.split())
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    assert len(before) == 2 * 2  # radii, attacks
    assert ran(tmp_path, *words).stdout == said.stdout
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    claimed = ran(tmp_path, *"table --eps 0.1 --format md".split()).stdout
    assert "digits, Linf, eps 0.1, 8 test images" in claimed
    assert "Trained at" not in claimed


def test_divergence_is_exit_5_and_says_where(tmp_path: Path) -> None:
    said = ran(tmp_path, *"train trades digits --seeds 2 --epochs 2 --lr 1e30 --jobs 1".split(), code=5)
    assert "2 of 2 runs failed; trades seed 0: the loss is not finite at step" in said.stderr
    assert "Traceback" not in said.stderr


LONG = "train fire_sa digits --seeds 1 --epochs 8 --set recipe.attack.steps=4 --no-eval".split()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("uninterrupted")
    ran(folder, *LONG)
    return find(folder)[0]


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 75), (signal.SIGKILL, -9)])
def test_interrupted_training_continues_to_the_same_weights(
    tmp_path: Path, uninterrupted: Run, signum: int, code: int
) -> None:
    with forked(tmp_path, *LONG) as command:
        command.wait_for(lambda: list(tmp_path.rglob("curve.jsonl")))
        command.send(signum)
        assert command.wait(60) == code
        assert "Traceback" not in command.stderr
    (run,) = find(tmp_path)
    done = len((run.folder / "curve.jsonl").read_text().splitlines())
    assert 1 <= done < 8
    ran(tmp_path, *LONG)
    assert len(run.read("provenance.json")["sessions"]) == 2
    assert len((run.folder / "curve.jsonl").read_text().splitlines()) == 8
    assert {path.name for path in run.folder.iterdir()} == {
        ".lock", "plan.json", "provenance.json", "curve.jsonl", "weights.safetensors", "train.json",
    }  # fmt: skip
    assert run.weights.read_bytes() == uninterrupted.weights.read_bytes()


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    """As is a second command of this one."""
    words = "train fire digits --seeds 1 --epochs 1 --no-eval".split()
    ran(tmp_path, *words)
    (run,) = find(tmp_path)
    (run.folder / "train.json").unlink()
    with run.locked():
        said = ran(tmp_path, *words, code=2)
    assert "in use by another process" in said.stderr


def test_extra_data_is_mixed_in_and_identified(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (60, 8, 8, 1), np.uint8), random.integers(0, 10, 60)
    np.savez(tmp_path / "extra.npz", image=images, label=labels)
    words = "train fire digits --seeds 1 --epochs 1 --attack pgd20 --extra-data extra.npz".split()
    ran(tmp_path, *words)
    (row,) = collect(tmp_path)
    assert row.extra == "file"
    assert row.plan["recipe"]["epochs"] == 2
    assert any("Not the matched recipe: recipe.epochs 2" in note for note in row.footnotes())
    assert "Extra data: 60 generated images of a file, 70% of each batch." in row.footnotes()
    (run,) = find(tmp_path)
    assert run.read("train.json")["extra_images"] == 60


def test_a_pickle_that_would_run_code_does_not(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, ("touch executed",)

    (tmp_path / "evil.pickle").write_bytes(pickle.dumps({"data": Evil()}))
    said = ran(tmp_path, *"train fire digits --seeds 1 --extra-data evil.pickle".split(), code=4)
    assert "refused" in said.stderr
    assert not (tmp_path / "executed").exists()
    assert not find(tmp_path)


@pytest.mark.usefixtures("forked_workers")
def test_a_users_own_defense_file_in_worker_processes(tmp_path: Path) -> None:
    """The bench of one process at a time finds nothing left to do."""
    (tmp_path / "mine.py").write_text(
        "from dataclasses import replace\n"
        "from robench_fire.defenses.trades import DEFENSE as TRADES, PAPER\n"
        "DEFENSE = replace(TRADES, beta=3.0)\n"
    )
    words = "bench digits --defenses ./mine.py,fire --seeds 1 --epochs 1 --examples 4 --jobs".split()
    said = ran(tmp_path, *words, "2").stdout
    rows = {row.plan["name"]: row for row in collect(tmp_path)}
    assert set(rows) == {"mine", "fire"}
    assert rows["mine"].plan["defense"]["beta"] == 3.0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.suffix in (".safetensors", ".npy")}
    assert len(before) == 2 * 4  # weights, two attacks' masks, the images that broke the model
    assert ran(tmp_path, *words, "1").stdout == said
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_epochs_that_a_method_sets_itself_are_said() -> None:
    asked = [Request(defense=name, dataset="digits", epochs=8) for name in ("fire", "free")]
    assert _remarks(asked, [compose(each) for each in asked], Evaluations(), Path()) == [
        "epochs of methods that set their own, not --epochs: free 1"
    ]
