"""Rows, what a plan's seeds reached: collected from runs, told apart, and kept on boards as RobustBench's files.

Imports: statistics, problem, models, runs, evaluation.
"""
