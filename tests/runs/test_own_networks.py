"""Runs of a user's own networks: plans, training, evaluation, tables, and code that changes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import ran
from own_networks import BASE, NET, written
from plans import plan, source

from robench_fire.boards.rows import collect
from robench_fire.errors import OWN_FILE, RecipeError, UsageError
from robench_fire.files import sha256
from robench_fire.launching.bench import check_given
from robench_fire.launching.seed import begun_otherwise
from robench_fire.models.own import code
from robench_fire.problem.plan import fingerprint
from robench_fire.reports.words import command
from robench_fire.runs.compose import Request, compose, pinned
from robench_fire.runs.differences import by_hand
from robench_fire.runs.folders import find
from robench_fire.runs.grid import axes, grid

SHORT = ("--epochs", "1", "--examples", "20", "--jobs", "1")


def asked(path: Path, call: str = "build", *, width: str = "") -> Request:
    settings = (("--set", "arch.width", width),) if width else ()
    return Request(defense="fire", dataset="digits", arch=f"{path}:{call}", settings=settings)


def test_another_code_or_argument_is_another_plan_and_another_folder_is_not(tmp_path: Path) -> None:
    net, same = written(tmp_path), written(tmp_path / "elsewhere")
    first = fingerprint(compose(asked(net)).plan)
    assert fingerprint(compose(asked(same)).plan) == first
    assert fingerprint(compose(asked(net, width="16")).plan) != first
    assert fingerprint(compose(asked(net, "build(width=16)")).plan) == fingerprint(compose(asked(net, width="16")).plan)
    written(tmp_path, NET + "\n# changed\n")
    assert fingerprint(compose(asked(net)).plan) != first


def test_plans_of_bundled_networks_are_as_they_were() -> None:
    assert [fingerprint(plan("fire", each)) for each in ("digits", "cifar10")] == ["794cf405284e", "906b2b46a2bb"]


def test_arguments_are_no_settings_by_hand(tmp_path: Path) -> None:
    request = asked(written(tmp_path), width="16")
    assert by_hand(request) == {}
    assert source(compose(request), "recipe.arch") == "--arch"


def test_an_architecture_that_is_set_is_named_as_well(tmp_path: Path) -> None:
    net = written(tmp_path)
    request = Request(defense="fire", dataset="digits", settings=(("--set", "recipe.arch", f"{net}:build"),))
    assert fingerprint(compose(request).plan) == fingerprint(compose(asked(net)).plan)


def test_a_worker_refuses_code_that_changed_after_the_command_began(tmp_path: Path) -> None:
    net = written(tmp_path)
    request = asked(net, width="16")
    sent = pinned(request, compose(request).plan)
    assert compose(sent).plan == compose(request).plan
    written(tmp_path, NET + "\n# changed\n")
    with pytest.raises(RecipeError, match=r"net\.py has changed since this command began"):
        compose(sent)


def test_its_arguments_are_swept(tmp_path: Path) -> None:
    request = asked(written(tmp_path))
    points = grid([request], axes(["arch.width=4,8", "defense.lam=1,2"]))
    assert [point.values for point in points] == [
        {"arch.width": width, "defense.lam": lam} for width in (4, 8) for lam in (1.0, 2.0)
    ]
    assert len({fingerprint(point.composed.plan) for point in points}) == 4
    with pytest.raises(UsageError, match="4 and 04 are one value"):
        grid([request], axes(["arch.width=4,04"]))
    with pytest.raises(UsageError, match=r"unknown setting 'arch\.depth'"):
        grid([request], axes(["arch.depth=4,8"]))


def test_machines_that_do_not_have_the_file_are_not_asked(tmp_path: Path) -> None:
    composed = compose(asked(written(tmp_path)))
    check_given([composed], [0])
    with pytest.raises(UsageError, match="is code of this machine, which others do not see"):
        check_given([composed], [0], elsewhere=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with net.py and a seed of it, trained for an epoch, attacked on 20 images."""
    folder = tmp_path_factory.mktemp("own")
    written(folder, f"{NET}\n# {folder}\n")
    ran(folder, "train", "fire", "digits", "--arch", "./net.py:build", "--set", "arch.width=4", "--seed", "0", *SHORT)
    return folder


