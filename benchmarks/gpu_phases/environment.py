"""Phase: what `robench doctor` says of a machine, and whether every module can be imported."""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import warnings
from pathlib import Path

import robench_fire
from robench_fire.problem import registry


def unimportable() -> dict[str, str]:
    """Modules that cannot be imported, and why."""
    found, home = {}, Path(robench_fire.__file__).parent
    names = [".".join(path.relative_to(home.parent).with_suffix("").parts) for path in sorted(home.rglob("*.py"))]
    names += [f"robench_fire.defenses.{name}" for name in registry.names("defenses")]
    for name in names:
        if not name.endswith("__main__"):
            try:
                importlib.import_module(name.removesuffix(".__init__"))
            except Exception as fault:  # whatever a broken package raises
                found[name] = f"{type(fault).__name__}: {fault}"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device")
    parser.add_argument("--json", type=Path, required=True)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    said = subprocess.run([sys.executable, "-m", "robench_fire", "doctor", "--json"], capture_output=True, text=True)
    broken = unimportable()
    result = {"doctor": json.loads(said.stdout or "null"), "doctor_exit": said.returncode, "unimportable": broken}
    asked.json.write_text(json.dumps(result))
    if broken or said.returncode:
        raise SystemExit(f"doctor: exit {said.returncode} {said.stderr[-200:]}; cannot be imported: {list(broken)}")


if __name__ == "__main__":
    main()
