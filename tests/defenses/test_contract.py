"""The contract of every defense: a frozen value whose losses are finite and per example."""

from __future__ import annotations

import math
import pickle
import re
from dataclasses import FrozenInstanceError, fields, replace

import pytest
import torch
from bundled_defenses import NAMES, complete, defense_of, each_name, gains, one_hot, over_batch, random_views, total
from torch import Tensor
from torch.utils._pytree import tree_map

from robench_fire.problem import registry
from robench_fire.problem.defense import Defense, Paper, Terms, Views
from robench_fire.problem.targets import HardLabels

KEY = re.compile(r"[A-Z][A-Za-z]+(19|20)\d{2}[A-Z][A-Za-z]*(_[A-Za-z0-9]+)?")  # NameYearWord, optionally _SUFFIX


def paper_of(name: str) -> Paper:
    found: Paper = registry.load("defenses", name).module.PAPER
    return found


def reordered(views: Views, order: Tensor) -> Views:
    moved: Views = tree_map(lambda each: each[order] if isinstance(each, Tensor) and each.dim() else each, views)
    return moved


@each_name
def test_a_defense_is_a_frozen_value(name: str) -> None:
    defense = defense_of(name)
    assert isinstance(defense, Defense)
    assert defense == replace(defense)
    assert hash(defense) == hash(replace(defense))
    with pytest.raises(FrozenInstanceError):
        defense.targets = HardLabels()  # type: ignore[misc]


@each_name
def test_a_defense_survives_a_pickle(name: str) -> None:
    defense, paper = defense_of(name), paper_of(name)
    assert pickle.loads(pickle.dumps(defense)) == defense
    assert pickle.loads(pickle.dumps(paper)) == paper


@each_name
def test_a_coefficient_is_never_negative(name: str) -> None:
    defense = defense_of(name)
    for field in fields(defense):
        if isinstance(getattr(defense, field.name), float):
            assert getattr(replace(defense, **{field.name: 0.0}), field.name) == 0
            for value in (-1.0, -1e-9, -math.inf, math.nan):
                with pytest.raises(ValueError, match=f"{field.name} {value}: a coefficient must not be negative"):
                    replace(defense, **{field.name: value})


@each_name
def test_a_paper_is_complete(name: str) -> None:
    paper = paper_of(name)
    assert KEY.fullmatch(paper.key)
    assert paper.link.startswith("https://")
    assert all(text.strip() for text in (paper.method, paper.title, paper.authors, paper.venue))
    for reported in paper.reported:
        assert 0 <= reported.robust <= reported.clean <= 100
        assert reported.dataset in registry.names("datasets")
        assert reported.norm in ("Linf", "L2")
        assert reported.source


def test_no_two_defenses_share_a_row_name() -> None:
    for texts in ([paper_of(name).key for name in NAMES], [paper_of(name).method for name in NAMES]):
        assert len(set(texts)) == len(texts)


@each_name
def test_a_module_says_in_one_line_what_it_is(name: str) -> None:
    summary = registry.summary("defenses", name)
    assert summary
    assert summary == (registry.load("defenses", name).module.__doc__ or "").splitlines()[0]


@each_name
@pytest.mark.parametrize("n", [1, 6])
def test_losses_are_finite_and_per_example(name: str, n: int) -> None:
    defense, views = defense_of(name), random_views(n)
    terms = defense.outer(views)
    assert terms
    for values in (*gains(defense, views), *terms.values()):
        assert values.shape == (n,)
        assert values.isfinite().all()
    for value in (*over_batch(defense, views), *over_batch(defense, views, "inner")):
        assert value.shape == ()
        assert value.isfinite()


@each_name
def test_permuting_the_batch_permutes_the_losses(name: str) -> None:
    defense, views = defense_of(name), random_views()
    order = torch.randperm(len(views.label), generator=torch.Generator().manual_seed(1))
    mixed = reordered(views, order)
    for found, expected in zip(gains(defense, mixed), gains(defense, views), strict=True):
        torch.testing.assert_close(found, expected[order])
    terms = defense.outer(views)
    assert defense.outer(mixed).keys() == terms.keys()
    for term, values in defense.outer(mixed).items():
        torch.testing.assert_close(values, terms[term][order])


@each_name
@pytest.mark.parametrize("problem", ["inner", "outer"])
def test_declares_whether_it_reads_clean_logits(name: str, problem: str) -> None:
    defense, views = defense_of(name), random_views()
    blind = views._replace(clean=None)
    if problem == "inner" and not gains(defense, views):
        return

    def computed(seen: Views) -> list[object]:
        slopes = [defense.slope(seen)] if problem == "outer" and defense.gradients_at else []
        return [getattr(defense, problem)(seen), *slopes, *over_batch(defense, seen, problem)]

    if getattr(defense, f"clean_in_{problem}"):
        with pytest.raises(ValueError, match="clean_in_inner or clean_in_outer"):
            computed(blind)
    else:
        torch.testing.assert_close(computed(blind), computed(views))


@each_name
def test_gradients_reach_the_adversarial_logits(name: str) -> None:
    defense, views = defense_of(name), random_views()
    adv = views.adv.requires_grad_()
    losses = [] if name == "standard" else [total(loss_of(defense, views))]
    for value in (each.sum() for each in (*gains(defense, views), *over_batch(defense, views, "inner"), *losses)):
        (gradient,) = torch.autograd.grad(value, adv)
        assert gradient.isfinite().all()
        assert gradient.any()


def loss_of(defense: Defense, views: Views) -> Terms:
    return defense.outer(views) | defense.over_batch(views)


def extreme_views(dtype: torch.dtype) -> dict[str, Views]:
    """Equal, nearly equal, saturated and opposite predictions, right and wrong."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(64, 10, generator=generator)
    label = torch.randint(10, (64,), generator=generator)
    gap = torch.linspace(20, 300, 64)[:, None]
    sure, wrong = gap * torch.eye(10)[label], gap * torch.eye(10)[(label + 1) % 10]
    made = {
        "equal": (logits, logits),
        "nearly equal": (logits, logits + 1e-3 * torch.randn(64, 10, generator=generator)),
        "blank": (torch.zeros(64, 10), torch.zeros(64, 10)),
        "saturated and right": (sure, sure),
        "saturated and wrong": (wrong, wrong),
        "turned": (sure, wrong),
        "turned back": (wrong, sure),
    }
    target = one_hot(label, 10, torch.float32)
    given = {scene: Views(clean.to(dtype), adv.to(dtype), target, label) for scene, (clean, adv) in made.items()}
    return {scene: complete(views) for scene, views in given.items()}


@each_name
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scene", sorted(extreme_views(torch.float32)))
def test_values_and_gradients_are_finite_at_extremes(name: str, dtype: torch.dtype, scene: str) -> None:
    defense, views = defense_of(name), extreme_views(dtype)[scene]
    adv, clean = views.adv.clone().requires_grad_(), views.natural.clone().requires_grad_()
    seen = views._replace(clean=clean, adv=adv)
    seen = seen._replace(gradients={key: each.float() for key, each in seen.gradients.items()})
    of_batch = over_batch(defense, seen, "inner")
    for value in (each.sum() for each in (*gains(defense, seen), *of_batch, total(loss_of(defense, seen)))):
        assert value.isfinite()
        assert value.dtype == torch.float32
        for gradient in torch.autograd.grad(value, (adv, clean), allow_unused=True):
            assert gradient is None or gradient.isfinite().all()
