"""One training in two processes: the same as in one, but for rounding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import batch_norm_checks as norms
import process_group_checks as checks
import pytest
import torch
from needs import NEEDS
from processes import FORKS
from torch import Tensor, nn

from robench_fire.devices.process_group import ALONE, Agreement, ProcessGroup
from robench_fire.errors import RecipeError
from robench_fire.models.batch_norm import Ghost, Synchronised, arranged
from robench_fire.models.small_cnns import DigitsCNN

pytestmark = pytest.mark.slow

Found = dict[str, Any]

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("group")
    checks.cut(ALONE, made / "cut-1.pt")
    checks.cut_within(ALONE, made / "within-1.pt")
    (made / "damaged.pt").write_bytes(b"half a state")
    return made


@pytest.fixture(scope="module")
def pair(folder: Path) -> list[Found]:
    """What each of two processes finds, by check: all checks in one go, as processes take long to start."""
    both = [FORKS.Process(target=checks.run, args=(folder, rank, 2)) for rank in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(240)
        process.kill()
    return [torch.load(folder / f"found-{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.fixture(scope="module")
def alone(folder: Path) -> Callable[[str], Any]:
    """What one process finds in a check."""
    return lambda name: checks.checks(folder)[name](ALONE)


def near(found: dict[str, Tensor], expected: dict[str, Tensor], but: str = "nothing") -> None:
    """Equal to float64's rounding, of which a few steps leave little."""
    assert list(found) == list(expected)
    for name in found:
        if not name.endswith(but):
            torch.testing.assert_close(found[name], expected[name], rtol=1e-9, atol=1e-9, msg=name)


def same_training(both: list[Any], one: Any, tolerance: float = 1e-5, but: str = "nothing") -> None:
    first, second = both
    assert all(torch.equal(first["weights"][name], second["weights"][name]) for name in first["weights"])
    assert first["curve"] == second["curve"]
    near(first["weights"], one["weights"], but)
    for row, expected in zip(first["curve"], one["curve"], strict=True):
        assert row == pytest.approx(expected, rel=tolerance)  # the logits are rounded to float32
    assert (first["processes"], one["processes"]) == ("2", "1")


TRAININGS = [
    "fire",
    "trades, repeated pass",
    "madry, statistics move in the attack",
    "trades, statistics move in the attack",
    "mart, chosen by validation",
    "trades, moving average",
    "trades, the better copy",
    "fire, ghost batch norm",
    "madry, ghost batch norm in the attack",
    "resumed",
    "resumed within",
]


@pytest.mark.parametrize("name", TRAININGS)
def test_two_processes_train_as_one(pair: list[Found], alone: Callable[[str], Any], name: str) -> None:
    """Also from where the other number of processes stopped, after an epoch or within one."""
    same_training([found[name] for found in pair], alone(name))


@pytest.mark.parametrize("name", checks.NEEDS)
def test_two_processes_give_a_loss_what_one_does(pair: list[Found], alone: Callable[[str], Any], name: str) -> None:
    same_training([found[name] for found in pair], alone(name))


def test_what_several_processes_cannot_give_is_refused(pair: list[Found], alone: Callable[[str], Any]) -> None:
    said = "several processes cannot train this: {}; use one device"
    for found in pair:
        assert found["batch term"] == said.format("its loss is of the whole batch, which they part")
        own = "its loss reads gradients of images, whose own gradient they do not average"
        assert found["slopes"] == said.format(own)
        assert found["batch gain"] == said.format("its attack's gain is of the whole batch, which they part")
        assert found["replays"] == said.format("each batch's perturbation is kept for the next one, in one process")
    assert [alone(name) for name in checks.REFUSED] == [""] * 4
    refused = {name for name in NEEDS if name.startswith(("batch", "slopes", "replays")) or name.endswith("slopes")}
    assert set(checks.NEEDS) | refused | {"perturbed weights", "teacher", "far from the image"} == set(NEEDS)


def test_an_objective_in_a_loop_of_ones_own(pair: list[Found], alone: Callable[[str], Any]) -> None:
    """DistributedDataParallel writes buffers before each forward, which the first pass's backward must not notice."""
    for found in pair:
        near(found["objective"], alone("objective"))
        assert "several processes cannot train mine: its loss is of the whole batch" in found["objective refused"]
    assert alone("objective refused") == ""


