"""Document 2: managing exchanges while everything runs. Views translate; `exchanges.management` does the work."""
