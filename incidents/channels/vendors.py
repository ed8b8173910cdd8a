"""Chat and telephone services by Apprise: an allow-list of those whose host is the vendor's own.

What leads to a free host is sent natively, where each connection is judged. Apprise is imported here, in the notifier's
process, when something is sent: it takes 0.6 s and 45 MB.
"""

from __future__ import annotations

import asyncio
import time

from incidents.channels.sending import Address, SendOutcome, hide
from incidents.messages import AlertMessage

SCHEMAS = frozenset(
    {
        "discord", "slack", "tgram", "pover", "pbul", "opsgenie", "twilio", "wxteams", "gchat", "ifttt", "pagertree",
        "sendgrid", "mailgun", "line", "threema", "clickatell", "prowl", "simplepush", "spike", "splunk",
    }
)  # fmt: skip
TIMEOUT_SECONDS = 4.0  # Apprise's own; an answer that comes later counts as a failure though the message arrived


async def send(message: AlertMessage, address: Address) -> SendOutcome:
    """Sends by one call, to one service."""
    return await asyncio.to_thread(_send, message, address["url"])


def _send(message: AlertMessage, url: str) -> SendOutcome:
    import apprise

    began = time.monotonic()
    service = apprise.Apprise.instantiate(url, asset=apprise.AppriseAsset(secure_logging=True, http_redirects=False))
    if service is None:
        return SendOutcome(is_good=False, said="Apprise does not understand this address", is_final=True)
    service.redirects, service.verify_certificate = False, True  # whatever an address that is kept says
    kind = apprise.NotifyType.SUCCESS if message.is_over else apprise.NotifyType.WARNING
    links = f"\nAcknowledge: {message.acknowledge_url}" if message.acknowledge_url else ""
    is_good = bool(service.notify(title=message.title, body=message.text + links, notify_type=kind))
    seconds = time.monotonic() - began
    is_late = not is_good and seconds >= TIMEOUT_SECONDS
    said = "taken by the service" if is_good else "the service did not take it"
    return SendOutcome(
        is_good=is_good,
        said=hide(f"{said}, no answer in time" if is_late else said, (url,)),
        elapsed_ms=round(seconds * 1000),
        is_unconfirmed=is_late,
    )
