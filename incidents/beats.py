"""Inbound heartbeats: what runs around us says that it lives, by `POST /beat/{token}`; silence is an incident."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, re_path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from incidents.models import Beat
from incidents.rules.conditions import OLD
from incidents.rules.verdict import Alarm, Tone
from lib import clock

TOKEN_BYTES = 24


def new_token() -> str:
    return secrets.token_urlsafe(TOKEN_BYTES)


def hash_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


@csrf_exempt  # the token in the address is what is asked for
@require_POST
def view(request: HttpRequest, token: str) -> HttpResponse:
    """Notes a sign of life; the clock that counts is ours."""
    found = Beat.objects.filter(token_hash=hash_of(token), is_enabled=True).update(beat_at=clock.now())
    body = {"status": "ok"} if found else {"error": "Not Found", "message": "There is no heartbeat of this token."}
    return JsonResponse(body, status=200 if found else 404, headers={"Cache-Control": "no-store"})


def alarms(now: datetime) -> Iterator[Alarm]:
    """Yields an alarm for each heartbeat that is late; one that never came is waited for. One query."""
    for beat in Beat.objects.filter(is_enabled=True, beat_at__isnull=False).order_by("pk"):
        assert beat.beat_at is not None
        if now - beat.beat_at > timedelta(seconds=beat.period_seconds + beat.grace_seconds):
            yield Alarm(
                f"{beat.name} gives no sign of life",
                "see the machine or program that sends it",
                beat.beat_at,
                Tone.WARNING,
                is_old=now - beat.beat_at > OLD,
                cause=f"heartbeat {beat.pk}",
            )


urlpatterns: list[URLPattern] = [re_path(r"^beat/(?P<token>[A-Za-z0-9_-]{20,64})/?$", view, name="beat")]
