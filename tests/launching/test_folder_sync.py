"""A folder kept the same on two machines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from robench_fire.launching import folder_sync
from robench_fire.launching.folder_sync import PREVIOUS, Change, apply, changes, contents, marks


def put(path: Path, text: str, second: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (second, second))


def known(folder: Path, before: folder_sync.Marks) -> tuple[Change, folder_sync.Marks]:
    found = changes(folder, before)
    assert found is not None
    return found


def test_what_changes_arrives_in_the_order_in_which_it_was_written(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for name, second in (("b", 1), ("sub/part", 2), ("a", 3), (".lock", 4), (".a.7.partial", 5), ("sub/.x.lock", 6)):
        put(here / name, name, second)
    first, seen = known(here, {})
    assert list(first.files) == ["b", "sub/part", "a"]
    assert first.gone == ()
    apply(there, first)
    assert contents(there) == contents(here) == {"b": b"b", "sub/part": b"sub/part", "a": b"a"}
    put(here / "a", "longer", 7)
    (here / "sub" / "part").unlink()
    second, seen = known(here, seen)
    assert second == Change({"a": b"longer"}, ("sub/part",))
    apply(there, second)
    apply(there, second)  # a second time does no harm
    assert {path.name for path in there.rglob("*")} == {"a", "b"}
    assert known(here, seen)[0] == Change({})


def test_a_folder_is_never_seen_between_two_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "state", "1", 1)
    looked = iter([marks, lambda folder: put(folder / "state", "2", 2) or marks(folder)])
    monkeypatch.setattr(folder_sync, "marks", lambda folder: next(looked)(folder))
    assert changes(tmp_path, {}) is None


def test_only_what_is_asked_for(tmp_path: Path) -> None:
    for name in ("plan.json", "state.pt", "eval.x.json"):
        put(tmp_path / name, name, 1)
    assert set(contents(tmp_path, "plan.json", "*.pt")) == {"plan.json", "state.pt"}
    assert folder_sync.below("seed-1", {"a/b": b""}) == {"seed-1/a/b": b""}


def test_the_state_before_goes_with_the_state(tmp_path: Path) -> None:
    """It is never sent, so that the other side cannot say that it is gone."""
    put(tmp_path / "state.pt", "a", 1)
    put(tmp_path / f"state.pt{PREVIOUS}", "b", 1)
    apply(tmp_path, Change({}, ("state.pt",)))
    assert not list(tmp_path.iterdir())
