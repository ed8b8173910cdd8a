"""What marketmon costs, measured against the alternatives: `make bench`, or `python -m benchmarks [suite ...]`."""
