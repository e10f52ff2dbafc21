"""Profiles and extra data: what they change of a plan, and where they are refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from plans import composed, extra_file, plan, source

from robench_fire.cli.common.options import ProfileName
from robench_fire.errors import DataError, RecipeError, UsageError
from robench_fire.problem.pgd import Pgd
from robench_fire.problem.plan import Profile, fingerprint
from robench_fire.problem.recipe import Cosine, Cyclic, Extra, OneCycle, Sgd
from robench_fire.quantity import Quantity
from robench_fire.runs.compose import Request
from robench_fire.runs.differences import by_hand, departures
from robench_fire.training.pseudo_labels import labeller_recipe


@pytest.mark.parametrize(
    ("defense", "dataset", "norm"),
    [
        ("fire", "digits", "Linf"),
        ("fire", "cifar10", "L2"),
        ("fire_sa", "mnist", "Linf"),
        ("madry", "cifar100", "Linf"),
        ("mart", "cifar100", "Linf"),
        ("mart", "mnist", "Linf"),
        ("rst_adv", "mnist", "Linf"),
        ("rst_adv", "cifar10", "Linf"),
        ("rst_adv", "cifar10", "L2"),
        ("self_adaptive", "cifar100", "Linf"),
        ("trades", "digits", "Linf"),
        ("trades", "cifar100", "Linf"),
        ("trades", "cifar10", "L2"),
    ],
)
def test_official_is_refused_where_no_code_was_released(defense: str, dataset: str, norm: str) -> None:
    kind = " with hidden labels" if defense == "rst_adv" else ""
    with pytest.raises(RecipeError) as caught:
        plan(defense, dataset, norm=norm, profile="official")
    said = f"{defense} has no released training code for {dataset} {norm}{kind}; use --profile matched"
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("defense", "dataset"),
    [
        ("trades", "cifar10"),
        ("madry", "cifar10"),
        ("mart", "cifar10"),
        ("self_adaptive", "cifar10"),
        ("fire_sa", "cifar10"),
        ("rst_adv", "mnist"),
        ("rst_adv", "cifar100"),
    ],
)
def test_official_with_extra_data_is_refused_where_no_code_was_released(
    defense: str, dataset: str, tmp_path: Path
) -> None:
    with pytest.raises(
        RecipeError, match=f"{defense} has no released .* {dataset} Linf with extra data; use --profile matched"
    ):
        plan(defense, dataset, profile="official", extra_data=extra_file(tmp_path))


def test_official_values_are_those_of_the_released_code() -> None:
    trades = plan("trades", profile="official")
    assert trades.recipe.epochs == 76
    assert trades.recipe.passes == ("clean", "adv", "clean")
    assert trades.recipe.attack == Pgd(steps=10, step=Quantity("0.007"))
    assert plan("trades", "mnist", profile="official").defense.beta == 1.0  # type: ignore[attr-defined]
    assert plan("fire", profile="official").defense.lam == 20.0  # type: ignore[attr-defined]
    assert plan("madry", profile="official").recipe.normalise == "image"
    assert plan("mart", profile="official").recipe.attack == Pgd(steps=10, step=Quantity("0.007"), start="gaussian")


def test_epochs_of_the_shared_schedule_become_twice_as_many_with_extra_data(tmp_path: Path) -> None:
    assert plan("fire", epochs=30).recipe.epochs == 30
    assert plan("rst_adv").recipe.epochs == 200
    assert plan("rst_adv", epochs=30).recipe.epochs == 60
    assert plan("rst_adv", epochs=30, extra_data=extra_file(tmp_path)).recipe.epochs == 60
    assert plan("fire", epochs=30, extra_data=extra_file(tmp_path)).recipe.epochs == 60


def test_epochs_are_absolute_as_a_setting_and_in_the_official_profile(tmp_path: Path) -> None:
    assert plan("rst_adv", settings=(("--set", "recipe.epochs", "30"),)).recipe.epochs == 30
    assert plan("rst_adv", epochs=50, settings=(("--set", "recipe.epochs", "30"),)).recipe.epochs == 30
    assert plan("rst_adv", epochs=30, profile="official", extra_data=extra_file(tmp_path)).recipe.epochs == 30
    assert plan("trades", epochs=30, profile="official").recipe.epochs == 30
    assert source(composed("trades", epochs=30, profile="official"), "recipe.epochs") == "--epochs"


def test_extra_data_bring_their_architecture_and_schedule(tmp_path: Path) -> None:
    path = extra_file(tmp_path)
    found = composed(extra_data=path)
    recipe = found.plan.recipe
    assert (recipe.arch, recipe.schedule, recipe.epochs) == ("wrn-28-10", Cosine(), 200)
    assert recipe.extra == Extra(source="file", sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    for leaf in ("recipe.arch", "recipe.schedule", "recipe.epochs", "recipe.extra.sha256"):
        assert source(found, leaf) == "--extra-data"
    assert plan(extra_data=path, arch="resnet-18").recipe.arch == "resnet-18"


def test_only_the_content_of_extra_data_counts(tmp_path: Path) -> None:
    path = extra_file(tmp_path)
    before = fingerprint(plan(extra_data=path))
    assert fingerprint(plan(extra_data=path.rename(tmp_path / "other.npz"))) == before
    (tmp_path / "other.npz").write_bytes(b"something else")
    assert fingerprint(plan(extra_data=tmp_path / "other.npz")) != before
    with pytest.raises(DataError, match=f"--extra-data {path}: no such file"):
        plan(extra_data=path)


def test_self_training_hides_labels_unless_extra_data_are_given(tmp_path: Path) -> None:
    assert plan("rst_adv").recipe.extra == Extra(source="hidden")
    assert plan("rst_adv").recipe.arch == "wrn-34-10"
    given_file = plan("rst_adv", extra_data=extra_file(tmp_path)).recipe
    assert given_file.extra is not None
    assert given_file.extra.source == "file"
    assert (given_file.arch, given_file.epochs) == ("wrn-28-10", 200)


@pytest.mark.parametrize("defense", ["rst_adv", "fire"])
def test_labels_can_be_hidden_for_any_defense(defense: str) -> None:
    asked = plan(defense, epochs=30, hide_labels=True)
    assert asked.recipe.extra == Extra(source="hidden")
    assert (asked.recipe.epochs, asked.recipe.arch, asked.recipe.schedule) == (60, "wrn-34-10", Cosine())
    assert by_hand(Request(defense=defense, dataset="cifar10", hide_labels=True)) == {}


@pytest.mark.parametrize("defense", ["fire", "trades", "madry", "rst_adv"])
def test_nobody_released_code_that_hides_labels(defense: str) -> None:
    with pytest.raises(RecipeError, match="no released training code for cifar10 Linf with hidden labels"):
        plan(defense, profile="official", hide_labels=True)


def test_pseudo_labelled_images_have_one_source(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="choose one source"):
        plan(hide_labels=True, extra_data=extra_file(tmp_path))


@pytest.mark.parametrize(
    ("dataset", "defense", "epochs", "lr"),
    [
        ("cifar10", "fire", 30, 0.2),
        ("cifar10", "rst_adv", 60, 0.2),
        ("mnist", "trades", 30, 0.02),
        ("digits", "mart", 6, 0.1),
    ],
)
def test_the_short_profile_is_the_matched_one_but_for_epochs_and_rate(
    dataset: str, defense: str, epochs: int, lr: float
) -> None:
    short, matched = (plan(defense, dataset, profile=each) for each in ("short", "matched"))
    assert (short.recipe.epochs, short.recipe.optimiser.lr, short.recipe.schedule) == (epochs, lr, Cyclic())
    back = matched.recipe
    changed = short.with_recipe(epochs=back.epochs, optimiser=back.optimiser, schedule=back.schedule)
    assert replace(changed, profile="matched") == matched


FASTAT = {
    "arch": "resnet-18", "epochs": 100, "batch_size": 128, "optimiser": Sgd(lr=0.1, momentum=0.9, nesterov=False),
    "schedule": OneCycle(per_update=False), "ema_decay": 0.9995, "label_smoothing": 0.4, "select": "copies",
    "validation_attack": Pgd(steps=10, step=Quantity("2/255"), start="uniform"),
}  # fmt: skip
"""Pan and Yao 2026, arXiv 2604.22853, and their code."""


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
@pytest.mark.parametrize("defense", ["madry", "fire", "fire_sa"])
def test_fastat_is_the_protocol_of_pan_and_yao_for_any_method(dataset: str, defense: str) -> None:
    found = composed(defense, dataset, profile="fastat")
    changed = {name: value for name, value in FASTAT.items() if name not in ("epochs",)}
    assert {name: getattr(found.plan.recipe, name) for name in FASTAT} == FASTAT
    matched = plan(defense, dataset)
    back = found.plan.with_recipe(**{name: getattr(matched.recipe, name) for name in changed})
    assert replace(back, profile="matched") == matched
    for path in ("recipe.label_smoothing", "recipe.schedule.per_update", "recipe.arch", "recipe.select"):
        assert source(found, path) == "the fastat profile (docs/defenses.md)"
    assert found.dataset.validation == 1000


@pytest.mark.parametrize(
    ("profile", "path"), [("modern", "recipe.label_smoothing"), ("fastat", "recipe.validation_attack")]
)
def test_what_is_taken_away_is_set_by_hand_too(profile: Profile, path: str) -> None:
    asked = Request(defense="madry", dataset="cifar10", profile=profile, settings=(("--set", path, "none"),))
    assert by_hand(asked) == {path: None}


@pytest.mark.parametrize(
    ("dataset", "norm", "where"),
    [("digits", "Linf", "digits Linf 0.2"), ("mnist", "Linf", "mnist Linf 0.3"), ("cifar10", "L2", "cifar10 L2 0.5")],
)
def test_fastat_says_where_it_does_not_apply(dataset: str, norm: str, where: str) -> None:
    said = f"the fastat profile is a protocol of other data: {where} has matched, short, modern, official"
    with pytest.raises(RecipeError) as caught:
        plan("madry", dataset, norm=norm, profile="fastat")
    assert str(caught.value) == said


@pytest.mark.parametrize("dataset", ["digits", "mnist", "cifar100"])
@pytest.mark.parametrize("defense", ["madry", "mart", "fire_sa"])
def test_the_modern_profile_is_the_matched_one_but_for_five_words(dataset: str, defense: str) -> None:
    found, matched = plan(defense, dataset, profile="modern"), plan(defense, dataset)
    words = {
        "optimiser": replace(matched.recipe.optimiser, lr=2 * matched.recipe.optimiser.lr), "schedule": OneCycle(),
        "ema_decay": 0.995, "ema_warm_up": True, "label_smoothing": 0.1,
    }  # fmt: skip
    assert replace(matched.with_recipe(**words), profile="modern") == found
    assert fingerprint(found) != fingerprint(matched)
    assert departures(composed(defense, dataset, profile="modern"), request := Request(
        defense=defense, dataset=dataset, profile="modern")) == departures(composed(defense, dataset), replace(
            request, profile="matched"))  # fmt: skip


@pytest.mark.parametrize(
    ("defense", "profile"), [("rst_adv", "modern"), ("overfitting", "modern"), ("rst_adv", "fastat")]
)
def test_a_method_that_trains_longer_keeps_the_profiles_cycle(defense: str, profile: Profile) -> None:
    recipe = plan(defense, profile=profile).recipe
    assert (recipe.epochs, type(recipe.schedule)) == (200, OneCycle)


def test_a_radius_scales_the_steps_of_validation_too() -> None:
    found = plan("madry", profile="fastat", eps="16/255").recipe
    assert found.attack is not None
    assert found.validation_attack is not None
    assert float(found.attack.step) == float(found.validation_attack.step) == pytest.approx(4 / 255, rel=1e-5)


def test_a_labeller_is_trained_without_what_is_said_of_its_pupil() -> None:
    found = labeller_recipe(plan("rst_adv", profile="fastat").recipe)
    assert (found.ema_decay, found.label_smoothing, found.validation_attack, found.select) == (None, None, None, "last")
    assert found.schedule == OneCycle(per_update=False)


def npz(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "1m.npz", **arrays)
    return folder / "1m.npz"


def test_images_of_a_generator_are_mixed_seven_to_three(tmp_path: Path) -> None:
    """By the content of the file; anything else is pseudo-labelled, half and half."""
    path = npz(tmp_path, image=np.zeros((3, 32, 32, 3), np.uint8), label=np.arange(3))
    found = composed("madry", extra_data=path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.plan.recipe.extra == Extra(source="file", sha256=digest, share=0.7, made_by="generator")
    assert {source(found, f"recipe.extra.{name}") for name in ("share", "made_by", "sha256")} == {"--extra-data"}
    other = plan("madry", extra_data=extra_file(tmp_path)).recipe.extra
    assert other is not None
    assert (other.share, other.made_by) == (0.5, None)
    half = plan("madry", extra_data=path, settings=(("--set", "recipe.extra.share", "0.5"),)).recipe.extra
    assert half is not None
    assert (half.share, half.made_by) == (0.5, "generator")


PIXELS = np.zeros((3, 32, 32, 3), np.uint8)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"image": PIXELS}, "no label; it holds image"),
        ({"x": PIXELS}, "no image and no label; it holds x"),
        (
            {"image": PIXELS[:, ::2, ::2], "label": np.arange(3)},
            "images are uint8 (3, 16, 16, 3); expected uint8 (N, 32",
        ),
        ({"image": PIXELS / 255, "label": np.arange(3)}, "images are float64 (3, 32, 32, 3); expected uint8 (N, 32"),
    ],
)
def test_a_file_that_cannot_be_mixed_in_is_refused_before_anything_is_spent(
    tmp_path: Path, arrays: dict[str, Any], said: str
) -> None:
    path = npz(tmp_path, **arrays)
    with pytest.raises(DataError) as caught:
        plan("madry", extra_data=path)
    assert str(caught.value).startswith(f"{path}: {said}")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"neither a readable npz nor a pickle of arrays \(BadZipFile\)$"):
        plan("madry", extra_data=path)


def test_the_network_of_a_protocol_stays_with_extra_data(tmp_path: Path) -> None:
    assert plan("madry", profile="fastat", extra_data=extra_file(tmp_path)).recipe.arch == "resnet-18"
    assert plan("madry", profile="modern", extra_data=extra_file(tmp_path)).recipe.arch == "wrn-28-10"


def test_the_command_line_offers_every_profile() -> None:
    assert [each.value for each in ProfileName] == list(get_args(Profile))
