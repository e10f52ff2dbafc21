"""A changed byte of a finished run is found, or has no effect; tests/faults/byte_changes.py says what is excepted."""

from __future__ import annotations

from pathlib import Path

import pytest
import verified_runs as do
from byte_changes import FILES, JSONS, PLACES, drawn, every, same_values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from verified_runs import copied, seeds, verified, wrong

from robench_fire.runs.folders import Run


def test_these_are_all_files(made: Path) -> None:
    run = seeds(made)[0]
    assert {do.the(run, name).name for name in FILES} | {".lock"} == {path.name for path in run.folder.iterdir()}


@pytest.fixture(scope="module")
def broken(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy of which a file is broken, and put back."""
    return seeds(copied(made, tmp_path_factory.mktemp("broken") / "runs"))[0]


@pytest.mark.parametrize("name", FILES)
def test_a_byte_of_any_file(broken: Run, name: str) -> None:
    came = drawn(broken, name)
    assert (came["missed"], came.total()) == (0, PLACES)
    assert came["found"] == PLACES or name in JSONS


@pytest.mark.parametrize("name", JSONS)
def test_every_byte_of_a_json(broken: Run, name: str, tmp_path: Path) -> None:
    came = every(broken, name, tmp_path / name.replace("*", "-"))
    assert came["missed"] == 0
    assert came.total() >= do.the(broken, name).stat().st_size
    assert came["found"] > came["same values"]


@pytest.mark.parametrize("name", [name for name in JSONS if name not in ("plan.json", "labeller.json")])
def test_a_seal_of_another_name_is_missed(broken: Run, name: str) -> None:
    """A labeller's is not needed: train.json says the same."""
    path = do.the(broken, name)
    before = path.read_bytes()
    try:
        path.write_bytes(before.replace(b'"seal"', b'"sead"'))
        assert wrong(verified(broken.folder))
    finally:
        path.write_bytes(before)


@given(name=st.sampled_from(FILES), place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_byte_of_any_file(broken: Run, name: str, place: float, value: int) -> None:
    path = do.the(broken, name)
    before = path.read_bytes()
    at = int(place * len(before))
    after = before[:at] + bytes([value]) + before[at + 1 :]
    try:
        path.write_bytes(after)
        assert wrong(verified(broken.folder)) or after == before or (name in JSONS and same_values(before, after))
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize(("before", "after"), [(b'{"a": 1}', b'{"a":\t1}'), (b'{"a": 0.30000000000000004}',
                         b'{"a": 0.30000000000000003}'), (b'{"a": "\\u00e9"}', b'{"a": "\\u00E9"}')])  # fmt: skip
def test_the_exceptions_are_the_same_values(before: bytes, after: bytes) -> None:
    assert same_values(before, after)
