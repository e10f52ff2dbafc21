"""Number formats: what is chosen, where it acts, what never leaves float32, and what is refused."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from devices import here
from precisions import CPU, GPU, RECIPE, problem
from torch import Tensor, nn

from robench_fire.devices import precision
from robench_fire.devices.precision import Arithmetic, autocast, layout, resolve, rounding
from robench_fire.errors import DivergedError, RecipeError
from robench_fire.models.small_cnns import DigitsCNN
from robench_fire.problem import registry
from robench_fire.problem.dataset import Splits
from robench_fire.problem.pgd import Pgd
from robench_fire.problem.recipe import Adam, Augment
from robench_fire.problem.threat import Linf
from robench_fire.quantity import Quantity
from robench_fire.training.engine import Trained, prepared, train
from robench_fire.training.epoch import train_epoch

SHORT = pytest.mark.skipif("bf16" not in precision.supported(CPU), reason="this processor has no bfloat16 instructions")


@pytest.mark.usefixtures("any_format")
@pytest.mark.parametrize(
    ("device", "changes", "expected"),
    [
        (CPU, {}, Arithmetic("fp32", "fp32", "fp32")),
        (GPU, {}, Arithmetic("bf16", "bf16", "tf32")),
        (CPU, {"precision": "bf16"}, Arithmetic("bf16", "bf16", "fp32")),
        (GPU, {"precision": "fp16"}, Arithmetic("fp16", "fp16", "tf32")),
        (GPU, {"precision": "fp32"}, Arithmetic("fp32", "fp32", "fp32")),
        (GPU, {"precision": "bf16", "attack_precision": "bf16"}, Arithmetic("bf16", "bf16", "bf16")),
        (GPU, {"attack_precision": "fp32"}, Arithmetic("bf16", "fp32", "fp32")),
        (GPU, {"attack": Pgd(steps=2, step=Quantity("0.1"), start="uniform")}, Arithmetic("bf16", "bf16", "bf16")),
        (GPU, {"attack": None, "passes": ("clean",)}, Arithmetic("bf16", "bf16", "bf16")),
    ],
)
def test_formats_by_device_and_recipe(device: torch.device, changes: dict[str, Any], expected: Arithmetic) -> None:
    assert resolve(replace(RECIPE, **changes), device) == expected


@pytest.mark.parametrize(("field", "flag"), [("precision", "--precision"), ("attack_precision", "--attack-precision")])
def test_a_format_that_the_device_lacks_is_refused(field: str, flag: str) -> None:
    with pytest.raises(RecipeError, match=rf"{flag} tf32: this cpu computes in fp32"):
        resolve(replace(RECIPE, **{field: "tf32"}), CPU)


def test_an_old_gpu_has_no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert resolve(RECIPE, GPU) == Arithmetic("fp32", "fp32", "fp32")
    with pytest.raises(RecipeError, match=r"--precision bf16: this cuda computes in fp32, fp16"):
        resolve(replace(RECIPE, precision="bf16"), GPU)


def test_rounding_is_restored() -> None:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    with rounding("fp32"):
        assert not torch.backends.cudnn.allow_tf32
        with rounding("tf32"):
            assert torch.backends.cuda.matmul.allow_tf32
            assert torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
    assert before == (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)


def test_images_lie_channels_last_unless_they_are_tiny() -> None:
    wide, tiny = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 8, 8)
    assert layout(32)(wide).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(layout(32)(wide), wide)
    assert layout(8)(tiny).is_contiguous()


class Spy(nn.Module):
    """Remembers the type of every product, and whether weights had a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = DigitsCNN()
        self.seen: list[tuple[torch.dtype, bool]] = []

    def forward(self, x: Tensor) -> Tensor:
        assert x.dtype == torch.float32
        logits: Tensor = self.inner(x)
        self.seen.append((logits.dtype, next(self.parameters()).requires_grad))
        return logits


def seen(small: Splits, name: str, **changes: Any) -> list[torch.dtype]:
    """Types of one update's logits: clean and attack steps, then passes; validation left out."""
    model = Spy()
    recipe: dict[str, Any] = {"attack": Pgd(steps=3, step=Quantity("0.1")), "epochs": 1, "batch_size": 256}
    train(lambda: model, problem(small, name, **recipe | changes), seed=0, device=here())
    assert {each for each, _ in model.seen[-5:]} == {torch.float32}  # validation: clean, three steps, the result
    return [each for each, _ in model.seen[:-5]]


@pytest.mark.usefixtures("any_format", "device")
def test_each_forward_computes_in_its_format(small: Splits) -> None:
    full, short = torch.float32, torch.bfloat16
    assert seen(small, "fire", precision="fp32") == [full] * 6
    assert seen(small, "fire", precision="bf16") == [full, full, short, short, short, short]
    assert seen(small, "fire", precision="bf16", attack_precision="fp32") == [full] * 4 + [short] * 2
    assert seen(small, "fire", precision="fp32", attack_precision="bf16") == [short] * 4 + [full] * 2
    assert seen(small, "mart", precision="bf16") == [full, short, short, short, short]


