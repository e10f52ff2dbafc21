"""A compiler that is not there, and a folder for what it makes that cannot be written: torch's own, no stand-in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from robench_fire.devices.compilation import CACHE, Compiled, keep_what_is_compiled


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    """A folder inside a file, which not even root can write."""
    (tmp_path / "file").touch()
    return tmp_path / "file" / "inside"


def test_without_a_compiler_the_function_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(CACHE, str(tmp_path))  # of what was compiled before nothing is there
    monkeypatch.delenv("CXX", raising=False)
    said: list[str] = []
    double, x = Compiled(lambda x: 2 * x.sin(), said.append), torch.ones(3)
    assert [torch.equal(double(x), 2 * x.sin()) for _ in range(2)] == [True, True]
    (line,) = said
    assert re.fullmatch(r"not compiled \(.+\); training goes on without", line)
    assert not double.working
    torch._dynamo.reset()


def test_many_methods_are_compiled_in_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their gains are one code object; torch's own limit of eight would leave the third method's uncompiled."""
    monkeypatch.setenv(CACHE, str(tmp_path))
    made: list[object] = []

    def counting(graph: Callable[..., Any], _: object) -> Callable[..., Any]:
        made.append(graph)
        return graph

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counting))

    def times(factor: float) -> Callable[..., Any]:
        return lambda x: factor * x.sin()

    for factor in range(2, 22):
        assert torch.equal(Compiled(times(factor / 7), print)(torch.ones(3)), factor / 7 * torch.ones(3).sin())
    torch._dynamo.reset()
    assert len(made) == 20


def test_a_folder_that_cannot_be_written_is_replaced_and_named_once(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(CACHE, str(nowhere))
    keep_what_is_compiled()
    keep_what_is_compiled()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"robench: {nowhere} cannot be written (Not a directory)")
    assert Path(os.environ[CACHE]).is_dir()


def test_a_training_needs_no_such_folder(nowhere: Path) -> None:
    """Its deterministic algorithms import the compiler, which makes the folder; afterwards none is left."""
    code = (
        "import os, torch; from robench_fire.devices.determinism import deterministic\n"
        "with deterministic(True, torch.device('cpu'), 1): print(os.environ['TORCHINDUCTOR_CACHE_DIR'])"
    )
    command, words = [sys.executable, "-c", code], os.environ | {CACHE: str(nowhere)}
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env=words)
    assert "cannot be written" in ran.stderr
    assert not Path(ran.stdout.strip()).exists()
