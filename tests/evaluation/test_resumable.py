"""Interrupted, shared, damaged and full-disk evaluations: the masks are the same, or a sentence says what is wrong."""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
import re
import signal
import stat
import time
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from processes import FORKS
from small_evaluation import FULL, NAME, TEST, Facts, beside, child, placed, run, trained

from robench_fire.devices import workers
from robench_fire.errors import DataError, UsageError
from robench_fire.evaluation import resumable
from robench_fire.evaluation.autoattack.attacked_model import AttackedModel
from robench_fire.evaluation.evaluator import Evaluations
from robench_fire.evaluation.record import Record
from robench_fire.runs.folders import read_json
from robench_fire.runs.model_source import ModelSource

pytestmark = pytest.mark.slow

QUICK = replace(FULL, attacks=("apgd-ce",))
IMAGES = ".adv.safetensors"
QUICK_NAME = NAME.replace("aa", "apgd-ce")


@pytest.fixture
def source(tmp_path: Path) -> ModelSource:
    return placed(tmp_path)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


@dataclass(frozen=True)
class Whole:
    """An evaluation that nothing interrupted, its record after each save, and the images that it kept until then."""

    facts: Facts
    masks: bytes
    log: str
    states: list[str]
    parts: list[dict[str, bytes]]
    images: dict[str, bytes]

    def check(self, source: ModelSource, facts: Facts, *more: str) -> None:
        """Whether another evaluation came to the same and left its results, and no file but those and ``more``."""
        results = [
            beside(source, ending, NAME.replace("aa", self.facts["attack"]))
            for ending in (".npy", ".json", ".log", *self.images)
        ]
        assert {ending: beside(source, ending).read_bytes() for ending in self.images} == self.images
        assert (results[0].read_bytes(), read_json(results[1])) == (self.masks, facts)
        free = dict.fromkeys(("seconds", "attack_seconds", "sessions", "log_sha256"))  # a log says seconds
        assert facts | free == self.facts | free
        assert names(source.weights.parent) == {source.weights.name, *(path.name for path in results), *more}


def uninterrupted(folder: Path, wanted: Evaluations) -> Whole:
    source, write = placed(folder), Record.write
    states: list[str] = []
    parts: list[dict[str, bytes]] = []

    def keep(self: Record, path: Path) -> None:
        write(self, path)
        states.append(path.read_text())
        parts.append({part.name: part.read_bytes() for part in beside(source, ".adv").glob("*")})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Record, "write", keep)
        facts = run(source, wanted)
    masks, log = (beside(source, ending, NAME.replace("aa", facts["attack"])) for ending in (".npy", ".log"))
    images = {path.name[-len(IMAGES) :]: path.read_bytes() for path in folder.glob(f"*{IMAGES}")}
    return Whole(facts, masks.read_bytes(), log.read_text(), states, parts, images)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return uninterrupted(tmp_path_factory.mktemp("whole"), FULL)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return uninterrupted(tmp_path_factory.mktemp("quick"), QUICK)


def test_kills_at_any_moment_change_nothing(tmp_path: Path, whole: Whole) -> None:
    """Three in a folder, then to the end; of a second call only what the first left undone is run."""
    draw, kills, continued, folders = random.Random(0), 0, 0, itertools.count()
    while kills < 6:  # a process may end before it is killed: then there is one folder more
        source, end, done = placed(folder := tmp_path / str(next(folders))), kills + 3, 0
        state, stored = beside(source, ".state"), beside(source, ".json")
        while not stored.exists():
            continued += 0 < done < 20
            process: Any = FORKS.Process(target=child, args=(source, begun := FORKS.Event()))
            process.start()
            assert begun.wait(60)
            if kills < end:
                time.sleep(draw.uniform(0, 0.4 * whole.facts["seconds"]))
                process.kill()
            process.join(120)
            assert process.exitcode in (0, -signal.SIGKILL)
            kills += process.exitcode != 0
            blocks = json.loads(state.read_text())["blocks"] if state.exists() else {}
            done, before = sum(len(block["after"]) for block in blocks.values()), done
            assert done >= before or stored.exists()
        facts = run(source)
        assert (facts["sessions"] > 1) == (before > 0)
        whole.check(source, facts, *(path.name for path in folder.glob(".*.partial")))
    assert continued >= 2


def reached(source: ModelSource, whole: Whole, save: int) -> None:
    """Let an evaluation be where it was after a save."""
    beside(source, ".state").write_text(whole.states[save])
    beside(source, ".adv").mkdir()
    for name, part in whole.parts[save].items():
        (beside(source, ".adv") / name).write_bytes(part)


