"""The exchange management API. Views translate; `operations.commands` does the work."""
