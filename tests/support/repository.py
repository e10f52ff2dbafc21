"""Where the repository's own files lie."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
BOARDS = ROOT / "leaderboards"
DIGITS_BOARD = BOARDS / "digits" / "Linf"
