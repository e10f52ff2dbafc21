"""Checkpoints, states of trainings and evaluations, and what broke a model."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from malformed import DEEP, GARBAGE, Case, Make, cut, edited, folder, gone, holds, the, written

WEIGHTS, AA = "weights.safetensors", "eval.aa*.json"
ABOUT = "provenance.json"  # a session that begins is recorded before it reads what it goes on with


class Call:
    """Pickled as the call ``function(*given)``."""

    def __init__(self, function: Any, *given: object) -> None:
        self.call = (function, given)

    def __reduce__(self) -> tuple[Any, tuple[object, ...]]:
        return self.call


def torch_file(value: object) -> bytes:
    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()


def zipped(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files.items():
            made.writestr(name, content)
    return out.getvalue()


def bomb() -> bytes:
    """300 MB of nothing in 300 kB."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made, made.open("archive/data.pkl", "w") as part:
        for _ in range(300):
            part.write(bytes(1 << 20))
    return out.getvalue()


def changed(change: Any) -> Make:
    """``net.pt`` after a change of its tensors."""

    def make(place: Path) -> None:
        tensors = torch.load(place / "net.pt", weights_only=True)
        torch.save(change(tensors) or tensors, place / "net.pt")

    return make


def header(text: str) -> bytes:
    """A safetensors file that begins with a header of ours."""
    return len(text).to_bytes(8, "little") + text.encode()


def extreme(value: float) -> Make:
    def make(place: Path) -> None:
        path = the(place, WEIGHTS)
        held = load_file(path)
        save_file({k: torch.full_like(v, value) if v.is_floating_point() else v for k, v in held.items()}, path)

    return make


SAFE = "cannot be read safely ... save model.state_dict() alone"
FILES: list[tuple[str, str, bytes | str, str]] = [
    ("empty", "w.pt", b"", SAFE),
    ("garbage", "w.pt", GARBAGE, SAFE),
    ("text", "w.pt", "hello", SAFE),
    ("a web page", "w.pt", "<!DOCTYPE html><html>", "an HTML page saved under this name; download the file itself"),
    ("the beginning of a zip", "w.pt", b"PK\x03\x04", SAFE),
    ("the end of a zip", "w.pt", b"PK\x05\x06" + bytes(18), SAFE),
    ("a zip whose end points nowhere", "w.pt", GARBAGE + b"PK\x05\x06" + b"\xff" * 16 + b"\x00\x00", SAFE),
    ("a zip of other files", "w.pt", zipped(a=b"hello"), SAFE),
    ("a zip that unpacks to 300 MB", "w.pt", bomb(), "unpacks to 314,572,800: nothing worth reading"),
    ("a TorchScript program", "w.pt", zipped(**{"a/constants.pkl": b"", "a/data.pkl": b""}), "TorchScript program"),
    ("a number", "w.pt", torch_file(7), "holds no tensors by name: it is a int"),
    ("a list of tensors", "w.pt", torch_file([torch.zeros(1)]), "it is a list"),
    ("a tensor", "w.pt", torch_file(torch.zeros(3)), "it is a Tensor"),
    ("dicts 2,000 deep", "w.pt", b"\x80\x02" + b"}U\x01a" * 2000 + b"N" + b"s" * 2000 + b".", SAFE),
    ("a call of os.system", "w.pt", torch_file(Call(os.system, "touch executed")), "system, which is not read"),
    ("a call of eval", "w.pt", torch_file({"a": Call(eval, "open('executed', 'w')")}), "eval, which is not read"),
    ("a call in an old pickle", "w.pt", pickle.dumps(Call(os.system, "touch executed"), 2), ""),
    ("an array of objects", "w.pt", torch_file({"a": np.array([Call(os.mkdir, "executed")], object)}), "not read"),
    ("safetensors of garbage", "w.safetensors", GARBAGE, SAFE),
    ("safetensors of nothing", "w.safetensors", b"", SAFE),
    ("safetensors of a header beyond its end", "w.safetensors", (2**62).to_bytes(8, "little"), SAFE),
    ("safetensors of no JSON", "w.safetensors", header("{'a': 1}"), SAFE),
    ("safetensors nested deeply", "w.safetensors", header(DEEP), SAFE),
    ("safetensors of tensors beyond its end", "w.safetensors",
     header('{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'), SAFE),
    ("safetensors of a negative shape", "w.safetensors",
     header('{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}') + bytes(4), SAFE),
    ("a torch file under another name", "w.safetensors", torch_file({}), SAFE),
]  # fmt: skip
CHANGED: list[tuple[str, Make, str]] = [
    ("a tensor missing", changed(lambda own: own.pop("classifier.2.bias") is None), "missing classifier.2.bias"),
    ("a tensor of another shape", changed(lambda own: own.update({"classifier.2.bias": torch.zeros(7)})),
     "classifier.2.bias is (7,), not (10,)"),
    ("a tensor more", changed(lambda own: own.update(extra=torch.zeros(1))), "unknown extra"),
    ("no tensor", changed(lambda own: {"epoch": 3}), "its keys are epoch"),
    ("names that are numbers", changed(lambda own: {1: torch.zeros(1)}), "its keys are 1"),
]  # fmt: skip
RUNS: list[tuple[str, Make, int, str]] = [
    ("weights that are gone", gone(WEIGHTS), 4, "is not here: bring it back"),
    ("weights that are cut", cut(WEIGHTS), 4, SAFE),
    ("weights that are empty", holds(WEIGHTS, b""), 4, SAFE),
    ("weights that are a folder", folder(WEIGHTS), 4, "weights.safetensors"),
    ("weights of NaN", extreme(float("nan")), 4, "finite"),
    ("weights of 1e38", extreme(1e38), 4, "finite"),
]
RECORDS: list[tuple[str, bytes | str, str]] = [
    ("empty", "", "is not JSON"),
    ("garbage", GARBAGE, "is no text"),
    ("a list", "[]", "holds a list"),
    ("nested deeply", DEEP, "nested more than 64 deep"),
    ("of another format", '{"format": 2}', "is not a record of an evaluation ... move it away to start anew"),
    ("without blocks", '{"format": 1, "identity": {}, "shard": [1, 1]}', "is not a record of an evaluation"),
    ("of shard 0", '{"format": 1, "identity": {}, "shard": [0, 1], "blocks": {}}', "shard 0/1"),
    ("whose blocks are a list", '{"format": 1, "identity": {}, "shard": [1, 1], "blocks": [], "flags": []}', "record"),
    ("of another evaluation", '{"format": 1, "identity": {"seed": 7}, "shard": [1, 1], "blocks": {}, "flags": [], '
     '"sessions": 1, "machines": []}', "belongs to another evaluation ... move it away"),
]  # fmt: skip


