"""The stages of a seed, and many seeds: on this machine, by torchrun, by Ray.

Imports: statistics, problem, devices, data, models, runs, training, costs, evaluation, boards.
"""
