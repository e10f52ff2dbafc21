"""The commands that the pages show: those in blocks, with the block's mark, and those in sentences."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from repository import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"(?:<!-- ([^\n]*) -->\n)?^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"\n\n((?: {4}.*\n)+)")
SHELLS = {"", "sh", "bash"}
SPAN = re.compile(r"`(robench [^`]+)`")
PROGRAM = re.compile(r"^(?:srun .*?|\S*bin/)?\b(?:robench|torchrun .*?-m robench_fire)\s+")
ANY_PROGRAM = re.compile(r"^(srun |\S*bin/)?(robench|torchrun|ray|python3?|pip|sbatch|just) ", re.MULTILINE)
MARK = re.compile(r"runs|runs: short|runs: tests/[\w/]+\.py|needs: .+|command: \w+|figures: .+")


class Block(NamedTuple):
    """Lines of a shell that stand on a page."""

    page: str
    line: int
    mark: str
    text: str

    @property
    def commands(self) -> list[list[str]]:
        """The words after `robench` of each line that calls it."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [words(PROGRAM.sub("", line.strip())) for line in lines if PROGRAM.match(line.strip())]


def words(command: str) -> list[str]:
    """A command as the shell would cut it, up to what the shell does with its output; its variables are 0."""
    found = ["0" if word.startswith("$") else word for word in shlex.split(command, comments=True) if word != "$@"]
    ends = [at for at, word in enumerate(found) if word in {"&", ">", "|", "&&"}]
    return found[: ends[0]] if ends else found


def blocks_of(page: Path) -> list[Block]:
    """What is fenced as a shell's, or indented, and calls a program."""
    text = page.read_text(encoding="utf-8")
    fenced = [(found.start(3), found[1] or "", found[3]) for found in FENCED.finditer(text) if found[2] in SHELLS]
    outside = FENCED.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
    indented = [(found.start(1), "", found[1].replace("\n    ", "\n")[4:]) for found in INDENTED.finditer(outside)]
    return [
        Block(page.name, text.count("\n", 0, start) + 1, mark, body)
        for start, mark, body in [*fenced, *indented]
        if ANY_PROGRAM.search(body)
    ]


def spans_of(page: Path) -> list[list[str]]:
    """The words after `robench` of each command in a sentence."""
    return [words(found.replace("\n", " "))[1:] for found in SPAN.findall(page.read_text(encoding="utf-8"))]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
