"""The phases of benchmarks/gpu.py: what they are (table), how one runs (running), and scripts that are one each."""
