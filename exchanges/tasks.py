"""Celery's door to managing exchanges: what is asked for by machines, or takes longer than a page may."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from exchanges import management
from marketmon.lib import clock


@shared_task
def judge_markets(**_: Any) -> list[str]:
    """Takes out markets that were bad in every one of the last polls. Twice is harmless: they are out."""
    return management.blacklist_bad_markets(clock.now())


@shared_task
def check_connectivity(*, exchange_id: str, occasion: str = "on demand", **_: Any) -> dict[str, str]:
    """The four checks. Twice is harmless: half a minute later is soon enough for another request."""
    return management.check(exchange_id, occasion=occasion, now=clock.now()).words()


@shared_task
def add_exchange(
    *, exchange_id: str, by: str, origin: str = "", wanted: dict[str, Any] | None = None, **_: Any
) -> None:
    """`add` for a page that shows progress. Twice is harmless: an active exchange stays as it is."""
    management.add(exchange_id, by=by, now=clock.now(), origin=origin, wanted=wanted)
