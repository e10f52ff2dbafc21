"""What a defense asks for besides logits: coefficients that move, perturbed weights, and mistakes in either."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from needs import defense_file
from plans import value

from robench_fire.errors import GivenWeightsError, RecipeError, unexpected
from robench_fire.problem import registry
from robench_fire.problem.adversarial_weights import AdversarialWeights
from robench_fire.problem.defense import Ramp
from robench_fire.problem.defense_check import check
from robench_fire.problem.pgd import Replay
from robench_fire.problem.plan import fingerprint
from robench_fire.problem.settings import leaves, to_plain
from robench_fire.quantity import Quantity
from robench_fire.runs.compose import Composed, Request, compose
from robench_fire.training.pseudo_labels import labeller_recipe

HEAD = '''"""Mine."""
from dataclasses import dataclass, replace
from typing import ClassVar
import torch
from robench_fire import AdversarialWeights, Defense, Paper, Ramp, SelfAdaptive, View
from robench_fire.losses import cross_entropy
PAPER = Paper(key="Mine2026", method="Mine", title="T", authors="A", venue="V", link="https://example.org")
@dataclass(frozen=True, kw_only=True)
class Mine(Defense):
    def inner(self, views):
        return cross_entropy(views.adv, views.target)
    def outer(self, views):
        return {"ce": cross_entropy(views.adv, views.target)}
'''


def own(folder: Path, body: str, tail: str = "DEFENSE = Mine()\n") -> str:
    (folder / "mine.py").write_text(HEAD + body + tail)
    return str(folder / "mine.py")


def asked(path: str, *settings: str) -> Composed:
    given = tuple(("--set", *each.split("=", 1)) for each in settings)
    return compose(Request(defense=path, dataset="digits", settings=given))  # type: ignore[arg-type]


def said(path: str, *settings: str) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        asked(path, *settings)
    found = unexpected(caught.value)
    assert isinstance(found, RecipeError)
    assert found.exit_code == 3
    assert len(str(found).splitlines()) == 1
    return str(found)


@pytest.mark.parametrize(
    ("progress", "expected"), [(0.01, 1), (0.25, 1), (0.5, 5), (0.625, 7), (0.75, 9), (0.9, 9), (1.0, 9)]
)
def test_a_coefficient_moves_in_a_straight_line(progress: float, expected: float) -> None:
    found = Ramp(first=1.0, last=9.0, begin=0.25, end=0.75).at(torch.tensor(progress))
    assert found.shape == ()
    assert float(found) == pytest.approx(expected)


def test_a_coefficient_may_fall_and_ends_where_it_says() -> None:
    assert float(Ramp(first=6.0, last=0.1).at(torch.tensor(1.0))) == pytest.approx(0.1, rel=1e-6)
    assert float(Ramp(first=6.0, last=0.0).at(torch.tensor(0.25))) == 4.5


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"last": -1.0}, "first 0.0 or last -1.0: a coefficient must not be negative"),
        ({"first": float("nan"), "last": 1.0}, "first nan or last 1.0: a coefficient must not be negative"),
        ({"last": 1.0, "end": 1.5}, "begin 0.0 and end 1.5: shares of the training, 0 <= begin < end <= 1, or the "
                                    "coefficient would end elsewhere than at 1.0"),
        ({"last": 1.0, "begin": 0.5, "end": 0.5}, "begin 0.5 and end 0.5: shares of the training, 0 <= begin < end"),
        ({"last": 1.0, "begin": -0.5}, "begin -0.5 and end 1.0: shares of the training, 0 <= begin < end"),
        ({"last": 1.0, "begin": float("nan")}, "begin nan and end 1.0: shares of the training"),
    ],
)  # fmt: skip
def test_a_ramp_that_is_none_is_refused(changes: dict[str, float], expected: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Ramp(**changes)
    assert str(caught.value).startswith(expected)


@pytest.mark.parametrize("gamma", [0.0, -0.1, float("nan"), float("inf")])
def test_weights_are_perturbed_by_a_positive_share(gamma: float) -> None:
    with pytest.raises(ValueError, match=r"gamma .*: must be positive; a defense without weights=... perturbs none"):
        AdversarialWeights(gamma=gamma)


@pytest.mark.parametrize("start", [-0.1, 1.0, float("nan")])
def test_weights_are_perturbed_from_a_share_of_the_epochs_on(start: float) -> None:
    with pytest.raises(ValueError, match=r"start .*: a share of the epochs, at least 0 and below 1"):
        AdversarialWeights(start=start)
    assert [AdversarialWeights(start=0.5).active(epoch / 4) for epoch in (1, 2, 3, 4)] == [False, True, True, True]


def test_what_is_new_is_set_and_enters_the_fingerprint(tmp_path: Path) -> None:
    path = defense_file(tmp_path, "perturbed weights")
    first = asked(path).plan
    for path_, text, expected in [
        ("defense.weights.gamma", "0.01", 0.01), ("defense.weights.start", "0.1", 0.1), ("defense.lam.last", "3", 3.0),
        ("recipe.augment.mix", "mixup", None), ("defense.weights", "none", None),
    ]:  # fmt: skip
        changed = asked(path, f"{path_}={text}").plan
        if expected is not None:
            assert value(changed, path_) == expected
        assert fingerprint(changed) != fingerprint(first)
    assert asked(path, "recipe.augment.mix=cutmix", "recipe.augment.mix.alpha=0.5").plan.recipe.augment.mix


@pytest.mark.parametrize("name", ["fire", "trades", "fire_sa"])
def test_a_plan_that_asks_for_nothing_new_keeps_its_values(name: str) -> None:
    known = {path for path, _ in leaves(to_plain(compose(Request(defense=name, dataset="digits")).plan))}
    assert not known & {"defense.weights", "recipe.augment.mix", "recipe.start", "recipe.teacher"}


FAULT = "cannot be imported: ValueError:"
SLOPE = "    def slope(self, views):\n        return cross_entropy(views.adv, views.target)\n"
NAMED = "    gradients_at: ClassVar[tuple[str, ...]] = ('adv',)\n"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("    further = (View(name='half', image=lambda x, z: z[:, :, ::2]),)\n",
         "mine: the image 'half' is (2, 1, 4, 8); the clean images are (2, 1, 8, 8)"),
        ("    further = (View(name='none', image=lambda x, z: None),)\n",
         "mine: the image 'none' is a NoneType; the clean images are (2, 1, 8, 8)"),
        ("    further = (View(name='adv', image=lambda x, z: z),)\n", f"mine.py:14 {FAULT} view adv: this name is "
         "taken"),
        ("    further = (View(name='a'),)\n", f"mine.py:14 {FAULT} view a: give one of image, gain and around"),
        ("    further = (View(name='a', image=max, gain=max),)\n",
         f"mine.py:14 {FAULT} view a: give one of image, gain and around"),
        ("    further = (View(name='a', image=lambda x, z: z), View(name='a', image=lambda x, z: x))\n",
         "mine: further has two images of one name"),
        ("    further = (View(name='a', gain=lambda self, views: views.adv.sum()),)\n",
         "mine: the gain of 'a' has shape () for 2 images; a defense returns one value per example, (N,)"),
        ("    further = (View(name='a', gain=lambda self, views: views.natural.sum(1)),)\n",
         "mine: the gain of 'a' does not depend on views.adv, so that an attack has no gradient to follow"),
        (NAMED, "mine: gradients_at needs slope(self, views); see docs/adding-a-defense.md"),
        (NAMED.replace("adv", "helper") + SLOPE, "mine: gradients_at names 'helper'; its images are clean, adv"),
        (NAMED.replace("adv", "clean") + SLOPE, "mine: slope does not depend on the image 'clean', which gradients_at "
         "names"),
        (NAMED.replace("adv", "clean") + SLOPE + "    clean_in_outer: ClassVar[bool] = False\n",
         "mine: gradients_at names 'clean', whose logits clean_in_outer leaves out"),
        (NAMED + SLOPE.replace("target)", "target).mean()"),
         "mine: slope has shape () for 2 images; a defense returns one value per example, (N,)"),
        ("    teacher_reads = ('helper',)\n", "mine: teacher_reads names 'helper'; its images are clean, adv"),
        ("    def over_batch(self, views):\n        return {'norm': views.adv.square().sum(1)}\n",
         "mine: over_batch's 'norm' has shape (2,) for 2 images; expected one of the batch, ()"),
        ("    def over_batch(self, views):\n        return views.adv.square().sum()\n",
         "mine: over_batch returns a Tensor; expected terms by name, {'spread': ()}"),
        ("    def over_batch(self, views):\n        return {'ce': views.adv.square().sum()}\n",
         "mine: outer and over_batch both have a term 'ce'; rename one"),
        ("    lam: float = -1.0\n", f"mine.py:15 {FAULT} lam -1.0: a coefficient must not be negative"),
        ("    lam: float = -1\n", f"mine.py:15 {FAULT} lam -1: a coefficient must not be negative"),
        ("    lam: float = float('nan')\n", f"mine.py:15 {FAULT} lam nan: a coefficient must not be negative"),
        ("    lam: Ramp = Ramp(last=1.0, end=2.0)\n", f"mine.py:14 {FAULT} begin 0.0 and end 2.0: shares of the "
         "training, 0 <= begin < end <= 1, or the coefficient would end elsewhere than at 1.0"),
    ],
)  # fmt: skip
def test_what_a_defense_asks_for_wrongly_is_said(tmp_path: Path, body: str, expected: str) -> None:
    assert said(own(tmp_path, body)).removeprefix(f"{tmp_path}/") == expected


@pytest.mark.parametrize(
    ("tail", "settings", "expected"),
    [
        ("DEFENSE = Mine(weights=AdversarialWeights(gamma=0.0))\n", (),
         f"mine.py:14 {FAULT} gamma 0.0: must be positive; a defense without weights=... perturbs none"),
        ("DEFENSE = Mine(weights=AdversarialWeights())\n", ("defense.weights.gamma=-1",),
         "defense.weights.gamma=-1: gamma -1.0: must be positive; a defense without weights=... perturbs none"),
        ("DEFENSE = Mine(targets=SelfAdaptive())\n", ("recipe.augment.mix=mixup",),
         "recipe.augment.mix: mine keeps targets per image, and mixed images have two; leave it out"),
        ("DEFENSE = Mine()\n", ("recipe.augment.mix=cutmix", "recipe.augment.mix.alpha=0"),
         "recipe.augment.mix.alpha=0: alpha 0.0: must be positive"),
        ("DEFENSE = Mine()\n", ("recipe.augment.mix=blend",),
         "recipe.augment.mix=blend: unknown kind 'blend': choose from cutmix, mixup"),
        ("Mine.further = (View(name='helper', image=lambda x, z: z),)\nDEFENSE = Mine()\n", ("recipe.attack=none",),
         "recipe.attack none: the loss of mine reads helper images; keep it"),
    ],
)  # fmt: skip
def test_a_plan_that_cannot_be_run_is_said(tmp_path: Path, tail: str, settings: tuple[str, ...], expected: str) -> None:
    assert said(own(tmp_path, "", tail), *settings).removeprefix(f"{tmp_path}/") == expected


def test_a_teacher_that_is_needed_and_not_given(tmp_path: Path) -> None:
    given: dict[str, Any] = {"defense": defense_file(tmp_path, "teacher"), "dataset": "digits"}
    with pytest.raises(GivenWeightsError, match=r"^teacher learns from a teacher: say --teacher FILE\|RUN$") as caught:
        compose(Request(**given))
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("name", ["fire", "hellinger", "js", "trades", "madry", "mart", "fast"])
def test_replays_need_a_slope_at_the_image(name: str) -> None:
    """There they begin; a distance between equal predictions has none, so that they would never leave it."""
    defense, attack = registry.load("defenses", name).module.DEFENSE, Replay(step=Quantity("0.1"))
    if name in ("madry", "mart", "fast"):
        check(defense, name, 10, attack=attack)
    else:
        with pytest.raises(RecipeError, match=f"{name}: its loss is flat at the clean image, where replays begin"):
            check(defense, name, 10, attack=attack)


@pytest.mark.parametrize("name", ["mart", "mart_awp", "trades"])
def test_a_loss_of_one_class_an_image_takes_no_mixed_ones(name: str) -> None:
    asked = Request(defense=name, dataset="cifar10", settings=(("--set", "recipe.augment.mix", "mixup"),))
    if name == "trades":
        assert compose(asked).plan.recipe.augment.mix is not None
    else:
        with pytest.raises(RecipeError, match=f"the loss of {name} goes by one class an image; leave it out"):
            compose(asked)


def test_the_labeller_of_free_makes_as_many_updates_as_it() -> None:
    recipe = compose(Request(defense="free", dataset="digits", hide_labels=True)).plan.recipe
    found = labeller_recipe(recipe)
    assert (found.epochs, found.updates) == (8 * recipe.epochs, 1)
