"""RobustBench's model_info files as a schema: what is one, and every fault by its name."""

from __future__ import annotations

import copy
import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from repository import BOARDS

from robench_fire.boards.schema import problems

COMMITTED = sorted(path for norm in ("Linf", "L2") for path in BOARDS.glob(f"*/{norm}/*.json"))

BETTER: dict[str, Any] = {
    "link": "https://arxiv.org/abs/2302.04638",
    "name": "Better Diffusion Models Further Improve Adversarial Training",
    "authors": "Zekai Wang, Tianyu Pang, Chao Du, Min Lin, Weiwei Liu, Shuicheng Yan",
    "additional_data": False,
    "number_forward_passes": 1,
    "dataset": "cifar100",
    "venue": "ICML 2023",
    "architecture": "WideResNet-28-10",
    "eps": "8/255",
    "clean_acc": "72.58",
    "reported": "38.83",
    "autoattack_acc": "38.83",
    "external": "38.77",
    "footnote": "It uses additional 50M synthetic images in training. "
    "38.77% robust accuracy is given by MALT (Melamed et al., 2024).",
    "unreliable": False,
}
TRADES: dict[str, Any] = {
    "link": "https://arxiv.org/abs/1901.08573",
    "name": "Theoretically Principled Trade-off between Robustness and Accuracy",
    "authors": "Hongyang Zhang, Yaodong Yu, Jiantao Jiao, Eric P. Xing, Laurent El Ghaoui, Michael I. Jordan",
    "additional_data": False,
    "number_forward_passes": 1,
    "dataset": "cifar10",
    "venue": "ICML 2019",
    "architecture": "WideResNet-34-10",
    "eps": "0.031",
    "clean_acc": "84.92",
    "reported": "56.43",
    "footnote": "Uses \\(\\ell_{\\infty} \\) = 0.031 ≈ 7.9/255 instead of 8/255.",
    "autoattack_acc": "53.08",
}
LIBRARY: dict[str, Any] = {
    "link": "https://github.com/MadryLab/robustness",
    "name": "Robustness library",
    "authors": "Logan Engstrom, Andrew Ilyas, Shibani Santurkar, Dimitris Tsipras",
    "additional_data": False,
    "number_forward_passes": 1,
    "dataset": "cifar10",
    "venue": "GitHub,<br>Sep 2019",
    "architecture": "ResNet-50",
    "eps": "0.5",
    "clean_acc": "90.83",
    "reported": "70.11",
    "autoattack_acc": "69.24",
}
SAMPLES = {"Wang2023Better_WRN-28-10": BETTER, "Zhang2019Theoretically": TRADES, "Engstrom2019Robustness": LIBRARY}
"""From RobustBench's model_info (MIT license)."""


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_every_committed_file_is_robustbenchs(path: Path) -> None:
    assert problems(json.loads(path.read_text(encoding="utf-8")), path.stem) == []


def test_there_are_committed_files() -> None:
    assert len(COMMITTED) >= 7


@pytest.mark.parametrize("name", SAMPLES)
def test_robustbenchs_own_files_are_valid(name: str) -> None:
    assert problems(SAMPLES[name], name) == []


def test_a_file_of_robustbenchs_with_a_null_is_not_what_we_write() -> None:
    assert problems(TRADES | {"reported": None}, "Zhang2019Theoretically") == [
        "reported: None is not of type 'string'"
    ]  # fmt: skip


def test_the_schema_is_one() -> None:
    text = resources.files("robench_fire.boards").joinpath("model_info.schema.json").read_text(encoding="utf-8")
    Draft202012Validator.check_schema(json.loads(text))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("clean_acc", 84.92, "84.92 is not of type 'string'"),
        ("autoattack_acc", 53, "53 is not of type 'string'"),
        ("autoattack_acc", "53.08%", "'53.08%' does not match"),
        ("autoattack_acc", "-1.0", "'-1.0' does not match"),
        ("autoattack_acc", "100.01", "'100.01' does not match"),
        ("clean_acc", "101", "'101' does not match"),
        ("clean_acc", "0.8492e2", "'0.8492e2' does not match"),
        ("clean_acc", "", "'' does not match"),
        ("external", "53,08", "'53,08' does not match"),
        ("reported", "53.08 ± 0.2", "'53.08 ± 0.2' does not match"),
        ("eps", 0.031, "0.031 is not of type 'string'"),
        ("eps", "8/255 ", "'8/255 ' does not match"),
        ("eps", "eight", "'eight' does not match"),
        ("additional_data", "false", "'false' is not of type 'boolean'"),
        ("additional_data", 0, "0 is not of type 'boolean'"),
        ("unreliable", "no", "'no' is not of type 'boolean'"),
        ("number_forward_passes", "1", "'1' is not of type 'integer'"),
        ("number_forward_passes", 0, "0 is less than the minimum of 1"),
        ("number_forward_passes", True, "True is not of type 'integer'"),
        ("link", "arxiv.org/abs/1901.08573", "does not match"),
        ("name", "", "'' should be non-empty"),
        ("footnote", None, "None is not of type 'string'"),
        ("venue", None, "None is not of type 'string'"),
        ("authors", ["Hongyang Zhang"], "is not of type 'string'"),
    ],
)
def test_a_fault_is_named_with_its_key(name: str, value: Any, said: str) -> None:
    (fault,) = problems(TRADES | {name: value}, "Zhang2019Theoretically")
    assert fault.startswith(f"{name}: ")
    assert said in fault


