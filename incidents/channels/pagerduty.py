"""PagerDuty events v2: the incident's key is `dedup_key`, so that repeats and recoveries meet the alert they mean."""

from __future__ import annotations

from incidents.channels.sending import Address, SendOutcome, post
from incidents.messages import AlertMessage
from incidents.rules.words import MessageEvent

ENQUEUE = "https://events.pagerduty.com/v2/enqueue"
SUMMARY_CHARACTERS = 1024
SEVERITIES = {"info": "info", "warning": "warning", "critical": "critical"}


async def send(message: AlertMessage, address: Address) -> SendOutcome:
    """Triggers, acknowledges or resolves the alert of the message's incident."""
    return await post(address.get("url") or ENQUEUE, json=event_of(message, address), secrets=(address["key"],))


def event_of(message: AlertMessage, address: Address) -> dict[str, object]:
    action = "resolve" if message.is_over else "trigger"
    if message.event == MessageEvent.ACKNOWLEDGED:
        action = "acknowledge"
    return {
        "routing_key": address["key"],
        "event_action": action,
        "dedup_key": message.key,
        "client": "marketmon",
        "client_url": message.url,
        "payload": {
            "summary": message.title[:SUMMARY_CHARACTERS],
            "source": "marketmon",
            "severity": SEVERITIES.get(message.severity, "warning"),
            "custom_details": {"text": message.text, **message.labels},
        },
        "links": [{"href": message.url, "text": "The incident"}],
    }
