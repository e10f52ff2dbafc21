"""Phase: the tests that run on a GPU where there is one, counted by outcome; the answer grows test by test."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


class Outcomes:
    """A pytest plugin that writes what is known after each test."""

    def __init__(self, answer: Path) -> None:
        self._answer = answer
        self.found: dict[str, Any] = {"passed": 0, "skipped": 0, "failed": {}}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.found["failed"][report.nodeid] = str(report.longrepr).strip().splitlines()[-1][:300]
        elif report.skipped or report.when == "call":
            self.found["skipped" if report.skipped else "passed"] += 1
        self._answer.write_text(json.dumps(self.found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="+", help="Below tests/, and options of pytest.")
    parser.add_argument("--json", type=Path, required=True)
    asked, options = parser.parse_known_args()
    outcomes = Outcomes(asked.json)
    how = ["-q", "-m", "gpu", "-p", "no:cacheprovider", "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml")]
    code = pytest.main([*how, *(str(ROOT / "tests" / each) for each in asked.what), *options], plugins=[outcomes])
    failed = list(outcomes.found["failed"])
    raise SystemExit(f"exit {code}, {len(failed)} failed: {', '.join(failed)}" if code else 0)


if __name__ == "__main__":
    main()
