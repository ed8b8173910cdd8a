"""The collectors' HTTP routes: the worker status API's worker status, and read-only views of our own state."""
