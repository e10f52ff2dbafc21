"""Networks by name or of a user's own, checkpoints read without executing anything, RobustBench's package and zoo.

Imports: problem, devices.
"""
