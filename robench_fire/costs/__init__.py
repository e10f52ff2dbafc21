"""What a training costs: FLOPs, accounts, estimates before it, profiles of a step.

Imports: problem, devices, data, runs, training.
"""
