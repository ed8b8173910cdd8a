"""The ways to tell somebody: a dict from kind to sender, read top to bottom. A new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Mapping

from incidents.channels import alertmanager, mail, ntfy, pagerduty, vendors, webhook
from incidents.channels.sending import Send

SENDERS: Mapping[str, Send] = {
    "email": mail.send,
    "webhook": webhook.send,
    "pagerduty": pagerduty.send,
    "alertmanager": alertmanager.send,
    "ntfy": ntfy.send,
    "apprise": vendors.send,
}
