"""A training that ends within an epoch goes on with the next step: bit for bit what it would have been."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from devices import CPU
from needs import NEEDS
from needs import problem as need
from torch import Tensor, nn
from trainings import RECIPE, problem

from robench_fire import stopping
from robench_fire.errors import DataError, DivergedError
from robench_fire.models.small_cnns import DigitsCNN
from robench_fire.problem.dataset import Splits
from robench_fire.problem.recipe import Cyclic, OneCycle
from robench_fire.problem.registry import names
from robench_fire.training import saving
from robench_fire.training.engine import Trained, train, train_together
from robench_fire.training.setup import Problem


class Killed(Exception):
    """Stands for a kill after a step."""


def killed_after(step: int) -> Callable[[int, int, str], None]:
    """A listener of the training's progress that ends it; the last save was made before that step."""

    def progress(done: int, total: int, note: str) -> None:
        if done == step:
            raise Killed

    return progress


def cut(given: Problem, file: Path, step: int, build: Callable[[], nn.Module] = DigitsCNN) -> None:
    with pytest.raises(Killed):
        train(build, given, seed=0, device=CPU, state_file=file, progress=killed_after(step), save_every=0)


def facts(found: Trained) -> tuple[dict[str, list[float]], list[dict[str, float]]]:
    """Everything but times."""
    curve = [{name: value for name, value in row.items() if name != "seconds"} for row in found.curve]
    return {name: value.flatten().tolist() for name, value in found.weights.items()}, curve


def check(given: Problem, folder: Path, steps: tuple[int, ...], build: Callable[[], nn.Module] = DigitsCNN) -> None:
    """Killed after each of these steps in turn, a training comes to what it comes to in one go."""
    expected = facts(train(build, given, seed=0, device=CPU))
    for step in steps:
        cut(given, folder / "state.pt", step, build)
    assert facts(train(build, given, seed=0, device=CPU, state_file=folder / "state.pt")) == expected


@pytest.mark.parametrize("name", NEEDS)
def test_whatever_a_loss_asks_for(tmp_path: Path, name: str) -> None:
    """Two epochs of four batches."""
    check(need(name, images=250), tmp_path, (3, 6))


@pytest.mark.parametrize("name", sorted({*names("defenses")} - {"pretraining", "overfitting"}))
def test_every_defense(small: Splits, tmp_path: Path, name: str) -> None:
    given = problem(small, name, replace(RECIPE, epochs=2))
    if name == "fire_sa":  # the memory must already have moved
        given = replace(given, defense=replace(given.defense, targets=replace(given.defense.targets, start=0.25)))  # type: ignore[type-var]
    check(given, tmp_path, (2, 7))


