"""A changed byte of a finished run is found, or has no effect: what the exceptions are is said here, and nowhere else.

Files other than JSON are compared by the SHA-256 of their bytes. A JSON is compared by the digest of its values, so the
only changes that pass are those after which it holds the same values:

- white space between them;
- digits of a number beyond what a float keeps;
- of an escaped text, the case of a hexadecimal digit.

``.lock`` is empty, and nothing is read from it. In ``plan.json`` the digest is the 12 digits that the folder is called.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import verified_runs as do
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from verified_runs import copied, seeds, verified, wrong

from robench_fire.errors import DataError
from robench_fire.files import SEAL, digest
from robench_fire.problem.settings import plan_fingerprint
from robench_fire.runs.folders import Run, read_sealed

EVALUATIONS = [f"eval.{attack}*{ending}" for attack in ("aa", "pgd20") for ending in (".json", ".npy", ".log")]
FILES = ["weights.safetensors", "curve.jsonl", "pseudo_labels.npy", "labeller.json", "plan.json", "provenance.json",
         "train.json", *EVALUATIONS, "eval.aa*.adv.safetensors"]  # fmt: skip
"""All of a finished run but the empty .lock."""
JSONS = [name for name in FILES if name.endswith(".json")]


def same_values(before: bytes, after: bytes) -> bool:
    """Whether two texts are one JSON value."""
    try:
        return digest(json.loads(before)) == digest(json.loads(after))
    except ValueError:
        return False


def test_these_are_all_files(made: Path) -> None:
    run = seeds(made)[0]
    assert {do.the(run, name).name for name in FILES} | {".lock"} == {path.name for path in run.folder.iterdir()}


@pytest.fixture(scope="module")
def broken(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy of which a file is broken, and put back."""
    return seeds(copied(made, tmp_path_factory.mktemp("broken") / "runs"))[0]


@pytest.mark.parametrize("name", FILES)
def test_a_byte_of_any_file(broken: Run, name: str) -> None:
    """30 places of each file, drawn by a seed, through everything that `robench verify` does."""
    path = do.the(broken, name)
    before = path.read_bytes()
    draw = np.random.default_rng(len(before))
    try:
        for place in draw.integers(len(before), size=30):
            after = bytearray(before)
            after[place] = (after[place] + draw.integers(1, 256)) % 256
            path.write_bytes(after)
            assert wrong(verified(broken.folder)) or (name in JSONS and same_values(before, bytes(after))), place
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("name", JSONS)
def test_every_byte_of_a_json(broken: Run, name: str, tmp_path: Path) -> None:
    """Each place with its lowest bit flipped, and digits with the next one, by the one function that reads them."""
    path, before = tmp_path / name.replace("*", "-"), do.the(broken, name).read_bytes()
    facts, sealed = json.loads(before), name != "plan.json"
    for place, value in enumerate(before):
        for other in {value ^ 1, *([48 + (value - 47) % 10] if 48 <= value < 58 else [])}:
            after = before[:place] + bytes([other]) + before[place + 1 :]
            path.write_bytes(after)
            try:
                found, still = read_sealed(path)
            except DataError:
                continue
            if sealed and not still:
                assert set(found) - set(facts), "what was the seal has another name"
                assert {key: found[key] for key in facts if key != SEAL} == {
                    key: facts[key] for key in facts if key != SEAL
                }
            elif sealed:
                assert same_values(before, after)
            else:
                assert plan_fingerprint(found) != broken.folder.parent.name or same_values(before, after)


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
