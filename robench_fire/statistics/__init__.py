"""Means, spreads and tests of plain numbers.

Imports: nothing of the folders.
"""
