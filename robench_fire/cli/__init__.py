"""The command line: parse, call one function, print. Results go to stdout, progress and messages to stderr."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Annotated, NoReturn

import typer

from robench_fire import __version__
from robench_fire.cli import attack, measure, prepare, read
from robench_fire.cli.submit import submit
from robench_fire.errors import RobenchError

app = typer.Typer(
    name="robench",
    help="Train adversarial defenses on one backend over five seeds, attack them with AutoAttack, and tabulate.",
    no_args_is_help=True,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
app.command()(measure.train)
app.command()(measure.bench)
app.command(name="eval")(attack.evaluate)
app.command()(attack.transfer)
app.command()(read.table)
app.command()(submit)
app.command()(read.show)
app.command()(read.ls)
app.command()(prepare.data)
app.command()(prepare.doctor)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"robench_fire {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Robustness benchmarking for adversarial-training defenses."""
    if debug:
        os.environ["ROBENCH_DEBUG"] = "1"


class _Stopped(BaseException):
    """Ctrl-C or SIGTERM; not a SystemExit, which a plug-in's import may raise too."""


def _stopped(signum: int, frame: FrameType | None) -> NoReturn:
    raise _Stopped(130 if signum == signal.SIGINT else 75)


def main() -> None:
    """Run the command line; errors that a user can act on become one or two lines and an exit code."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, _stopped)
    try:
        app()
    except RobenchError as fault:
        if os.environ.get("ROBENCH_DEBUG"):
            raise
        print(f"robench: {fault}", file=sys.stderr)
        sys.exit(fault.exit_code)
    except Exception as fault:  # a defect of ours, or a model's own
        if os.environ.get("ROBENCH_DEBUG"):
            raise
        said = str(fault).strip().split("\n")[0]
        print(f"robench: unexpected {type(fault).__name__}: {said}; `robench --debug ...` shows where", file=sys.stderr)
        sys.exit(1)
    except _Stopped as stopped:
        kept = "finished epochs and stages are kept, the same command continues"
        print(f"robench: interrupted; {kept}", file=sys.stderr)
        sys.exit(stopped.args[0])
