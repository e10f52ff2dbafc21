"""train: the folders, files and figures of `robench train`, resumed, and stopped without losing anything."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import ran
from own_images import class_folders

import robench_fire as rb
from robench_fire.files import sha256
from robench_fire.runs.folders import Run, find
from robench_fire.training import saving

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("brief_attacks")]
QUICK: dict[str, Any] = {"epochs": 1, "attacks": "pgd20", "examples": 20, "jobs": 1, "progress": False}


@pytest.fixture(scope="module")
def trained(brief_attacks: None, tmp_path_factory: pytest.TempPathFactory) -> rb.Runs:
    folder = tmp_path_factory.mktemp("trained")
    return rb.train("fire", "digits", seeds=2, set={"defense.lam": 6}, **{**QUICK, "output": folder})


def test_it_is_what_the_command_makes(trained: rb.Runs, tmp_path: Path) -> None:
    words = "train fire digits --seeds 2 --epochs 1 --set defense.lam=6 --attack pgd20 --examples 20 --jobs 1"
    ran(tmp_path, *words.split())
    made = find(tmp_path / "runs")
    assert [run.folder.relative_to(tmp_path / "runs") for run in made] == [
        path.relative_to(trained.folder.parents[3]) for path in trained
    ]
    for mine, its in zip(map(Run, trained), made, strict=True):
        assert sha256(mine.weights) == sha256(its.weights)
        (own,), (other,) = ([*run.folder.glob("eval.*.npy")] for run in (mine, its))
        assert own.name == other.name
        assert (np.load(own) == np.load(other)).all()
        assert mine.read("provenance.json")["by_hand"] == its.read("provenance.json")["by_hand"]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    again = rb.train("fire", "digits", seeds=2, set={"defense.lam": 6}, **{**QUICK, "output": tmp_path / "runs"})
    assert repr(again).partition(";")[0] == repr(trained).partition(";")[0]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")} == before


def test_runs_say_what_came_out(trained: rb.Runs) -> None:
    assert len(trained) == 2
    assert [path.name for path in trained] == ["seed-0", "seed-1"]
    assert trained.attack == "pgd20"
    assert trained.clean is not None
    assert trained.robust is not None
    found = trained.table()
    assert list(found["clean"]) == [trained.clean.mean]
    assert list(found["pgd20"]) == [trained.robust.mean]
    assert list(found["pgd20_std"]) == [trained.robust.std]
    assert f"clean {trained.clean}, robust {trained.robust} (pgd20)" in repr(trained)
    assert "FIRE on digits, Linf 0.2, 2 seeds, 20 images" in repr(trained)


def test_a_seed_is_a_model_whose_evaluation_is_the_runs(trained: rb.Runs) -> None:
    x, y = rb.load_images("digits", 20)
    assert (x.dtype, y.dtype, len(x)) == (torch.float32, torch.int64, 20)
    for seed, folder in zip(trained.seeds, trained, strict=True):
        model = trained.load(seed, device="cpu")
        assert not model.training
        assert not any(parameter.requires_grad for parameter in model.parameters())
        found = rb.evaluate(model, x, y, threat=rb.Linf("0.2"), attacks="pgd20", progress=False)
        (path,) = folder.glob("eval.*.npy")
        assert (np.stack([found.clean, found.robust]) == np.load(path)).all()


def test_files_are_models_too(trained: rb.Runs, tmp_path: Path) -> None:
    shutil.copy(Run(next(iter(trained))).weights, tmp_path / "mine.safetensors")
    x, _ = rb.load_images("digits", 3)
    model = rb.load(tmp_path / "mine.safetensors", dataset="digits", arch="digits-cnn")
    assert torch.equal(model(x), trained.load(0)(x))
    with pytest.raises(rb.RobenchError, match=r"mine.safetensors is a file: say its data set with dataset \(cifar10"):
        rb.load(tmp_path / "mine.safetensors")
    with pytest.raises(rb.RobenchError, match=r"holds 2 trained runs; name one, like .*seed-0"):
        rb.load(trained)
    with pytest.raises(rb.RobenchError, match="seed-7 does not exist"):
        trained.load(7)


def test_training_alone_and_then_its_evaluation(tmp_path: Path) -> None:
    alone = rb.train("madry", "digits", seeds=[3], **{**QUICK, "attacks": (), "output": tmp_path})
    assert (alone.clean, alone.robust, alone.attack) == (None, None, "")
    assert "not evaluated" in repr(alone)
    with pytest.raises(rb.RobenchError, match=r"no evaluated run in .*, but trained ones; attack them: `robench eval"):
        alone.table()
    both = rb.train("madry", "digits", seeds=[3], **{**QUICK, "attacks": ("standard",), "output": tmp_path})
    assert (both.folder, both.attack) == (alone.folder, "aa")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"defense": "fier"}, "unknown defense 'fier': did you mean fire"),
        ({"dataset": "cifar"}, "unknown data set 'cifar': did you mean"),
        ({"seeds": 0}, r"seeds 0: expected how many \(5\), or which"),
        ({"seeds": [-1]}, r"seeds \[-1\]: expected"),
        ({"seeds": "0,3"}, r"seeds 0,3: expected"),
        ({"epochs": 0}, "epochs 0: expected an integer of at least 1"),
        ({"profile": "shrt"}, "unknown profile 'shrt': did you mean short"),
        ({"attacks": "pdg20"}, "unknown attack 'pdg20': did you mean pgd20"),
        ({"attacks": "fgsm"}, "attacks fgsm: add pgd20 or aa, without which there is no row"),
        ({"examples": 0}, "examples 0: expected an integer of at least 1"),
        ({"set": {"defense.lamb": 6}}, "defense.lamb: unknown field of Fire 'lamb': did you mean lam"),
        ({"device": "gpu"}, "^device gpu: choose auto, cpu"),
        ({"eps": "much"}, "'much' is not a number; write it like 8/255"),
        ({"norm": "L1"}, "digits has no L1 recipe"),
        ({"hide_labels": True, "extra_data": "x.npz"}, "^extra_data and hide_labels: choose one source"),
        ({"start": "none.pt"}, "none.pt"),
        ({"jobs": -1}, "^jobs -1: 0, for as many as are useful, or more"),
        ({"save_every": "often"}, "^save_every 'often' is no duration; write it like 90s"),
    ],
)
def test_what_cannot_be_trained_is_said_before_anything_is(
    arguments: dict[str, Any], said: str, tmp_path: Path
) -> None:
    asked = {"defense": "fire", "dataset": "digits", "output": tmp_path / "runs", **QUICK, **arguments}
    with pytest.raises(rb.RobenchError, match=said):
        rb.train(**asked)
    assert not list(tmp_path.rglob("plan.json"))


def test_settings_are_python_values(tmp_path: Path) -> None:
    """Given as text or as a number, a value leads to the same folder; so does a radius written as text."""
    asked = {**QUICK, "attacks": (), "output": tmp_path, "seeds": 1}
    python, text = {"recipe.batch_size": 64, "recipe.augment.flip": False}, ("64", "false")
    one = rb.train("fire", "digits", eps="0.1", set=python, **asked)
    other = rb.train("fire", "digits", eps=0.1, set=dict(zip(python, text, strict=True)), **asked)
    assert one == other


def test_a_state_is_saved_as_often_as_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before every step, here."""
    written, write = [], saving.write
    monkeypatch.setattr(saving, "write", lambda path, plain: (written.append(path.name), write(path, plain)))
    (run,) = rb.train("madry", "digits", seeds=1, save_every="0s", **{**QUICK, "attacks": (), "output": tmp_path})
    assert len(written) > 5
    (session,) = Run(run).read("provenance.json")["sessions"]
    assert (session["deterministic"], session["threads"]) == (True, 1)