class Dropping(DigitsCNN):
    """Draws from torch's own generator."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(x, 0.5, self.training))


CHANGES: dict[str, dict[str, Any]] = {
    "moving average": {"ema_decay": 0.9},
    "a rate for every step": {"schedule": Cyclic()},
    "the modern profile's": {"schedule": OneCycle(), "ema_decay": 0.9, "ema_warm_up": True, "label_smoothing": 0.1},
    "the better copy": {"schedule": OneCycle(per_update=False), "ema_decay": 0.5, "select": "copies"},
    "statistics move in the attack": {"attack_mode": "train"},
    "chosen by validation": {"select": "validation"},
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_recipe(small: Splits, tmp_path: Path, name: str) -> None:
    check(problem(small, "trades", replace(RECIPE, epochs=2, **CHANGES[name])), tmp_path, (1, 4, 5))


def test_dropout(small: Splits, tmp_path: Path) -> None:
    check(problem(small, "trades", replace(RECIPE, epochs=2, attack_mode="train")), tmp_path, (2, 3, 7), Dropping)


@pytest.fixture
def signalled() -> Iterator[Callable[[int], Callable[[int, int, str], None]]]:
    """A listener that a signal comes to after a step."""

    def after(step: int) -> Callable[[int, int, str], None]:
        def progress(done: int, total: int, note: str) -> None:
            if done == step:
                stopping._noted.value = signal.SIGTERM

        return progress

    yield after
    stopping._noted.value = 0


def test_a_signal_saves_the_steps_that_were_made(
    small: Splits, tmp_path: Path, signalled: Callable[[int], Callable[[int, int, str], None]]
) -> None:
    """Without one by the clock."""
    given, file = problem(small, "fire", replace(RECIPE, epochs=2)), tmp_path / "state.pt"
    expected = facts(train(DigitsCNN, given, seed=0, device=CPU))
    with pytest.raises(stopping.Stopped):
        train(DigitsCNN, given, seed=0, device=CPU, state_file=file, progress=signalled(3))
    stopping._noted.value = 0
    assert saving.reached(saving.read(file, CPU)) == (0, 3)
    made: list[int] = []
    found = train(
        DigitsCNN, given, seed=0, device=CPU, state_file=file, progress=lambda done, *rest: made.append(done)
    )  # fmt: skip
    assert made == [4, 5, 6, 7, 8]
    assert facts(found) == expected


def test_seeds_side_by_side(small: Splits, tmp_path: Path) -> None:
    given, files = problem(small, "fire", replace(RECIPE, epochs=2)), [tmp_path / "0.pt", tmp_path / "1.pt"]

    def go(**more: Any) -> list[Any]:
        found = train_together(DigitsCNN, given, seeds=[0, 1], device=CPU, **more)
        return [facts(each) for each in found]

    expected = go(state_files=[None, None])
    with pytest.raises(Killed):
        go(state_files=files, progress=killed_after(3), save_every=0)
    assert {saving.reached(saving.read(each, CPU)) for each in files} == {(0, 2)}
    assert go(state_files=files) == expected


class Bursting(DigitsCNN):
    """Its loss is not finite once, in the third update."""

    updates = 0

    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        self.updates += self.training and torch.is_grad_enabled()
        return logits * (torch.nan if self.updates == 5 and self.training else 1)


def test_what_is_not_finite_is_not_saved(small: Splits, tmp_path: Path) -> None:
    """Or the state of before it would be gone; it also ends the epoch sooner."""
    file, steps = tmp_path / "state.pt", []
    given = problem(small, "trades", replace(RECIPE, epochs=2))
    with pytest.raises(DivergedError, match=r"step 3 \(epoch 1, batch 3 of 4\)"):
        train(
            Bursting, given, seed=0, device=CPU, state_file=file, save_every=0,
            progress=lambda done, *rest: steps.append(done),
        )  # fmt: skip
    assert steps == [1, 2, 3]
    kept = saving.read(file, CPU)
    assert saving.reached(kept) == (0, 2)
    assert all(value.isfinite().all() for value in kept["model"].values())


def test_streams_of_another_device_begin_the_epoch_anew(small: Splits, tmp_path: Path) -> None:
    """A GPU's have other states than a CPU's."""
    given, file = problem(small, "fire", replace(RECIPE, epochs=1)), tmp_path / "state.pt"
    cut(given, file, 3)
    plain = saving.read(file, CPU)
    plain["epoch"]["streams"] = [torch.zeros(16, dtype=torch.uint8) for _ in plain["epoch"]["streams"]]
    saving.write(file, plain)
    assert len(train(DigitsCNN, given, seed=0, device=CPU, state_file=file).curve) == 1


def test_a_state_that_was_moved_away_is_said(small: Splits, tmp_path: Path) -> None:
    given, file, said = problem(small, "fire", replace(RECIPE, epochs=1)), tmp_path / "state.pt", list[str]()
    cut(given, file, 3)
    file.unlink()
    train(DigitsCNN, given, seed=0, device=CPU, state_file=file, say=said.append)
    assert said == [f"{file} is gone: continuing from the state before it"]


def test_seeds_saved_together_have_each_its_share_of_seconds(small: Splits, tmp_path: Path) -> None:
    given, files = problem(small, "fire", replace(RECIPE, epochs=1)), [tmp_path / "0.pt", tmp_path / "1.pt"]
    with pytest.raises(Killed):
        train_together(
            DigitsCNN, given, seeds=[0, 1], device=CPU, state_files=files, progress=killed_after(3), save_every=0
        )
    whole = sum(saving.read(each, CPU)["epoch"]["seconds"] for each in files)
    alone = saving.read(files[0], CPU)["epoch"]["seconds"]
    assert alone == pytest.approx(whole / 2)


def test_a_damaged_state_gives_way_to_the_one_before_it(small: Splits, tmp_path: Path) -> None:
    given, file = problem(small, "fire", replace(RECIPE, epochs=2)), tmp_path / "state.pt"
    expected = facts(train(DigitsCNN, given, seed=0, device=CPU))
    cut(given, file, 4)
    assert [saving.reached(saving.read(each, CPU)) for each in (file, saving.previous(file))] == [(0, 3), (0, 2)]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    said: list[str] = []
    found = train(DigitsCNN, given, seed=0, device=CPU, state_file=file, say=said.append)
    assert said == [f"{file} is damaged: continuing from the state before it"]
    assert facts(found) == expected


def test_any_bit_of_a_state_is_missed(tmp_path: Path) -> None:
    """Torch's own reader takes most of them."""
    file, draw = tmp_path / "state.pt", random.Random(0)
    saving.write(file, {"curve": [], "model": {"weight": torch.arange(500.0)}})
    content = file.read_bytes()
    for _ in range(300):
        altered = bytearray(content)
        altered[draw.randrange(len(content) - len(saving.MARK))] ^= 1 << draw.randrange(8)
        file.write_bytes(altered)
        with pytest.raises(DataError, match=r"is damaged; move .*state\.pt\* away to train anew"):
            saving.read(file, CPU)


def test_states_of_before_there_was_a_checksum(tmp_path: Path) -> None:
    torch.save({"curve": [{"epoch": 1.0}]}, tmp_path / "state.pt")
    assert saving.reached(saving.read(tmp_path / "state.pt", CPU)) == (1, 0)


def test_what_cannot_be_written_leaves_both_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "state.pt"
    for number in range(2):
        saving.write(file, {"curve": [], "number": number})

    def full(*given: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving.torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        saving.write(file, {"curve": []})
    assert [saving.read(each, CPU)["number"] for each in (file, saving.previous(file))] == [1, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.pt", "state.pt.previous"]


def test_saving_takes_a_hundredth_of_the_time_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(saving.time, "monotonic", lambda: now[0])

    def write() -> None:
        now[0] += 7

    saves = saving.Saves(write, every=60)
    assert not saves.due()
    now[0] = 61
    assert saves.due()
    saves.save()  # until 68
    now[0] = 68 + 699
    assert not saves.due()
    now[0] += 2
    assert saves.due()
