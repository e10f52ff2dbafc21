"""A run: what it is (compose), where it lies (folders), where it came from (provenance).

Imports: statistics, problem, data, models.
"""
