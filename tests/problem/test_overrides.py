"""Settings by their path: read as the type of their leaf, or refused with what was meant."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plans import plan, value

from robench_fire.errors import RecipeError
from robench_fire.problem.pgd import Pgd
from robench_fire.problem.plan import override
from robench_fire.problem.recipe import Adam, Cosine, Extra, OneCycle, Sgd, Steps
from robench_fire.problem.settings import leaves, to_plain
from robench_fire.quantity import Quantity


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("defense.lam", "6", 6.0),
        ("defense.lam", "1/3", 1 / 3),
        ("defense.lam", "1e-2", 0.01),
        ("defense.lam", " 2.5 ", 2.5),
        ("defense.distance", "geodesic", "geodesic"),
        ("threat.eps", "4/255", Quantity("4/255")),
        ("threat.eps", "0.031", Quantity("0.031")),
        ("claim.eps", "4/255", Quantity("4/255")),
        ("recipe.arch", "resnet-18", "resnet-18"),
        ("recipe.attack.steps", "40", 40),
        ("recipe.attack.step", "0.007", Quantity("0.007")),
        ("recipe.attack.start", "uniform", "uniform"),
        ("recipe.attack", "none", None),
        ("recipe.attack", "None", None),
        ("recipe.attack_mode", "train", "train"),
        ("recipe.passes", "adv", ("adv",)),
        ("recipe.passes", "clean, adv, clean", ("clean", "adv", "clean")),
        ("recipe.epochs", "30", 30),
        ("recipe.optimiser", "adam", Adam()),
        ("recipe.optimiser", "Sgd", Sgd()),
        ("recipe.optimiser.lr", "1/10", 0.1),
        ("recipe.optimiser.nesterov", "false", False),
        ("recipe.optimiser.nesterov", "True", True),
        ("recipe.schedule", "cosine", Cosine()),
        ("recipe.schedule", "steps", Steps()),
        ("recipe.schedule", "onecycle", OneCycle()),
        ("recipe.label_smoothing", "0.4", 0.4),
        ("recipe.ema_warm_up", "true", True),
        ("recipe.schedule.at", "0.5,3/4", (0.5, 0.75)),
        ("recipe.schedule.at", "0.5", (0.5,)),
        ("recipe.schedule.at", "1", (1.0,)),
        ("recipe.schedule.at", "", ()),
        ("recipe.augment.pad", "0", 0),
        ("recipe.augment.flip", "FALSE", False),
        ("recipe.augment.jitter", "1", 1.0),
        ("recipe.normalise", "image", "image"),
        ("recipe.ema_decay", "0.995", 0.995),
        ("recipe.ema_decay", "none", None),
        ("recipe.select", "validation", "validation"),
        ("recipe.extra", "extra", Extra()),
        ("recipe.extra", "none", None),
    ],
)
def test_an_override_is_read_as_the_type_of_its_leaf(path: str, text: str, expected: object) -> None:
    found = value(override(plan(), path, text), path)
    assert found == expected
    assert type(found) is type(expected)
    assert str(found) == str(expected)


def test_an_override_changes_nothing_else() -> None:
    before = plan()
    after = override(before, "recipe.attack.steps", "11")
    assert before.recipe.attack == Pgd(steps=10, step=Quantity("2/255"))
    assert after == before.with_attack(steps=11)


def test_an_override_reaches_inside_targets() -> None:
    assert value(override(plan("fire-sa"), "defense.targets.start", "0.5"), "defense.targets.start") == 0.5


@given(st.integers(1, 20), st.integers(255, 10_000))
def test_a_fraction_keeps_its_text(above: int, below: int) -> None:
    found = override(plan(), "threat.eps", f"{above}/{below}")
    assert str(found.threat.eps) == to_plain(found)["threat"]["eps"] == f"{above}/{below}"
    assert float(found.threat.eps) == float(Fraction(above, below))


@given(st.floats(0, 1e6, allow_subnormal=False))
def test_every_float_survives_its_text(lam: float) -> None:
    assert override(plan(), "defense.lam", repr(lam)).defense.lam == lam  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("path", "near", "listed"),
    [
        ("defense.lamb", "lam", ["distance", "lam", "targets"]),
        ("defense.beta", "", ["distance", "lam", "targets"]),
        ("threat.epsilon", "eps", ["eps"]),
        ("threat.norm", "", ["eps"]),
        ("claim.epsilon", "eps", ["eps"]),
        ("recipe.epoch", "epochs", ["arch", "attack", "epochs", "schedule"]),
        ("recipe.attack.stepsize", "steps", ["start", "step", "steps"]),
        ("recipe.optimizer.lr", "optimiser", ["optimiser"]),
        ("recipe.optimiser.betas", "", ["lr", "momentum", "nesterov"]),
        ("recipe..epochs", "", ["epochs"]),
    ],
)
def test_an_unknown_field_lists_the_fields(path: str, near: str, listed: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        override(plan(), path, "1")
    message = str(caught.value)
    assert message.startswith(f"{path}: unknown field of ")
    assert (f"did you mean {near}? choose from" if near else ": choose from") in message
    assert set(listed) <= set(message.rpartition("choose from ")[2].split(", "))


@pytest.mark.parametrize(
    "path",
    [
        *("", ".", "epochs", "lam", "name", "dataset", "profile", "code", "recipes.epochs", "plan.recipe.epochs"),
        *("defense", "threat", "claim", "recipe", "recipe."),
    ],
)
def test_only_fields_of_defense_threat_claim_and_recipe_are_set(path: str) -> None:
    with pytest.raises(RecipeError) as caught:
        override(plan(), path, "1")
    assert str(caught.value).startswith(f"unknown setting {path!r}: ")
    assert str(caught.value).endswith("`robench show fire cifar10` lists them all")


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("lam", "defense.lam"),
        ("epochs", "recipe.epochs"),
        ("epoch", "recipe.epochs"),
        ("batch-size", "recipe.batch_size"),
        ("steps", "recipe.attack.steps"),
        ("optimizer.lr", "recipe.optimiser.lr"),
        ("recipes.epochs", "recipe.epochs"),
        ("plan.recipe.epochs", "recipe.epochs"),
        ("eps", "threat.eps or claim.eps"),
    ],
)
def test_a_bare_or_misspelt_name_leads_to_the_setting_that_is_meant(path: str, meant: str) -> None:
    with pytest.raises(RecipeError, match=rf"did you mean {meant}\?"):
        override(plan(), path, "1")


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("recipe.epochs", "3.5", "expected an integer, got '3.5'"),
        ("recipe.epochs", "many", "expected an integer, got 'many'"),
        ("recipe.epochs", "", "expected an integer, got ''"),
        ("recipe.epochs", "none", "expected an integer, got 'none'"),
        ("defense.lam", "strong", "'strong' is not a number; write it like 8/255 or 0.031"),
        ("defense.lam", "nan", "'nan' is not a number; write it like 8/255 or 0.031"),
        ("defense.lam", "inf", "'inf' is not a number; write it like 8/255 or 0.031"),
        ("threat.eps", "8/0", "'8/0' is not a number; write it like 8/255 or 0.031"),
        ("threat.eps", "8:255", "'8:255' is not a number; write it like 8/255 or 0.031"),
        ("recipe.optimiser.nesterov", "yes", "expected true or false"),
        ("recipe.select", "valid", "unknown value 'valid': did you mean validation? choose from copies, last"),
        ("recipe.passes", "clean,noisy", "unknown value 'noisy': choose from adv, clean"),
        ("recipe.schedule", "cosin", "unknown kind 'cosin': did you mean cosine? choose from cosine, cyclic, onecycle"),
        ("recipe.optimiser", "lion", "unknown kind 'lion': choose from adam, sgd"),
        ("recipe.attack", "pgd", "Pgd is more than its name: set fields of one that is there, or write a file"),
        ("defense.targets", "hardlabels", "cannot be set as a whole"),
    ],
)
def test_a_value_of_another_type_is_refused(path: str, text: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        override(plan(), path, text)
    assert str(caught.value).startswith(f"{path}={text}: {said}")


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("recipe.extra.share", "none"),
        ("recipe.epochs.more", "int"),
        ("defense.targets.momentum", "HardLabels"),
    ],
)
def test_a_leaf_has_no_fields(path: str, owner: str) -> None:
    with pytest.raises(RecipeError, match=f"{path}: {owner} has no settings of its own"):
        override(plan(), path, "1")


def test_fields_follow_the_kind_that_was_chosen() -> None:
    cosine = override(plan(), "recipe.schedule", "cosine")
    with pytest.raises(RecipeError, match="Cosine has no settings of its own"):
        override(cosine, "recipe.schedule.factor", "0.2")
    adam = override(plan(), "recipe.optimiser", "adam")
    with pytest.raises(RecipeError, match="unknown field of Adam 'momentum': choose from lr"):
        override(adam, "recipe.optimiser.momentum", "0.9")
    assert override(adam, "recipe.optimiser.lr", "0.01").recipe.optimiser == Adam(lr=0.01)


def test_plain_values_say_their_kind_and_keep_their_text() -> None:
    plain = to_plain(plan())
    assert plain["kind"] == "Plan"
    assert plain["code"] == ""
    assert plain["defense"] == {
        "kind": "Fire",
        "targets": {"kind": "HardLabels"},
        "lam": 12.0,
        "distance": "half-angle",
    }
    assert plain["threat"] == plain["claim"] == {"kind": "Linf", "eps": "8/255"}
    assert plain["recipe"]["attack"] == {"kind": "Pgd", "steps": 10, "step": "2/255", "start": "gaussian"}
    assert plain["recipe"]["passes"] == ["clean", "adv"]
    assert plain["recipe"]["extra"] is None
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


def test_leaves_are_every_value_and_the_kinds_that_stand_for_values() -> None:
    found = dict(leaves(to_plain(plan())))
    assert found["defense.lam"] == 12.0
    assert found["threat.eps"] == "8/255"
    assert found["recipe.passes"] == ["clean", "adv"]
    assert found["recipe.extra"] is None
    assert found["recipe.attack"] == "Pgd"
    assert found["defense.targets"] == "HardLabels"
    assert dict(leaves(to_plain(override(plan(), "recipe.schedule", "cosine"))))["recipe.schedule"] == "Cosine"
    assert not {"", "kind", "defense", "recipe", "threat"} & set(found)
