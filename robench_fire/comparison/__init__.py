"""Whether two rows differ, reach what was published, show what a paper claims, and what it takes to know.

Imports: statistics, problem, devices, data, models, runs, evaluation, boards.
"""
