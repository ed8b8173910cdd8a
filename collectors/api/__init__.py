"""What the collectors tell over HTTP: document 1's worker status, and read-only views of our own state."""
