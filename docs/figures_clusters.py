"""The files for batch systems, as docs/launching.md shows them."""

from __future__ import annotations

from figures_boards import ROOT


def _shown(name: str) -> str:
    return f"```bash\n{(ROOT / 'docs' / 'slurm' / name).read_text(encoding='utf-8')}```"


def slurm_array() -> str:
    """Seeds side by side."""
    return _shown("array.sbatch")


def slurm_torchrun() -> str:
    """A seed on several GPUs."""
    return _shown("torchrun.sbatch")
