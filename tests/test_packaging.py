"""The wheel and the sdist hold every module, and nothing that leaks into a user's environment."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from repository import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    source = tmp_path_factory.mktemp("source") / "checkout"
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split(
        "\n"
    )
    for name in filter(None, listed):  # a clean copy: nothing of an earlier build
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    building = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    subprocess.run(building, check=True, capture_output=True)
    return out


def expected() -> set[str]:
    """Every module, template, schema and figure; nothing that an interpreter left there."""
    package = ROOT / "robench_fire"
    files = [path for path in package.rglob("*.*") if path.is_file() and path.suffix != ".pyc"]
    own = {f"robench_fire/{path.relative_to(package)}" for path in files}
    return own | {f"robench_fire/defenses/{path.name}" for path in (ROOT / "defenses").glob("*.py")}


def test_wheel_equals_the_tree(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == expected()
    assert {
        "robench_fire/py.typed",
        "robench_fire/tables/published.csv",
        "robench_fire/tables/templates/page.html.j2",
    } <= names


def test_sdist_builds_the_same_wheel(built: Path) -> None:
    """`python -m build` makes the wheel from the sdist, so the test above already saw it; here: what it must hold."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as tar:
        names = {name.split("/", 1)[1] for name in tar.getnames() if "/" in name}
    assert {"pyproject.toml", "README.md", "LICENSE", "defenses/fire.py", "robench_fire/py.typed"} <= names


def test_installed_wheel_finds_every_defense(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import robench_fire, json; from robench_fire.problem import registry;"
        "print(json.dumps([robench_fire.__file__, sorted(registry.names('defenses')),"
        "registry.load('defenses', 'fire-sa').origin]))"
    )
    path = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=path, capture_output=True, text=True, check=True
    )
    assert str(tmp_path) in ran.stdout
    for module in (ROOT / "defenses").glob("[a-z]*.py"):
        assert f'"{module.stem}"' in ran.stdout


def test_editable_install_is_seen_from_anywhere(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-m", "robench_fire", "ls", "defenses"], cwd=tmp_path, capture_output=True)
    assert ran.returncode == 0
    assert b"fire_sa" in ran.stdout