@pytest.mark.parametrize("last", ["write_text", "folders.write_evaluation", "clear"])
def test_a_kill_while_results_are_written_keeps_the_images(
    source: ModelSource, whole: Whole, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    reached(source, whole, -1)
    with monkeypatch.context() as patch:
        patch.delattr(f"robench_fire.evaluation.stored.{last}")
        with pytest.raises((NameError, AttributeError)):  # in place of a kill
            run(source)
    whole.check(source, run(source))


@pytest.mark.usefixtures("forked_workers")
@pytest.mark.parametrize("saves", [0, 15])
def test_two_processes_agree(source: ModelSource, whole: Whole, monkeypatch: pytest.MonkeyPatch, saves: int) -> None:
    monkeypatch.setattr(workers, "cores", lambda: 2)
    monkeypatch.delattr(resumable, "here")
    if saves:
        reached(source, whole, saves - 1)
    facts = run(source, replace(FULL, jobs=2))
    whole.check(source, facts)
    assert facts["sessions"] == (2 if saves else 1)


def test_shards_join_to_the_same(tmp_path: Path, whole: Whole) -> None:
    source = placed(tmp_path, "net[1].safetensors")
    parts = [run(source, replace(FULL, shard=(index, 3))) for index in (3, 1, 2)]
    assert [(part["shard"], part["examples"]) for part in parts] == [([3, 3], 10), ([1, 3], 20), ([2, 3], 14)]
    shards = names(tmp_path) - {source.weights.name}
    endings = (".adv", *(f".shard-{index}-of-3" for index in (1, 2, 3)))
    assert shards == {beside(source, ending).name for ending in endings}
    whole.check(source, run(source, replace(FULL, merge=True)), *shards)


def edited(plain: Facts, path: str, value: Any) -> Facts:
    """``plain`` with the value at a path of keys replaced, or removed (None)."""
    *keys, last = path.split()
    inner = reduce(dict.__getitem__, keys, plain)
    inner.pop(last) if value is None else inner.update({last: value})
    return plain


@pytest.mark.parametrize(
    ("shards", "path", "value", "message"),
    [
        ("", "", None, "there are no shards to join"),
        ("3/3 1/3", "", None, r"shards 2/3 are missing beside /\S+/net.safetensors.eval"),
        ("3/3", "", None, "shards 1/3, 2/3 are missing"),
        ("1/3 3/3 2/3", "blocks 1", None, r"shard-2-of-3 is not finished \(1 blocks\); run --shard 2/3"),
        ("1/3 2/3 1/2", "", None, r"shard-1-of-3 and \S+shard-1-of-2 overlap in block 0"),
        ("1/3 3/3 2/3", "identity weights_sha256", "00", r"shard-2-of-3 belongs to .* its weights hash is 00, not"),
    ],
)
def test_bad_shards_are_named(
    source: ModelSource, whole: Whole, shards: str, path: str, value: Any, message: str
) -> None:
    for shard in shards.split():
        index, count = map(int, shard.split("/"))
        part = json.loads(whole.states[-1]) | {"shard": [index, count]}
        part["blocks"] = {key: block for key, block in part["blocks"].items() if int(key) % count == index - 1}
        if path and shard == "2/3":
            edited(part, path, value)
        beside(source, f".shard-{index}-of-{count}").write_text(json.dumps(part))
    with pytest.raises(DataError, match=message):
        run(source, replace(FULL, merge=True))
    assert not beside(source, ".json").exists()


def test_more_shards_than_blocks(source: ModelSource) -> None:
    with pytest.raises(UsageError, match="--shard 9/9: there are 5 blocks of 10 images"):
        run(source, replace(FULL, shard=(9, 9)))
    assert names(source.weights.parent) == {"net.safetensors"}


SHORT = {"clean": "1" * 9, "after": {"apgd-ce": "0" * 9}, "seconds": {"apgd-ce": 1.0}, "largest": 0.1}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("", ""), ("", '{"format": 1, "identity": {"att'), ("", "<!DOCTYPE html><html></html>"), ("", "[{}]"),
        ("identity attack", "aa-plus"), ("identity version", "0"), ("identity norm", "L2"), ("identity eps", "0.2"),
        ("identity seed", 1), ("identity examples", 43), ("identity batch_size", 11), ("identity arch", "small-cnn"),
        ("identity normalise", "dataset"), ("identity weights_sha256", "00"), ("identity images_sha256", None),
        ("format", 2), ("identity", ["aa"]), ("shard", [1, 3]), ("shard", [1, 0]), ("flags", None), ("blocks", None),
        ("blocks 0", SHORT), ("blocks 7", SHORT), ("blocks 0 clean", "11111x1111"), ("blocks 0 clean", 1111111111),
        ("blocks 0 after apgd-t", "1" * 10), ("blocks 0 after fab-t", "0" * 9), ("blocks 0 after apgd-ce", None),
        ("blocks 0 after other", "0" * 10), ("blocks 0 seconds", {}), ("blocks 0 largest", float("nan")),
    ],
)  # fmt: skip
def test_a_damaged_or_foreign_record_is_refused(source: ModelSource, whole: Whole, path: str, value: Any) -> None:
    """``states[14]``: only Square has not run yet."""
    state, in_words = beside(source, ".state"), path.partition("identity ")[2].replace("_sha256", " hash")
    state.write_text(json.dumps(edited(json.loads(whole.states[14]), path, value)) if path else value)
    before = state.read_bytes()
    message = f"belongs to another evaluation: its {in_words.replace('_', ' ')} is {value}, not " if in_words else ""
    with pytest.raises(DataError, match=f"(?s)^{re.escape(str(state))} .*{message}"):
        run(source)
    assert state.read_bytes() == before
    assert names(state.parent) == {"net.safetensors", state.name}


