"""A run: what it is (compose), where it lies (folders), where it came from (provenance).

Imports: problem, data, models.
"""