def test_ctrl_c_stops_and_the_same_call_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process goes on, with its own handler for Ctrl-C."""
    before = signal.getsignal(signal.SIGINT)
    asked = {**QUICK, "epochs": 4, "output": tmp_path, "seeds": [0]}
    write, said = Run.write_curve, "interrupted; what was finished is kept, the same call continues"

    def interrupted(run: Run, rows: Any) -> None:
        write(run, rows)
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "write_curve", interrupted)
        with pytest.raises(KeyboardInterrupt, match=said):
            rb.train("madry", "digits", **asked)
    assert signal.getsignal(signal.SIGINT) is before
    (run,) = find(tmp_path)
    assert not run.trained
    runs = rb.train("madry", "digits", **asked)
    assert run.trained
    assert len(run.read("provenance.json")["sessions"]) == 2
    assert runs.clean is not None


def test_images_and_networks_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same run as the command's."""
    monkeypatch.chdir(tmp_path)
    class_folders(tmp_path / "pictures", each=10)
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\ndef build(num_classes, width=8):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, num_classes))\n"
    )
    found = rb.train(
        "madry", "./pictures", eps="0.1", arch="./net.py:build", set={"arch.width": 16}, seeds=1, epochs=1,
        attacks="pgd20", progress=False,
    )  # fmt: skip
    words = "train madry ./pictures --eps 0.1 --arch ./net.py:build --set arch.width=16 --seeds 1 --epochs 1 --no-eval"
    ran(tmp_path, *words.split(), "--output", "others")
    (mine,), (others,) = found, find(tmp_path / "others")
    assert mine.parent.name == others.folder.parent.name
    assert (mine / "weights.safetensors").read_bytes() == others.weights.read_bytes()
    with pytest.raises(rb.RobenchError, match="data of your own have no usual radius: say eps"):
        rb.train("madry", "./pictures")
