"""Reads request fields as the metrics webhook API's service did: wrong ones become its 422 body, all at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.utils.dateparse import parse_datetime

TEXT_CHARACTERS = 200


class InvalidFields(Exception):
    """Wrong request fields; `problems` is the list that stands under `detail`."""

    def __init__(self, problems: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(f"{len(problems)} invalid fields")
        self.problems = list(problems)


class Fields:
    """The fields of one object; each reader returns the value, or notes a problem and returns a harmless one."""

    def __init__(self, data: object, place: tuple[str, ...], problems: list[dict[str, Any]] | None = None) -> None:
        self.problems: list[dict[str, Any]] = [] if problems is None else problems
        self.place = place
        self.data: Mapping[str, Any] = {}
        if isinstance(data, Mapping):
            self.data = data
        else:
            words = "Input should be a valid dictionary or object to extract fields from"
            self.problems.append({"type": "model_attributes_type", "loc": list(place), "msg": words, "input": data})

    def check(self) -> None:
        if self.problems:
            raise InvalidFields(self.problems)

    def note(self, name: str, kind: str, message: str) -> None:
        place = [*self.place, name]
        self.problems.append({"type": kind, "loc": place, "msg": message, "input": self.data.get(name)})

    def missing(self, name: str) -> None:
        problem = {"type": "missing", "loc": [*self.place, name], "msg": "Field required", "input": dict(self.data)}
        self.problems.append(problem)

    def text(self, name: str, *, required: bool = False) -> str | None:
        if name not in self.data and required:
            self.missing(name)
        value = self.data.get(name)
        if value is None and not required:
            return None
        if not isinstance(value, str):
            if name in self.data:
                self.note(name, "string_type", "Input should be a valid string")
            return None
        if len(value) > TEXT_CHARACTERS:
            self.note(name, "string_too_long", f"String should have at most {TEXT_CHARACTERS} characters")
            return None
        if not value.isprintable():
            self.note(name, "value_error", "Value error, control characters are not allowed")
            return None
        return value

    def moment(self, name: str) -> datetime | None:
        value = self.text(name)
        if value is None:
            return None
        try:
            found = parse_datetime(value) or datetime.fromisoformat(value)
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            self.note(name, "datetime_parsing", "Input should be a valid datetime, in ISO 8601")
            return None

    def choice(self, name: str, words: Sequence[str], default: str | None) -> str | None:
        value = self.text(name)
        if value is None:
            return default
        if value not in words:
            expected = " or ".join(filter(None, [", ".join(f"'{word}'" for word in words[:-1]), f"'{words[-1]}'"]))
            self.note(name, "literal_error", f"Input should be {expected}")
            return default
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        value = self.data.get(name, default)
        if not isinstance(value, bool):
            self.note(name, "bool_type", "Input should be a valid boolean")
            return default
        return value

    def integer(self, name: str, *, low: int, high: int, default: int | None = None) -> int:
        """Reads a whole number; in a query the digits come as text."""
        if name not in self.data and default is None:
            self.missing(name)
            return low
        value = self.data.get(name, default)
        if isinstance(value, str) and self.place == ("query",) and value.isascii() and value.lstrip("-").isdigit():
            value = int(value[:20])
        if isinstance(value, bool) or not isinstance(value, int):
            kind = "int_parsing" if isinstance(value, str) else "int_type"
            self.note(name, kind, "Input should be a valid integer")
            return low
        if value < low:
            self.note(name, "greater_than_equal", f"Input should be greater than or equal to {low}")
        elif value > high:
            self.note(name, "less_than_equal", f"Input should be less than or equal to {high}")
        return min(max(value, low), high)

    def amount(self, name: str, *, required: bool = True) -> Decimal | None:
        """Reads a finite number above zero, kept as it was written, not as binary sees it."""
        if name not in self.data and required:
            self.missing(name)
            return None
        value = self.data.get(name)
        if value is None and not required:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.note(name, "float_type", "Input should be a valid number")
            return None
        if value <= 0:
            self.note(name, "greater_than", "Input should be greater than 0")
            return None
        if not 1e-18 <= value < 1e17:
            self.note(name, "less_than", "Input should be between 1e-18 and 1e17")
            return None
        return Decimal(repr(value))

    def part(self, name: str) -> Fields:
        """Reads an object within. A missing or wrong one is noted once: what it would hold is not missed as well."""
        value, place = self.data.get(name), (*self.place, name)
        if isinstance(value, Mapping):
            return Fields(value, place, self.problems)
        if name not in self.data:
            self.missing(name)
        else:
            Fields(value, place, self.problems)
        return Fields({}, place, [])
