"""Durations as people write them."""

from __future__ import annotations

import pytest

from robench_fire.quantity import duration, seconds

SECONDS = {"90": 90, "90s": 90, "1.5m": 90, "5 m": 300, "8h": 28800, "1d": 86400, "7:59:00": 28740, "9:30": 570,
           "2h30m": 9000, "1h5s": 3605, "2H 30 min": 9000, "0": 0, "1:60": None, "-1": None, "soon": None, "": None,
           "2h30": None, "m": None, "30mh": None, "5m-": None}  # fmt: skip


@pytest.mark.parametrize("text", SECONDS)
def test_seconds(text: str) -> None:
    if (expected := SECONDS[text]) is not None:
        assert seconds(text) == expected
    else:
        with pytest.raises(ValueError, match="is no duration; write it like 90s, 5m, 2h30m or 7:59:00"):
            seconds(text)


@pytest.mark.parametrize("count", [0, 12, 250, 3600, 12000, 216000])
def test_what_is_written_is_read(count: int) -> None:
    assert seconds(duration(count)) == count
