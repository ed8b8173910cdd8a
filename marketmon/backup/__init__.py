"""Backups: a folder with PostgreSQL's dump, the keys sealed by a passphrase, and what proves that both are whole.

`making` writes one, `archive` reads it, `restoring` fills an empty database from it, `drill` proves that it can.
"""
