"""E-mail by the server of MAIL_URL. What happens after the server took it nobody tells us; `good` is: it took it."""

from __future__ import annotations

import asyncio
import smtplib
import time
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends.smtp import EmailBackend
from django.template.loader import render_to_string

from incidents.channels.sending import Address, SendOutcome, hide
from incidents.messages import AlertMessage

TIMEOUT_SECONDS = 10
SCHEMES = {"smtp": (587, "use_tls"), "smtps": (465, "use_ssl"), "smtp+plain": (25, "")}


async def send(message: AlertMessage, address: Address) -> SendOutcome:
    """Sends one mail, as text and as a page."""
    return await asyncio.to_thread(_send, message, address["to"])


def _send(message: AlertMessage, to: str) -> SendOutcome:
    began = time.monotonic()
    try:
        server = backend(settings.MAIL_URL)
    except ValueError as error:
        return SendOutcome(is_good=False, said=str(error))
    try:
        server.send_messages([mail_of(message, to)])
    except smtplib.SMTPServerDisconnected as error:  # maybe after it took the message
        return _outcome(began, said=str(error), is_unconfirmed=server.connection is not None)
    except smtplib.SMTPRecipientsRefused as error:
        return _outcome(began, said=f"refused: {error}", is_final=_is_for_good(error))
    except smtplib.SMTPResponseException as error:
        text = error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        return _outcome(began, said=text, status=error.smtp_code)
    except (smtplib.SMTPException, OSError) as error:
        return _outcome(began, said=f"{type(error).__name__}: {error}")
    return SendOutcome(is_good=True, said="taken by the mail server", elapsed_ms=_ms(began))


def _outcome(began: float, *, said: str, **facts: Any) -> SendOutcome:
    password = unquote(urlsplit(settings.MAIL_URL).password or "")
    return SendOutcome(is_good=False, said=hide(said, (password,)), elapsed_ms=_ms(began), **facts)


def _ms(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


def _is_for_good(error: smtplib.SMTPRecipientsRefused) -> bool:
    return all(code >= 500 for code, _ in error.recipients.values())


def backend(url: str) -> EmailBackend:
    """Returns Django's mail backend for an address. Raises ValueError, without repeating it."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise ValueError(f"MAIL_URL begins with {', '.join(SCHEMES)} and names a host" if url else "MAIL_URL not set")
    port, security = SCHEMES[parts.scheme]
    return EmailBackend(
        host=parts.hostname,
        port=parts.port or port,
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        timeout=TIMEOUT_SECONDS,
        use_tls=security == "use_tls",
        use_ssl=security == "use_ssl",
    )


def mail_of(message: AlertMessage, to: str) -> EmailMultiAlternatives:
    """Returns the mail; all of one incident are one thread, and every try of one message has one Message-ID."""
    links = f"\n\nAcknowledge: {message.acknowledge_url}" if message.acknowledge_url else ""
    mail = EmailMultiAlternatives(
        subject=" ".join(f"[marketmon] {message.title}".split())[:200],
        body=message.text + links,
        to=[to],
        headers={
            "Message-ID": f"<{message.id}@marketmon>",
            "References": f"<{message.key}@marketmon>",
            "Auto-Submitted": "auto-generated",
            "X-Marketmon-Event": message.event,
        },
    )
    mail.attach_alternative(render_to_string("incidents/mail.html", {"message": message}), "text/html")
    return mail
