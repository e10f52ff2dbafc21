"""What the site adds to mkdocs: pages of the repository outside docs/, and equations that need no network.

Links in the pages are those of the repository, so that they work there too. README.md is the site's first page; what
else a page links to outside docs/ keeps its path.
"""

from __future__ import annotations

import html
import posixpath
import re
from pathlib import Path
from xml.etree import ElementTree

import ziamath
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
from reference import reference

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(?<=\]\()(?![a-z]+:)([^)\s#]+)(?=[)#])")
NAMED = re.compile(r"\[((?:[\w-]+/)*[\w-]+\.md)\](?=\(([^)\s#]+\.md)[)#])")
NEEDS = re.compile(r"<!-- needs: (.*) -->\n```sh\n")
COMMANDS = "<!-- every command -->"
EQUATION = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def _place(path: str) -> str:
    """Where a file of the repository lies in the site."""
    return "index.md" if path == "README.md" else path.removeprefix("docs/")


def _origin(file: File) -> str:
    """The reverse of `_place`."""
    return Path(file.abs_src_path or file.src_uri).relative_to(ROOT).as_posix()


def _target(origin: str, link: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(origin), link))


def _title(path: str) -> str:
    first = (ROOT / path).read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("# ") if first.startswith("# ") else ""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds README.md, what it and the pages link to, and what that links to."""
    waiting = ["README.md", *(_origin(file) for file in files.documentation_pages())]
    while waiting:
        origin = waiting.pop()
        if files.get_file_from_path(_place(origin)) is None:
            source = str(ROOT / origin)
            added = File.generated(config, _place(origin), abs_src_path=source, inclusion=InclusionLevel.INCLUDED)
            files.append(added)
        if origin.endswith(".md"):
            targets = {_target(origin, link) for link in LINK.findall((ROOT / origin).read_text(encoding="utf-8"))}
            new = {path for path in targets if files.get_file_from_path(_place(path)) is None}
            waiting += sorted(path for path in new if (ROOT / path).is_file())
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links become those of the site, named by their page's title; what commands need is shown, and all are listed."""
    origin, here = _origin(page.file), posixpath.dirname(page.file.src_uri)
    markdown = NAMED.sub(lambda found: f"[{_title(_target(origin, found[2])) or found[1]}]", markdown)
    markdown = LINK.sub(lambda found: posixpath.relpath(_place(_target(origin, found[1])), here), markdown)
    markdown = NEEDS.sub(r'```sh title="Needs \1"\n', markdown)
    return markdown.replace(COMMANDS, reference()) if COMMANDS in markdown else markdown


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """LaTeX becomes pictures in the page, whose glyphs any browser draws alike."""
    return EQUATION.sub(lambda found: _drawn(html.unescape(found[3]).strip(), found[2] == "["), content)


def _drawn(latex: str, block: bool) -> str:
    picture = ziamath.Latex(latex, size=17, inline=not block, color="currentColor")
    drawing = picture.svgxml()
    drawing.set("role", "img")
    drawing.set("aria-label", latex)
    drawing.set("style", f"vertical-align: {picture.getyofst():.2f}px")
    name = "div" if block else "span"
    return f'<{name} class="equation">{ElementTree.tostring(drawing, encoding="unicode")}</{name}>'