def test_every_training_is_tested() -> None:
    assert set(checks.TRAININGS) == {*TRAININGS, "fire, a last batch of one image"} - {
        "resumed", "resumed within"
    }  # fmt: skip


def test_a_batch_of_one_image_is_seen_by_both(pair: list[Found], alone: Callable[[str], Any]) -> None:
    """Only the running variance knows: its correction for the mean counts the image twice."""
    name = "fire, a last batch of one image"
    same_training([found[name] for found in pair], alone(name), but="running_var")


def test_dropout_goes_on_within_an_epoch(pair: list[Found]) -> None:
    """In as many processes, each with its own stream."""
    for found in pair:
        went_on = found["dropped within"]
        assert went_on["kept"] > 0
        assert went_on["curve"] == went_on["whole"]["curve"]
        for name, value in went_on["whole"]["weights"].items():
            assert torch.equal(went_on["weights"][name], value)


def test_memory_is_the_same_everywhere(pair: list[Found], alone: Callable[[str], Any]) -> None:
    first, second = (found["self-adaptive"] for found in pair)
    assert torch.equal(first["soft"], second["soft"])
    assert float(first["soft"].amax(1).min()) < 0.99  # it has moved
    near(first, alone("self-adaptive"))


def test_dropout_differs_between_processes(pair: list[Found], alone: Callable[[str], Any]) -> None:
    first, second = (found["dropped"]["weights"]["classifier.0.weight"] for found in pair)
    assert torch.equal(first, second)
    assert not torch.allclose(first, alone("dropped")["weights"]["classifier.0.weight"], atol=1e-4)


def test_all_stop_at_a_loss_that_is_not_finite(pair: list[Found]) -> None:
    """Though the images of one of them have finite losses."""
    assert {found["diverged"] for found in pair} == {
        "the loss is not finite at step 6 (epoch 2, batch 2 of 4); try a lower --lr"
    }


def test_all_stop_before_the_same_step(pair: list[Found], alone: Callable[[str], Any]) -> None:
    """Though one of them alone heard the signal; the first step of an epoch waits for it."""
    assert alone("stopped") == [5, 75]
    assert [found["stopped"] for found in pair] == [[5 + Agreement.LAG, 75]] * 2
    assert [found["stopped at once"] for found in pair] == [[0, 75]] * 2


def test_all_hear_of_a_damaged_state(pair: list[Found]) -> None:
    (said,) = {found["damaged"] for found in pair}
    assert "damaged.pt cannot be read" in said


def test_what_is_exchanged(pair: list[Found]) -> None:
    whole = torch.arange(30.0).view(15, 2)
    for found in (each["exchanged"] for each in pair):
        assert torch.equal(found["gathered"], whole)
        assert torch.equal(found["gathered slices"], whole)
        assert torch.equal(found["gathered one"], whole[:1])
        assert found["least"].tolist() == [0, -1]
        assert found["total"] == 3
        assert found["agreed"] == 0
        assert found["said"] == "refused by 0"


def joined(pair: list[Found], name: str, batches: tuple[int, int]) -> dict[str, Tensor]:
    """What both processes found, as one would: outputs and input gradients put together, the rest being the same."""
    first, second = (found[name] for found in pair)
    made = {}
    for key, value in first.items():
        twice = key[-1:] in "01" and ProcessGroup(0, 2, 4 if "ghost" in name else 1).copies(batches[int(key[-1])]) == 2
        if key.startswith("gradient"):
            made[key] = value + second[key] if twice else torch.cat([value, second[key]])
        elif key.startswith("out") and not twice:
            made[key] = torch.cat([value, second[key]])
        else:
            assert torch.equal(value, second[key])
            made[key] = value
    return made


@pytest.mark.parametrize("rows", [1, 5, 8])
def test_synchronised_equals_torchs_own_on_the_whole_batch(
    pair: list[Found], alone: Callable[[str], Any], rows: int
) -> None:
    name, odd = f"synchronised {rows}", "running_var" if rows == 1 else "nothing"
    near(joined(pair, name, (rows, rows + 1)), alone(name), odd)


def test_synchronised_takes_the_mean_of_all_batches(pair: list[Found], alone: Callable[[str], Any]) -> None:
    near(joined(pair, "synchronised, mean of all", (6, 7)), alone("synchronised, mean of all"))


