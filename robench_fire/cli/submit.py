"""submit: a run or a checkpoint as a bundle for RobustBench, its check, and its upload."""

from __future__ import annotations

import json as jsonlib
import shlex
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from robench_fire.cli.common import options as o
from robench_fire.cli.common.console import plain
from robench_fire.cli.common.groups import FileOptions, PaperOptions
from robench_fire.errors import UsageError

if TYPE_CHECKING:
    from robench_fire.evaluation.reliability import Check
    from robench_fire.submission.submit import Checking

    Make = Callable[[Path, Checking], tuple[list[Check], Path]]


def submit(
    file: FileOptions,
    its: PaperOptions,
    run: Annotated[
        str, typer.Argument(help="Folder of a plan's seeds, or an evaluated ARCH:FILE; with --push, a bundle.")
    ] = "",
    seed: Annotated[str, typer.Option(help="median: of validation accuracy. (default: seed 0)")] = "",
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the bundle.")] = Path("submission"),
    eps: Annotated[str, typer.Option(help="Radius to claim, 8/255 or 0.031. (default: the plan's claim)")] = "",
    name: Annotated[str, typer.Option(help="RobustBench's key, NameYearWord. (default: the paper's)")] = "",
    link: Annotated[str, typer.Option(help="Where the checkpoint was uploaded; fills the last blank.")] = "",
    check: Annotated[Path | None, typer.Option(metavar="DIR", help="Only check this bundle.")] = None,
    push: Annotated[str, typer.Option(metavar="hf:USER/REPO", help="Upload the bundle RUN.")] = "",
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="The extra data was generated from the training set.")
    ] = False,
    draft: Annotated[
        bool, typer.Option("--draft", help="Make it from what is there, and list what is missing.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --push: list what would go.")] = False,
    examples: Annotated[int, typer.Option(min=1, help="Test images that RobustBench's own benchmark attacks.")] = 16,
    device: o.Device = "auto",
    data_dir: o.Data = None,
    json: o.Json = False,
) -> None:
    """Write what RobustBench's maintainers ask for, proved by RobustBench's own code. Exit 7 if it does not hold."""
    chosen = {"seed": seed, "eps": eps, "name": name, "link": link, "synthetic": synthetic, "draft": draft}
    _sensible(run, check, push, dry_run, _given(chosen | asdict(file) | asdict(its)))
    if push:
        _push(Path(run), push, dry_run)
        return
    make = None if check else _making(run, file, its, chosen)
    found, folder = _proved(make, check or output, data_dir, device, examples)
    _print(folder, found, json)
    from robench_fire.submission.checks.check import refuse

    refuse(found, folder)


def _sensible(run: str, check: Path | None, push: str, dry_run: bool, given: str) -> None:
    """Refuse words that do not go together; ``given``: the options about a bundle that is to be written."""
    if push and not run:
        raise UsageError("--push uploads a bundle: robench submit DIR --push hf:USER/REPO")
    if (not run) == (check is None):
        raise UsageError("name a run's folder (robench submit RUN -o DIR), or a bundle (robench submit --check DIR)")
    if dry_run and not push:
        raise UsageError("--dry-run lists what --push would upload; give --push hf:USER/REPO too")
    if (check or push) and given:
        raise UsageError(f"{given}: said when a bundle is written; leave out --check and --push")


def _given(options: dict[str, Any]) -> str:
    """The options that were given, as they are said."""
    return ", ".join(f"--{each.replace('_', '-')}" for each, value in options.items() if value)


def _making(run: str, file: FileOptions, its: PaperOptions, chosen: dict[str, Any]) -> Make:
    """How the bundle of ``run`` is made, once it is known what that is."""
    from robench_fire.submission.submit import submit, submit_file

    if not (_given(asdict(file)) or Path(run.partition(":")[2] or run).is_file()):
        if ignored := _given(asdict(its)):
            raise UsageError(f"{ignored}: said of a checkpoint that was trained elsewhere; {run} is no file")
        return partial(submit, Path(run), **chosen)
    if ignored := _given({each: chosen.pop(each) for each in ("seed", "synthetic")}):
        raise UsageError(f"{ignored}: said of a trained run, and {run} is a checkpoint")
    from robench_fire.data.own.sources import is_own
    from robench_fire.submission.claims.from_file import told

    if is_own(file.dataset):
        raise UsageError(f"--dataset {file.dataset}: RobustBench has no board of images of your own")
    source = its.under(file.named(run, its.norm, Path()))
    what = told(its.paper, chosen.pop("name"), its.additional_data)
    said = {"dataset": source.dataset, **{each: value for each, value in asdict(file).items() if value}}
    said |= {"norm": its.norm} if its.norm else {}
    again = ["robench", "eval", run, *(word for each, value in said.items() for word in (f"--{each}", value))]
    radius = chosen["eps"] or str(source.claim.eps)
    evaluate = f"{shlex.join(again)} --attack aa --eps {radius}"
    return lambda out, checking: submit_file(source, out, checking, what, again=evaluate, **chosen)


def _proved(
    make: Make | None, folder: Path, data_dir: Path | None, device: str, examples: int
) -> tuple[list[Check], Path]:
    """What the check of a bundle finds, and where it lies; it is made first, where there is a way to make it."""
    from robench_fire.data.fetching import data_folder
    from robench_fire.devices.device import resolve
    from robench_fire.launching.progress_display import listening
    from robench_fire.progress import Event
    from robench_fire.submission.checks.check import check
    from robench_fire.submission.submit import Checking

    with listening(1, "submission") as listen:

        def report(stage: str, done: int, total: int, note: str) -> None:
            listen(Event(folder.resolve().name, stage, done, total, note))

        data, where = data_dir or data_folder(), resolve(device)
        if make:
            found, folder = make(folder, Checking(data=data, device=where, examples=examples, report=report))
        else:
            found = check(folder, data, where, examples, report)
        report("done", 1, 1, "")
    return found, folder


def _print(folder: Path, found: list[Check], json: bool) -> None:
    if json:
        print(jsonlib.dumps({"format": 1, "folder": str(folder), "checks": [asdict(each) for each in found]}, indent=2))
        return
    console = plain()
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=Text(str(folder)), title_justify="left", title_style="")
    for column in ("check", "", "found"):
        drawn.add_column(column, overflow="fold")
    for each in found:
        sign = Text("ok", "green") if each.passed else Text("no", "red")
        drawn.add_row(Text(each.name), sign, Text(each.found))  # as it is: it comes from the bundle
    console.print(drawn)
    from robench_fire.submission.checks.check import AS_DRAFT

    if not all(each.passed for each in found):
        return
    if any(each.name == AS_DRAFT for each in found):
        said = f"a draft, not for submission; what is missing, and what brings it, is in {folder / 'CHECKLIST.md'}"
        console.print(said, highlight=False)
    else:
        console.print(f"everything holds; what is left to you is in {folder / 'CHECKLIST.md'}", highlight=False)


def _push(bundle: Path, target: str, dry_run: bool) -> None:
    from robench_fire.submission.push import push

    link, files = push(bundle, target, dry_run)
    for path in files:
        print(path.as_posix())
    said = "would go to" if dry_run else "lie at"
    plain(stderr=True).print(
        f"{len(files)} files {said} {target}; then give --link {link}", highlight=False, soft_wrap=True
    )
