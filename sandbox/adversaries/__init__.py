"""Exchanges whose answers are sound and mean something else than one would assume; each row tells whose it is."""
