"""Networks by name, checkpoints read without executing anything, RobustBench's package and zoo, batch norm, stacks.

Imports: devices.
"""
