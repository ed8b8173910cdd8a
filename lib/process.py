"""What every long-lived process does besides its work: says that it lives, watches its loop, compares its clock."""

from __future__ import annotations

from lib import database_clock, liveness, processes


def begin(kind: str, *, forks: bool = False) -> None:
    """Begins the life of a process of this kind. One that `forks` has no thread but the one that only looks."""
    processes.begin(kind)
    database_clock.compare_when_due()
    liveness.watch(says=not forks)
    if not forks:
        database_clock.watch()
