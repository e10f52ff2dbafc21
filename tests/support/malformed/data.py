"""Images: folders, npz, functions, Hugging Face; extra data; official files; defenses and networks of a file."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from malformed import GARBAGE, Case, Make, written
from malformed.weights import Call, bomb, zipped

SHOW = "--eps 0.1 --data-dir ../data"
X, Y = np.zeros((8, 8, 8, 1), np.uint8), np.array([0, 1] * 4)


def npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def npy(descr: str, shape: str, content: bytes = b"") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text + b"\n" + content


def own(x: Any = X, y: Any = Y, **more: Any) -> bytes:
    return npz(images=x, labels=y, **more)


def png(side: int, claimed: tuple[int, int] | None = None) -> bytes:
    """A PNG; ``claimed``: a size that it says it has."""
    out = io.BytesIO()
    Image.new("L", (side, side)).save(out, "png")
    content = out.getvalue()
    if claimed is None:
        return content
    head = b"IHDR" + struct.pack(">II", *claimed) + content[24:29]
    return content[:12] + head + struct.pack(">I", zlib.crc32(head)) + content[33:]


def pictures(*odd: tuple[str, bytes]) -> Make:
    """Two classes of six pictures each, and what is put beside or in their place."""

    def make(place: Path) -> None:
        for label in "ab":
            for number in range(6):
                written(f"own/{label}/{number}.png", png(8))(place)
        for name, content in odd:
            written(f"own/{name}", content)(place)

    return make


NPZ: list[tuple[str, bytes | str, str]] = [
    ("empty", b"", "is not a readable npz"),
    ("garbage", GARBAGE, "is not a readable npz"),
    ("a zip of text", zipped(a=b"hello"), "expected images and labels"),
    ("a zip of a broken array", zipped(**{"images.npy": b"\x93NUMPY", "labels.npy": b""}), "npz"),
    ("cut", own()[:300], "is not a readable npz"),
    ("300 MB in 300 kB", bomb(), "unpacks to 314,572,800"),
    ("a terabyte in 200 bytes", zipped(**{"images.npy": npy("'|u1'", "(1000000000000,)"), "labels.npy": b""}), "npz"),
    ("an array of code", zipped(**{"images.npy": npy("__import__('os').mkdir('executed')", "(1,)")}), "npz"),
    ("an array of a negative shape", zipped(**{"images.npy": npy("'|u1'", "(-1,)")}), "npz"),
    ("objects", own(np.array([Call(os.mkdir, "executed")], object)), "holds pickled objects, which are never read"),
    ("no array", npz(), "holds nothing; expected images and labels"),
    ("arrays of other names", npz(a=X), "holds a; expected images and labels"),
    ("labels alone", npz(labels=Y), "holds labels; expected"),
    ("no images", own(X[:0], Y[:0]), "holds no image"),
    ("fewer labels", own(X, Y[:3]), "holds 8 images and labels 3 labels"),
    ("words for images", own(np.array(["a"] * 8)), "images are uint8 from 0 to 255"),
    ("complex images", own(X.astype(complex)), "images are uint8 from 0 to 255"),
    ("images of NaN", own(np.full((8, 1, 8, 8), np.nan)), "runs from nan to nan"),
    ("images of infinity", own(np.full((8, 1, 8, 8), np.inf)), "runs from inf to inf"),
    ("images up to 255 as floats", own(np.full((8, 1, 8, 8), 255.0)), "divide them by 255"),
    ("images of two channels", own(np.zeros((8, 8, 8, 2), np.uint8)), "1 or 3 channels"),
    ("images of five dimensions", own(np.zeros((8, 8, 8, 1, 1), np.uint8)), "uint8 images are (N, height"),
    ("images of no pixels", own(np.zeros((8, 0, 0, 1), np.uint8)), "--resize"),
    ("one number for images", own(np.uint8(3)), "images are (N, height, width, channels)"),
    ("labels of fractions", own(y=Y / 2), "expected class numbers (N,): labels.astype(int)"),
    ("labels of words", own(y=np.array(["a", "b"] * 4)), "expected class numbers"),
    ("labels from 1", own(y=Y + 1), "classes are counted from 0: labels - 1"),
    ("negative labels", own(y=Y - 5), "classes are counted from 0"),
    ("labels with a gap", own(y=Y * 7), "has no image of class 1, 2, 3"),
    ("a label beyond memory", own(y=Y * 2**62), "has no image of class 1, 2, 3"),
    ("a label beyond 63 bits", own(y=Y.astype(np.uint64) * np.uint64(2**63)), "runs to 9223372036854775808"),
    ("labels of one class", own(y=Y * 0), "holds one class alone"),
    ("one-hot labels", own(y=np.eye(2)[Y]), "one column for each class"),
    ("one name for two classes", own(class_names=np.array(["a", "a"])), "holds 1 names for 2 classes"),
    ("names for other classes", own(class_names=np.array(["a"])), "names for 2 classes"),
]
FOLDERS: list[tuple[str, Make, str]] = [
    ("empty", written("own/.hidden", ""), "holds 0 class folders; lay each class's images in a folder"),
    ("one class", written("own/a/0.png", png(8)), "holds 1 class folder"),
    ("a class without an image", pictures(("c/notes.txt", b"hello")), "holds no image (png"),
    ("train without test", written("own/train/a/0.png", png(8)), "has train/ and no test/"),
    ("pictures of text", pictures(*((f"a/{n}.png", b"hello") for n in range(6))), "images cannot be read: a/0.png"),
    ("pictures that are cut", pictures(*((f"a/{n}.png", png(8)[:40]) for n in range(6))), "images cannot be read"),
    ("pictures of 10 gigapixels", pictures(*((f"a/{n}.png", png(8, (100_000, 100_000))) for n in range(3))),
     "a/0.png (too many pixels)"),
    ("pictures of 100 megapixels", pictures(*((f"a/{n}.png", png(8, (10_000, 10_000))) for n in range(3))),
     "a/0.png (too many pixels)"),
    ("pictures of no pixel", pictures(*((f"a/{n}.png", png(8, (0, 0))) for n in range(3))), "images cannot be read"),
    ("two sizes", pictures(("a/9.png", png(16))), "must be square and of one size: say --resize N"),
    ("a size beyond networks", pictures(*((f"{each}/{n}.png", png(500)) for each in "ab" for n in range(6))),
     "say --resize N, with N from 28 to 224"),
]  # fmt: skip
FUNCTIONS: list[tuple[str, str, str]] = [
    ("no function", "x = 1", "unknown function 'images'"),
    ("a syntax error", "def images(:", "cannot be imported: SyntaxError"),
    ("an error of ten lines", "def images(): raise ValueError('one\\n' * 10)", "failed: ValueError: one"),
    ("an exit", "raise SystemExit(3)", "cannot be imported: SystemExit"),
    ("nothing returned", "def images(): pass", "returned nothing; expected a dict"),
    ("a text returned", "def images(): return 'abc'", "returned a str"),
    ("a tuple of three", "def images(): return 1, 2, 3", "returned a tuple of 3 (int, int, int)"),
    ("a dict of numbers", "def images(): return {'images': 1, 'labels': 2}", "images are uint8"),
    ("lists of different lengths", "def images(): return {'images': [[1], [2, 3]], 'labels': [0, 1]}", "images"),
    ("an argument", "def images(path): pass", "failed: TypeError"),
]
EXTRA: list[tuple[str, bytes | str, str]] = [
    ("empty", b"", "neither a readable npz nor a pickle of arrays"),
    ("garbage", GARBAGE, "neither a readable npz nor a pickle of arrays"),
    ("a pickle that executes", pickle.dumps(Call(os.system, "touch executed")), "system, which is no array; nothing"),
    ("a pickle of eval", pickle.dumps({"data": Call(eval, "1")}), "eval, which is no array"),
    ("a pickled list", pickle.dumps([1]), "holds a list where a dict was expected"),
    ("a pickle of other names", pickle.dumps({"x": 1}), "no data and no extrapolated_targets; it holds x"),
    ("a pickled number for images", pickle.dumps({"data": 3, "extrapolated_targets": Y}), "images are int64 ()"),
    ("lists that hold each other", pickle.dumps({"data": (lambda a: [a, a])([[1]]), "extrapolated_targets": Y}),
     "data holds lists in a list where an array was expected"),
    ("an npz of 300 MB in 300 kB", bomb(), "unpacks to 314,572,800"),
    ("an npz of objects", npz(image=np.array([None]), label=Y), "images are object (1,); expected uint8"),
    ("images of another size", npz(image=np.zeros((8, 3, 3, 1), np.uint8), label=Y), "expected uint8 (N, 8, 8, 1)"),
    ("labels out of range", npz(image=X, label=Y + 50), "labels run from 50 to 51; expected 0 to 9"),
    ("labels of NaN", npz(image=X, label=np.full(8, np.nan)), "labels are float64 (8,)"),
    ("no image", npz(image=X[:0], label=Y[:0]), "holds no image"),
]  # fmt: skip
DEFENSES: list[tuple[str, str, str]] = [
    ("empty", "", "defines no DEFENSE and no PAPER; see docs/adding-a-defense.md"),
    ("a syntax error", "def (", "mine.py:1 cannot be imported: SyntaxError"),
    ("an import that is not there", "import zzz_nowhere", "mine.py:1 cannot be imported: ModuleNotFoundError"),
    ("an error of ten lines", "raise ValueError('one\\n' * 10)", "cannot be imported: ValueError: one"),
    ("an exit", "import sys; sys.exit(0)", "cannot be imported: SystemExit"),
    ("a number for a defense", "DEFENSE = 3\nPAPER = 4", "PAPER is a int; make it Paper("),
    ("garbage", "\x00\x01", "cannot be imported"),
    ("a recursion", "def f(): f()\nf()", "cannot be imported: RecursionError"),
]
NETWORKS: list[tuple[str, str, str]] = [
    ("a syntax error", "def build(:", "net.py:1 cannot be imported: SyntaxError"),
    ("no such function", "x = 1", "unknown function or class 'build'"),
    ("a number returned", "def build(num_classes): return 3", "returns a int; return a torch.nn.Module"),
    ("an error of ten lines", "def build(num_classes): raise ValueError('one\\n' * 10)", "build: ValueError: one"),
    ("logits of another shape", "import torch\ndef build(num_classes): return torch.nn.Flatten()", "net.py"),
]
OFFICIAL = [
    ("mnist", "MNIST/raw/train-images-idx3-ubyte", b""),
    ("mnist", "MNIST/raw/train-images-idx3-ubyte", b"\x00\x00\x08\x03" + b"\xff" * 12),
    ("cifar10", "cifar-10-batches-bin/data_batch_1.bin", GARBAGE),
    ("cifar100", "cifar-100-binary.tar.gz", b"\x1f\x8b" + GARBAGE),
]
CASES = [
    *(Case(f"an npz: {name}", f"show trades w.npz {SHOW}", 4, said, written("w.npz", content))
      for name, content, said in NPZ),
    *(Case(f"a folder of images: {name}", f"show trades ./own {SHOW}", 4, said, make) for name, make, said in FOLDERS),
    *(Case(f"a function of images: {name}", f"show trades own.py:images {SHOW}", 4, said, written("own.py", text))
      for name, text, said in FUNCTIONS),
    Case("a file of Hugging Face that is none", f"show trades hf:./own {SHOW}", 4, "hf:./own cannot be loaded",
         written("own/state.json", "{}")),
    *(Case(f"extra data: {name}", "train trades digits --seeds 1 --extra-data w", 4, said, written("w", content))
      for name, content, said in EXTRA),
    Case("extra data that is a folder", "show trades digits --extra-data w", 4, "no such file", written("w/a", "")),
    *(Case(f"a defense of a file: {name}", "show ./mine.py digits", 3, said, written("mine.py", text))
      for name, text, said in DEFENSES),
    *(Case(f"a network of a file: {name}", "show trades digits --arch ./net.py:build", 3, said, written("net.py", text))
      for name, text, said in NETWORKS),
    *(Case(f"{dataset}: {len(content)} bytes for {Path(file).name}",
           f"data {dataset} --data-dir data", 4, "is not the official file ... move it away",
           written(f"data/{file}", content)) for dataset, file, content in OFFICIAL),
]  # fmt: skip
