"""Training a method over its seeds, as `robench train` does, and the runs that come of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from torch import nn

from robench_fire.api import loading, results
from robench_fire.api.speaking import KEPT, Source, called, pairs, voices
from robench_fire.boards.rows import Row, collect
from robench_fire.data.own.named import own_images
from robench_fire.devices import torchrun
from robench_fire.devices.device import resolve
from robench_fire.errors import RecipeError, UsageError, raise_failed, unknown
from robench_fire.evaluation.evaluator import Evaluations
from robench_fire.launching.bench import bench
from robench_fire.launching.seed import run_folder
from robench_fire.launching.training_stage import Workplace, workplace
from robench_fire.problem.plan import Profile
from robench_fire.quantity import Quantity, seconds
from robench_fire.runs.compose import Request, compose
from robench_fire.runs.evaluations import ROWS, TABLED
from robench_fire.runs.folders import BATCH_SIZE, SEEDS
from robench_fire.statistics.summary import MeanStd
from robench_fire.training.saving import EVERY

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Runs:
    """The trained seeds of one plan; iterating gives their folders.

    ``folder``: of the plan, which holds one folder per seed. ``seeds``: those that were asked for. Accuracies are in
    percent and over all seeds of the plan that are evaluated alike, as in a table.
    """

    folder: Path
    seeds: tuple[int, ...]

    def __iter__(self) -> Iterator[Path]:
        return (self.folder / f"seed-{seed}" for seed in self.seeds)

    def __len__(self) -> int:
        return len(self.seeds)

    def __fspath__(self) -> str:
        return str(self.folder)

    def load(self, seed: int = 0, device: str = "auto") -> nn.Module:
        """The network of a seed, see ``load``.

        Raises:
            RobenchError: if that seed is not trained.
        """
        return loading.load(self.folder / f"seed-{seed}", device=device)

    def table(self, **options: Any) -> pd.DataFrame:
        """The row of the plan, see ``table`` for the ``options``.

        Raises:
            RobenchError: if no seed is evaluated.
        """
        return results.table(self.folder, **options)

    @property
    def clean(self) -> MeanStd | None:
        """``mean`` and ``std`` (n - 1, None of a single seed) over ``n`` seeds; None without an evaluation."""
        row = self._row()
        return row.over_seeds("clean") if row else None

    @property
    def robust(self) -> MeanStd | None:
        """The same under AutoAttack; where that was not run, under PGD-20, as ``attack`` says."""
        row = self._row()
        return row.over_seeds("robust") if row else None

    @property
    def attack(self) -> str:
        """What ``robust`` is under: "aa", "pgd20", or "" without an evaluation."""
        row = self._row()
        return row.attack if row else ""

    def _row(self) -> Row | None:
        return next(iter(collect(self.folder)), None)

    def __repr__(self) -> str:
        row, seeds = self._row(), ", ".join(map(str, self.seeds))
        if row is None:
            return f"Runs(seeds {seeds} at {self.folder}, not evaluated)"
        found = f"clean {row.over_seeds('clean')}, robust {row.over_seeds('robust')} ({row.attack})"
        what = f"{row.name} on {row.dataset}, {row.norm} {row.eps}"
        return f"Runs({what}, {len(row.per_seed)} seeds, {row.examples:,} images: {found}; {self.folder})"


def train(
    defense: Source, dataset: Source, *, seeds: int | Iterable[int] = SEEDS, arch: str = "", epochs: int | None = None,
    eps: str | float = "", norm: str = "Linf", profile: Profile = "matched", set: Mapping[str, Any] | None = None,
    extra_data: Source | None = None, hide_labels: bool = False, start: Source = "", teacher: Source = "",
    resize: int | None = None, channels: int | None = None, attacks: str | Sequence[str] = ROWS, eval_seed: int = 0,
    examples: int | None = None, eval_batch: int = BATCH_SIZE, device: str = "auto", compiling: bool | None = None,
    deterministic: bool | None = None, jobs: int = 0, together: bool = False, save_every: str | float = EVERY,
    output: Source | None = None, data_dir: Source | None = None, progress: bool = True,
) -> Runs:  # fmt: skip
    """Train a method on a data set over its seeds and evaluate each: the same runs as `robench train` makes.

    Args:
        defense: a name of ``list_defenses``, or the path of a .py file.
        dataset: a name of ``list_datasets``, or images of your own: ./FOLDER, FILE.npz, FILE.py:FUNCTION.
        seeds: how many (5 are 0 to 4), or which.
        arch: of ``list_architectures``; "": the recipe's.
        epochs: of the shared schedule, whose drops scale with them; None: the recipe's.
        eps: radius, of pixels in [0, 1]; as text, "8/255", it is kept as it is written; "": the data set's.
        norm: Linf or L2.
        profile: matched, short, modern, fastat or official (docs/defenses.md).
        set: values of `robench show` by their path, {"defense.lam": 6}.
        extra_data: a file of further images, pseudo-labelled or from a generator (docs/data.md).
        hide_labels: hide half of the labels and pseudo-label those images.
        start: weights to begin from, a file or a run.
        teacher: the network whose logits the loss reads, a file or a run, for a defense that does.
        resize: side that images of your own are brought to, where they differ in size.
        channels: 1 or 3, where images of your own are of both kinds.
        attacks: pgd20, aa (AutoAttack standard), fgsm, pgd20-cw, square; () only trains.
        examples: evaluate on the first so many test images; None: the data set's default.
        eval_seed: of the attacks.
        eval_batch: test images attacked at a time.
        device: auto (a GPU where there is one), cpu, cuda or cuda:N.
        compiling: use torch.compile; None: on one GPU.
        deterministic: the same weights, bit by bit; None: on a CPU, by OMP_NUM_THREADS threads or else one.
        jobs: runs at a time, in processes of their own if more than one; 0: as many as this machine can use.
        together: train the seeds side by side, in ``jobs`` groups.
        save_every: seconds between two saves of a training's state within an epoch, or text: "90s", "5m".
        output: folder for run folders; None: the variable ROBENCH_RUNS, or runs.
        data_dir: folder of the data; None: the variable ROBENCH_DATA, or the user's cache.
        progress: show it on stderr.

    Raises:
        RobenchError: for what cannot be run, or the first run that failed; the same call continues, as after Ctrl-C.
    """
    with called(KEPT):
        torchrun.refuse("train() of Python")
        (listening, say), data = voices(progress), Path(data_dir) if data_dir else None
        own = own_images(os.fspath(dataset), data, listening, resize, channels)
        request = Request(
            defense=os.fspath(defense), dataset=own.name if own else os.fspath(dataset), data=own, norm=norm,
            profile=_profile(profile), eps=_radius(eps), arch=arch, epochs=_epochs(epochs), settings=_set(set),
            extra_data=Path(extra_data) if extra_data else None, hide_labels=hide_labels, start=os.fspath(start),
            teacher=os.fspath(teacher),
        )  # fmt: skip
        numbers, chosen = _seeds(seeds), evaluations(attacks, examples, eval_seed, eval_batch)
        place = _place(output, data, device, compiling, save_every, deterministic)
        first = run_folder(compose(request), place.output, 0)
        _, failed = bench([request], numbers, chosen, place, _jobs(jobs), listening, say, together)
        raise_failed(failed, len(numbers))
        return Runs(first.folder.parent, tuple(numbers))


def evaluations(attacks: str | Sequence[str], examples: int | None, seed: int, batch_size: int) -> Evaluations:
    """How each seed is attacked.

    Raises:
        UsageError: for an unknown attack, none that makes a row, or a number that is too small.
    """
    asked = ["aa" if each == "standard" else each for each in ([attacks] if isinstance(attacks, str) else attacks)]
    for each in asked:
        if each not in TABLED:
            raise UsageError(unknown("attack", each, TABLED))
    if asked and not {*asked} & {*ROWS}:
        raise UsageError(f"attacks {', '.join(asked)}: add {' or '.join(ROWS)}, without which there is no row")
    for name, value in (("examples", examples), ("eval_batch", batch_size)):
        if value is not None and value < 1:
            raise UsageError(f"{name} {value}: expected an integer of at least 1")
    chosen = tuple(each for each in TABLED if each in asked)
    return Evaluations(attacks=chosen, examples=examples, seed=seed, batch_size=batch_size)


def _jobs(asked: int) -> int:
    if asked < 0:
        raise UsageError(f"jobs {asked}: 0, for as many as are useful, or more")
    return asked


def _set(asked: Mapping[str, Any] | None) -> tuple[tuple[str, str, str], ...]:
    return tuple(("--set", path, text) for path, text in pairs(asked))


def _seeds(asked: int | Iterable[int]) -> list[int]:
    try:
        found = sorted({index(each) for each in (asked if isinstance(asked, Iterable) else range(asked))})
    except TypeError:
        found = []
    if not found or found[0] < 0:
        raise UsageError(f"seeds {asked}: expected how many (5), or which ([0, 3]), none below 0")
    return found


def _epochs(asked: int | None) -> int | None:
    if asked is not None and asked < 1:
        raise RecipeError(f"epochs {asked}: expected an integer of at least 1")
    return asked


def _place(
    output: Source | None, data: Path | None, device: str, compiling: bool | None, save_every: str | float,
    deterministic: bool | None,
) -> Workplace:  # fmt: skip
    folder = Path(output or os.environ.get("ROBENCH_RUNS") or "runs")
    try:
        every = seconds(str(save_every))
    except ValueError as fault:
        raise UsageError(f"save_every {fault}") from None
    return workplace(folder, data, resolve(device), compiling, save_every=every, deterministic=deterministic)


def _profile(asked: Profile) -> Profile:
    choices = get_args(Profile)
    if asked not in choices:
        raise UsageError(unknown("profile", asked, choices))
    return asked


def _radius(asked: str | float) -> str:
    """Its text; of a Quantity the one that was written."""
    return str(Quantity(asked)) if isinstance(asked, (int, float)) else asked
