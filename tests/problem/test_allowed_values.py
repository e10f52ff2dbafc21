"""What a plan may hold: values that cannot be run are refused before anything is spent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from plans import extra_file, plan, value

from robench_fire.errors import RecipeError
from robench_fire.problem.pgd import Pgd
from robench_fire.problem.plan import override
from robench_fire.problem.recipe import Recipe, Sgd
from robench_fire.quantity import Quantity


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("recipe.epochs", "0", "epochs 0: must be at least 1"),
        ("recipe.schedule.factor", "-1", "factor -1.0: above 0, and 1 at most"),
        ("recipe.epochs", "-3", "epochs -3: must be at least 1"),
        ("recipe.batch_size", "0", "batch_size 0: must be at least 1"),
        ("recipe.optimiser.lr", "0", "lr 0.0: must be positive"),
        ("recipe.passes", "", "passes (): choose from clean and adv"),
        ("recipe.ema_decay", "1", "ema_decay 1.0: must lie strictly between 0 and 1"),
        ("recipe.ema_decay", "0", "ema_decay 0.0: must lie strictly between 0 and 1"),
        ("recipe.label_smoothing", "1", "label_smoothing 1.0: must lie in [0, 1)"),
        ("recipe.label_smoothing", "-0.1", "label_smoothing -0.1: must lie in [0, 1)"),
        ("recipe.attack.steps", "0", "steps 0: an attack needs at least 1 step"),
        ("recipe.attack.step", "0", "step 0: a step must be positive"),
        ("recipe.attack.step", "-1/255", "step -1/255: a step must be positive"),
        ("claim.eps", "8", "eps 8 is outside [0, 1], the range of a pixel; CIFAR uses 8/255"),
        ("defense.lam", "-1", "lam -1.0: a coefficient must not be negative"),
        ("defense.lam", "-1e-9", "lam -1e-09: a coefficient must not be negative"),
        ("recipe.optimiser.momentum", "1", "momentum 1.0 or weight_decay 0.0005 is out of range"),
        ("recipe.optimiser.momentum", "-0.1", "momentum -0.1 or weight_decay 0.0005 is out of range"),
        ("recipe.optimiser.momentum", "0", "nesterov needs a momentum; set nesterov=false first"),
        ("recipe.optimiser.weight_decay", "-1e-4", "momentum 0.9 or weight_decay -0.0001 is out of range"),
        ("recipe.schedule.at", "0,0.5", "at (0.0, 0.5): shares of the epochs, between 0 and 1"),
        ("recipe.schedule.at", "0.5,1.5", "at (0.5, 1.5): shares of the epochs, between 0 and 1"),
        ("recipe.schedule.at", "-0.5", "at (-0.5,): shares of the epochs, between 0 and 1"),
        ("recipe.augment.pad", "-1", "augment: pad -1, rotate 0.0 or jitter 0.0 is out of range"),
        ("recipe.augment.rotate", "-15", "augment: pad 4, rotate -15.0 or jitter 0.0 is out of range"),
        ("recipe.augment.jitter", "-0.1", "augment: pad 4, rotate 0.0 or jitter -0.1 is out of range"),
        ("recipe.augment.jitter", "1.5", "augment: pad 4, rotate 0.0 or jitter 1.5 is out of range"),
        ("threat.eps", "8", "eps 8 is outside [0, 1], the range of a pixel; CIFAR uses 8/255"),
        ("threat.eps", "-0.1", "eps -0.1 is outside [0, 1], the range of a pixel; CIFAR uses 8/255"),
    ],
)
def test_a_value_that_cannot_be_run_is_refused(path: str, text: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        override(plan(), path, text)
    assert str(caught.value).startswith(f"{path}={text}: {said}")


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("recipe.attack.steps", "3", "3 steps of 2/255 cannot reach eps 8/255"),
        ("recipe.attack.step", "0.003", "10 steps of 0.003 cannot reach eps 8/255"),
        ("threat.eps", "21/255", "10 steps of 2/255 cannot reach eps 21/255"),
    ],
)
def test_steps_that_cannot_reach_the_boundary_are_refused_once_the_plan_is_whole(
    path: str, text: str, said: str
) -> None:
    changed = override(plan(), path, text)
    assert str(value(changed, path)) == text
    for refuse in (changed.check, lambda: plan(settings=(("--set", path, text),))):
        with pytest.raises(RecipeError) as caught:
            refuse()
        assert str(caught.value) == f"{said}: raise recipe.attack.steps or recipe.attack.step"


@pytest.mark.parametrize(
    ("path", "text"), [("recipe.attack.steps", "4"), ("threat.eps", "20/255"), ("threat.eps", "0")]
)
def test_steps_that_just_reach_the_boundary_are_accepted(path: str, text: str) -> None:
    assert str(value(plan(settings=(("--set", path, text),)), path)) == text


@pytest.mark.parametrize(
    "settings",
    [
        (("recipe.attack.steps", "1"), ("recipe.attack.step", "8/255")),
        (("threat.eps", "32/255"), ("recipe.attack.step", "4/255")),
        (("recipe.attack.step", "1/255"), ("threat.eps", "8/255"), ("recipe.attack.steps", "8")),
    ],
)
def test_settings_may_be_impossible_on_the_way_to_a_plan(settings: tuple[tuple[str, str], ...]) -> None:
    for order in (settings, settings[::-1]):
        found = plan(settings=tuple(("--set", *each) for each in order))
        assert [str(value(found, path)) for path, _ in settings] == [text for _, text in settings]


def test_a_pass_may_be_left_out_on_the_way_to_a_plan() -> None:
    there_and_back = (("--set", "recipe.passes", "adv"), ("--set", "recipe.passes", "clean,adv"))
    assert plan(settings=there_and_back) == plan()


@pytest.mark.parametrize(
    ("defense", "passes", "said"),
    [
        ("fire", "adv", "recipe.passes adv: the loss of fire reads clean and adv"),
        ("fire", "clean, clean", "recipe.passes clean, clean: the loss of fire reads clean and adv"),
        ("mart", "clean", "recipe.passes clean: the loss of mart reads clean and adv"),
        ("self-adaptive", "adv", "recipe.passes adv: the loss of self_adaptive reads clean and adv"),
        ("madry", "clean", "recipe.passes clean: the loss of madry reads adv"),
    ],
)
def test_a_pass_that_the_loss_reads_may_not_be_left_out(defense: str, passes: str, said: str) -> None:
    changed = override(plan(defense), "recipe.passes", passes)
    for refuse in (changed.check, lambda: plan(defense, settings=(("--set", "recipe.passes", passes),))):
        with pytest.raises(RecipeError) as caught:
            refuse()
        assert str(caught.value) == said


def test_a_loss_of_perturbed_images_only_does_without_the_clean_pass() -> None:
    assert plan("madry", settings=(("--set", "recipe.passes", "adv"),)).recipe.passes == ("adv",)


def test_other_refusals_of_values() -> None:
    with pytest.raises(RecipeError, match=r"momentum 0\.9 and start 2\.0 must lie in \[0, 1\]"):
        override(plan("fire-sa"), "defense.targets.start", "2")
    with pytest.raises(RecipeError, match=r"hidden 1\.0 and share 0\.5 must lie strictly between 0 and 1"):
        override(plan("rst-adv"), "recipe.extra.hidden", "1")
    with pytest.raises(RecipeError, match=r"extra\.share 0\.001 of a batch of 256 leaves one kind out"):
        override(plan("rst-adv"), "recipe.extra.share", "0.001")
    with pytest.raises(RecipeError, match=r"extra\.share 0\.5 of a batch of 1 leaves one kind out"):
        override(plan("rst-adv"), "recipe.batch_size", "1")


def test_nesterov_is_switched_off_before_the_momentum() -> None:
    plain = override(override(plan(), "recipe.optimiser.nesterov", "false"), "recipe.optimiser.momentum", "0")
    assert plain.recipe.optimiser == Sgd(momentum=0, nesterov=False)
    with pytest.raises(RecipeError, match="nesterov=true: nesterov needs a momentum"):
        override(plain, "recipe.optimiser.nesterov", "true")


@pytest.mark.parametrize("field", ["peak=0", "peak=1", "peak=1.5", "div=0.5", "final_div=0"])
def test_a_cycle_has_its_peak_within_and_is_divided_by_at_least_one(field: str) -> None:
    name, _, text = field.partition("=")
    said = (
        rf"recipe\.schedule\.{field}: {name} {float(text)}"
        if name == "peak"
        else f"{name} {float(text)}.*: what the rate"
    )
    with pytest.raises(RecipeError, match=said):
        override(override(plan(), "recipe.schedule", "onecycle"), f"recipe.schedule.{name}", text)


def test_one_copy_of_the_weights_is_no_choice() -> None:
    said = r"^recipe\.select copies: without recipe\.ema_decay there is one copy; say validation$"
    chosen = ("--set", "recipe.select", "copies")
    with pytest.raises(RecipeError, match=said):
        plan(settings=(chosen,))
    assert plan(settings=(chosen, ("--set", "recipe.ema_decay", "0.99"))).recipe.select == "copies"


def test_an_attack_of_validation_reaches_the_boundary_too() -> None:
    weak = Pgd(steps=2, step=Quantity("2/255"))
    with pytest.raises(RecipeError, match=r"cannot reach eps 8/255: raise recipe\.validation_attack\.steps or "):
        plan().with_recipe(validation_attack=weak).check()
    plan().with_recipe(validation_attack=weak, attack=None).check()  # there is none without one in training


def test_an_attack_of_validation_is_set_from_the_training_s() -> None:
    both = [("--set", "recipe.validation_attack.steps", "20"), ("--set", "recipe.validation_attack.step", "1/255")]
    found = plan(settings=tuple(both)).recipe
    assert found.attack is not None
    assert found.validation_attack == replace(found.attack, steps=20, step=Quantity("1/255"))
    with pytest.raises(RecipeError, match=r"recipe\.validation_attack\.steps: none has no settings of its own"):
        plan("standard", settings=tuple(both))


def test_extra_data_from_a_file_need_the_file(tmp_path: Path) -> None:
    said = r"^recipe\.extra\.source=file needs --extra-data FILE; docs/data\.md describes the layouts$"
    with pytest.raises(RecipeError, match=said):
        plan("rst-adv", settings=(("--set", "recipe.extra.source", "file"),))
    with pytest.raises(RecipeError, match=said):
        plan(settings=(("--set", "recipe.extra", "extra"), ("--set", "recipe.extra.source", "file")))
    path = extra_file(tmp_path)
    same = plan("rst-adv", extra_data=path, settings=(("--set", "recipe.extra.source", "file"),))
    assert same == plan("rst-adv", extra_data=path)


def test_recipes_refuse_what_no_override_can_reach() -> None:
    with pytest.raises(ValueError, match="passes"):
        Recipe(arch="digits-cnn", attack=None, passes=("noisy",))  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="1 steps of 2/255 cannot reach eps 8/255"):
        plan().with_attack(steps=1).check()
    clean = override(plan(), "recipe.attack", "none")
    assert clean.with_attack(steps=1) is clean
    clean.check()