@pytest.mark.parametrize("value", ["0", "0.0", "5", "9.99", "100", "100.00", "84.9"])
def test_percentages_are_texts_from_0_to_100(value: str) -> None:
    assert problems(TRADES | {"clean_acc": value}, "Zhang2019Theoretically") == []


OPTIONAL = {"footnote", "unreliable", "external", "robench_fire"}


@pytest.mark.parametrize("name", BETTER)
def test_a_missing_key_is_named(name: str) -> None:
    found = problems({key: value for key, value in BETTER.items() if key != name}, "Wang2023Better")
    expected = [] if name in OPTIONAL else [f"the file: {name!r} is a required property"]
    assert found == expected


def test_an_unknown_key_is_named() -> None:
    (fault,) = problems(TRADES | {"autoatack_acc": "53.08"}, "Zhang2019Theoretically")
    assert fault.startswith("the file: ")
    assert "'autoatack_acc' was unexpected" in fault


def test_every_fault_is_found() -> None:
    found = problems(TRADES | {"eps": 0.031, "clean_acc": 84.92, "additional_data": "no", "more": 1}, "trades")
    assert [each.split(": ")[0] for each in found] == [
        "the file", "additional_data", "clean_acc", "eps",
        "trades is not a name like Picot2021Adversarial (author, year, first word of the title)",
    ]  # fmt: skip


@pytest.mark.parametrize("info", [[], "text", None, 5, [{}]])
def test_a_file_that_is_no_object_is_said(info: Any) -> None:
    (fault,) = problems(info, "Zhang2019Theoretically")
    assert fault.startswith("the file: ")
    assert fault.endswith("is not of type 'object'")


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("Picot2021Adversarial", True), ("Picot2021Adversarial_SA", True), ("Wang2023Better_WRN-28-10", True),
        ("Ben-Tal2009Robust", True), ("Zhang1998A", True), ("Li20242D", True), ("picot2021Adversarial", False),
        ("Picot2021", False), ("Picot2021adversarial", False), ("Picot21Adversarial", False), ("2021A", False),
        ("Picot2021Adversarial.json", False), ("Picot 2021 Adversarial", False), ("../Picot2021Adversarial", False),
        ("Picot2021Adversarial\n", False), ("", False),
    ],
)  # fmt: skip
def test_names_are_robustbenchs(name: str, good: bool) -> None:
    expected = (
        [] if good else [f"{name} is not a name like Picot2021Adversarial (author, year, first word of the title)"]
    )
    assert problems(TRADES, name) == expected


OURS: dict[str, Any] = TRADES | {
    "robench_fire": {
        "format": 1,
        "paper": {"key": "Zhang2019Theoretically", "method": "TRADES", "title": TRADES["name"]},
        "plan": dict.fromkeys(("name", "dataset", "profile", "defense", "threat", "claim", "recipe")),
        "fingerprint": "0123456789ab",
        "norm": "Linf",
        "eps": "8/255",
        "attack": "aa",
        "examples": 1000,
        "evaluation_seed": 0,
        "seeds": {"0": {"clean": 84.92, "robust": 53.08, "train_seconds": 1.5}},
        "std": {"clean": None, "robust": None, "train_seconds": None},
        "unfinished": [],
        "sessions": {},
        "weights_sha256": {"0": "0123456789abcdef" * 4},
        "verdicts": {},
        "evaluator": {"attack_version": "1", "machines": [], "robust_intervals": {"0": [50.1, 56.0]}},
        "deviations": ["1 of 5 seeds."],
    }
}


def test_what_we_add_is_checked_too() -> None:
    assert problems(OURS, "Zhang2019Theoretically") == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("format", 2), ("attack", "pgd20"), ("norm", "L1"), ("fingerprint", "0123"), ("examples", 0),
        ("examples", "1000"), ("evaluation_seed", -1), ("seeds", {}), ("seeds.0.clean", 100.5),
        ("seeds.0.robust", "53.08"), ("seeds.0.train_seconds", -1), ("unfinished", ["0"]),
        ("weights_sha256.0", "not a hash"), ("deviations", "none"), ("paper.key", "trades"), ("std", {"clean": 1.0}),
        ("evaluator", {}), ("plan", {}), ("sessions", []),
    ],
)  # fmt: skip
def test_a_fault_in_what_we_add_is_named(path: str, value: Any) -> None:
    info = copy.deepcopy(OURS)
    *keys, last = path.split(".")
    inner = info["robench_fire"]
    for key in keys:
        inner = inner[key]
    inner[last] = value
    found = problems(info, "Zhang2019Theoretically")
    assert found
    assert all(each.startswith(f"robench_fire.{path}") for each in found)


def test_a_seed_is_a_number() -> None:
    info = copy.deepcopy(OURS)
    info["robench_fire"]["seeds"]["first"] = info["robench_fire"]["seeds"]["0"]
    (fault,) = problems(info, "Zhang2019Theoretically")
    assert fault.startswith("robench_fire.seeds: 'first' does not match")


@pytest.mark.parametrize("name", list(OURS["robench_fire"]))
def test_nothing_that_we_add_may_be_missing(name: str) -> None:
    info = copy.deepcopy(OURS)
    del info["robench_fire"][name]
    assert problems(info, "Zhang2019Theoretically") == [f"robench_fire: {name!r} is a required property"]
