"""Checkpoints as people have them: which weights are taken, and what is said of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import build, saved, weights
from torch import Tensor

from robench_fire.errors import DataError
from robench_fire.models import checkpoints, unpickling
from robench_fire.runs.model_source import source_from_file

OWN = weights()
AVERAGED = {name: value + 1 for name, value in OWN.items()}


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in tensors.items()}


LIGHTNING: dict[str, Any] = {
    "epoch": 1, "global_step": 40, "pytorch-lightning_version": "2.5.0", "loops": {"fit_loop": {"state_dict": {}}},
    "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(1.0), "dirpath": "x"}},
    "optimizer_states": [{"state": {0: {"momentum_buffer": torch.zeros(3)}}}], "lr_schedulers": [],
    "hyper_parameters": {"lr": 0.1}, "hparams_name": "kwargs",
}  # fmt: skip
LAYOUTS: dict[str, tuple[dict[str, Any], str, str]] = {
    **{name: ({name: OWN, "epoch": 3}, name, "") for name in ("state_dict", "model_state_dict", "model", "net")},
    **{name: ({name: OWN}, name, "") for name in ("ema", "params_ema", "state_dict_ema")},
    **{prefix: (prefixed(prefix, OWN), prefix.removesuffix("."), "")
       for prefix in ("module.", "_orig_mod.", "module._orig_mod.", "model.")},
    "timm": ({"arch": "x", "state_dict": OWN, "state_dict_ema": AVERAGED, "args": argparse.Namespace(lr=0.1),
              "metric": 51.2, "version": 2}, "state_dict", "state_dict_ema"),
    "basicsr": ({"params": OWN, "params_ema": AVERAGED}, "params", "params_ema"),
    "lightning": (LIGHTNING | {"state_dict": prefixed("model.", OWN)}, "state_dict.model", ""),
    "lightning, averaged too": (
        LIGHTNING | {"state_dict": prefixed("net.", OWN) | prefixed("ema_net.", AVERAGED) | {"loss.w": torch.ones(2)}},
        "state_dict.net", "state_dict.ema_net"),
    "torch.optim.swa_utils": ({"n_averaged": torch.tensor(4)} | prefixed("module.", OWN), "module", ""),
    "ema_pytorch": ({"model": OWN, "ema": {"step": torch.tensor(3)} | prefixed("online_model.", OWN)
                     | prefixed("ema_model.", AVERAGED)}, "model", "ema.ema_model"),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_plain_weights_are_taken_and_others_are_said(layout: str, tmp_path: Path) -> None:
    content, key, other = LAYOUTS[layout]
    source = source_from_file(saved(tmp_path / "model.ckpt", content), "digits", "digits-cnn")
    assert source.key == key
    found = checkpoints.load(source.weights, build, torch.device("cpu"), source.key).state_dict()
    assert all(torch.equal(value, OWN[name]) for name, value in found.items())
    said = [note.rpartition("chooses ")[2] for note in source.notes if "chooses" in note]
    assert said == ([other] if other else [])
    if other:
        asked = source_from_file(tmp_path / "model.ckpt", "digits", "digits-cnn", key=other)
        averaged = checkpoints.load(asked.weights, build, torch.device("cpu"), asked.key).state_dict()
        assert all(torch.equal(value, AVERAGED[name]) for name, value in averaged.items())


def test_which_weights_were_taken_is_said_where_a_key_names_them(tmp_path: Path) -> None:
    for name, content, said in (("nested", {"net": OWN}, ": the weights at net were taken"),
                                ("plain", prefixed("module.", OWN), "")):  # fmt: skip
        source = source_from_file(saved(tmp_path / f"{name}.pt", content), "digits", "digits-cnn")
        assert source.notes == ((f"{source.weights}{said}",) if said else ())


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
def test_other_numbers_become_float32_and_that_is_said(name: str, kind: torch.dtype, tmp_path: Path) -> None:
    content = {each: value.to(kind) if value.is_floating_point() else value for each, value in OWN.items()}
    source = source_from_file(saved(tmp_path / name, content), "digits", "digits-cnn")
    model = source.load(torch.device("cpu"))
    assert {each.dtype for each in model.parameters()} == {torch.float32}
    said = f"{source.weights} holds {str(kind).removeprefix('torch.')} numbers: they are taken as float32"
    assert source.notes == (said,)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_programs_and_whole_modules_are_refused_with_the_fix(tmp_path: Path) -> None:
    torch.save(build(), tmp_path / "whole.pt")
    torch.jit.trace(build().eval(), torch.rand(2, 1, 8, 8)).save(str(tmp_path / "program.pt"))
    fixes = {
        "whole": r"holds a \S+\.DigitsCNN, which is not read as it could execute code",
        "program": "is a TorchScript program, which is not run: load it where it was made",
    }
    for name, said in fixes.items():
        with pytest.raises(DataError, match=rf"{said}.* save model\.state_dict\(\) alone"):
            checkpoints.find(tmp_path / f"{name}.pt", {})


def test_settings_of_lightning_and_omegaconf_are_inert() -> None:
    known = set(unpickling.INERT)
    assert {"omegaconf.dictconfig.DictConfig", "lightning_fabric.utilities.data.AttributeDict"} <= known
