"""Attacks on a trained model: units in autoattack/, and here what records, judges and resumes them; transfer.

Imports: statistics, problem, devices, data, models, runs.
"""
