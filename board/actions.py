"""The board's own buttons for operators. `operations/admin/buttons.py` has those with a dialog, such as
blacklist; who may press a button stands in `operations/permissions.py`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST

from collectors.gaps import ledger
from collectors.models import Backfill
from collectors.tasks import FILL_SECONDS, fill_gaps
from lib import queues
from operations import commands, permissions, transitions
from operations.admin.acting import call

CLAIMED_FOR = timedelta(seconds=60)  # a claim is kept as a next try this near; what waits longer is paused


def act(request: HttpRequest, verb: str, exchange_id: str) -> HttpResponse:
    """Carries out one verb for one exchange and answers with a sentence on what came of it."""
    if not request.user.has_perm(permissions.needed_for(verb)):
        return _said("You may look, but not act: that needs the operator's role.", is_done=False, status=403)
    if verb not in VERBS:
        return _said(f"There is no verb {verb}.", is_done=False, status=404)
    try:
        return _said(VERBS[verb](request, exchange_id))
    except commands.NotFound:
        return _said(f"There is no exchange {exchange_id}.", is_done=False, status=404)
    except commands.CommandRefused as refusal:
        return _said(str(refusal), is_done=False, status=409)


view = require_POST(act)


def _said(text: str, *, is_done: bool = True, status: int = 200) -> HttpResponse:
    return JsonResponse({"said": text, "is_done": is_done}, status=status, headers={"Cache-Control": "no-store"})


def _restart(request: HttpRequest, exchange_id: str) -> str:
    if commands.restart(exchange_id, **call(request)):
        return f"{exchange_id}'s worker is restarted with a clean record."
    return f"{exchange_id} was restarted a moment ago, and has had no error since."


def _backfill(request: HttpRequest, exchange_id: str) -> str:
    gaps = ask_again(exchange_id, **call(request))
    if not gaps:
        return f"{exchange_id} has no gap that could be filled."
    if not _send_fill(exchange_id):
        return f"{gaps} gaps of {exchange_id} are next; the queue cannot be reached now, so the next poll starts them."
    return f"{gaps} gaps of {exchange_id} are asked for in the next pauses between polls."


VERBS: dict[str, Callable[[HttpRequest, str], str]] = {"restart": _restart, "backfill": _backfill}


def ask_again(exchange_id: str, *, by: str, now: datetime, origin: str = "") -> int:
    """Forgets the pauses of an exchange's gaps, so that the next request slot takes them; returns how many to fill.

    What the exchange told us to wait for stays, and so does a request that is just being made.
    """
    with transaction.atomic():
        exchange = transitions.locked(exchange_id)
        if not exchange.is_collected:
            raise commands.CommandRefused(f"{exchange_id} is stopped on purpose, and no request is made to it")
        count = ledger.ask_again(exchange_id, claims_end_before=now + CLAIMED_FOR, now=now)
        if count:
            Backfill.objects.update_or_create(exchange=exchange, defaults={"has_work": True})
        transitions.record("backfill", by=by, now=now, exchange=exchange_id, origin=origin, changed=bool(count))
    return count


def _send_fill(exchange_id: str) -> bool:
    """Sends the filling task; one that is lost costs nothing but time: every good poll sends another."""
    if not settings.COLLECTION_ENABLED:
        return False
    return queues.send(fill_gaps, expires_seconds=FILL_SECONDS, exchange_id=exchange_id)
