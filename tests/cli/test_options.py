"""What texts of the command line say: whatever can be said comes back, and what says nothing is refused."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from robench_fire.cli.common.reading import radii, seeds, settings, shard
from robench_fire.errors import UsageError
from robench_fire.quantity import Quantity

parts = st.tuples(st.integers(0, 60), st.integers(0, 6)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(st.lists(parts, min_size=1, max_size=5), st.booleans())
def test_seeds_come_back_from_lists_and_ranges(chosen: list[tuple[int, int]], spaces: bool) -> None:
    text = (" , " if spaces else ",").join(f"{one}-{last}" if last > one else str(one) for one, last in chosen)
    wanted = sorted({seed for one, last in chosen for seed in range(one, last + 1)})
    if text.isdecimal():  # one number alone says how many
        wanted = list(range(int(text)))
    if wanted:
        assert seeds(text) == wanted
        assert seeds(",".join(map(str, wanted)) + f",{wanted[0]}-{wanted[0]}") == wanted


@example("0,5-3")
@example("1,2-0,4")
@given(st.text("0123456789,- ", max_size=7).filter(lambda text: max(map(len, text.replace("-", ",").split(","))) < 4))
def test_seeds_are_never_fewer_than_were_said(text: str) -> None:
    """Every part of what is accepted is there: a range that runs backwards is none."""
    try:
        found = seeds(text)
    except UsageError:
        return
    plain = text.replace(" ", "") or "5"
    ends = [end for part in plain.split(",") for end in part.split("-")]
    assert found == sorted(set(found))
    assert len(found) == int(plain) if plain.isdecimal() else set(map(int, ends)) <= set(found)


@given(st.lists(st.sampled_from(["8/255", "0.031", ".5", "1e-2", "16/510", "0"]), max_size=5))
def test_radii_keep_their_text(texts: list[str]) -> None:
    found = radii(" , ".join(texts))
    assert found == tuple(dict.fromkeys(texts))
    assert [str(Quantity(each)) for each in found] == [*found]


@given(st.from_regex(r"[a-z_.]{1,12}", fullmatch=True), st.text(max_size=8))
def test_an_override_is_a_path_and_all_that_follows(path: str, text: str) -> None:
    assert settings("", "", "", "", [f"{path}={text}"]) == (("--set", path, text.strip()),)


@given(st.integers(1, 20), st.integers(1, 20))
def test_shards_come_back(i: int, n: int) -> None:
    if i <= n:
        assert shard(f"{i}/{n}") == shard(f" {i} / {n} ") == (i, n)
    else:
        with pytest.raises(UsageError, match="from 1 to n"):
            shard(f"{i}/{n}")
