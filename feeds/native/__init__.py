"""Exchanges that ccxt does not speak, each with the same protocol and the same care as those it does."""
