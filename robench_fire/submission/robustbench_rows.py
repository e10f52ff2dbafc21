"""RobustBench's own readers of model_info: the rows that they make for its README and its paper."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from robench_fire.files import write_json


def rows(name: str, dataset: str, norm: str, info: Mapping[str, Any], rank: int) -> dict[str, str]:
    """RobustBench's README row and LaTeX row of a model that is registered in its zoo, at a given rank."""
    from robustbench.utils import get_leaderboard_latex, list_available_models

    with tempfile.TemporaryDirectory() as scratch, _within(Path(scratch)):
        write_json(Path("model_info") / dataset / norm / f"{name}.json", info)
        with contextlib.redirect_stdout(io.StringIO()) as said:
            list_available_models(dataset, norm)
            latex: str = get_leaderboard_latex(dataset, norm)
        (row,) = [line for line in said.getvalue().splitlines() if f"**{name}**" in line]
    return {
        "readme_row.md": row.replace("<sub>**1**</sub>", f"<sub>**{rank}**</sub>", 1) + "\n",
        "table.tex": latex.replace("1 &", f"{rank} &", 1) + "\n",
    }


@contextmanager
def _within(folder: Path) -> Iterator[None]:
    """RobustBench reads model_info from the working directory."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