@pytest.mark.usefixtures("any_format", "device")
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("name", registry.names("defenses"))
def test_losses_are_float32_and_every_defense_learns(small: Splits, name: str, precision: str) -> None:
    types: set[torch.dtype] = set()
    brief = small._replace(validation=small.validation.take(slice(50)))
    attack, optimiser = Pgd(steps=1, step=Quantity("0.1")), Adam(lr=0.02)
    recipe: dict[str, Any] = {"epochs": 6, "attack": attack, "optimiser": optimiser}
    given = problem(brief, name, precision=precision, augment=Augment(pad=0, flip=False), **recipe)

    class Watched(type(given.defense)):  # type: ignore[misc]
        def outer(self, views: Any) -> Any:
            types.update(each.dtype for each in (views.clean, views.adv, views.target) if each is not None)
            terms = super().outer(views)
            types.update(value.dtype for value in terms.values())
            return terms

    own = {each.name: getattr(given.defense, each.name) for each in fields(given.defense)}
    easy = replace(given, defense=Watched(**own), threat=Linf(eps=Quantity("0.1")))
    result = train(DigitsCNN, easy, seed=0, device=here())
    assert types == {torch.float32}
    assert result.curve[-1]["loss"] < result.curve[0]["loss"]
    assert result.curve[-1]["clean"] > 40
    assert {value.dtype for value in result.weights.values()} <= {torch.float32, torch.int64}


@SHORT
def test_short_formats_change_results_a_little(small: Splits) -> None:
    def losses(**changes: Any) -> list[float]:
        return [row["loss"] for row in train(DigitsCNN, problem(small, **changes), seed=0, device=CPU).curve]

    exact, short = losses(), losses(precision="bf16")
    assert exact != short
    assert short == pytest.approx(exact, rel=0.02)


@pytest.mark.usefixtures("any_format", "device")
def test_fp16_resumes_its_scale(small: Splits, tmp_path: Path) -> None:
    given = problem(small, precision="fp16", epochs=3)
    whole = train(DigitsCNN, given, seed=0, device=here())

    def cut(curve: list[dict[str, float]]) -> None:
        if len(curve) == 2:
            raise KeyboardInterrupt

    file = tmp_path / "state.pt"
    with pytest.raises(KeyboardInterrupt):
        train(DigitsCNN, given, seed=0, device=here(), state_file=file, epoch_done=cut)
    assert torch.load(file, weights_only=True)["scaler"]["_growth_tracker"] > 0
    resumed = train(DigitsCNN, given, seed=0, device=here(), state_file=file)
    assert all(torch.equal(resumed.weights[name], whole.weights[name]) for name in whole.weights)


class Overflows(DigitsCNN):
    """Weight gradients beyond fp16, finite logits."""

    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        if logits.requires_grad and self.training:
            logits.register_hook(lambda grad: grad * math.inf)
        return logits


@pytest.mark.usefixtures("any_format", "device")
def test_fp16_whose_gradients_never_fit_stops_and_says_so(small: Splits) -> None:
    state, setup = prepared(Overflows, problem(small, precision="fp16"), [0], here())
    state.scaler.load_state_dict({**state.scaler.state_dict(), "scale": 2.0})
    before = {name: value.clone() for name, value in state.model.named_parameters()}
    with pytest.raises(DivergedError, match=r"fp16 cannot hold the gradients of epoch 1; use --precision bf16"):
        train_epoch(state, setup, 1, set(), lambda done, rate: None)
    assert all(torch.equal(before[name], value) for name, value in state.model.named_parameters())


@pytest.mark.usefixtures("any_format", "device")
def test_a_first_step_that_the_scaler_skips_leaves_no_trace(small: Splits) -> None:
    """torch's fused SGD would take a momentum that was never written for the one to go on with."""
    given = problem(small, precision="fp16", batch_size=256)
    state, setup = prepared(DigitsCNN, given, [0], here())
    state.scaler.load_state_dict({**state.scaler.state_dict(), "scale": 2.0**60})
    before = {name: value.clone() for name, value in state.model.named_parameters()}
    train_epoch(state, setup, 1, set(), lambda done, rate: None)
    assert all(torch.equal(before[name], value) for name, value in state.model.named_parameters())
    buffers = [own["momentum_buffer"] for own in state.optimiser.state.values()]
    assert len(buffers) == len(before)
    assert not any(buffer.any() for buffer in buffers)


@pytest.mark.usefixtures("any_format", "device")
def test_an_attack_beyond_fp16s_range_is_never_silent(small: Splits) -> None:
    class Steep(DigitsCNN):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * (1 if self.training else 1e6)

    given = problem(small, precision="fp32", attack_precision="fp16")
    with pytest.raises(DivergedError, match=r"step 1 .*; try --precision bf16"):
        train(Steep, given, seed=0, device=here())


@pytest.mark.usefixtures("any_format", "device")
def test_a_nan_loss_under_fp16_is_never_silent(small: Splits) -> None:
    class Explodes(DigitsCNN):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * (math.nan if self.training else 1)

    with pytest.raises(DivergedError, match=r"step 1 "):
        train(Explodes, problem(small, precision="fp16"), seed=0, device=here())


def test_autocast_is_off_in_float32() -> None:
    with autocast("fp32", CPU):
        assert (torch.rand(2, 2) @ torch.rand(2, 2)).dtype == torch.float32


def test_arithmetic_is_recorded(small: Splits) -> None:
    result: Trained = train(DigitsCNN, problem(small, epochs=1), seed=0, device=CPU)
    assert result.arithmetic == {
        "update": "fp32", "attack": "fp32", "first": "fp32", "compiled": "False", "together": "1", "processes": "1"
    }  # fmt: skip
