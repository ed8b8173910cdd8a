"""Signed links for one click from a message: they show a page, and only its button, a POST, changes anything.

Previews of links in chats and virus scanners of mail open every link. No sign-in is asked for: who got the message
may say "I am on it", and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.core import signing

from incidents.models import Incident

SALT = "incidents.acknowledge"
GOOD_FOR = timedelta(days=7)


class BadLink(Exception):
    """A link that is none of ours, or too old."""


@dataclass(frozen=True, slots=True)
class AcknowledgeLink:
    """What a link says: which incident, and by which channel it came."""

    incident: int
    channel: str


def acknowledge(incident: Incident, *, channel: str) -> str:
    """Returns the address of the page that acknowledges this incident."""
    token = signing.dumps([incident.pk, channel], salt=SALT, compress=True)
    return f"{settings.PUBLIC_URL}/incidents/acknowledge/{token}"


def read(token: str) -> AcknowledgeLink:
    """Returns what a link says. Raises BadLink."""
    try:
        number, channel = signing.loads(token, salt=SALT, max_age=GOOD_FOR)
        return AcknowledgeLink(int(number), str(channel))
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise BadLink from error
