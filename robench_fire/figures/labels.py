"""Names beside points, where there is room for them."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, pi, sin
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robench_fire.figures.style import GREY, INK, plain, settle

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REACHES = (7.0, 13.0, 20.0, 28.0, 38.0)  # points between a marker's middle and the text
DIRECTIONS = 12
SIZE = 8.5


def write_beside(
    made: Figure, axes: Any, at: Sequence[tuple[float, float]], names: Sequence[str], colour: str = INK,
    others: Sequence[tuple[float, float]] = (),
) -> None:  # fmt: skip
    """Write each name beside its point, where it covers the fewest of the points, ``others`` and names before it.

    To be called last: where things are is known only when all is drawn.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(made).get_renderer()  # type: ignore[no-untyped-call]
    settle(made)
    unit, room = made.dpi / 72, axes.bbox
    points = axes.transData.transform([*at, *others]).reshape(-1, 2)
    taken = [np.array([x - 3 * unit, y - 3 * unit, x + 3 * unit, y + 3 * unit]) for x, y in points]
    for (x, y), name in zip(points[: len(at)], names, strict=True):
        text = axes.text(0.5, 0.5, plain(name), fontsize=SIZE, transform=axes.transAxes)
        extent = text.get_window_extent(renderer)
        text.remove()
        width, height = extent.width, extent.height * 0.8
        options = [_box(x, y, width, height, reach * unit, turn) for reach in REACHES for turn in range(DIRECTIONS)]
        costs = [_cost(box, taken, room) + number * 0.01 * height for number, box in enumerate(options)]
        place = int(np.argmin(costs))
        taken.append(options[place])
        _write(axes, (x, y), options[place], plain(name), colour, far=place >= DIRECTIONS)


def _box(x: float, y: float, width: float, height: float, reach: float, turn: int) -> NDArray[Any]:
    """Left, bottom, right and top of a text in a direction; the first is to the right."""
    angle = 2 * pi * turn / DIRECTIONS
    across, up = cos(angle), sin(angle)
    middle = x + across * (reach + width / 2), y + up * (reach + height / 2)
    return np.array([middle[0] - width / 2, middle[1] - height / 2, middle[0] + width / 2, middle[1] + height / 2])


def _cost(box: NDArray[Any], taken: Sequence[NDArray[Any]], room: Any) -> float:
    """The area that a text would share with others, and, which weighs more, that lies outside the axes."""
    boxes = np.array(taken)
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    shared = float(np.prod(np.clip(high - low, 0, None), axis=1).sum())
    inside = np.clip(np.minimum(box[2:], (room.x1, room.y1)) - np.maximum(box[:2], (room.x0, room.y0)), 0, None)
    return shared + 10 * float(np.prod(box[2:] - box[:2]) - np.prod(inside))


def _write(axes: Any, at: tuple[float, float], box: NDArray[Any], name: str, colour: str, far: bool) -> None:
    unit = axes.figure.dpi / 72
    back = axes.transData.inverted().transform
    offset = ((box[0] + box[2]) / 2 - at[0]) / unit, ((box[1] + box[3]) / 2 - at[1]) / unit
    line = {"arrowstyle": "-", "color": GREY, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 3} if far else None
    text = axes.annotate(name, back(at), offset, textcoords="offset points", ha="center", va="center", fontsize=SIZE,
                         color=colour, arrowprops=line, zorder=5)  # fmt: skip
    text.set_in_layout(False)
