"""Images of the user's own, as a text names them: prepared before anything else is done with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from robench_fire.data.own.sources import is_own
from robench_fire.errors import UsageError
from robench_fire.progress import Event, Listening

if TYPE_CHECKING:
    from robench_fire.problem.own_data import OwnData


def own_images(
    text: str, folder: Path | None, listening: Listening, resize: int | None = None, channels: int | None = None,
    anew: bool = False,
) -> OwnData | None:  # fmt: skip
    """What a text that names images of the user's own is, prepared in the data folder; None for a data set's name.

    Raises:
        UsageError: for options that a data set's name does not take.
        DataError: naming what is wrong with the images, and the fix.
    """
    if not is_own(text):
        for flag, value in (("--resize", resize), ("--channels", channels)):
            if value is not None and not text:
                raise UsageError(f"{flag} goes with --dataset ./FOLDER; leave it out")
            if value is not None:
                raise UsageError(f"{flag} is for images of your own, and {text} is a name; a folder is ./{text}")
        return None
    from robench_fire.data.fetching import data_folder
    from robench_fire.data.own.preparing import prepare
    from robench_fire.data.own.sources import source_of

    source = source_of(text)
    with listening(1, f"data {source.name}") as listen:
        stages: list[str] = []

        def report(stage: str, done: int, total: int, note: str) -> None:
            stages.append(stage) if stage not in stages else None
            listen(Event(source.name, stage, done, total, note))

        found = prepare(source, folder or data_folder(), report, resize, channels, anew)
        if stages:
            listen(Event(source.name, "done", 1, 1, "prepared"))
    return found
