"""Networks of a user's own, as files."""

from __future__ import annotations

from pathlib import Path

NET = '''"""A small network."""

from torch import nn


def build(num_classes: int, in_channels: int, image_size: int, width: int = 8, act: str = "relu") -> nn.Module:
    kind = {"relu": nn.ReLU, "silu": nn.SiLU}[act]
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3, padding=1), nn.BatchNorm2d(width), kind(),
        nn.Flatten(), nn.Linear(width * image_size**2, num_classes),
    )
'''

BASE = """import torch
from torch import nn


class Base(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.head = nn.Linear(64, num_classes)

    def forward(self, x):
        return self.head(x.flatten(1))


"""


def written(folder: Path, text: str = NET, name: str = "net.py") -> Path:
    """The file, in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def named(folder: Path, text: str = NET, call: str = "build", name: str = "net.py") -> str:
    """It as ``--arch`` takes it."""
    return f"{written(folder, text, name)}:{call}"
