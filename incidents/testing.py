"""Proves that a channel works: a test message with a code, which somebody who read it types back."""

from __future__ import annotations

import hmac
import secrets
from datetime import datetime

from django.db import transaction

from incidents.models import AlertChannel, Delivery
from incidents.rules.words import MessageEvent

DIGITS = 6


def send_test(channel: AlertChannel, *, now: datetime) -> Delivery:
    """Queues a test message with a new code."""
    with transaction.atomic():
        channel.code = "".join(secrets.choice("0123456789") for _ in range(DIGITS))
        channel.save(update_fields=["code"])
        return Delivery.objects.create(
            channel=channel, event=MessageEvent.TEST, due_at=now, next_try_at=now, created_at=now
        )


def verify(channel: AlertChannel, code: str, *, now: datetime) -> bool:
    """Says whether the code is that of the newest test, which then is used up."""
    if not channel.code or not hmac.compare_digest(channel.code.encode(), code.strip().encode()):
        return False
    channel.code, channel.verified_at = "", now
    channel.save(update_fields=["code", "verified_at"])
    return True
