"""A defense file of the user's own is loaded by its path, read anew, and refused with a reason."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest
from defense_files import OWN, own

from robench_fire.errors import RecipeError, UsageError
from robench_fire.problem import registry
from robench_fire.problem.plan import fingerprint, override
from robench_fire.runs.compose import Request, compose

POSTPONED = (
    OWN.replace("\nfrom dataclasses", "\nfrom __future__ import annotations\n\nfrom dataclasses", 1)
    .replace("import Literal", "import ClassVar, Literal")
    .replace("    weight: float", "    clean_in_inner: ClassVar[bool] = False\n    weight: float")
)


def test_a_file_of_the_users_own_is_loaded_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = registry.load("defenses", own(tmp_path))
    assert (found.name, found.origin) == ("mine", str(tmp_path / "mine.py"))
    assert found.module.DEFENSE.weight == 0.5
    monkeypatch.chdir(tmp_path)
    assert registry.load("defenses", "mine.py").origin == str(tmp_path / "mine.py")
    assert registry.load("defenses", "./mine.py").name == "mine"


def test_a_file_is_named_like_a_module_and_registered_where_nothing_else_is(tmp_path: Path) -> None:
    found = registry.load("defenses", own(tmp_path, name="My-Own.py"))
    assert (found.name, found.origin) == ("my_own", str(tmp_path / "My-Own.py"))
    assert found.module.__name__.startswith("robench_user_My-Own_")
    assert sys.modules[found.module.__name__] is found.module
    json = sys.modules["json"]
    assert registry.load("defenses", own(tmp_path, name="json.py")).name == "json"
    assert sys.modules["json"] is json


@pytest.mark.parametrize("text", [OWN, POSTPONED])
def test_a_file_of_the_users_own_is_composed_like_any_other(tmp_path: Path, text: str) -> None:
    path = own(tmp_path, text)
    settings = (("--set", "defense.weight", "1/4"), ("--set", "defense.how", "fancy"))
    request = Request(defense=path, dataset="digits", settings=settings)
    found = compose(request)
    assert (found.plan.name, found.paper.method) == ("mine", "Mine")
    assert (found.plan.defense.weight, found.plan.defense.how) == (0.25, "fancy")  # type: ignore[attr-defined]
    assert fingerprint(found.plan) == fingerprint(compose(request).plan)


def test_postponed_annotations_are_read_like_any_other(tmp_path: Path) -> None:
    plan = compose(Request(defense=own(tmp_path, POSTPONED), dataset="digits")).plan
    assert plan.defense.clean_in_inner is False
    with pytest.raises(RecipeError, match=r"^defense\.how=other: unknown value 'other': choose from fancy, plain$"):
        override(plan, "defense.how", "other")
    with pytest.raises(RecipeError, match=r"^defense\.wait: unknown field of Mine 'wait': did you mean weight\?"):
        override(plan, "defense.wait", "1")


def test_another_formula_under_the_same_name_is_another_plan(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    original, copy = own(tmp_path), own(tmp_path / "elsewhere")
    changed = own(tmp_path / "elsewhere", OWN.replace('{"adversarial": self', '{"adversarial": 2 * self'), "other.py")
    code = hashlib.sha256(Path(original).read_bytes()).hexdigest()[:12]
    assert registry.load("defenses", original).code == registry.load("defenses", copy).code == code
    before = compose(Request(defense=original, dataset="digits")).plan
    assert before.code == code
    assert fingerprint(compose(Request(defense=copy, dataset="digits")).plan) == fingerprint(before)
    after = compose(Request(defense=str(Path(changed).rename(copy)), dataset="digits")).plan
    assert (after.name, after.defense.weight) == (before.name, before.defense.weight)  # type: ignore[attr-defined]
    assert after.code not in ("", code)
    assert fingerprint(after) != fingerprint(before)


def test_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    assert registry.load("defenses", own(tmp_path)).module.DEFENSE.weight == 0.5
    changed = own(tmp_path, OWN.replace("weight: float = 0.5", "weight: float = 0.125"))
    assert registry.load("defenses", changed).module.DEFENSE.weight == 0.125


def test_a_data_set_is_not_loaded_by_path(tmp_path: Path) -> None:
    path = own(tmp_path, "raise AssertionError('executed')\n", "numbers.py")
    said = f"{path}: a data set is found by name; install yours with an entry point (docs/data.md)"
    for load in (
        lambda: registry.load("datasets", path),
        lambda: compose(Request(defense="fire", dataset=path)),
    ):
        with pytest.raises(UsageError) as caught:
            load()
        assert str(caught.value) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (OWN.replace("PAPER =", "OTHER ="), "defines no PAPER"),
        (OWN.replace("DEFENSE =", "OTHER ="), "defines no DEFENSE"),
        ("", "defines no DEFENSE and no PAPER"),
    ],
)
def test_a_file_that_lacks_something_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = own(tmp_path, text)
    with pytest.raises(RecipeError) as caught:
        registry.load("defenses", path)
    assert str(caught.value) == f"{path} {said}; see docs/adding-a-defense.md"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise ValueError('no such thing')", "ValueError: no such thing"),
        ("import not_installed_anywhere", "ModuleNotFoundError: No module named 'not_installed_anywhere'"),
        ("def (", "SyntaxError: "),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)", "SystemExit: 3"),
        ("import sys\nsys.exit('needs a GPU')", "SystemExit: needs a GPU"),
    ],
)
def test_a_file_that_raises_is_refused_with_its_error(tmp_path: Path, text: str, said: str) -> None:
    path = own(tmp_path, text)
    with pytest.raises(RecipeError) as caught:
        registry.load("defenses", path)
    line = 2 if "\n" in text else 1
    assert str(caught.value).startswith(f"{path}:{line} cannot be imported: {said}")
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("name", ["absent.py", "folder.py"])
def test_a_path_that_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(UsageError, match=r"is not a file; give the path of a \.py file or a name that `robench ls`"):
        registry.load("defenses", str(tmp_path / name))


def test_a_class_in_place_of_a_value_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("from robench_fire.defenses.trades import PAPER, Trades\nDEFENSE = Trades\n")
    with pytest.raises(RecipeError, match="DEFENSE is a class; make it a value"):
        registry.load("defenses", str(path))
