"""A defense file of a user's own: what is wrong with it is found before anything is spent, and said with its place."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from repository import ROOT

from robench_fire.errors import DataError, RecipeError, RobenchError, UsageError, unexpected
from robench_fire.launching.local import attempt
from robench_fire.progress import Report
from robench_fire.runs.compose import Request, compose

HEAD = """from dataclasses import dataclass
from robench_fire import Defense, Paper
from robench_fire.losses import cross_entropy
PAPER = Paper(key="Mine2026", method="Mine", title="T", authors="A", venue="V", link="https://example.org")
@dataclass(frozen=True, kw_only=True)
class Mine(Defense):
"""
INNER = "    def inner(self, views):\n        return cross_entropy(views.adv, views.target)\n"
OUTER = "    def outer(self, views):\n        return {'ce': cross_entropy(views.adv, views.target)}\n"
TAIL = "DEFENSE = Mine()\n"


def own(folder: Path, *parts: str) -> str:
    (folder / "mine.py").write_text(HEAD + "".join(parts) + TAIL)
    return str(folder / "mine.py")


def said(path: str) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        compose(Request(defense=path, dataset="digits"))
    found = unexpected(caught.value)
    assert isinstance(found, RecipeError)
    assert len(str(found).splitlines()) == 1
    return str(found)


def test_a_file_that_is_right_is_composed(tmp_path: Path) -> None:
    assert compose(Request(defense=own(tmp_path, INNER, OUTER), dataset="digits")).plan.name == "mine"


@pytest.mark.parametrize("function", ["inner", "outer"])
def test_an_error_names_file_line_and_function(tmp_path: Path, function: str) -> None:
    wrong = {"inner": INNER, "outer": OUTER} | {function: {"inner": INNER, "outer": OUTER}[function].replace(
        "views.target", "views.targets")}  # fmt: skip
    line = 8 if function == "inner" else 10
    expected = f"mine.py:{line}, {function}: AttributeError: 'Views' object has no attribute 'targets'"
    assert said(own(tmp_path, wrong["inner"], wrong["outer"])) == expected


def test_an_error_in_what_a_function_calls_names_both(tmp_path: Path) -> None:
    helper = "    def _half(self, views):\n        return views.adv / self.none\n"
    inner = "    def inner(self, views):\n        return self._half(views)\n"
    assert said(own(tmp_path, helper, inner, OUTER)).startswith(
        "mine.py:8, inner: AttributeError: 'Mine' object has no"
    )


def test_clean_logits_that_were_not_asked_for_are_said_with_their_place(tmp_path: Path) -> None:
    flag = "    clean_in_inner = False\n"
    inner = "    def inner(self, views):\n        return cross_entropy(views.natural, views.target)\n"
    assert said(own(tmp_path, flag, inner, OUTER)).startswith("mine.py:9, inner: ValueError: this defense reads clean")


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((OUTER,), "mine defines no inner(self, views); see docs/adding-a-defense.md"),
        ((INNER,), "mine defines no outer(self, views); see docs/adding-a-defense.md"),
        ((INNER, OUTER.replace("{'ce': ", "(").replace("}", ")")),
         "mine: outer returns a Tensor; expected terms by name, {'robust': (N,)}"),
        ((INNER, OUTER.replace("views.target)", "views.target).mean()")),
         "mine: outer's 'ce' has shape () for 2 images; a defense returns one value per example, (N,)"),
        ((INNER.replace("cross_entropy(views.adv, views.target)", "1.0"), OUTER),
         "mine: inner is 1.0; a defense returns one value per example, (N,)"),
        ((INNER.replace("views.adv", "views.natural"), OUTER),
         "mine: inner does not depend on views.adv, so that an attack has no gradient to follow"),
        ((INNER.replace("return ", "return float('nan') * "), OUTER),
         "mine: inner is not finite; see the rules in docs/adding-a-defense.md"),
        ((INNER.replace("return ", "return 0 * (views.adv - views.adv.detach()).square().sum(1).sqrt() + "), OUTER),
         "mine: the gradient of inner is not finite, so that an attack cannot follow it"),
        ((INNER.replace("return ", "return (views.adv - views.clean).square().sum(1).sqrt() + "), OUTER),
         "mine: the gradient of inner is not finite where clean and perturbed logits are equal, so that an attack "
         "cannot follow it"),
        ((INNER, OUTER.replace("views.target)", "views.target).detach()")),
         "mine: outer's 'ce' has no gradient, so that nothing is learnt from it; is it detached or rounded?"),
        ((INNER, OUTER.replace("views.target)", "views.target) / 0.0")),
         "mine: outer's 'ce' is not finite; see the rules in docs/adding-a-defense.md"),
        (("    beta = 3.0\n", INNER, OUTER),
         "mine: beta = 3.0 is no field; write beta: float = 3.0 in a class under @dataclass(frozen=True, "
         "kw_only=True)"),
    ],
)  # fmt: skip
def test_what_a_defense_must_return_is_said(tmp_path: Path, parts: tuple[str, ...], expected: str) -> None:
    assert said(own(tmp_path, *parts)) == expected


@pytest.mark.parametrize(
    ("paper", "expected"),
    [
        ("dict(key='K')", "PAPER is a dict; make it Paper(key=..., method=..., ...)"),
        ("replaced(reported=(('digits', 'Linf', 1),))", "PAPER's reported holds something else than Reported(...)"),
        ("replaced(method='')", "PAPER needs a key and a method, the name in a table"),
    ],
)
def test_a_paper_that_is_none_is_refused(tmp_path: Path, paper: str, expected: str) -> None:
    path = own(tmp_path, INNER, OUTER)
    with open(path, "a") as file:
        file.write(f"replaced = PAPER._replace\nPAPER = {paper}\n")
    assert said(path).endswith(expected)


def test_a_file_that_changes_while_its_seeds_train_is_refused(tmp_path: Path) -> None:
    asked = Request(defense=own(tmp_path, INNER, OUTER), dataset="digits")
    asked = replace(asked, code=compose(asked).plan.code)
    assert compose(asked).plan.name == "mine"
    with open(asked.defense, "a") as file:
        file.write("# another formula\n")
    with pytest.raises(RecipeError, match="has changed since this command began; run it again"):
        compose(asked)


def test_a_departure_returns_a_plan(tmp_path: Path) -> None:
    path = own(tmp_path, INNER, OUTER)
    with open(path, "a") as file:
        file.write("def matched(plan):\n    plan.with_recipe(epochs=3)\n")
    assert said(path).endswith("mine.py, matched: returns a NoneType; return the plan")


def test_a_file_named_without_its_ending_is_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own(tmp_path, INNER, OUTER)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"; for the file mine\.py say mine\.py$"):
        compose(Request(defense="mine", dataset="digits"))
    with pytest.raises(UsageError, match=r"is a file whose name ends in \.py$"):
        compose(Request(defense="./mine.txt", dataset="digits"))


def test_an_error_in_a_departure_names_its_place(tmp_path: Path) -> None:
    path = own(tmp_path, INNER, OUTER)
    with open(path, "a") as file:
        file.write("def matched(plan):\n    return plan.with_recipe(epoch=3)\n")
    assert said(path).startswith("mine.py:13, matched: TypeError: ")


def test_a_run_says_the_same_as_the_command_line(tmp_path: Path) -> None:
    path = own(tmp_path, INNER.replace("views.target", "views.targets"), OUTER)

    def task(report: Report) -> None:
        compose(Request(defense=path, dataset="digits"))

    error = attempt("mine", task, lambda event: None)
    assert isinstance(error, RecipeError)
    assert str(error).startswith("mine.py:8, inner: AttributeError")


def test_a_full_disk_is_said_by_its_file() -> None:
    found = unexpected(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/state.pt"))
    assert (type(found), str(found)) == (
        DataError, "cannot write runs/state.pt: No space left on device; make room, the same command continues"
    )  # fmt: skip


def test_any_other_error_is_said_by_its_kind() -> None:
    found = unexpected(KeyError("x"))
    assert (type(found), str(found)) == (
        RobenchError, "unexpected KeyError: 'x'; `robench --debug ...` shows where"
    )  # fmt: skip
    assert str(unexpected(AssertionError())) == "unexpected AssertionError; `robench --debug ...` shows where"


@pytest.mark.slow
def test_a_checkouts_root_finds_its_own_defenses_though_a_package_is_installed(tmp_path: Path) -> None:
    """As after `pip install .`: the folder robench_fire/ here hides the installed one, and has no defenses in it."""
    for name in ("robench_fire", "defenses"):
        (tmp_path / name).symlink_to(ROOT / name)
    code = "import robench_fire.defenses.fire as found; print(found.__file__)"
    running = [sys.executable, "-c", code]
    out = subprocess.run(running, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=100).stdout
    assert Path(out.strip()).parent == tmp_path / "defenses"
    listing = [sys.executable, "-m", "robench_fire", "ls", "defenses"]
    listed = subprocess.run(listing, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=100).stdout
    assert "trades" in listed
