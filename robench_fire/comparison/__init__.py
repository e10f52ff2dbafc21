"""Whether two rows differ, and what it takes to know.

Imports: statistics, problem, devices, data, runs, evaluation, tables.
"""
