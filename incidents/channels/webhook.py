"""A webhook signed by the Standard Webhooks rules: the same `webhook-id` for every try of one message.

{"id": "…", "version": 1, "event": "opened", "is_drill": false, "incident": {"id": 7, "kind": "exchange", …}}
"""

from __future__ import annotations

from datetime import UTC, datetime

import orjson

from incidents.channels.sending import Address, SendOutcome, post
from incidents.messages import AlertMessage


async def send(message: AlertMessage, address: Address) -> SendOutcome:
    """Posts the message's body, signed with the channel's secret."""
    body = orjson.dumps(dict(message.body))
    headers = signed(address["secret"], message.id, body, datetime.now(UTC))
    return await post(address["url"], data=body, headers=headers, secrets=(address["secret"],))


def signed(secret: str, message_id: str, body: bytes, now: datetime) -> dict[str, str]:
    """Returns the headers by which a receiver knows us: id, time and signature."""
    from standardwebhooks.webhooks import Webhook  # what does not send needs no library for it

    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, now, body.decode()),
    }