@pytest.mark.parametrize("write", range(1, 10))
def test_a_full_disk_loses_nothing(
    source: ModelSource, quick: Whole, monkeypatch: pytest.MonkeyPatch, write: int
) -> None:
    """At each of the nine writes: one for each block, the record's end, and three results."""
    state, flush, kept = beside(source, ".state", QUICK_NAME), os.fsync, []

    def full(file: int) -> None:
        if stat.S_ISDIR(os.fstat(file).st_mode):  # after each file, its folder
            return
        kept.append(state.read_bytes() if state.exists() else b"")
        if len(kept) == write:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DataError, match=r"^cannot write .*: No space left on device; make room"):
            run(source, QUICK)
    assert (state.read_bytes() if state.exists() else b"") == kept[-1]
    assert bool(kept[-1]) == (write > 1)
    assert not list(state.parent.glob(".*.partial"))
    quick.check(source, run(source, QUICK))


def test_a_second_process_is_kept_out(source: ModelSource, quick: Whole) -> None:
    shard = beside(source, ".shard-1-of-2", QUICK_NAME)

    def meanwhile(stage: str, done: int, total: int, note: str) -> None:
        if not shard.exists():
            with pytest.raises(UsageError, match=r"another process \(.*\) works on .*batch10\.state; wait for it"):
                run(source, QUICK)
            run(source, replace(QUICK, shard=(1, 2)))

    quick.check(source, run(source, QUICK, report=meanwhile), shard.name)


def test_what_is_finished_is_not_run_again(source: ModelSource, quick: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    first, stored = run(source, QUICK), beside(source, ".json", QUICK_NAME)
    stored.with_suffix(".state").write_text(quick.states[-1])
    with monkeypatch.context() as patch:
        patch.delattr(AttackedModel, "stand")
        assert run(source, QUICK) == run(source, replace(QUICK, jobs=2)) == first
    quick.check(source, first)
    stored.with_suffix(".npy").unlink()
    quick.check(source, run(source, QUICK))
    source.weights.write_bytes(trained(1))
    second, third = run(source, QUICK), run(source, QUICK, TEST.take(slice(1, None)))
    assert second["weights_sha256"] == third["weights_sha256"] == source.sha256() != first["weights_sha256"]
    assert third["images_sha256"] != second["images_sha256"] == first["images_sha256"]


def test_the_log_has_autoattacks_lines(whole: Whole) -> None:
    lines, facts = whole.log.splitlines(), whole.facts
    assert "using standard version including apgd-ce, apgd-t, fab-t, square." in lines
    assert f"initial accuracy: {facts['clean']:.2f}%" in lines
    shown = re.findall(r"^robust accuracy after (\S+): (\S+)% \(total time (\S+) s\)$", whole.log, re.MULTILINE)
    assert [each[:2] for each in shown] == [(name.upper(), f"{share:.2f}") for name, share in facts["after"].items()]
    assert float(shown[-1][2]) == pytest.approx(facts["seconds"], abs=0.06)
    assert lines[-1] == f"robust accuracy: {facts['robust']:.2f}%"
