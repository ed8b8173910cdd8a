"""A stop for an hour, for four, or until the morning where the viewer is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from operations.admin.dialogs import WhyForm, end_of

NIGHT = datetime(2026, 11, 30, 2, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("lasts", "zone", "ends"),
    [
        ("1", "", NIGHT + timedelta(hours=1)),
        ("4", "Europe/Berlin", NIGHT + timedelta(hours=4)),
        ("morning", "", NIGHT.replace(hour=8, minute=0)),
        ("morning", "Europe/Berlin", NIGHT.replace(hour=7, minute=0)),
        ("morning", "Asia/Tokyo", NIGHT.replace(hour=23, minute=0)),  # half past eleven there: tomorrow's
        ("morning", "Europe", NIGHT.replace(hour=8, minute=0)),
        ("morning", "../x\0", NIGHT.replace(hour=8, minute=0)),
    ],
)
def test_a_quick_choice_becomes_a_moment(lasts: str, zone: str, ends: datetime) -> None:
    assert end_of(lasts, zone=zone, now=NIGHT) == ends


def form(rf: Any, **values: str) -> WhyForm:
    return WhyForm(rf.get("/"), data={"_form_submitted": "True", "reason": "maintenance", **values})


def test_the_verb_is_given_the_moment_alone(rf: Any) -> None:
    chosen = form(rf, lasts="4", zone="Europe/Berlin")

    assert chosen.is_valid(), chosen.errors
    assert set(chosen.cleaned_data) - {"_form_submitted"} == {"reason", "expires_at"}
    assert chosen.cleaned_data["expires_at"] > datetime.now(UTC) + timedelta(hours=3)


def test_two_answers_are_one_too_many_and_none_is_until_somebody_lifts_it(rf: Any) -> None:
    assert "expires_at" in form(rf, lasts="1", expires_at="2999-01-01T00:00").errors
    plain = form(rf)
    assert plain.is_valid(), plain.errors
    assert plain.cleaned_data["expires_at"] is None
    assert "lasts" in form(rf, lasts="99").errors
