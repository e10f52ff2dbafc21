"""The check of a bundle: its files, its evidence, RobustBench's own code on it."""
