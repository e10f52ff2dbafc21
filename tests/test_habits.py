"""What those who carry the project on are told is what happens: hooks, justfile, CI and CONTRIBUTING.md agree."""

from __future__ import annotations

import re
from typing import Any

import pytest
from repository import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
JUSTFILE = (ROOT / "justfile").read_text(encoding="utf-8")

SET_UP = 2  # of the README's test command: the virtual environment, and what is installed there
YAML_FILES = [ROOT / ".pre-commit-config.yaml", *sorted((ROOT / ".github").rglob("*.yml"))]


def steps() -> list[str]:
    """The parts of the README's test command."""
    found = re.search(r"<!-- command: test -->\n```sh\n(.*)\n", README)
    assert found is not None
    return found[1].split(" && ")


def read(name: str) -> Any:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.name)
def test_yaml_is_yaml(path: Any) -> None:
    assert read(path.relative_to(ROOT))


def test_the_workflow_runs_the_readmes_test_command() -> None:
    ran = [step["run"] for step in read(".github/workflows/ci.yml")["jobs"]["test"]["steps"] if "run" in step]
    assert ran[0].startswith(" && ".join(steps()[:SET_UP]))
    assert ran[1:] == steps()[SET_UP:]


def test_the_workflow_covers_what_the_package_supports() -> None:
    matrix = read(".github/workflows/ci.yml")["jobs"]["test"]["strategy"]["matrix"]
    oldest = re.search(r'requires-python = ">=([\d.]+)"', PROJECT)
    assert oldest is not None
    assert oldest[1] in matrix["python"]
    (pinned,) = matrix["include"]
    assert pinned["python"] == oldest[1]
    for package, version in re.findall(r"(\w+)==([\d.]+)\.\*", pinned["oldest"]):
        assert f'"{package}>={version}"' in PROJECT


def test_hooks_are_the_linters_of_ci() -> None:
    (own,) = read(".pre-commit-config.yaml")["repos"]
    assert own["repo"] == "local"
    assert [hook["entry"] for hook in own["hooks"]] == [step for step in steps()[SET_UP:] if "pytest" not in step]


def test_the_justfile_runs_what_ci_runs() -> None:
    recipes = dict(re.findall(r"^(\w+):\n    (.+)$", JUSTFILE, re.MULTILINE))
    assert recipes["setup"].startswith(" && ".join(steps()[:SET_UP]))
    asked = re.search(r"^check: (.+)$", JUSTFILE, re.MULTILINE)
    assert asked is not None
    assert " && ".join(recipes[each] for each in asked[1].split()) == " && ".join(steps()[SET_UP:])
    coverage = [step.get("run", "") for step in read(".github/workflows/ci.yml")["jobs"]["coverage"]["steps"]]
    assert all(any(step.startswith(part) for step in coverage) for part in recipes["coverage"].split(" && "))


def test_the_guide_names_files_that_are_there() -> None:
    links = re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", GUIDE)
    named = re.findall(r"`([\w./-]+(?:/|\.(?:py|md|toml|json|yaml|yml)))`", GUIDE)
    assert len(links) > 10
    assert len(named) > 10
    assert [path for path in {*links, *named} if not (ROOT / path).exists()] == []


def test_the_guide_names_headings_that_are_there() -> None:
    for page, place in re.findall(r"\]\(([^)#:]+)#([^)]+)\)", GUIDE):
        text = (ROOT / page).read_text(encoding="utf-8")
        headings = [re.sub(r"[^\w -]", "", line).strip() for line in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]
        assert place in [heading.lower().replace(" ", "-") for heading in headings], (page, place)


def test_the_guide_names_recipes_that_are_there() -> None:
    assert set(re.findall(r"`just (\w+)", GUIDE)) <= set(re.findall(r"^(\w+)[^:\n]*:", JUSTFILE, re.MULTILINE))


def test_the_guide_is_short() -> None:
    assert len(GUIDE.splitlines()) <= 150


def test_the_changelog_knows_this_version() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"', PROJECT, re.MULTILINE)
    assert version is not None
    assert re.findall(r"^## \[(.+?)\]", changes, re.MULTILINE)[0] == "Unreleased"
    assert re.search(rf"^## \[{re.escape(version[1])}\] - \d{{4}}-\d\d-\d\d$", changes, re.MULTILINE)
