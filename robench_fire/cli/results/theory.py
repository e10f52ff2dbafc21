"""theory: the figures of the FIRE paper's theory, recomputed."""

from __future__ import annotations

import json as jsonlib
from enum import Enum
from typing import Annotated

import typer

from robench_fire.cli.common import options as o


class Name(str, Enum):
    """Which part of the theory."""

    gaussian = "gaussian"
    manifold = "manifold"
    distance = "distance"


def theory(
    name: Annotated[
        Name, typer.Argument(help="gaussian: section 4. manifold: Fig. 2 to 4. distance: Fig. 5 and the regularisers.")
    ],
    output: o.Figure = None,
    force: o.Force = False,
    json: o.Json = False,
) -> None:
    """Recompute a part of the FIRE paper's theory: its numbers beside the paper's, and what came out of its claims."""
    from robench_fire.figures.style import save, targets
    from robench_fire.figures.theory import NAMES

    paths = targets(output, force) if output else []
    found = NAMES[name.value]()
    save(found.drawn, paths)
    if json:
        print(jsonlib.dumps({"format": 1, "name": name.value, **found.numbers, "sentence": found.drawn.said}, indent=2))
        return
    for path in paths:
        print(path)
    print(found.drawn.said)
