"""Entries as tables in RobustBench's columns, in every format."""
