"""Plug-ins: found by file stem or entry point; listed without being executed; refused with a reason."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from defense_files import OWN, own
from repository import ROOT

from robench_fire.errors import RecipeError, UsageError
from robench_fire.problem import registry
from robench_fire.problem.dataset import Dataset
from robench_fire.problem.defense import Defense, Paper
from robench_fire.runs.compose import Request, compose


def stems(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.py") if path.stem != "__init__"}


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


def test_a_data_set_of_the_users_own_is_found_by_its_entry_point(
    installed: Callable[..., None], plugin: Callable[[str, str], None]
) -> None:
    plugin("my_package_numbers", "from robench_fire.datasets.digits import DATASET\n")
    installed(("numbers", "my_package_numbers"), group="robench_fire.datasets")
    assert registry.load("datasets", "Numbers").origin == "my_package_numbers"
    assert compose(Request(defense="fire", dataset="numbers")).plan.dataset == "numbers"


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


def test_an_installed_plugin_belongs_to_the_groups_that_it_says(
    installed: Callable[..., None], plugin: Callable[[str, str], None]
) -> None:
    """Read, not executed; one that cannot be read is of none."""
    plugin("my_package_mine", OWN + 'GROUPS = ("distances", "Mine")\n')
    plugin("my_package_broken", "GROUPS = (\n")
    installed(("mine", "my_package_mine"), ("broken", "my_package_broken"), ("gone", "my_package_gone"))
    assert registry.groups()["mine"] == ["mine"]
    assert registry.groups()["distances"][-1] == "mine"
    assert "my_package_mine" not in sys.modules


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
