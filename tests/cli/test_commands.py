"""The command line: names, help, bad input with its exit code, and speed of the reading commands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import robench
from repository import DIGITS_BOARD
from written_runs import write_run

from robench_fire.cli import _interrupted
from robench_fire.cli.common.reading import seeds
from robench_fire.errors import UsageError
from robench_fire.runs.compose import Request
from robench_fire.runs.folders import find


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROBENCH_RUNS", raising=False)
    (tmp_path / "afile").write_text("text")


BAD = [
    ("table . --columns Method --format csv", 2, "--columns and --caption are of tables to read; csv has all"),
    ("train fire cifar10 --norm L2 --eps 8/255", 3, "usual in Linf, in L2 it is 0.5; if it is meant: --set threat"),
    ("table", 4, "robench train fire digits"),
    ("table afile", 4, "no evaluated run"),
    ("table . --eps 0.1", 4, "no evaluated run at eps 0.1 in .; make one first: `robench eval RUNS --eps 0.1`"),
]


@pytest.mark.parametrize(("line", "code", "said"), BAD, ids=[line for line, _, _ in BAD])
def test_bad_input(line: str, code: int, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    assert robench(*line.split()) == code
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""
    assert "Traceback" not in captured.err
    if captured.err.startswith("robench: "):
        assert captured.err.count("\n") <= 2
    assert sorted(path.name for path in tmp_path.iterdir()) == before  # nothing written, nothing lost


def test_missing_data_names_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-bin").mkdir()
    (tmp_path / "cifar-10-batches-bin" / "data_batch_1.bin").write_bytes(b"half")
    assert robench("data", "cifar10", "--data-dir", str(tmp_path)) == 4
    err = capsys.readouterr().err
    assert "data_batch_1.bin (4 bytes) is not the official file" in err
    assert (tmp_path / "cifar-10-batches-bin" / "data_batch_1.bin").read_bytes() == b"half"


def test_every_evaluation_has_an_option() -> None:
    from robench_fire.evaluation.evaluate import SETS
    from robench_fire.runs.evaluations import ATTACKS

    assert sorted(ATTACKS) == sorted(SETS)


def test_show_gives_every_value_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    words = "show mart digits --epochs 7 --set defense.beta=2 --json"
    assert robench(*words.split()) == 0
    shown = json.loads(capsys.readouterr().out)
    sources = {each["path"]: (each["value"], each["source"]) for each in shown["values"]}
    assert sources["recipe.epochs"] == (7, "--epochs")
    assert sources["defense.beta"] == (2.0, "--set")
    assert sources["recipe.attack.start"][0] == "uniform"
    assert sources["recipe.attack.start"][1].startswith("mart, matched:")
    assert sources["recipe.batch_size"][1].startswith("robench_fire")
    assert shown["training_seconds_per_seed"] > 0
    assert shown["forward_equivalents_per_update"] == 26


def test_show_prints_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert robench("show", "fire", "digits") == 0
    out = capsys.readouterr().out
    assert "Adversarial Robustness via Fisher-Rao Regularization" in out
    assert "half-angle" in out
    assert "of training a seed" in out


def test_ls_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert robench("ls", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert {"fire", "fire_sa", "madry", "mart", "rst_adv", "self_adaptive", "trades"} <= set(listed["defenses"])
    assert {"digits", "mnist", "cifar10", "cifar100"} <= set(listed["datasets"])
    assert all(listed["defenses"].values())


def test_a_runs_path_is_never_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    write_run(tmp_path / "runs", Request(defense="self_adaptive", dataset="digits"), 0, 90.0, None)
    assert robench("ls", "runs") == 0
    (run,) = find(tmp_path / "runs")
    assert any(line.startswith(f"{run.folder.relative_to(tmp_path)} ") for line in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize(
    ("command", "said"), [("bench", "what was done is kept, the same command continues"), ("profile", "interrupted")]
)
def test_only_commands_that_keep_something_say_so(command: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["robench", "--debug", command, "digits"])
    assert _interrupted().endswith(said)


def test_doctor(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert robench("doctor", "--json", "--data-dir", str(tmp_path)) == 0
    findings = {each["what"]: each for each in json.loads(capsys.readouterr().out)["findings"]}
    assert findings["robustbench"]["state"] == "ok"
    assert findings["data cifar10"] | {"detail": ""} == {
        "state": "note", "what": "data cifar10", "detail": "", "fix": f"robench data cifar10 --data-dir {tmp_path}",
    }  # fmt: skip
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    (tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").write_bytes(b"x")
    assert robench("doctor", "--json", "--data-dir", str(tmp_path)) == 1
    assert "data mnist" in capsys.readouterr().err


def write_evaluation(folder: Path) -> None:
    """An evaluation of a model of RobustBench's zoo."""
    facts = {"arch": "rb:Wong2020Fast", "attack": "aa", "norm": "Linf", "eps": "8/255", "examples": 1000, "seed": 0,
             "batch_size": 500, "clean": 83.3, "robust": 43.4, "flags": [], "weights_sha256": "0" * 64}  # fmt: skip
    path = folder / "cifar10" / "Linf" / "Wong2020Fast.pt.eval.aa-Linf-8_255-1000.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(facts))


