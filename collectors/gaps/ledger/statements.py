"""Runs a statement of the ledger, and has the words that several of them write."""

from __future__ import annotations

from typing import Any

from django.db import connection

NO_CYCLE = "no run was finished during the silence"


def execute(statement: str, values: dict[str, Any]) -> int:
    """Runs one statement in the caller's transaction; returns how many rows it wrote."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.rowcount)