def unfinished(content: bytes | str) -> Make:
    """An evaluation of the first seed that is under way."""

    def make(place: Path) -> None:
        path = the(place, AA)
        written(str(path.with_suffix(".state").relative_to(place)), content)(place)
        path.unlink()

    return make


def interrupted(content: bytes) -> Make:
    """A training of the first seed that is under way."""

    def make(place: Path) -> None:
        path = the(place, "train.json")
        path.with_name("state.pt").write_bytes(content)
        path.unlink()

    return make


SEED = "train rst_adv digits --hide-labels --epochs 2 --seed 0 --no-eval --output runs --jobs 1"
EVAL = "eval runs --examples 40 --attack aa --jobs 1"
CASES = [
    *(Case(f"a checkpoint: {name}", f"eval digits-cnn:{file} --dataset digits", 4, said, written(file, content))
      for name, file, content, said in FILES),
    *(Case(f"a checkpoint with {name}", "eval digits-cnn:net.pt --dataset digits", 4, said, make)
      for name, make, said in CHANGED),
    Case("a checkpoint that is a folder", "eval digits-cnn:w.pt --dataset digits", 2, "w.pt", written("w.pt/a", "")),
    Case("a checkpoint that is not there", "eval digits-cnn:w.pt --dataset digits", 4, "w.pt does not exist"),
    Case("a checkpoint of no data set", "eval digits-cnn:net.pt", 2, "say its data set with --dataset"),
    Case("a checkpoint of another network", "eval small-cnn:net.pt --dataset mnist", 4, "does not fit"),
    Case("a key that is none", "eval digits-cnn:net.pt --dataset digits --key zzz", 4, "unknown weights 'zzz'"),
    Case("a start of garbage", "train trades digits --start w.pt --seeds 1", 4, SAFE, written("w.pt", GARBAGE)),
    Case("a start that executes", "train trades digits --start w.pt --seeds 1", 4, "not read",
         written("w.pt", torch_file(Call(os.system, "touch executed")))),
    *(Case(name, EVAL, code, said, lambda place, make=make: (gone(AA)(place), make(place)))  # type: ignore[misc]
      for name, make, code, said in RUNS),
    *(Case(f"an evaluation's state {name}", EVAL, 4, said, unfinished(content)) for name, content, said in RECORDS),
    Case("a training's state of garbage", SEED, 4, "state.pt cannot be read ... move", interrupted(GARBAGE), ABOUT),
    Case("a training's state that is empty", SEED, 4, "state.pt cannot be read", interrupted(b""), ABOUT),
    Case("a training's state that executes", SEED, 4, "state.pt cannot be read",
         interrupted(torch_file(Call(os.system, "touch executed"))), ABOUT),
    Case("perturbed images that are cut", "plot gallery runs -o a.png", 4, "adv.safetensors cannot be read",
         cut("eval.aa*.adv.safetensors")),
    Case("perturbed images of another name", "plot gallery runs -o a.png", 4, "name is ",
         edited(AA, "name", to="../../x")),
]  # fmt: skip
