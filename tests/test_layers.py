"""The folders of docs/overview.md and their one-way imports, and what may not be imported where."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT

import robench_fire
from robench_fire.problem import registry

PACKAGE = Path(robench_fire.__file__).parent
DEFENSES = Path(registry.load("defenses", "fire").module.__file__ or "").parent
TESTS = Path(__file__).parent

FOLDERS = """
    statistics theory problem defenses datasets devices data models runs
    training costs evaluation boards comparison tables figures reports verification launching submission api cli
""".split()
"""A folder imports those before it in this list, and never one that comes later."""
BESIDE = "errors files json_text losses progress quantity stopping".split()  # what lies in robench_fire/ itself
MOST = 12  # files in a folder


def modules() -> list[tuple[str, Path]]:
    """(folder below robench_fire that a module lies in, or its own name, file)."""
    own = [(path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path) for path in sorted(PACKAGE.rglob("*.py"))]
    return own + [("defenses", path) for path in sorted(DEFENSES.glob("*.py"))]


def imported(path: Path) -> set[str]:
    """First components below robench_fire that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    parts = [name.split(".") for name in found if name.startswith("robench_fire.")]
    homes = {name: home.split(".")[0] for name, home in robench_fire._FACE.items()}
    return {homes.get(part[1], part[1]) for part in parts if part[1] != "__version__"}


@pytest.mark.parametrize(("folder", "path"), modules(), ids=lambda value: getattr(value, "name", value))
def test_imports_point_down(folder: str, path: Path) -> None:
    if folder in ("__main__", "__init__"):
        return
    below = set(BESIDE) | (set(FOLDERS[: FOLDERS.index(folder) + 1]) if folder in FOLDERS else set())
    assert imported(path) <= below, f"{path.name} ({folder}) imports {imported(path) - below} from above"


def test_the_face_of_the_package() -> None:
    """What the pages for authors and docs/python.md teach; a name that is taken from here breaks its users' files."""
    face = (
        "Adam AdversarialWeights Augment ClassMeans Cosine CutMix Cyclic Dataset Defense Download Evaluation Extra "
        "File HardLabels L2 Linf Mirror Mixup Objective OneCycle Paper Pgd Plan Quantity Ramp Recipe Replay "
        "Reported RobenchError Runs SelfAdaptive Sgd Split Standard Steps Terms Threat View Views "
        "compare evaluate list_architectures list_datasets list_defenses load load_images table train"
    ).split()
    assert sorted(robench_fire._FACE) == face
    assert set(face) <= set(dir(robench_fire))
    for name, home in robench_fire._FACE.items():
        assert getattr(robench_fire, name) is getattr(importlib.import_module(f"robench_fire.{home}"), name)
    typed = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    shown = [
        node.names[0].asname for node in ast.walk(typed) if isinstance(node, ast.ImportFrom) and node.names[0].asname
    ]
    assert sorted(map(str, shown)) == sorted([*face, *robench_fire._MODULES])
    for name, home in robench_fire._MODULES.items():
        assert getattr(robench_fire, name) is importlib.import_module(f"robench_fire.{home}")
    with pytest.raises(AttributeError, match="has no attribute 'Defence'"):
        robench_fire.Defence  # noqa: B018


def test_plug_ins_use_the_face() -> None:
    """So that what users copy from them keeps working."""
    for folder, path in modules():
        if folder in ("defenses", "datasets"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                module = node.module if isinstance(node, ast.ImportFrom) else None
                assert not (module or "").startswith(("robench_fire.problem", "robench_fire.quantity")), path.name


def test_every_module_has_its_place() -> None:
    assert {name for name, _ in modules()} - {"__init__", "__main__"} == {*FOLDERS, *BESIDE}
    assert len(BESIDE) <= 7


@pytest.mark.parametrize("folder", [path.parent for path in PACKAGE.rglob("__init__.py")], ids=lambda path: path.name)
def test_no_folder_is_crowded(folder: Path) -> None:
    assert len(list(folder.glob("*.py"))) - 1 <= MOST


@pytest.mark.parametrize("folder", [name for name in FOLDERS if name != "defenses"])
def test_every_folder_says_what_it_imports(folder: str) -> None:
    """The last line of its docstring, and that is what its modules do import."""
    said = (ast.get_docstring(ast.parse((PACKAGE / folder / "__init__.py").read_text(encoding="utf-8"))) or "").strip()
    used = set().union(*(imported(path) for name, path in modules() if name == folder)) - {folder, *BESIDE}
    named = ", ".join(name for name in FOLDERS if name in used) or "nothing of the folders"
    assert " ".join(said.partition("Imports: ")[2].split()) == f"{named}."


def test_no_module_outside_the_plug_ins_imports_one_by_name() -> None:
    plug_ins = {name for group in ("defenses", "datasets") for name in registry.names(group)}  # type: ignore[arg-type]
    plug_ins -= {"standard"}  # also the name of AutoAttack's usual version
    for layer, path in modules():
        if layer in ("defenses", "datasets"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in ("robench_fire.defenses", "robench_fire.datasets"):
                pytest.fail(f"{path.name} imports {[alias.name for alias in node.names]}")
            if isinstance(node, ast.Constant) and node.value in plug_ins:
                pytest.fail(f"{path.name} names {node.value}")


@pytest.mark.parametrize("module", ["robench_fire.cli", "robench_fire.tables.render", "robench_fire.problem.registry"])
def test_reading_commands_load_no_torch(module: str) -> None:
    code = f"import sys, {module}; from robench_fire.problem import registry; registry.names('defenses'); "
    code += "registry.summary('defenses', 'fire'); sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


SLOW = ("torch", "pandas", "scipy.stats", "matplotlib", "jsonschema", "jinja2")
"""Packages that take longer to import than what reads takes in all."""


@pytest.mark.parametrize(
    ("words", "more"),
    [("--help", ["numpy"]), ("ls", ["numpy"]), ("ls runs --output .", ["numpy"]), ("table leaderboards/digits", [])],
)
def test_reading_commands_import_nothing_that_takes_long(words: str, more: list[str]) -> None:
    """Counted, as seconds depend on the machine: a third of a second for the help is in docs/performance.md."""
    code = "import sys\nfrom robench_fire.cli import main\ntry: main()\nexcept SystemExit as end: assert not end.code\n"
    code += f"print([name for name in {(*SLOW, *more)} if name in sys.modules], file=sys.stderr)"
    ran = subprocess.run([sys.executable, "-c", code, *words.split()], cwd=ROOT, capture_output=True, text=True)
    assert ran.stderr == "[]\n"


def test_defenses_outside_the_package_refuse_to_load() -> None:
    ran = subprocess.run([sys.executable, "-c", "import defenses"], cwd=DEFENSES.parent, capture_output=True, text=True)
    assert ran.returncode == 1
    assert "import robench_fire.defenses" in ran.stderr


def lengths(path: Path) -> list[tuple[str, int]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return [(node.name, (node.end_lineno or 0) - node.lineno + 1) for node in functions]


@pytest.mark.parametrize("path", [path for _, path in modules()], ids=lambda path: path.name)
def test_files_and_functions_stay_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
    assert [(name, length) for name, length in lengths(path) if length > (60 if name == "train" else 40)] == []


def test_tests_lie_as_the_package_does() -> None:
    """Beside it: what several tests share, what is compared with upstream's code, and what kills commands."""
    folders = {path.parent.name for path in TESTS.glob("*/*.py")}
    assert folders <= {*FOLDERS, "support", "upstream", "faults"}
    assert all(len(path.read_text(encoding="utf-8").splitlines()) <= 300 for path in TESTS.rglob("*.py"))
