"""Carries out a verb for a page: who calls, what came of it as a message, and the way back for ten minutes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from celery import Task
from django.contrib import messages
from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.template.loader import render_to_string

from access.addresses import caller_address
from exchanges.models import AuditEntry, Exchange
from lib import clock, queues
from operations import commands, tasks

TASK_SECONDS = 60  # after so long nobody looks at the page that asked, and the task is dropped
TOLD_ONE_BY_ONE = 5
Verb = Callable[..., Any]

# What each button does, and what the message says afterwards.
VERBS: dict[str, tuple[Verb, str]] = {
    "blacklist": (commands.blacklist, "{} is blacklisted: nobody calls it any more."),
    "lift": (commands.lift, "{} is off the blacklist."),
    "disable": (commands.disable, "{} is disabled: nobody calls it any more."),
    "enable": (commands.enable, "{} is enabled."),
    "restart": (commands.restart, "{}'s worker is restarted with a clean record."),
    "ask_again": (commands.ask_again, "{}'s pause is over: it is polled now."),
    "remove": (commands.remove, "{} is removed. Its history stays, and adding it brings it back."),
    "blacklist market": (commands.blacklist_market, "{} is blacklisted: its quotes are not stored any more."),
    "lift market": (commands.lift_market, "{} is off the blacklist: its quotes are stored again."),
}


STARTS = ("lift", "enable")


def call(request: HttpRequest) -> dict[str, Any]:
    """Returns what every verb wants to know: who, when and from where."""
    address = caller_address(request.META.get("REMOTE_ADDR", ""), request.headers.get("X-Forwarded-For", ""))
    origin = f"admin, {address}" if address else "admin"
    return {"by": request.user.get_username(), "now": clock.now(), "origin": origin}


def carry_out(request: HttpRequest, verb: str, *place: str, **details: Any) -> bool:
    """Carries out a verb for one exchange or market, and shows the result as a message. Returns False when refused."""
    run, done = VERBS[verb]
    context = call(request)
    name = ":".join(place)
    try:
        outcome = run(*place, **context, **details)
    except commands.CommandRefused as refusal:
        messages.error(request, str(refusal))
        return False
    if outcome is False:
        messages.info(request, _nothing_done(verb, name))
        return True
    said = done.format(name) + (_what_follows(place[0]) if verb in STARTS else "")
    messages.success(request, with_undo(request, said, verb, place[0], context["now"]))
    if isinstance(outcome, commands.Stopped) and not outcome.was_delivered:
        messages.warning(request, f"{name}: one request was already on its way; its answer will not be stored.")
    if verb == "lift":
        send(request, tasks.check_connectivity, exchange_id=place[0], occasion="lift")
    return True


def carry_out_all(request: HttpRequest, verb: str, places: Sequence[Sequence[str]], **details: Any) -> None:
    """Carries out the verb for each. Of many the page says only how many, and what was refused."""
    if len(places) <= TOLD_ONE_BY_ONE:
        for place in places:
            carry_out(request, verb, *place, **details)
        return
    run, _ = VERBS[verb]
    done = 0
    for place in places:
        try:
            run(*place, **call(request), **details)
            done += 1
        except commands.CommandRefused as refusal:
            messages.error(request, str(refusal))
    messages.success(request, f"{verb.capitalize()}: {done} of {len(places)} done. The audit has an undo for each.")


def with_undo(request: HttpRequest, text: str, verb: str, exchange_id: str, now: datetime) -> str:
    """Returns the message with a button that takes back what this request has just done."""
    mine = AuditEntry.objects.filter(
        exchange=exchange_id, verb=verb, happened_at=now, who=request.user.get_username()[:150]
    )
    entry = mine.order_by("-pk").first()
    if entry is None or not commands.can_undo(entry, now=now):
        return text
    context = {"text": text, "entry": entry, "token": get_token(request)}
    return render_to_string("admin/exchanges/undo_message.html", context)


def send(request: HttpRequest, task: Task[..., Any], **details: Any) -> bool:
    """Sends what takes longer than a page may to a task. Returns False, with a message, when no queue takes it."""
    if not queues.send(task, expires_seconds=TASK_SECONDS, **details):
        messages.error(request, "The queue cannot be reached, so nothing was started. Try again in a moment.")
        return False
    return True


def _what_follows(exchange_id: str) -> str:
    """Says what follows, as one obstacle less is not always the last."""
    exchange = Exchange.objects.get(pk=exchange_id)
    if exchange.is_collected:
        return " It is polled again within one interval."
    if exchange.removed_at is not None:
        return " It stays removed: add it to collect it again."
    return f" It stays {'blacklisted' if exchange.blacklisted else 'disabled'}, so nobody calls it."


def _nothing_done(verb: str, name: str) -> str:
    if verb == "restart":
        return f"{name} was restarted a moment ago, and has had no error since."
    if verb == "ask_again":
        return f"{name} was not paused; it is polled now."
    return f"{name} was like that already."
