"""A RobustBench submission: claims/ says what is claimed, the bundle holds it, checks/ proves it.

Imports: statistics, problem, devices, data, models, runs, evaluation, boards, tables, verification.
"""
