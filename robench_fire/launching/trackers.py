"""Where else a training's curve goes, beside curve.jsonl: CSV, TensorBoard, Weights & Biases.

Each gets a row per epoch, and the first validation images with their perturbations. curve.jsonl stays what is read.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from robench_fire.errors import UsageError, unknown
from robench_fire.files import write_text
from robench_fire.runs.folders import Run

Row = Mapping[str, float]
NEEDS = {"csv": "pandas", "tensorboard": "tensorboard", "wandb": "wandb"}
"""The package that each needs; the latter two are extras of that name."""
SHOWN = 8
"""Images of a picture."""


class Tracker(Protocol):
    """One run's curve, somewhere. Epochs are numbered from 1."""

    def rows(self, known: int, curve: Sequence[Row]) -> None:
        """The values of all epochs so far, of which the first ``known`` were there before."""

    def pictures(self, epoch: int, clean: Tensor, perturbed: Tensor) -> None:
        """Validation images (N, C, H, W) in [0, 1], and what the training attack makes of them."""

    def close(self) -> None:
        """Nothing more will come."""


def check(names: Sequence[str]) -> None:
    """Whether what is asked for is known and installed.

    Raises:
        UsageError: naming the choices, or what to install.
    """
    for name in names:
        if name not in NEEDS:
            raise UsageError(f"--log: {unknown('tracker', name, NEEDS)}")
        if importlib.util.find_spec(NEEDS[name]) is None:
            raise UsageError(f"--log {name} needs {NEEDS[name]}: pip install 'robench_fire[{name}]'")


def named(values: Row, images: int) -> dict[str, float]:
    """An epoch's values as trackers group them; ``images``: of an epoch."""
    found = {"learning_rate": values["lr"], "loss/total": values["loss"]}
    found |= {f"loss/{name[5:]}": value for name, value in values.items() if name.startswith("loss_")}
    found |= {f"validation/{name}": values[name] for name in ("clean", "robust", "one_step") if name in values}
    return found | {"seconds": values["seconds"], "images_per_second": images / max(values["seconds"], 1e-9)}


class Csv:
    """curve.csv in the run's folder, written anew after every epoch."""

    def __init__(self, run: Run, config: Mapping[str, Any], done: int) -> None:
        self._path = run.folder / "curve.csv"

    def rows(self, known: int, curve: Sequence[Row]) -> None:
        import pandas as pd

        table = [{"epoch": number, **values} for number, values in enumerate(curve, 1)]
        write_text(self._path, pd.DataFrame(table).to_csv(index=False))

    def pictures(self, epoch: int, clean: Tensor, perturbed: Tensor) -> None:
        """None: a table holds no pictures."""

    def close(self) -> None:
        """Nothing is open."""


class TensorBoard:
    """Event files in tensorboard/ of the run's folder; a resumed run goes on where it stopped."""

    def __init__(self, run: Run, config: Mapping[str, Any], done: int) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter  # here, because it takes a second to import

        made: Any = SummaryWriter
        self._writer = made(str(run.folder / "tensorboard"), purge_step=done + 1 if done else None)

    def rows(self, known: int, curve: Sequence[Row]) -> None:
        for epoch, values in enumerate(curve[known:], known + 1):
            for name, value in values.items():
                self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def pictures(self, epoch: int, clean: Tensor, perturbed: Tensor) -> None:
        for name, images in _three(clean, perturbed).items():
            self._writer.add_images(name, images, epoch)

    def close(self) -> None:
        self._writer.close()


class WandB:
    """A run of Weights & Biases with the run's own identity; WANDB_MODE=offline keeps it in wandb/ of its folder."""

    def __init__(self, run: Run, config: Mapping[str, Any], done: int) -> None:
        import wandb

        self._wandb: Any = wandb
        name = "-".join(run.folder.parts[-3:])
        self._run = self._wandb.init(
            project="robench_fire", name=name, id=name.replace("_", "-"), dir=str(run.folder), config=dict(config),
            resume="allow", reinit="create_new",
        )  # fmt: skip

    def rows(self, known: int, curve: Sequence[Row]) -> None:
        for epoch, values in enumerate(curve[known:], known + 1):
            self._run.log(dict(values), step=epoch)

    def pictures(self, epoch: int, clean: Tensor, perturbed: Tensor) -> None:
        shown = {
            name: [self._wandb.Image(image.permute(1, 2, 0).numpy()) for image in images]
            for name, images in _three(clean, perturbed).items()
        }
        self._run.log(shown, step=epoch)

    def close(self) -> None:
        self._run.finish()


def _three(clean: Tensor, perturbed: Tensor) -> dict[str, Tensor]:
    """Images, what they become, and the difference, as far from grey as the largest is from 0."""
    shift = perturbed - clean
    grey = 0.5 + shift / (2 * float(shift.abs().max()) or 1.0)
    pairs = {"clean": clean, "perturbed": perturbed, "perturbation": grey}
    return {f"images/{name}": images.float().clamp(0, 1).cpu() for name, images in pairs.items()}


MADE: dict[str, Callable[[Run, Mapping[str, Any], int], Tracker]] = {
    "csv": Csv, "tensorboard": TensorBoard, "wandb": WandB,
}  # fmt: skip


class Tracked:
    """The trackers of one run. ``images``: of an epoch."""

    def __init__(self, run: Run, names: Sequence[str], images: int) -> None:
        curve = run.folder / "curve.jsonl"
        self._done = len(curve.read_text(encoding="utf-8").splitlines()) if curve.exists() else 0
        self._images = images
        self._trackers = [MADE[name](run, run.read("plan.json"), self._done) for name in names]

    def epoch_done(self, curve: Sequence[Row]) -> None:
        """Hear the whole curve so far; what is new in it goes on."""
        found = [named(values, self._images) for values in curve]
        for tracker in self._trackers:
            tracker.rows(self._done, found)
        self._done = max(self._done, len(curve))

    def pictures(self, epoch: int, clean: Tensor, perturbed: Tensor) -> None:
        """Of the first validation images."""
        for tracker in self._trackers:
            tracker.pictures(epoch, clean[:SHOWN], perturbed[:SHOWN])

    def close(self) -> None:
        """After the last epoch, or what stopped it."""
        for tracker in self._trackers:
            tracker.close()
