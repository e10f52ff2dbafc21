"""The site builds, strictly, holds every command and every public name, and loads nothing from elsewhere."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from page_commands import BLOCKS
from repository import ROOT

import robench_fire
from robench_fire import losses
from robench_fire.cli import app

pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install '.[docs]'")
pytestmark = pytest.mark.slow
CODE = re.compile(r"<(pre|code|script|svg)\b.*?</\1>", re.DOTALL)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, by the command that CI and `just site` give."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder


def _pages(site: Path) -> dict[str, str]:
    return {path.relative_to(site).as_posix(): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}


def test_every_page_of_the_docs_is_a_page_of_the_site(site: Path) -> None:
    names = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert names | {"index", "CONTRIBUTING", "CHANGELOG"} <= {path.stem for path in site.glob("*.html")}
    assert list(site.rglob("*.py")) == []


def test_every_page_is_in_the_menu(site: Path) -> None:
    """Also those from outside docs/."""
    (menu,) = re.findall(r'<nav class="md-nav md-nav--primary".*?\n</nav>', _pages(site)["index.html"], re.DOTALL)
    assert set(_pages(site)) - {"404.html"} <= {"index.html", *re.findall(r'href="([^"#]+)"', menu)}


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for name, text in _pages(site).items():
        loaded = re.findall(r'<(?:script|img|iframe|source)\b[^>]*\bsrc="?([^" >]+)', text)
        loaded += re.findall(r'<link\b[^>]*rel="?(?:stylesheet|preload|preconnect)[^>]*href="?([^" >]+)', text)
        assert [address for address in loaded if address.startswith(("http", "//"))] == [], name


def test_equations_are_drawn(site: Path) -> None:
    pages = _pages(site)
    assert pages["defenses.html"].count('role="img"') > 30
    for name, text in pages.items():
        prose = CODE.sub("", text)
        assert not re.search(r"\$\S|\\[(\[]|arithmatex", prose), name


def test_links_of_the_repository_are_links_of_the_site(site: Path) -> None:
    for name, text in _pages(site).items():
        for link in re.findall(r'<a\b[^>]*href="([^"#:]+)"', CODE.sub("", text)):
            if name != "404.html" and link != ".":
                assert ((site / name).parent / html.unescape(link)).exists(), (name, link)


def test_the_reference_has_every_command_and_option(site: Path) -> None:
    text = html.unescape(_pages(site)["commands.html"])
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        section = text.partition(f'id="robench-{name}"')[2].partition("<h2")[0]
        assert section, name
        for given in command.params:
            assert [each for each in given.opts if each not in section] == [], name


def test_the_interface_has_every_public_name(site: Path) -> None:
    text = _pages(site)["api.html"]
    public = [*robench_fire._FACE, *(f"losses.{name}" for name in vars(losses) if _is_public(name))]
    assert len(public) > 30
    assert [name for name in public if f'id="robench_fire.{name}"' not in text] == []


def _is_public(name: str) -> bool:
    return getattr(getattr(losses, name), "__module__", "") == losses.__name__ and not name.startswith("_")


def test_what_commands_need_is_shown(site: Path) -> None:
    needs = {block.mark.removeprefix("needs: ") for block in BLOCKS if block.mark.startswith("needs: ")}
    shown = html.unescape("".join(_pages(site).values()))
    assert [need for need in needs if f"Needs {need}" not in shown] == []
