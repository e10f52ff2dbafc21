"""rb.Objective: in a loop of the user's own, a batch's losses are those of the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from needs import NEEDS
from needs import problem as need
from torch import Tensor, nn

from robench_fire.api.objective import Objective
from robench_fire.data.batches import augmented, batches, to_float
from robench_fire.devices.random_streams import generator
from robench_fire.errors import DataError, RecipeError, UsageError
from robench_fire.models.small_cnns import DigitsCNN
from robench_fire.problem.dataset import Splits
from robench_fire.problem.plan import Plan
from robench_fire.problem.registry import names
from robench_fire.problem.targets import HardLabels
from robench_fire.problem.threat import L2, Linf
from robench_fire.quantity import Quantity
from robench_fire.training.engine import initialised, train
from robench_fire.training.setup import Problem

CPU = torch.device("cpu")
IN_TWO = [
    name for name in NEEDS
    if not NEEDS[name].changes.get("augment") and not NEEDS[name].begins and not name.startswith("replays")
]  # fmt: skip


def drawn(given: Problem, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The engine's batches of an epoch: indices and augmented images."""
    views = generator(CPU, 0, "augmentation", epoch)
    for index in batches(given.recipe, len(given.train.labels), 0, generator("cpu", 0, "order", epoch)):
        yield index, augmented(given.train.images[index], given.recipe.augment, views)


def by_hand(objective: Objective, given: Problem) -> nn.Module:
    """A plain loop at one rate, on the engine's batches from its initial weights."""
    model, rate = initialised(DigitsCNN, 0), given.recipe.optimiser.lr
    weights = list(model.parameters())
    sgd = torch.optim.SGD(weights, lr=rate, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True)
    for epoch in range(1, given.recipe.epochs + 1):
        noise = generator(CPU, 0, "attack", epoch)
        for index, x in drawn(given, epoch):
            share = epoch / given.recipe.epochs
            terms = objective(model, x, given.train.labels[index], index=index, progress=share, generator=noise)
            sum(each.mean() for each in terms.values()).backward()  # type: ignore[union-attr]
            sgd.step()
            sgd.zero_grad()
            objective.restore_weights()
    return model


def plan(given: Problem) -> Plan:
    return Plan(
        name="mine", dataset="digits", profile="matched", defense=given.defense, threat=given.threat,
        claim=given.threat, recipe=given.recipe,
    )  # fmt: skip


@pytest.mark.parametrize("name", IN_TWO)
def test_ten_lines_train_to_the_same_weights(name: str) -> None:
    """Whatever a loss may ask for: bit for bit, with batch norm's statistics."""
    given = need(name, images=150)
    teacher = given.teacher(0) if given.teacher else None
    objective = Objective(plan(given), labels=given.train.labels, teacher=teacher)
    found, expected = by_hand(objective, given).state_dict(), train(DigitsCNN, given, seed=0, device=CPU).weights
    for key, value in expected.items():
        if name == "perturbed weights, slopes":  # whose two parts of a gradient are added the other way around
            torch.testing.assert_close(found[key], value, rtol=1e-6, atol=1e-7)
        else:
            assert torch.equal(found[key], value), key


@pytest.mark.parametrize("name", sorted({*names("defenses")} - {"pretraining", "overfitting", "free"}))
def test_bundled_defenses_by_name(name: str, small: Splits) -> None:
    """As `robench train NAME digits` with one rate, on the same batches."""
    options = {"threat": "0.2", "dataset": "digits", "set": {"recipe.schedule": "steps", "recipe.epochs": 2}}
    teacher = initialised(DigitsCNN, 100).eval().requires_grad_(False)
    objective = Objective(name, labels=small.train.labels, num_classes=10, teacher=teacher, **options)  # type: ignore[arg-type]
    recipe = replace(objective.plan.recipe, schedule=replace(objective.plan.recipe.schedule, at=()), extra=None)
    part = small.train.take(slice(150))
    own = objective.plan.defense
    loads = (lambda seed: teacher) if own.teacher_reads else None
    given = Problem(own, objective.plan.threat, recipe, part, small.validation, 10, teacher=loads)
    found, expected = by_hand(objective, given).state_dict(), train(DigitsCNN, given, seed=0, device=CPU).weights
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


def test_replays_are_no_objective() -> None:
    with pytest.raises(UsageError, match="free trains on each batch several times and perturbs it by its own updates"):
        Objective("free", threat="0.2")


@pytest.fixture
def batch(small: Splits) -> tuple[Tensor, Tensor]:
    return to_float(small.train.images[:32]), small.train.labels[:32]


