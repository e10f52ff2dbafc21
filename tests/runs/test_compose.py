"""Composing a plan: a source for every value, the layers in their order, what was set by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from plans import composed, extra_file, plan, source

from robench_fire.errors import RecipeError, UsageError
from robench_fire.problem.pgd import Pgd
from robench_fire.problem.settings import leaves, to_plain
from robench_fire.problem.threat import L2
from robench_fire.quantity import Quantity
from robench_fire.runs.compose import Request, compose
from robench_fire.runs.differences import by_hand

THREAT_MODEL = "the data set's threat model (docs/data.md)"


def test_a_value_comes_from_the_last_layer_that_changed_it() -> None:
    found = composed(settings=(("--lam", "defense.lam", "6"), ("--set", "recipe.batch_size", "256")), arch="resnet-18")
    assert source(found, "defense.lam") == "--lam"
    assert source(found, "recipe.arch") == "--arch"
    assert source(found, "recipe.batch_size") == "FIRE, section 5 (matched protocol)"
    settable = [path for path, _ in leaves(to_plain(found.plan)) if path not in ("name", "dataset", "profile", "code")]
    assert [path for path, _, _ in found.sources()] == settable
    assert all("." in path for path in settable)
    assert all(value == dict(leaves(to_plain(found.plan)))[path] for path, value, _ in found.sources())


def test_a_departure_names_the_defense_and_its_reason() -> None:
    assert source(composed("madry"), "recipe.attack.start") == (
        "madry, matched: A cross-entropy attack starts anywhere in the ball."
    )
    official = composed("fire", profile="official")
    assert source(official, "defense.lam").startswith("fire, official: MarinePICOT/")
    assert source(official, "threat.eps").startswith("fire, official: ")
    assert source(official, "claim.eps") == THREAT_MODEL
    assert (str(official.plan.threat.eps), str(official.plan.claim.eps)) == ("0.031", "8/255")


def test_a_value_of_the_defense_comes_from_its_paper_and_a_threat_from_the_data_set() -> None:
    found = composed("trades", "mnist", settings=(("--set", "claim.eps", "0.2"),))
    assert source(found, "defense.beta") == source(found, "defense.targets") == "TRADES (Zhang2019Theoretically)"
    assert source(found, "threat.eps") == source(found, "recipe.attack") == THREAT_MODEL
    assert source(found, "recipe.attack.steps") == THREAT_MODEL
    assert source(found, "claim.eps") == "--set"
    assert source(found, "recipe.attack_mode") == source(found, "recipe.arch") == "FIRE, section 5 (matched protocol)"
    moved = composed("trades", "mnist", settings=(("--beta", "defense.beta", "1"), ("--set", "threat.eps", "0.2")))
    assert (source(moved, "defense.beta"), source(moved, "threat.eps")) == ("--beta", "--set")
    assert source(moved, "claim.eps") == THREAT_MODEL


def test_a_field_that_appears_with_a_new_kind_has_the_source_of_the_kind() -> None:
    found = composed(settings=(("--set", "recipe.schedule", "cosine"), ("-s", "recipe.schedule", "steps")))
    assert source(found, "recipe.schedule.at") == "-s"
    found = composed(settings=(("--set", "recipe.attack", "none"),))
    assert "recipe.attack.steps" not in {path for path, _, _ in found.sources()}


def test_the_users_word_is_last(tmp_path: Path) -> None:
    found = composed(
        "rst_adv",
        profile="official",
        arch="resnet-18",
        epochs=7,
        settings=(("-s", "recipe.epochs", "8"),),
        extra_data=extra_file(tmp_path),
    )
    assert (found.plan.recipe.arch, found.plan.recipe.epochs) == ("resnet-18", 8)
    assert source(found, "recipe.arch") == "--arch"


@pytest.mark.parametrize(
    ("asked", "near"), [("fier", "fire"), ("trade", "trades"), ("rst-ad", "rst_adv"), ("self-adaptiv", "self_adaptive")]
)
def test_an_unknown_defense_has_a_nearest_match(asked: str, near: str) -> None:
    with pytest.raises(UsageError, match=rf"unknown defense '{asked}': did you mean {near}\? choose from .*madry"):
        compose(Request(defense=asked, dataset="cifar10"))


@pytest.mark.parametrize(("asked", "near"), [("cifar", "cifar10"), ("minst", "mnist"), ("digit", "digits")])
def test_an_unknown_data_set_has_a_nearest_match(asked: str, near: str) -> None:
    with pytest.raises(UsageError, match=rf"unknown data set '{asked}': did you mean {near}\? choose from cifar10, "):
        compose(Request(defense="fire", dataset=asked))


def test_a_norm_with_a_recipe_is_chosen_and_another_is_refused() -> None:
    found = plan(norm="L2")
    assert found.threat == found.claim == L2(eps=Quantity("0.5"))
    assert found.recipe.attack == Pgd(steps=10, step=Quantity("15/255"))
    with pytest.raises(UsageError, match="mnist has no L2 recipe; choose from Linf"):
        plan(dataset="mnist", norm="L2")
    with pytest.raises(UsageError, match="cifar10 has no linf recipe; choose from Linf, L2"):
        plan(norm="linf")


@pytest.mark.parametrize(
    ("dataset", "norm", "eps", "said"),
    [
        ("cifar10", "L2", "8/255", "usual in Linf, in L2 it is 0.5"),
        ("cifar100", "L2", "0.031", "usual in Linf, in L2 it is 0.5"),
        ("cifar10", "Linf", "128/255", "usual in L2, in Linf it is 8/255"),
        ("digits", "L2", "1/5", "usual in Linf, in L2 it is 0.5"),
        ("digits", "Linf", "0.5", "usual in L2, in Linf it is 0.2"),
    ],
)
def test_a_radius_of_another_norm_is_asked_back(dataset: str, norm: str, eps: str, said: str) -> None:
    """And taken from who says it as the settings that the refusal names."""
    with pytest.raises(RecipeError) as caught:
        plan(dataset=dataset, norm=norm, eps=eps)
    assert str(caught.value).startswith(f"--eps {eps}: on {dataset} it is {said}; if it is meant: --set threat.eps=")
    words = [each.split("=") for each in str(caught.value).split() if "=" in each]
    found = plan(dataset=dataset, norm=norm, settings=tuple(("--set", path, text) for path, text in words))
    assert (found.threat.norm, str(found.threat.eps), str(found.claim.eps)) == (norm, eps, eps)
    usual = plan(dataset=dataset, norm=norm)
    assert found.recipe.attack.step / found.claim.eps == pytest.approx(
        usual.recipe.attack.step / usual.claim.eps, rel=1e-5
    )


@pytest.mark.parametrize(
    ("dataset", "norm", "eps"),
    [("cifar10", "L2", "128/255"), ("cifar10", "L2", "0.1"), ("mnist", "Linf", "0.5"), ("cifar10", "Linf", "0.0314")],
)
def test_other_radii_are_not(dataset: str, norm: str, eps: str) -> None:
    assert str(plan(dataset=dataset, norm=norm, eps=eps).claim.eps) == eps


@pytest.mark.parametrize(
    ("dataset", "norm", "eps", "step"),
    [
        ("cifar10", "Linf", "16/255", 4 / 255),
        ("cifar10", "Linf", "4/255", 1 / 255),
        ("cifar10", "Linf", "1/255", 0.25 / 255),
        ("cifar10", "Linf", "0.031", 0.00775),
        ("cifar10", "L2", "1", 30 / 255),
        ("cifar10", "L2", "0.1", 3 / 255),
        ("digits", "Linf", "0.4", 0.1),
        ("digits", "Linf", "0.05", 0.0125),
        ("mnist", "Linf", "0.1", 0.01 / 3),
    ],
)
def test_a_radius_scales_the_step_and_is_trained_at_and_claimed(dataset: str, norm: str, eps: str, step: float) -> None:
    found = composed("fire", dataset, norm=norm, eps=eps)
    assert found.plan.threat.norm == found.plan.claim.norm == norm
    assert str(found.plan.threat.eps) == str(found.plan.claim.eps) == eps
    assert found.plan.recipe.attack is not None
    assert float(found.plan.recipe.attack.step) == pytest.approx(step, rel=1e-5)
    assert found.plan.recipe.attack.steps == (40 if dataset == "mnist" else 10)
    for path in ("threat.eps", "claim.eps", "recipe.attack.step"):
        assert source(found, path) == "--eps"


def test_a_radius_in_the_official_profile_scales_its_own_step() -> None:
    found = plan("trades", profile="official", eps="0.062")
    assert found.recipe.attack is not None
    assert float(found.recipe.attack.step) == pytest.approx(0.014)
    assert str(found.claim.eps) == "0.062"


@pytest.mark.parametrize(
    ("eps", "said"),
    [("8", "outside \\[0, 1\\]"), ("-1/255", "outside \\[0, 1\\]"), ("big", "'big' is not a number"), ("1/0", "'1/0'")],
)
def test_a_radius_that_is_none_is_refused(eps: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        plan(eps=eps)


@pytest.mark.parametrize("epochs", [0, -1])
def test_no_epochs_are_refused(epochs: int) -> None:
    with pytest.raises(RecipeError, match=f"epochs {epochs}: must be at least 1"):
        plan(epochs=epochs)


def test_mart_is_weaker_on_resnet_18() -> None:
    assert plan("mart").defense.beta == 6.0  # type: ignore[attr-defined]
    small = composed("mart", arch="resnet-18")
    assert small.plan.defense.beta == 5.0  # type: ignore[attr-defined]
    assert source(small, "defense.beta").startswith("mart, matched: ")
    assert plan("mart", arch="resnet-18", settings=(("-s", "defense.beta", "6"),)).defense.beta == 6.0  # type: ignore[attr-defined]


def test_the_users_word_comes_after_the_short_profile() -> None:
    short = plan(profile="short", epochs=4, settings=(("--lr", "recipe.optimiser.lr", "0.3"),))
    assert (short.recipe.epochs, short.recipe.optimiser.lr) == (4, 0.3)
    sources = {path: source for path, _, source in composed(profile="short").sources()}
    assert "short profile" in sources["recipe.schedule"] == sources["recipe.optimiser.lr"]


def test_a_composed_plan_builds_its_model() -> None:
    found = composed("fire", "digits", settings=(("--set", "recipe.normalise", "dataset"),))
    assert {"0.mean", "0.std"} < set(found.build().state_dict())
    assert found.plan.recipe == replace(found.dataset.recipes[found.plan.threat], normalise="dataset")


@pytest.mark.parametrize(
    ("arch", "said"), [("resnet18", "did you mean resnet-18"), ("small-cnn", "takes 1x28x28 images")]
)
def test_an_architecture_that_does_not_fit_is_found_before_anything_is_spent(arch: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        plan(arch=arch)
    with pytest.raises(RecipeError, match=said):
        plan(settings=(("--set", "recipe.arch", arch),))


BY_HAND: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"settings": (("--set", "defense.lam", "6"),)}, {"defense.lam": 6.0}),
    ({"settings": (("--lam", "defense.lam", "12"), ("--set", "recipe.batch_size", "256"))}, {}),
    ({"settings": (("--lam", "defense.lam", "6"), ("--set", "defense.lam", "12"))}, {}),
    ({"settings": (("--set", "recipe.passes", "adv,clean"),)}, {"recipe.passes": ["adv", "clean"]}),
    ({"settings": (("--set", "recipe.attack", "none"),)}, {"recipe.attack": None}),
    ({"settings": (("--set", "recipe.schedule", "cosine"),)}, {"recipe.schedule": "Cosine"}),
    (
        {"settings": (("--set", "recipe.optimiser", "adam"),)},
        {"recipe.optimiser": "Adam", "recipe.optimiser.lr": 1e-4},
    ),
    ({"epochs": 30}, {"recipe.epochs": 30}),
    ({"epochs": 100}, {}),
    ({"arch": "resnet-18"}, {}),
    ({"settings": (("--set", "recipe.arch", "resnet-18"),)}, {}),
    ({"settings": (("--set", "threat.eps", "4/255"), ("--set", "claim.eps", "4/255"))}, {}),
    ({"defense": "rst_adv"}, {}),
    ({"norm": "L2"}, {}),
    ({"profile": "official"}, {}),
    ({"profile": "official", "settings": (("--lam", "defense.lam", "20"),)}, {}),
    ({"profile": "official", "settings": (("--lam", "defense.lam", "12"),)}, {"defense.lam": 12.0}),
]


@pytest.mark.parametrize(("asked", "expected"), BY_HAND)
def test_what_is_set_by_hand_is_what_differs_from_the_recipe(asked: dict[str, Any], expected: dict[str, Any]) -> None:
    request = Request(**{"defense": "fire", "dataset": "cifar10"} | asked)
    assert by_hand(request) == expected


def test_extra_data_are_not_set_by_hand(tmp_path: Path) -> None:
    path = extra_file(tmp_path)
    assert by_hand(Request(defense="fire", dataset="cifar10", extra_data=path)) == {}
    assert by_hand(Request(defense="fire", dataset="cifar10", extra_data=path, epochs=30)) == {"recipe.epochs": 60}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"eps": "8/255"}, {}),  # the recipe's own radius
        ({"defense": "mart", "arch": "resnet-18"}, {}),  # MART's own coefficient for that network
        ({"epochs": 100}, {}),
        ({"epochs": 30}, {"recipe.epochs": 30}),
        (
            {"settings": (("--set", "recipe.extra", "extra"), ("--set", "recipe.extra.hidden", "0.3"))},
            {"recipe.extra": "Extra", "recipe.extra.source": "hidden", "recipe.extra.sha256": "",
             "recipe.extra.hidden": 0.3, "recipe.extra.share": 0.5},
        ),
    ],
)  # fmt: skip
def test_by_hand_names_what_was_changed_and_nothing_else(asked: dict[str, Any], expected: dict[str, Any]) -> None:
    assert by_hand(Request(**{"defense": "fire", "dataset": "cifar10", **asked})) == expected
