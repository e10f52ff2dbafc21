"""Torch files read without executing anything: tensors, plain values, inert stand-ins for what scripts save beside."""

from __future__ import annotations

import errno
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from robench_fire.errors import DataError, RobenchError
from robench_fire.files import refuse_bomb


class Inert:
    """Stands where a file holds an object that says nothing of the weights; made of anything, it does nothing."""

    def __new__(cls, *given: object, **named: object) -> Inert:
        return super().__new__(cls)

    def __init__(self, *given: object, **named: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _plain(*given: object) -> dict[Any, Any]:
    """An empty dict, which the reader fills, for a dict of another kind."""
    return {}


_NUMPY = [
    f"numpy.{core}.{name}"
    for core in ("core", "_core")
    for name in ("multiarray.scalar", "multiarray._reconstruct", "numeric._frombuffer")
]
_DTYPES = "Bool Int8 Int16 Int32 Int64 UInt8 UInt16 UInt32 UInt64 Float16 Float32 Float64 Str Object".split()
_PATHS = [
    f"{module}.{name}"
    for module in ("pathlib", "pathlib._local")
    for name in ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
]
_LIGHTNING = (
    "lightning_fabric.utilities.data",
    "lightning.fabric.utilities.data",
    "pytorch_lightning.utilities.parsing",
    "lightning.pytorch.utilities.parsing",
)
_OMEGACONF = (
    "dictconfig.DictConfig",
    "listconfig.ListConfig",
    "base.ContainerMetadata",
    "base.Metadata",
    "nodes.AnyNode",
    "nodes.StringNode",
    "nodes.IntegerNode",
    "nodes.FloatNode",
    "nodes.BooleanNode",
)
INERT = (
    *_NUMPY, "numpy.ndarray", "numpy.dtype", *(f"numpy.dtypes.{name}DType" for name in _DTYPES),
    "_codecs.encode", *_PATHS, "argparse.Namespace", "types.SimpleNamespace",
    *(f"datetime.{name}" for name in ("datetime", "date", "time", "timedelta", "timezone")),
    *(f"{module}.AttributeDict" for module in _LIGHTNING), *(f"omegaconf.{name}" for name in _OMEGACONF), "typing.Any",
    *(f"builtins.{name}" for name in ("list", "dict", "tuple", "int", "float", "str", "bool")),
)  # fmt: skip
"""What training scripts save beside weights. None of it is ever called: each becomes an ``Inert``."""

SAVE = "save model.state_dict() alone, best as .safetensors"


def read(path: Path) -> Any:
    """What a file of ``torch.save`` holds, tensors on the CPU; zip files and those of before torch 1.6.

    Raises:
        DataError: if it cannot be read, or holds a class that is not known to be harmless, which is named.
    """
    known = [(Inert, name) for name in INERT]
    try:
        if _is_program(path):
            raise DataError(f"{path} is a TorchScript program, which is not run: load it where it was made, and {SAVE}")
        with torch.serialization.safe_globals([*known, (_plain, "collections.defaultdict")]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except DataError:
        raise
    except Exception as fault:  # whatever the reader raises on a broken file, it is unreadable
        if found := re.search(r"GLOBAL ([\w.]+)", str(fault)):
            raise DataError(f"{path} holds a {found[1]}, which is not read as it could execute code; {SAVE}") from None
        raise unreadable(path, fault) from None


def _is_program(path: Path) -> bool:
    """Whether it is of ``torch.jit.save``, which a file of ``torch.save`` is not told from by its name."""
    if not zipfile.is_zipfile(path):
        return False
    refuse_bomb(path)
    with zipfile.ZipFile(path) as content:
        return any(name.endswith("/constants.pkl") for name in content.namelist())


def unreadable(path: Path, fault: Exception) -> RobenchError:
    """What is said of a file that a reader of weights could not read."""
    if (full := os.strerror(errno.EMFILE)) in str(fault):
        return RobenchError(f"{path} cannot be read: {full}; allow more (`ulimit -n 4096`)")
    return DataError(f"{path} cannot be read safely ({type(fault).__name__}); it must hold tensors: {SAVE}")