def test_terms_are_values_of_each_example_and_nothing_is_left_behind(batch: tuple[Tensor, Tensor]) -> None:
    model = nn.Sequential(nn.Dropout(0.5), initialised(DigitsCNN, 0)).train()
    model[1].eval()
    frozen = next(model.parameters()).requires_grad_(False)
    objective, before = Objective("fire", threat="0.2"), torch.random.get_rng_state()
    seen: list[tuple[bool, bool]] = []
    model.register_forward_pre_hook(lambda *_: seen.append((model.training, model[1].training)))
    terms = objective(model, *batch)
    assert {name: (each.shape, each.requires_grad) for name, each in terms.items()} == {
        "natural": ((32,), True), "robust": ((32,), True)
    }  # fmt: skip
    assert seen[:-2] == [(False, False)] * len(seen[:-2])
    assert seen[-2:] == [(True, False)] * 2  # as the user had set them
    assert not frozen.requires_grad
    assert all(each.requires_grad for each in list(model.parameters())[1:])
    assert all(each.grad is None for each in model.parameters())
    torch.random.set_rng_state(before)  # the attack drew nothing from it: the passes' dropout is that of plain torch
    fresh = Objective("fire", threat="0.2")
    assert torch.equal(fresh(model, *batch)["robust"], terms["robust"])
    perturbed = fresh.perturbed
    assert perturbed is not None
    assert 0.19 < (perturbed - batch[0]).abs().max() <= 0.2 + 1e-6


def test_an_attack_in_train_mode_leaves_the_global_stream(batch: tuple[Tensor, Tensor]) -> None:
    model = nn.Sequential(nn.Dropout(0.5), initialised(DigitsCNN, 0))
    streams = []
    for steps in (4, 8):
        torch.manual_seed(0)
        Objective("madry", threat="0.2", steps=steps, set={"recipe.attack_mode": "train"})(model, *batch)
        streams.append(torch.random.get_rng_state())
    assert torch.equal(*streams)


def test_under_autocast_with_its_cache_every_weight_learns(batch: tuple[Tensor, Tensor]) -> None:
    """Weights that an attack's passes leave in autocast's cache have no gradient."""
    model = initialised(DigitsCNN, 0)
    objective = Objective("fire", threat="0.2")
    with torch.autocast("cpu", torch.bfloat16):
        loss = sum(each.mean() for each in objective(model, *batch).values())
    assert isinstance(loss, Tensor)
    assert loss.dtype == torch.float32
    loss.backward()
    assert all(each.grad is not None and each.grad.abs().sum() > 0 for each in model.parameters())
    exact = sum(each.mean() for each in Objective("fire", threat="0.2")(initialised(DigitsCNN, 0), *batch).values())
    assert isinstance(exact, Tensor)
    assert 0 < abs(loss.item() - exact.item()) < 0.02  # it was computed in bf16


def test_a_compiled_model(batch: tuple[Tensor, Tensor]) -> None:
    model, other = initialised(DigitsCNN, 0), initialised(DigitsCNN, 0)
    compiled = torch.compile(other, backend="eager")  # dynamo without a C++ compiler, which not every machine has
    found, expected = (Objective("fire", threat="0.2")(each, *batch) for each in (compiled, model))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_state_continues(batch: tuple[Tensor, Tensor], small: Splits) -> None:
    """The random starts and the targets' memory, through a file."""
    x, y = batch
    index, model = torch.arange(32), initialised(DigitsCNN, 0).eval()

    def objective() -> Objective:
        return Objective("fire_sa", threat="0.2", labels=small.train.labels)

    def losses(of: Objective) -> Tensor:
        return of(model, x, y, index=index, progress=1.0)["robust"]

    whole, part = objective(), objective()
    losses(whole), losses(part)
    other = objective()
    other.load_state_dict(part.state_dict())
    first = losses(whole)
    assert torch.equal(losses(other), first)
    assert not torch.equal(losses(objective()), first)


def test_loading_is_no_use_of_the_stream_and_ends_a_perturbation(batch: tuple[Tensor, Tensor]) -> None:
    model = initialised(DigitsCNN, 0).eval()
    first = Objective("trades_awp", threat="0.2")
    first(model, *batch, progress=1.0)
    again = Objective("trades_awp", threat="0.2")
    again.load_state_dict(first.state_dict())
    assert torch.equal(again.state_dict()["noise"], first.state_dict()["noise"])
    first.load_state_dict(first.state_dict())
    before = [each.clone() for each in model.parameters()]
    first.restore_weights()  # of weights that were loaded as well
    assert all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))


def test_perturbed_weights_of_a_network_that_is_frozen_in_part(batch: tuple[Tensor, Tensor]) -> None:
    model = initialised(DigitsCNN, 0)
    first = next(model.parameters()).requires_grad_(False)
    kept, objective = first.clone(), Objective("trades_awp", threat="0.2")
    sum(each.mean() for each in objective(model, *batch, progress=1.0).values()).backward()  # type: ignore[union-attr]
    assert torch.equal(first, kept)


