"""Exchanges that ccxt does not speak, with the same protocol and care as those it does; `feeds/table.py` lists them."""
