"""How a draft says of itself, in each of its texts, that it is one and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from robench_fire.files import SEAL, as_json
from robench_fire.json_text import from_json
from robench_fire.submission.claims.claim import DRAFT
from robench_fire.submission.claims.lacking import Missing

COMMENTS = {".tex": "% ", ".bib": "% ", ".patch": "# ", ".txt": "# ", ".log": "# ", ".py": "# "}
"""How a line is said beside the content of a file; `git apply` skips what stands before the first difference."""


def marked(name: str, text: str, missing: Sequence[Missing]) -> str:
    """The ``text`` of a bundle's file ``name``, marked; as it is where nothing is ``missing``.

    RobustBench's own JSON is returned as it is: it has no place but its footnote, which the claim fills.
    """
    path = PurePosixPath(name)
    if not missing or path.parts[0] == "model_info":
        return text
    if path.suffix == ".json":
        own = {key: value for key, value in from_json(text).items() if key != SEAL}  # it is another file now
        return as_json({"draft": [str(each) for each in missing]} | own)
    if path.suffix == ".md":
        listed = "".join(f"> - {each}\n" for each in missing)
        return (
            f"> **{DRAFT}.** It is made from what is there; what is missing, and what brings it:\n>\n{listed}\n{text}"
        )
    lines = [f"{DRAFT}. Missing:", *map(str, missing)]
    if path.suffix == ".html":
        return f"<!-- {' | '.join(lines)} -->\n{text}"
    return "".join(f"{COMMENTS[path.suffix]}{line}\n" for line in lines) + text
