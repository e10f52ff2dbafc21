"""Durations as people write them."""

from __future__ import annotations

import pytest

from robench_fire.quantity import seconds

SECONDS = {"90": 90, "90s": 90, "1.5m": 90, "5 m": None, "8h": 28800, "1d": 86400, "7:59:00": 28740, "9:30": 570,
           "0": 0, "1:60": None, "-1": None, "soon": None, "": None}  # fmt: skip


@pytest.mark.parametrize("text", SECONDS)
def test_seconds(text: str) -> None:
    if (expected := SECONDS[text]) is not None:
        assert seconds(text) == expected
    else:
        with pytest.raises(ValueError, match="is no duration; write it like 90s, 5m, 8h or 7:59:00"):
            seconds(text)
