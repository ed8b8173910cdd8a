"""A local server that speaks the wire formats of real exchanges and lies on request. Imports nothing of ours."""
