"""The admin is tested on the same rows as the API."""

from tests.api.conftest import now, operator, world

__all__ = ["now", "operator", "world"]
