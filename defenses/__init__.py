"""What is compared: one module, one defense. Installed as robench_fire.defenses."""

if __name__ != "robench_fire.defenses":
    raise ImportError("import robench_fire.defenses; from a checkout, run `pip install -e .` first")
