"""Text of a venue → float, and nothing else: no default, no derived value, no rounding."""

from __future__ import annotations

MILLISECONDS = 1000.0


def number(value: object) -> float | None:
    """None for what was not sent; ValueError for what is no number. NaN and infinity are handed on."""
    if value is None or value == "":
        return None
    kind = value.__class__
    if kind is str:
        # Python reads "1_000" and Arabic digits; no venue means them
        if "_" in value or not value.isascii():  # type: ignore[operator, attr-defined]
            raise ValueError(f"not a number: {value!r:.60}")
        return float(value)  # type: ignore[arg-type]
    if kind is float or kind is int:
        return float(value)  # type: ignore[arg-type]
    raise ValueError(f"not a number: {value!r:.60}")


def side(value: object) -> float | None:
    """A bid, ask, high or low. Venues send 0 for "there is none"."""
    return number(value) or None


def seconds(milliseconds: object) -> float | None:
    """A venue's millisecond stamp as Unix seconds, however odd. Venues send 0 for "there is none"."""
    stamp = number(milliseconds)
    return stamp / MILLISECONDS if stamp else None
