"""The one-way dependencies of docs/overview.md, and what may not be imported where."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import robench_fire
from robench_fire import registry

PACKAGE = Path(robench_fire.__file__).parent
DEFENSES = Path(registry.load("defenses", "fire").module.__file__ or "").parent

LAYERS = [
    "errors stopping quantity stats files shipping reporting seeding archs losses targets threat robustbench "
    "timing workers plain",
    "attacks",
    "recipe defense dataset plan",
    "defenses datasets models",
    "registry",
    "data arithmetic world batch_norm stacked compiled state step memory epoch validation engine pseudo flops "
    "meters harmless checkpoints zoo extra fetch provenance devices",
    "doubts runs leaderboard model_info schema entries tables",
    "evaluation",
    "cost launch parcel ray_cluster ray_launch compose subjects assessor assess transfer account training seed bench "
    "joint processes profiling doctor submission",
    "display cli __main__",
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names.split()}
RECORDING = {"doubts", "runs", "leaderboard", "model_info", "schema", "entries", "tables"}


def modules() -> list[tuple[str, Path]]:
    """(first component of the module below robench_fire, file)."""
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
    return {part[1] for part in parts if part[1] != "__version__"}


@pytest.mark.parametrize(("layer", "path"), modules(), ids=lambda value: getattr(value, "name", value))
def test_imports_point_down(layer: str, path: Path) -> None:
    if layer == "__init__":
        assert not imported(path)
        return
    upward = {name for name in imported(path) if RANK[name] > RANK[layer]}
    assert not upward, f"{path.name} ({layer}) imports {upward} from above"
    if layer in RECORDING:  # plain JSON: nothing of the layers that need torch
        assert imported(path) <= RECORDING | set(LAYERS[0].split())


def test_every_module_has_a_layer() -> None:
    assert {name for name, _ in modules()} - {"__init__"} == set(RANK)


def test_no_module_outside_the_plug_ins_imports_one_by_name() -> None:
    plug_ins = {name for group in ("defenses", "datasets") for name in registry.names(group)}  # type: ignore[arg-type]
    for layer, path in modules():
        if layer in ("defenses", "datasets"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in ("robench_fire.defenses", "robench_fire.datasets"):
                pytest.fail(f"{path.name} imports {[alias.name for alias in node.names]}")
            if isinstance(node, ast.Constant) and node.value in plug_ins:
                pytest.fail(f"{path.name} names {node.value}")


@pytest.mark.parametrize("module", ["robench_fire.cli", "robench_fire.tables.render", "robench_fire.registry"])
def test_reading_commands_load_no_torch(module: str) -> None:
    code = f"import sys, {module}; from robench_fire import registry; registry.names('defenses'); "
    code += "registry.summary('defenses', 'fire'); sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


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
