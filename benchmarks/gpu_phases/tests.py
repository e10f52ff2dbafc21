"""Phase: the tests that run on a GPU where there is one, counted by outcome."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
FEW = ["tests/devices/test_waiting.py", "-k", "fire and not awp and not sa and not rst"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--json", type=Path, required=True)
    asked = parser.parse_args()
    some = [str(ROOT / FEW[0]), *FEW[1:]] if asked.tiny else [str(ROOT / "tests")]
    report = asked.json.with_suffix(".xml")
    how = ["-q", "-m", "gpu", "-p", "no:cacheprovider", "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml")]
    ran = subprocess.run([sys.executable, "-m", "pytest", *how, f"--junitxml={report}", *some])
    cases = list(ElementTree.parse(report).iter("testcase"))
    wrong = {f"{case.get('classname')}::{case.get('name')}": fault.get("message", "")[:300]
             for case in cases for fault in case if fault.tag in ("failure", "error")}  # fmt: skip
    skipped = sum(each.tag == "skipped" for case in cases for each in case)
    result = {"passed": len(cases) - len(wrong) - skipped, "skipped": skipped, "failed": wrong}
    asked.json.write_text(json.dumps(result))
    raise SystemExit(f"{len(wrong)} of {len(cases)} failed: {', '.join(wrong)}" if ran.returncode else 0)


if __name__ == "__main__":
    main()
