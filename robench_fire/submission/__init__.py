"""A bundle that RobustBench's maintainers can check and merge, and the check that they would do."""
