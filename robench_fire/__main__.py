"""``python -m robench_fire`` is ``robench``."""

from robench_fire.cli import main

if __name__ == "__main__":
    main()