def test_soft_targets_of_the_users(batch: tuple[Tensor, Tensor]) -> None:
    x, y = batch
    model, half = initialised(DigitsCNN, 0), torch.nn.functional.one_hot(y, 10) / 2
    given, usual = (Objective("madry", threat="0.2")(model, x, y, target=each) for each in (half, None))
    assert (given["adversarial"] < usual["adversarial"]).all()


def test_threat_models() -> None:
    objective = Objective("trades", threat=L2(eps=Quantity("0.5")))
    assert (objective.plan.threat, objective.plan.claim) == (L2(eps=Quantity("0.5")),) * 2
    assert repr(objective) == "Objective(trades, L2 0.5, 10 steps of 15/255)"
    assert Objective("trades", threat=0.1).plan.threat == Linf(eps=Quantity("0.1"))
    assert repr(Objective("fire", threat="4/255", steps=20)) == "Objective(fire, Linf 4/255, 20 steps of 0.00392157)"


def misuse(error: type[Exception], match: str) -> Callable[..., None]:
    def check(call: Callable[[], object]) -> None:
        with pytest.raises(error, match=match):
            call()

    return check


def test_what_is_missing_or_wrong_is_said(batch: tuple[Tensor, Tensor], small: Splits, tmp_path: Path) -> None:
    x, y = batch
    model = initialised(DigitsCNN, 0)
    fire = Objective("fire", threat="0.2")
    assert isinstance(fire.plan.defense.targets, HardLabels)
    misuse(DataError, r"torch.uint8 \(32, 1, 8, 8\); expected floats")(lambda: fire(model, (x * 255).byte(), y))
    misuse(DataError, "expected 32 class numbers")(lambda: fire(model, x, nn.functional.one_hot(y)))
    misuse(DataError, "expected 32 class numbers")(lambda: fire(model, x, y[:3]))
    misuse(DataError, "images run from 0 to 255, not in")(lambda: fire(model, x * 255, y))
    misuse(RecipeError, "1 steps of 0.05 cannot reach eps 0.2")(lambda: Objective("fire", threat="0.2", steps=1))
    turned = Objective(
        "fire", threat="0.2", set={"recipe.passes": ("adv", "clean")}
    )  # a value of Python's, as in train
    assert turned.plan.recipe.passes == ("adv", "clean")
    misuse(UsageError, "did you mean 'fire'|unknown defense 'firre'")(lambda: Objective("firre"))
    misuse(UsageError, "give labels=")(lambda: Objective("fire_sa"))
    own = Objective("fire_sa", threat="0.2", labels=small.train.labels)
    misuse(UsageError, "give index=")(lambda: own(model, x, y, progress=1.0))
    misuse(UsageError, "give progress=")(lambda: own(model, x, y, index=torch.arange(32)))
    misuse(UsageError, "leave out target=")(
        lambda: own(model, x, y, index=torch.arange(32), progress=1.0, target=torch.full((32, 10), 0.1))
    )
    perturbing = Objective("trades_awp", threat="0.2")
    perturbing(model, x, y, progress=1.0)
    misuse(UsageError, r"call restore_weights\(\) after")(lambda: perturbing(model, x, y, progress=1.0))
    taught = plan(need("teacher"))
    misuse(UsageError, "give teacher=")(lambda: Objective(taught))


def test_smoothed_labels_are_the_losss_alone(small: Splits) -> None:
    """The attack reads the label, and soft labels of the user's are left as they are."""
    x, y = to_float(small.train.images[:8]), small.train.labels[:8]
    model, soft = initialised(DigitsCNN, 0), torch.rand(8, 10).softmax(1)
    known = {"threat": "0.2", "dataset": "digits"}

    def losses(smoothing: str, **more: Tensor) -> tuple[Tensor, Tensor]:
        objective = Objective("madry", set={"recipe.label_smoothing": smoothing}, **known)
        (found,) = objective(
            initialised(DigitsCNN, 0), x, y, generator=torch.Generator().manual_seed(0), **more
        ).values()
        assert objective.perturbed is not None
        return found.detach(), objective.perturbed

    (plain, images), (smooth, same) = losses("none"), losses("0.4")
    assert torch.equal(images, same)
    expected = nn.functional.cross_entropy(model(images), y, label_smoothing=0.4, reduction="none")
    torch.testing.assert_close(smooth, expected.detach())
    assert not torch.allclose(plain, smooth)
    assert torch.equal(losses("none", target=soft)[0], losses("0.4", target=soft)[0])
