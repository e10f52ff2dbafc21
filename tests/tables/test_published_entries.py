"""The published figures as entries, and what may stand beside ours."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from published_entries import ALL, BY_NAME

from robench_fire.boards.schema import NAME
from robench_fire.statistics.summary import MeanStd
from robench_fire.tables.columns import Shown
from robench_fire.tables.entries import (
    BENCHMARK,
    OURS,
    PUBLISHED,
    Entry,
    beside,
    published,
)
from robench_fire.tables.table import tables

RADII = {
    ("cifar10", "Linf"): {"8/255", "0.031"}, ("cifar10", "L2"): {"0.5"}, ("cifar100", "Linf"): {"8/255", "0.031"},
    ("imagenet", "Linf"): {"4/255"}, ("mnist", "Linf"): {"0.3"},
}  # fmt: skip


STANDARD = {"Standard", "Standard_R50"}  # RobustBench's models without a defense, of nobody's paper


def test_every_published_row_is_complete() -> None:
    assert len(ALL) == len(BY_NAME) == 193
    for each in ALL:
        assert each.origin == PUBLISHED
        assert each.eps in RADII[each.dataset, each.norm]
        assert NAME.fullmatch(each.key) or each.key in STANDARD, each.key
        assert re.fullmatch(r"https?://\S+", each.link), each.key
        assert all((each.title, each.authors or each.key in STANDARD, each.venue, each.source)), each.key
        assert bool(each.architecture) != (each.source == "AutoAttack README"), each.key
        assert (each.seeds, each.profile, each.examples) == ("–", "", 0)


def test_published_percentages_are_possible() -> None:
    for each in ALL:
        assert each.robust is not None
        assert each.average is not None
        assert 0 <= each.robust.mean < each.clean.mean < 100, each.key
        assert each.average.mean == pytest.approx((each.clean.mean + each.robust.mean) / 2)
        assert {each.clean.std, each.robust.std, each.average.std} == {None}
        assert each.best_known is None or 0 <= each.best_known <= each.robust.mean, each.key
        assert each.score == (each.robust.mean if each.best_known is None else each.best_known)


def test_there_are_rows_on_every_board_and_signs_of_every_kind() -> None:
    assert {(each.dataset, each.norm) for each in ALL} == set(RADII)
    assert {each.unreliable for each in ALL} == {True, False, None}
    assert {each.extra for each in ALL} == {"file", ""}
    assert any(each.best_known is not None for each in ALL)
    unbroken = [each for each in ALL if each.robust and each.robust.mean > 10]
    assert len(unbroken) == len(ALL) - 7  # as in RobustBench's files: nothing was read in the wrong column


@pytest.mark.parametrize(
    ("name", "clean", "robust", "eps", "architecture", "extra"),
    [
        ("cifar10 Linf Madry2018Towards", 87.14, 44.04, "8/255", "WideResNet-34-10", ""),
        ("cifar10 Linf Zhang2019Theoretically", 84.92, 53.08, "0.031", "WideResNet-34-10", ""),
        ("cifar10 Linf Huang2020Self", 83.48, 53.34, "0.031", "WideResNet-34-10", ""),
        ("cifar10 Linf Wang2020Improving", 87.50, 56.29, "8/255", "WideResNet-28-10", "file"),
        ("cifar10 Linf Carmon2019Unlabeled", 89.69, 59.53, "8/255", "WideResNet-28-10", "file"),
        ("cifar10 Linf Rice2020Overfitting", 85.34, 53.42, "8/255", "WideResNet-34-20", ""),
        ("cifar100 Linf Rice2020Overfitting", 53.83, 18.95, "8/255", "PreActResNet-18", ""),
        ("cifar10 Linf Hendrycks2019Using", 87.11, 54.92, "8/255", "WideResNet-28-10", "file"),
        ("cifar100 Linf Hendrycks2019Using", 59.23, 28.42, "8/255", "WideResNet-28-10", "file"),
        ("cifar10 Linf Alayrac2019Labels", 86.46, 56.03, "8/255", "WideResNet-28-10", "file"),
        ("cifar10 Linf Wu2020Adversarial", 85.36, 56.17, "8/255", "WideResNet-34-10", ""),
        ("cifar10 Linf Wu2020Adversarial_extra", 88.25, 60.04, "8/255", "WideResNet-28-10", "file"),
        ("cifar100 Linf Wu2020Adversarial", 60.38, 28.86, "8/255", "WideResNet-34-10", ""),
        ("cifar10 Linf Wong2020Fast", 83.34, 43.21, "8/255", "PreActResNet-18", ""),
        ("cifar10 Linf Pang2020Bag", 86.43, 54.39, "8/255", "WideResNet-34-20", ""),
        ("cifar10 Linf Atzmon2019Controlling", 81.30, 40.22, "0.031", "ResNet-18", ""),
        ("cifar10 Linf Zhang2020Towards", 44.73, 32.64, "8/255", "5-layer-CNN", ""),
        ("cifar10 Linf Chen2021LTD_WRN34_10", 85.21, 56.94, "8/255", "WideResNet-34-10", ""),
        ("cifar10 Linf Gowal2021Improving_28_10_ddpm_100m", 87.50, 63.44, "8/255", "WideResNet-28-10", ""),
        ("imagenet Linf Salman2020Do_R50", 64.02, 34.96, "4/255", "ResNet-50", ""),
        ("cifar10 L2 Wu2020Adversarial", 88.51, 73.66, "0.5", "WideResNet-34-10", ""),
        ("mnist Linf Zhang2019Theoretically", 99.48, 92.81, "0.3", "", ""),
        ("mnist Linf Atzmon2019Controlling", 99.35, 90.85, "0.3", "", ""),
        ("mnist Linf Madry2018Towards", 98.53, 88.50, "0.3", "", ""),
        ("mnist Linf Wong2020Fast", 98.50, 82.93, "0.3", "", ""),
        ("mnist Linf Gowal2020Uncovering", 99.26, 96.34, "0.3", "", ""),
    ],
)
def test_published_figures_are_their_sources(
    name: str, clean: float, robust: float, eps: str, architecture: str, extra: str
) -> None:
    each = BY_NAME[tuple(name.split())]  # type: ignore[index]
    assert each.robust is not None
    assert (each.clean.mean, each.robust.mean) == (clean, robust)
    assert (each.eps, each.architecture, each.extra) == (eps, architecture, extra)


def test_a_stronger_evaluation_is_what_a_published_row_is_ranked_by() -> None:
    each = BY_NAME["cifar10", "Linf", "Xiao2020Enhancing"]
    assert (each.robust, each.best_known, each.score) == (MeanStd(18.50, None, 1), 7.40, 7.40)
    assert each.unreliable is True
    assert each.notes == ("Eps 0.031 ≈ 7.9/255.", "7.40 by APGD-CE and Square Attack.")


def test_the_best_known_robust_accuracy_may_be_zero() -> None:
    each = replace(ALL[0], best_known=0.0)
    assert each.score == 0.0
    assert replace(each, best_known=None, robust=None).score == -1.0


def like(dataset: str, norm: str, eps: str) -> Entry:
    return replace(ALL[0], origin=OURS, dataset=dataset, norm=norm, eps=eps)


@pytest.mark.parametrize(
    ("mine", "radii"),
    [
        (("cifar10", "Linf", "8/255"), {"8/255", "0.031"}),
        (("cifar10", "Linf", "0.031"), {"8/255", "0.031"}),
        (("cifar10", "Linf", "0.03137"), {"8/255", "0.031"}),
        (("cifar10", "Linf", "2/255"), set()),
        (("cifar10", "Linf", "0.03"), set()),
        (("cifar10", "Linf", "0.5"), set()),
        (("cifar10", "Linf", "0"), set()),
        (("cifar10", "L2", "0.5"), {"0.5"}),
        (("cifar10", "L2", "1/2"), {"0.5"}),
        (("cifar10", "L2", "8/255"), set()),
        (("cifar100", "Linf", "8/255"), {"8/255", "0.031"}),
        (("cifar100", "L2", "0.5"), set()),
        (("mnist", "Linf", "0.3"), {"0.3"}),
        (("digits", "Linf", "0.3"), set()),
    ],
    ids=lambda value: " ".join(sorted(value)) if isinstance(value, set) else " ".join(value),
)
def test_only_what_compares_stands_beside_ours(mine: tuple[str, str, str], radii: set[str]) -> None:
    found = [each for each in beside([like(*mine)]) if each.origin == PUBLISHED]
    assert {each.eps for each in found} == (radii & {each.eps for each in ALL if (each.dataset, each.norm) == mine[:2]})
    assert found == [each for each in ALL if (each.dataset, each.norm) == mine[:2] and radii]


MEANS = {
    "PGD-AT-WA": (82.36, 50.49, None), "PGD-AT": (85.35, 44.33, 6950), "NU-AT": (80.98, 50.10, 2940),
    "LIET": (80.68, 49.99, None), "GAT": (85.10, 49.15, None), "N-FGSM": (78.59, 47.77, 1940),
    "FGSM-RS": (77.66, 43.09, None), "Free-AT": (75.20, 44.34, None),
}  # fmt: skip
"""Pan and Yao 2026: clean, AutoAttack, and the seconds that they give."""


def test_the_means_of_a_benchmark_stand_beside_ours_and_count_in_no_rank() -> None:
    found = {each.key.removeprefix("Pan2026FastAT_"): each for each in beside([like("cifar10", "Linf", "8/255")])
             if each.origin == BENCHMARK}  # fmt: skip
    assert {
        name: (each.clean.mean, each.robust and each.robust.mean, each.train_seconds and each.train_seconds.mean)
        for name, each in found.items()
    } == MEANS
    for each in found.values():
        assert (each.seeds, each.clean.std, each.eps, each.architecture) == ("3", None, "8/255", "ResNet-18")
        assert each.notes[0] == "Mean over 3 seeds, no std given."
        assert ("Time on one GPU that is not named." in each.notes) == (each.train_seconds is not None)
    (table,) = tables([replace(like("cifar10", "Linf", "8/255"), examples=100)], Shown(published=True))
    counted = sorted((each.score for each in table.entries if each.origin == PUBLISHED), reverse=True)
    for each, rank in zip(table.entries, table.ranks, strict=True):
        assert rank == 1 + sum(other > each.score for other in counted)
    assert table.remarks[-1].startswith("8 are a benchmark's means over seeds, on all test images (FastAT benchmark, ")
    assert beside([like("cifar10", "L2", "0.5")])[0].origin == PUBLISHED
    assert not [each for each in published() if each.origin == BENCHMARK]  # neither names nor ranks of RobustBench's


def test_what_stands_beside_several_is_there_once() -> None:
    mine = [like("cifar10", "Linf", "8/255"), like("cifar10", "Linf", "0.031"), like("mnist", "Linf", "0.3")]
    found = beside(mine)
    assert {each.dataset for each in found} == {"cifar10", "mnist"}
    assert len(found) == len({(each.dataset, each.norm, each.key) for each in found}) == 99 + 8 + 5
    assert beside([]) == []


def test_the_published_figures_do_not_depend_on_where_one_stands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert published() == ALL
