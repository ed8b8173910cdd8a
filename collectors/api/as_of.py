"""The query parameter `as_of` of everything that is read of history, and what is answered where it cannot be known."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from rest_framework import exceptions, serializers, status

from collectors.history import knowing

HELP = "Answers as it was known at this moment, whatever was filled or changed since."


class AsOfUnknownRefusal(exceptions.APIException):
    """The refusal of a moment of which nobody wrote down what was known."""

    status_code = status.HTTP_409_CONFLICT

    def __init__(self, error: knowing.AsOfUnknown) -> None:
        super().__init__(str(error))
        self.body = {"error": "as_of_unknown", "message": str(error), "known_since": error.known_since}


def field() -> serializers.DateTimeField:
    return serializers.DateTimeField(required=False, help_text=HELP)


def require_past(as_of: datetime | None, now: datetime) -> None:
    """Raises ValidationError for a moment that is still to come."""
    if as_of is not None and as_of > now:
        raise serializers.ValidationError({"as_of": ["It must not lie in the future."]})


@contextmanager
def refusing_unknown() -> Iterator[None]:
    """Answers 409 instead of AsOfUnknown."""
    try:
        yield
    except knowing.AsOfUnknown as error:
        raise AsOfUnknownRefusal(error) from error


def require_known(as_of: datetime | None) -> None:
    """Answers 409 where nobody wrote down what was known at that moment."""
    with refusing_unknown():
        knowing.require(as_of)


def headers(as_of: datetime | None, now: datetime) -> dict[str, str]:
    """Returns the header that says whether the answer may still change, because rows are just being stored."""
    if as_of is None:
        return {}
    return {"X-As-Of-Settled": "true" if knowing.is_settled(as_of, now) else "false"}
