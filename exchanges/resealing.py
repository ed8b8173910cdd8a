"""Sealed columns of exchanges, sealed anew by the newest key, so that earlier ones need not be kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.fernet import InvalidToken

from exchanges import secrets
from exchanges.models import Exchange

COLUMNS = ("credentials", "proxy_login")


@dataclass(frozen=True, slots=True)
class ResealedSecret:
    """One sealed value: whose it is, and whether a key of ours opened it."""

    whose: str
    was_opened: bool


def reseal() -> Iterator[ResealedSecret]:
    """Seals all of them anew, those of removed exchanges too. Again, it only makes new texts of the same."""
    for exchange_id, *sealed in Exchange.objects.order_by("pk").values_list("pk", *COLUMNS):
        for column, old in zip(COLUMNS, sealed, strict=True):
            if old:
                yield _resealed(exchange_id, column, old)


def _resealed(exchange_id: str, column: str, old: str) -> ResealedSecret:
    whose = f"{column} of {exchange_id}"
    try:
        new = secrets.resealed(old)
    except InvalidToken:
        return ResealedSecret(whose, was_opened=False)
    # Only what was read: whoever has set another meanwhile has sealed it with the newest key.
    Exchange.objects.filter(pk=exchange_id, **{column: old}).update(**{column: new})
    return ResealedSecret(whose, was_opened=True)
