"""Document 2: managing exchanges while everything runs. Views translate; `operations.commands` does the work."""
