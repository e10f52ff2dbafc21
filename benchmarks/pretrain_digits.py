"""Weights to begin digits from: Madry's training on MNIST, at 8 x 8 pixels.

    robench data mnist
    python benchmarks/pretrain_digits.py mnist_8x8.safetensors
    robench train pretraining digits --start mnist_8x8.safetensors

Images are padded to 32 x 32 and averaged over 4 x 4 pixels, as the digits of scikit-learn were made from their bitmaps.
The recipe is that of digits, for 5 epochs.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn.functional import avg_pool2d, pad

from robench_fire.data import fetching
from robench_fire.models import architectures
from robench_fire.problem import registry
from robench_fire.problem.dataset import Dataset, Split
from robench_fire.problem.recipe import Recipe
from robench_fire.runs.compose import Request, compose
from robench_fire.training.engine import train
from robench_fire.training.setup import Problem


def small(split: Split) -> Split:
    """The same images at 8 x 8 pixels."""
    grey = avg_pool2d(pad(split.images.float(), (2, 2, 2, 2)), 4)
    return Split(grey.round().to(torch.uint8), split.labels)


def main(file: Path) -> None:
    composed = compose(Request(defense="madry", dataset="digits"))
    recipe: Recipe = replace(composed.plan.recipe, epochs=5)
    mnist: Dataset = registry.load("datasets", "mnist").module.DATASET
    splits = fetching.splits("mnist", mnist, fetching.data_folder())
    problem = Problem(
        composed.plan.defense, composed.plan.threat, recipe, small(splits.train), small(splits.validation), 10
    )
    build = partial(architectures.build, recipe.arch, composed.dataset.shape, 10, recipe.normalise, (), ())
    trained = train(build, problem, seed=0, device=torch.device("cpu"), progress=said)
    save_file({name: value.contiguous() for name, value in trained.weights.items()}, file)
    last = trained.curve[-1]
    print(f"{file}: validation accuracy {last['clean']:.2f} clean, {last['robust']:.2f} robust")


def said(done: int, total: int, note: str) -> None:
    if done % 100 == 0 or done == total:
        print(f"\r{done} of {total} batches, {note}   ", end="" if done < total else "\n", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
