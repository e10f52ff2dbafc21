"""Plug-ins: found by file stem, entry point or path; listed without being executed; refused with a reason."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from repository import ROOT

from robench_fire.errors import RecipeError, UsageError
from robench_fire.problem import registry
from robench_fire.problem.dataset import Dataset
from robench_fire.problem.defense import Defense, Paper
from robench_fire.problem.plan import fingerprint, override
from robench_fire.runs.compose import Request, compose

OWN = '''"""Mine: half of Madry's loss."""

from dataclasses import dataclass
from typing import Literal

from robench_fire.problem.defense import Defense, Paper
from robench_fire.losses import cross_entropy

PAPER = Paper(key="Me2026Mine", method="Mine", title="Mine", authors="Me", venue="none", link="none")


@dataclass(frozen=True, kw_only=True)
class Mine(Defense):
    """weight CE(z', y)."""

    weight: float = 0.5
    how: Literal["plain", "fancy"] = "plain"

    def inner(self, views):
        return cross_entropy(views.adv, views.target)

    def outer(self, views):
        return {"adversarial": self.weight * cross_entropy(views.adv, views.target)}


DEFENSE = Mine()
'''
POSTPONED = (
    OWN.replace("\nfrom dataclasses", "\nfrom __future__ import annotations\n\nfrom dataclasses", 1)
    .replace("import Literal", "import ClassVar, Literal")
    .replace("    weight: float", "    clean_in_inner: ClassVar[bool] = False\n    weight: float")
)


def stems(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.py") if path.stem != "__init__"}


def own(folder: Path, text: str = OWN, name: str = "mine.py") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Pretends that packages declare entry points, given as (name, module)."""

    def declare(*declared: tuple[str, str], group: str = "robench_fire.defenses") -> None:
        entries = [EntryPoint(name, module, group) for name, module in declared]
        monkeypatch.setattr(registry, "entry_points", lambda group: [each for each in entries if each.group == group])
        registry.names.cache_clear()

    yield declare
    monkeypatch.undo()
    registry.names.cache_clear()


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Puts a module on the import path, and takes it out of the imported ones afterwards."""
    made: list[str] = []
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(name: str, text: str) -> None:
        own(tmp_path, text, f"{name}.py")
        made.append(name)

    yield put
    for name in made:
        sys.modules.pop(name, None)


def test_names_are_the_file_stems() -> None:
    defenses, datasets = registry.names("defenses"), registry.names("datasets")
    assert {"fire", "fire_sa", "madry", "mart", "rst_adv", "self_adaptive", "trades"} <= stems(ROOT / "defenses")
    assert stems(ROOT / "defenses") <= set(defenses)
    assert stems(ROOT / "robench_fire" / "datasets") <= set(datasets)
    assert defenses["fire_sa"] == "robench_fire.defenses.fire_sa"
    assert datasets["cifar10"] == "robench_fire.datasets.cifar10"


@pytest.mark.parametrize("name", sorted(stems(ROOT / "defenses")))
def test_every_bundled_defense_can_be_loaded(name: str) -> None:
    found = registry.load("defenses", name)
    assert isinstance(found.module.DEFENSE, Defense)
    assert isinstance(found.module.PAPER, Paper)
    assert (found.name, found.origin) == (name, f"robench_fire.defenses.{name}")
    assert found.code == ""


@pytest.mark.parametrize("name", sorted(stems(ROOT / "robench_fire" / "datasets")))
def test_every_bundled_data_set_can_be_loaded(name: str) -> None:
    found = registry.load("datasets", name)
    assert isinstance(found.module.DATASET, Dataset)
    assert found.code == ""


@pytest.mark.parametrize("asked", ["fire_sa", "fire-sa", "FIRE-SA", "Fire_SA", "FIRE_sa"])
def test_hyphens_and_case_do_not_matter(asked: str) -> None:
    assert registry.load("defenses", asked).name == registry.canonical(asked) == "fire_sa"


def test_an_unknown_name_has_a_nearest_match_and_every_choice() -> None:
    with pytest.raises(UsageError) as caught:
        registry.load("defenses", "TRADE")
    choices = ", ".join(sorted(registry.names("defenses")))
    assert str(caught.value) == f"unknown defense 'TRADE': choose from {choices}"
    with pytest.raises(UsageError, match=r"unknown defense 'trade': did you mean trades\?"):
        registry.load("defenses", "trade")
    with pytest.raises(UsageError, match=r"unknown data set 'cifar-10': did you mean cifar10\?"):
        registry.load("datasets", "cifar-10")


def test_a_data_set_is_no_defense() -> None:
    with pytest.raises(UsageError, match="digits is a data set; a command names the defense first"):
        registry.load("defenses", "digits")


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


def test_a_data_set_of_the_users_own_is_found_by_its_entry_point(
    installed: Callable[..., None], plugin: Callable[[str, str], None]
) -> None:
    plugin("my_package_numbers", "from robench_fire.datasets.digits import DATASET\n")
    installed(("numbers", "my_package_numbers"), group="robench_fire.datasets")
    assert registry.load("datasets", "Numbers").origin == "my_package_numbers"
    assert compose(Request(defense="fire", dataset="numbers")).plan.dataset == "numbers"


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


def test_an_installed_plugin_is_found_by_its_entry_point(
    installed: Callable[..., None], plugin: Callable[[str, str], None]
) -> None:
    plugin("my_package_mine", OWN)
    installed(("Mine-Too", "my_package_mine"))
    assert registry.names("defenses")["mine_too"] == "my_package_mine"
    assert "fire" in registry.names("defenses")
    assert "mine_too" not in registry.names("datasets")
    found = registry.load("defenses", "mine-too")
    assert (found.name, found.origin, found.module.DEFENSE.weight) == ("mine_too", "my_package_mine", 0.5)
    assert found.code == hashlib.sha256(OWN.encode()).hexdigest()[:12]
    assert compose(Request(defense="mine-too", dataset="digits")).plan.code == found.code


def test_an_entry_point_may_name_an_attribute(
    installed: Callable[..., None], plugin: Callable[[str, str], None]
) -> None:
    plugin("my_package_mine", OWN)
    installed(("mine", "my_package_mine:DEFENSE"), ("mine", "my_package_mine"))
    assert registry.names("defenses")["mine"] == "my_package_mine"
    assert registry.load("defenses", "mine").module.DEFENSE.weight == 0.5
    assert registry.summary("defenses", "mine") == "Mine: half of Madry's loss."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise ValueError('no such thing')", "ValueError: no such thing"),
        ("import not_installed_anywhere", "ModuleNotFoundError: No module named 'not_installed_anywhere'"),
        ("def (", "SyntaxError: "),
    ],
)
def test_an_installed_plugin_that_raises_is_refused_with_its_error(
    installed: Callable[..., None], plugin: Callable[[str, str], None], text: str, said: str
) -> None:
    plugin("broken_plugin", text)
    installed(("broken", "broken_plugin"))
    with pytest.raises(RecipeError) as caught:
        registry.load("defenses", "broken")
    assert str(caught.value).startswith(f"broken_plugin cannot be imported: {said}")
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(("module", "absent"), [("gone_plugin", "gone_plugin"), ("gone_package.mine", "gone_package")])
def test_an_installed_plugin_that_is_gone_is_refused(installed: Callable[..., None], module: str, absent: str) -> None:
    installed(("gone", module))
    with pytest.raises(RecipeError) as caught:
        registry.load("defenses", "gone")
    said = f"{module} cannot be imported: ModuleNotFoundError: No module named {absent!r}"
    assert str(caught.value) == said
    assert registry.summary("defenses", "gone") == f"{module} cannot be found"


def test_an_installed_plugin_that_lacks_something_is_refused(
    installed: Callable[..., None], plugin: Callable[[str, str], None]
) -> None:
    plugin("silent_plugin", "DEFENSE = 1\n")
    installed(("silent", "silent_plugin"))
    with pytest.raises(RecipeError, match=r"^silent_plugin defines no PAPER; see docs/adding-a-defense\.md$"):
        registry.load("defenses", "silent")


@pytest.mark.parametrize("name", ["fire", "FIRE", "fire-sa"])
def test_a_plugin_may_not_take_a_bundled_name(installed: Callable[..., None], name: str) -> None:
    installed((name, "other_package.fire"))
    bundled = f"robench_fire.defenses.{registry.canonical(name)}"
    said = f"two defenses are called '{registry.canonical(name)}': {bundled} and other_package.fire; uninstall one"
    for _ in range(2):
        with pytest.raises(UsageError) as caught:
            registry.load("defenses", "madry")
        assert str(caught.value) == said


def test_two_plugins_may_not_share_a_name(installed: Callable[..., None]) -> None:
    installed(("new-one", "first.new"), ("new_one", "second.new"))
    with pytest.raises(
        UsageError, match=r"two defenses are called 'new_one': first\.new and second\.new; uninstall one"
    ):
        registry.names("defenses")
    installed(("new", "first"), ("new", "second"), group="robench_fire.datasets")
    with pytest.raises(UsageError, match="two datasets are called 'new'"):
        registry.names("datasets")


def test_the_same_plugin_declared_twice_is_one(installed: Callable[..., None]) -> None:
    installed(("new", "first.new"), ("new", "first.new"), ("fire", "robench_fire.defenses.fire"))
    assert registry.names("defenses")["new"] == "first.new"


def test_listing_executes_no_plugin(installed: Callable[..., None], plugin: Callable[[str, str], None]) -> None:
    plugin("explosive", '"""Explosive: never executed.\n\nMore.\n"""\nraise SystemExit("executed")\n')
    installed(("explosive", "explosive"))
    assert "explosive" in registry.names("defenses")
    assert registry.summary("defenses", "explosive") == "Explosive: never executed."
    assert "explosive" not in sys.modules


def test_a_summary_is_the_first_line_of_the_docstring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "robench_fire.defenses.mart", raising=False)
    assert registry.summary("defenses", "mart") == "MART: misclassification-aware adversarial training."
    assert "robench_fire.defenses.mart" not in sys.modules


def test_every_bundled_module_has_a_summary() -> None:
    for group in ("defenses", "datasets"):
        for name in registry.names(group):
            assert registry.summary(group, name).endswith((".", "CPU"))


def test_a_module_without_docstring_has_an_empty_summary(
    installed: Callable[..., None], plugin: Callable[[str, str], None]
) -> None:
    plugin("silent_plugin", "DEFENSE = 1\n")
    installed(("silent", "silent_plugin"), ("gone", "gone_plugin"))
    assert registry.summary("defenses", "silent") == ""
    assert registry.summary("defenses", "gone") == "gone_plugin cannot be found"


def test_a_class_in_place_of_a_value_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("from robench_fire.defenses.trades import PAPER, Trades\nDEFENSE = Trades\n")
    with pytest.raises(RecipeError, match="DEFENSE is a class; make it a value"):
        registry.load("defenses", str(path))