def test_a_table_of_several_sources(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write_evaluation(tmp_path / "models")
    assert robench("table", str(DIGITS_BOARD), "models", "--published", "--format", "md") == 0
    first, second = re.findall(r"^\*\*(.*)\*\*$", out := capsys.readouterr().out, re.MULTILINE)
    assert (first, second) == ("cifar10, Linf, eps 8/255, 1,000 test images", "digits, Linf, eps 0.2, 300 test images")
    assert len(re.findall(r"^\| \d+ \| Wong2020Fast\b", out, re.MULTILINE)) == 2  # theirs, and evaluated here
    assert robench("table", str(DIGITS_BOARD), "models", "--eps", "8/255", "--format", "csv") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert robench("table", "--output", str(DIGITS_BOARD)) == 0
    assert "eps 0.2" in capsys.readouterr().out


BEGINNINGS = {
    "terminal": "digits, Linf", "html": "<!DOCTYPE html>", "md": "**digits, Linf", "latex": "\\begin{table}",
    "csv": "origin,", "json": "{", "bibtex": "@",
}  # fmt: skip


def test_every_format_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    from robench_fire.cli.results.table import Format
    from robench_fire.tables.render import FORMATS

    assert [each.value for each in Format] == list(FORMATS) == list(BEGINNINGS)
    for style, beginning in BEGINNINGS.items():
        assert robench("table", str(DIGITS_BOARD), "-f", style) == 0
        assert capsys.readouterr().out.lower().startswith(beginning.lower())
    assert robench("table", str(DIGITS_BOARD), "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 7


def test_a_board_can_be_published_from_a_board(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What was only evaluated here stays out of it."""
    write_evaluation(tmp_path / "models")
    assert robench("table", str(DIGITS_BOARD), "models", "--publish", "copy") == 0
    copied = {path.relative_to("copy").as_posix() for path in Path("copy").rglob("*.*")}
    names = {f"digits/Linf/{path.name}" for path in DIGITS_BOARD.iterdir()}
    assert copied == names | {"digits/Linf.md", "digits/Linf.html"}
    assert {Path("copy", name).read_bytes() for name in names} == {path.read_bytes() for path in DIGITS_BOARD.iterdir()}
    assert all(f"copy/{name}" in err for err in [capsys.readouterr().err] for name in copied)


def test_version() -> None:
    ran = subprocess.run([sys.executable, "-m", "robench_fire", "--version"], capture_output=True, text=True)
    assert ran.stdout.startswith("robench_fire ")
    assert ran.returncode == 0


def test_the_options_are_what_the_docs_promise(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """New options are a decision, not an accident: this list is changed on purpose."""
    monkeypatch.setenv("COLUMNS", "200")
    assert robench("train", "--help") == 0
    out = capsys.readouterr().out
    options = {word for word in out.replace("│", " ").replace(",", " ").split() if word.startswith("--")}
    assert options == {
        "--seeds", "--seed", "--profile", "--recipe", "--norm", "--arch", "--epochs", "--batch-size", "--lr", "--eps",
        "--set", "--extra-data", "--hide-labels", "--attack", "--examples", "--eval-seed", "--eval-batch", "--no-eval",
        "--device", "--jobs", "--precision", "--attack-precision", "--compile", "--no-compile", "--together",
        "--launcher", "--address", "--slots", "--output", "--data-dir", "--log", "--start", "--teacher", "--help",
        "--save-every", "--time-limit",
        "--resize", "--channels", "--stream", "--no-stream", "--deterministic", "--no-deterministic",
    }  # fmt: skip


def test_debug_works_after_the_command_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ROBENCH_DEBUG", "")
    with pytest.raises(UsageError, match="did you mean fire"):
        robench(*"show fir digits --debug".split())
    monkeypatch.setenv("ROBENCH_DEBUG", "")
    assert robench(*"show fir -- digits".split()) == 2


def test_one_seed_of_a_job_array_is_no_number_of_seeds() -> None:
    assert seeds("", 3) == [3]
    assert seeds("") == [0, 1, 2, 3, 4]
    assert seeds("3") == [0, 1, 2]
