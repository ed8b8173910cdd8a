"""ntfy: a JSON message to its server, whose topic is the last part of the channel's address."""

from __future__ import annotations

from incidents.channels.sending import Address, SendOutcome, post
from incidents.messages import AlertMessage

PRIORITIES = {"info": 2, "warning": 4, "critical": 5}
TEXT_BYTES = 4000  # a longer one becomes a file


async def send(message: AlertMessage, address: Address) -> SendOutcome:
    """Publishes the message, with a button that opens the page on which it can be acknowledged."""
    server, _, topic = address["url"].rstrip("/").rpartition("/")
    token = address.get("secret", "")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return await post(f"{server}/", json=published(message, topic), headers=headers, secrets=(token, topic))


def published(message: AlertMessage, topic: str) -> dict[str, object]:
    actions = [{"action": "view", "label": "Acknowledge", "url": message.acknowledge_url}]
    return {
        "topic": topic,
        "title": message.title,
        "message": message.text.encode()[:TEXT_BYTES].decode(errors="ignore"),
        "priority": 3 if message.is_over else PRIORITIES.get(message.severity, 3),
        "tags": ["white_check_mark"] if message.is_over else ["warning"],
        "click": message.url,
        **({"actions": actions} if message.acknowledge_url else {}),
    }