def test_an_activation_in_the_batch_norm_stays(pair: list[Found], alone: Callable[[str], Any]) -> None:
    found = torch.cat([each["activated"]["out"] for each in pair])
    assert torch.allclose(found, alone("activated")["out"])
    assert found.min() == 0


def test_under_autocast(pair: list[Found], alone: Callable[[str], Any]) -> None:
    found, one = torch.cat([each["in bf16"]["out 0"] for each in pair]), alone("in bf16")
    assert torch.allclose(found.float(), one["out 0"].float(), rtol=0.02, atol=0.02)
    assert torch.allclose(pair[0]["in bf16"]["running_var"], one["running_var"], rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 5, 8])
def test_ghost_slices_stand_alone(pair: list[Found], rows: int) -> None:
    """Stated anew: torch's batch norm on every slice of four; the running statistics move by the slices' mean."""
    expected, layer = {}, norms.norm()
    for turn in range(2):
        x, weights = norms.batch(rows + turn)
        x.requires_grad_()
        slices = [norms.norm() for _ in x.split(4)]
        for each in slices:
            each.load_state_dict(layer.state_dict())
            each.weight, each.bias = layer.weight, layer.bias
        out = torch.cat([each(part) for each, part in zip(slices, x.split(4), strict=True)])
        layer.zero_grad()
        (out.square() * weights).sum().backward()
        expected |= {f"out {turn}": out.detach(), f"gradient {turn}": x.grad}
        for name in ("running_mean", "running_var"):
            getattr(layer, name).copy_(torch.stack([getattr(each, name) for each in slices]).mean(0))
        layer.num_batches_tracked += 1
    expected |= {name: value.grad for name, value in layer.named_parameters()}
    expected |= {f"state {name}": value for name, value in layer.state_dict().items()}
    near(joined(pair, f"ghost {rows}", (rows, rows + 1)), expected)
    near(norms.ghost(ALONE, rows), expected)


@pytest.mark.parametrize("kind", [Ghost, Synchronised])
def test_replaced_batch_norms_evaluate_and_are_saved_as_before(kind: type[Ghost]) -> None:
    plain, group = norms.norm(), ProcessGroup(0, 2, 4)
    plain(norms.batch(6)[0])
    found = kind(plain, group).eval()
    assert list(found.state_dict()) == list(plain.state_dict())
    x = norms.batch(3)[0]
    assert torch.equal(found(x), plain.eval()(x))


def test_which_batch_norm_is_chosen() -> None:
    untouched = DigitsCNN()
    assert arranged(untouched, None, ALONE, CPU) is untouched
    assert {type(part) for part in untouched.modules() if "Norm" in type(part).__name__} == {nn.BatchNorm2d}
    model = arranged(DigitsCNN(), None, ProcessGroup(0, 2), CPU)
    assert sum(isinstance(part, Synchronised) for part in model.modules()) == 2
    model = arranged(DigitsCNN(), None, ProcessGroup(0, 2), torch.device("cuda"))
    assert sum(isinstance(part, nn.SyncBatchNorm) for part in model.modules()) == 2
    for group in (ALONE, ProcessGroup(0, 2)):
        model = arranged(DigitsCNN(), 16, group, torch.device("cuda"))
        assert sum(isinstance(part, Ghost) for part in model.modules()) == 2
        assert list(model.state_dict()) == list(untouched.state_dict())
    with pytest.raises(RecipeError, match="in place of this model's SyncBatchNorm"):
        arranged(nn.Sequential(nn.SyncBatchNorm(3)), 16, ALONE, CPU)


def test_parts_of_a_batch() -> None:
    assert ProcessGroup(0, 3).lengths(128) == [42, 43, 43]
    assert ProcessGroup(0, 2, 32).lengths(117) == [64, 53]
    assert ProcessGroup(1, 2, 32).lengths(20) == [20, 20]
    assert ProcessGroup(1, 4).copies(3) == 4
    assert ProcessGroup(1, 4).copies(4) == 1
    assert ALONE.lengths(7) == [7]
    for size, rows, ghost in [(2, 117, 1), (3, 8, 2), (4, 5, 1), (2, 1, 1), (8, 128, 16)]:
        parts = [ProcessGroup(rank, size, ghost).part(torch.arange(rows)) for rank in range(size)]
        copies = ProcessGroup(0, size, ghost).copies(rows)
        assert torch.cat(parts).sort().values.tolist() == [row for row in range(rows) for _ in range(copies)]
