"""What the figures of the committed boards say, as `robench plot` says it."""

from __future__ import annotations

from figures_boards import ROOT

from robench_fire.figures import points, sweep
from robench_fire.figures.source import entries


def plot_tradeoff() -> str:
    """Of every method on digits."""
    return points.tradeoff(entries([ROOT / "leaderboards" / "all" / "digits"])).said


def plot_cost() -> str:
    """The same methods."""
    return points.cost(entries([ROOT / "leaderboards" / "all" / "digits"])).said


def plot_sweep() -> str:
    """FIRE at five strengths."""
    return sweep.sweep(entries([ROOT / "leaderboards" / "fire_strength"])).said
