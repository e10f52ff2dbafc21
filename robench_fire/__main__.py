"""``robench``, also as ``python -m robench_fire``."""

from __future__ import annotations

import sys

from robench_fire import stopping


def main() -> None:
    """Run the command line; a Ctrl-C while its libraries are still being imported is no traceback either."""
    stopping.listen()
    try:
        from robench_fire import cli
    except stopping.Stopped as stopped:
        print("robench: interrupted", file=sys.stderr)
        sys.exit(stopped.exit_code)
    cli.main()


if __name__ == "__main__":
    main()
