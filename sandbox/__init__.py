"""A local exchange server that speaks the wire formats of real venues and lies on request. Imports nothing of ours."""