def test_from_a_file_to_a_row(trained: Path) -> None:
    (run,) = find(trained / "runs")
    digest = sha256(trained / "net.py")
    assert run.read("plan.json")["recipe"]["arch"] == f"net.py@{digest[:12]}:build(width=4)"
    assert run.read("provenance.json")["network"] == {
        "path": str(trained / "net.py"), "sha256": digest, "files": "net.py",
    }  # fmt: skip
    assert sha256(run.folder / "net.py") == digest
    table = json.loads(ran(trained, "table", "--json").stdout)
    assert [row["architecture"] for row in table["rows"]] == ["build(width=4)"]
    (row,) = collect(trained / "runs")
    assert "--arch './net.py:build(width=4)'" in command(row)


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in another process: no code has been executed yet."""
    monkeypatch.setattr(code, "_executed", {})
    for name in [name for name in sys.modules if name.startswith(f"{OWN_FILE}net_")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.usefixtures("forgotten")
def test_a_run_is_evaluated_by_the_code_that_it_was_trained_with(trained: Path) -> None:
    (run,) = find(trained / "runs")
    few = ("--attack", "pgd20", "--examples", "10")
    before = (trained / "net.py").read_text(encoding="utf-8")
    try:
        written(trained, before + "# changed\n")
        refused = ran(trained, "eval", "runs", *few, code=3).stderr
        copy = f"{run.folder.relative_to(trained)}/net.py:build(width=4)"
        assert f"say --arch '{copy}'" in refused
        other = ran(trained, "eval", "runs", *few, "--arch", "./net.py:build", code=2).stderr
        assert "was trained with net.py@" in other
        assert "10 test images" in ran(trained, "eval", "runs", *few, "--arch", copy).stdout
    finally:
        written(trained, before)


def test_its_weights_alone_are_evaluated_too(trained: Path) -> None:
    (run,) = find(trained / "runs")
    (trained / "mine.safetensors").write_bytes(run.weights.read_bytes())
    few = ("--dataset", "digits", "--attack", "pgd20", "--examples", "10", "--json")
    found = ran(trained, "eval", "mine.safetensors", "--arch", "./net.py:build(width=4)", *few).stdout
    assert json.loads(found)["evaluations"][0]["arch"] == run.read("plan.json")["recipe"]["arch"]
    misfit = ran(trained, "eval", "mine.safetensors", "--arch", "./net.py:build", *few, code=4).stderr
    assert "0.weight is (4, 1, 3, 3), not (8, 1, 3, 3)" in misfit


def test_an_unfinished_run_of_other_code_is_left_and_said(tmp_path: Path) -> None:
    net = written(tmp_path, f"{NET}\n# {tmp_path}\n")
    words = ("train", "fire", "digits", "--epochs", "1", "--seed", "0", "--no-eval", "--arch")
    ran(tmp_path, *words, "./net.py:build")
    (run,) = find(tmp_path / "runs")
    (run.folder / "train.json").unlink()
    before = replace(asked(net), epochs=1)
    assert begun_otherwise(compose(before), tmp_path / "runs") == []
    written(tmp_path, NET + "# changed\n")
    (said,) = begun_otherwise(compose(before), tmp_path / "runs")
    assert "was begun with other code of net.py and is not continued" in said
    continued = ran(tmp_path, *words, f"{run.folder}/net.py:build").stderr
    assert "begun with other code" not in continued
    assert (run.folder / "train.json").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("forked_workers")
def test_workers_find_the_file(tmp_path: Path) -> None:
    written(tmp_path, NET)
    arch = ("--arch", "./net.py:build(width=4)")
    ran(tmp_path, "train", "fire", "digits", *arch, "--seeds", "2", "--epochs", "1", "--no-eval", "--jobs", "2")
    few = ("--attack", "pgd20", "--examples", "20", "-b", "10", "--jobs", "2")
    assert "20 test images" in ran(tmp_path, "eval", "runs", *few).stdout


def test_seeds_are_trained_together_or_the_reason_is_said(tmp_path: Path) -> None:
    branch = "class Branch(Base):\n    def forward(self, x):\n        out = super().forward(x)\n"
    written(tmp_path, BASE + branch + "        return out if out.sum() > 0 else -out\n")
    words = ("train", "fire", "digits", "--seeds", "2", "--epochs", "1", "--no-eval", "--together")
    assert "torch.func.vmap" in ran(tmp_path, *words, "--arch", "./net.py:Branch", code=3).stderr
    ran(tmp_path, *words, "--arch", "./net.py:Base", "--jobs", "1")
    assert len(find(tmp_path / "runs")) == 2


@pytest.mark.slow
def test_it_is_profiled(tmp_path: Path) -> None:
    written(tmp_path)
    found = json.loads(ran(tmp_path, "profile", "fire", "digits", "--arch", "./net.py:build", "--json").stdout)
    assert found["arch"].startswith("net.py@")


def test_robustbench_would_need_its_class(trained: Path) -> None:
    said = ran(trained, "submit", "runs", code=4).stderr
    assert "build(width=4) of net.py is a network of your own, which cannot be bundled" in said
    assert "robustbench/model_zoo/architectures" in said
