"""Every packet is counted again here, in Python, of the ledger's rows; what falls short of a threshold is refused."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import floor
from typing import Any

import orjson
import pytest
from django.test import Client

from collectors.models import TO_FILL, Gap, GapCause, GapState, Pipeline, Rollup
from collectors.rules.gap_causes import UNCOUNTED
from lib import clock
from tests.gaps.test_api import ADMIN
from tests.history.conftest import MINUTE, Past

MINUTES = 240
Asked = tuple[str, dict[str, Any]]


@dataclass
class Ledger:
    """What is stored of a pipeline, as it is read once."""

    minutes: dict[datetime, dict[str, Any]]
    gaps: list[Gap]
    frozen: bool

    @classmethod
    def of(cls, pipeline_id: int) -> Ledger:
        rows = Rollup.objects.filter(pipeline_id=pipeline_id).values("minute_at", "live", "candle", "trade")
        gaps = Gap.objects.filter(pipeline_id=pipeline_id).select_related("pipeline").order_by("id")
        frozen = Pipeline.objects.values_list("frozen", flat=True).get(pk=pipeline_id)
        return cls({row["minute_at"]: row for row in rows}, list(gaps), frozen)

    def packet(self, start: datetime, end: datetime) -> dict[str, Any]:
        first, until = _whole(start, up=True), _whole(end)
        until = max(first, until)
        held = [self.minutes[at] for at in _each(first, until) if at in self.minutes]
        losses = [self._lost(gap, first, until) for gap in self.gaps if _touches(gap, first, until)]
        missing = sum(lost for lost, *_ in losses)
        stored, expected = len(held), len(held) + missing
        open_ids = [gap.pk for *_, gap in losses if gap.ended_at is None or gap.state in TO_FILL]
        has_rows = any(at in self.minutes for at in _each(first, _whole(end, up=True)))
        may_come = any(lost and gap.state in TO_FILL for lost, _, gap in losses)
        worst = sorted(losses, key=lambda each: (-each[0], -each[1], each[2].pk))
        return {
            "condition": self._condition(stored, expected, has_rows=has_rows, may_come=may_come),
            "completeness": stored * 10**6 // expected / 1e6 if expected else None,
            "expected": expected,
            "stored": stored,
            "filled": sum(row["live"] == 0 for row in held),
            "origins": {name: sum(row[name] for row in held) for name in ("live", "candle", "trade")},
            "open_gap_ids": open_ids,
            "worst_cause": worst[0][2].cause if worst else None,
            "frozen": self.frozen,
            "identity_unproven": False,
            "as_of": None,
        }

    def _condition(self, stored: int, expected: int, *, has_rows: bool, may_come: bool) -> str:
        if not has_rows:
            return "missing"
        if stored < expected:
            return "pending" if may_come else "degraded"
        return "degraded" if self.frozen else "available"

    def _lost(self, gap: Gap, first: datetime, until: datetime) -> tuple[int, float, Gap]:
        """How many of its minutes are missing, and for how long it touches the span."""
        ended = gap.ended_at or clock.now()
        seconds = (min(ended, until) - max(gap.started_at, first)).total_seconds()
        begins = max(_whole(gap.started_at) + MINUTE, first)
        ends = min(_whole(gap.ended_at or until), until)
        if gap.cause in UNCOUNTED or ends <= begins:
            return 0, seconds, gap
        every = max(60.0, (ended - gap.started_at).total_seconds() / (gap.missed(clock.now()) + 1))
        there = sum(at in self.minutes for at in _each(begins, ends))
        return max(0, floor((ends - begins).total_seconds() / every) - there), seconds, gap


def _whole(moment: datetime, *, up: bool = False) -> datetime:
    whole = moment.replace(second=0, microsecond=0)
    return whole + MINUTE if up and whole < moment else whole


def _each(first: datetime, until: datetime) -> Iterator[datetime]:
    return (first + number * MINUTE for number in range(int((until - first) / MINUTE)))


def _touches(gap: Gap, first: datetime, until: datetime) -> bool:
    return gap.started_at < until and (gap.ended_at is None or gap.ended_at > first)


@pytest.fixture
def checkered(past) -> Past:
    """Four hours with holes of every kind: filled, given up, still to be filled, halted."""
    checker(past, random.Random(5))
    return past


def checker(past: Past, chance: random.Random) -> None:
    for second in sorted(chance.sample(range(0, MINUTES * 60, 10), 60)):
        past.live(second / 60)
    for until in range(30, MINUTES + 31, 30):
        past.roll_up(until)
    for number in range(10):
        past.fill(lambda span: [past.candle(int((span.start - past.start.timestamp()) // 60) + 1, 1, 2, 1, 2)],
                  at=300 + number)  # fmt: skip
    for gap in Gap.objects.filter(pipeline_id=past.pipeline):
        cause, state = chance.choice(GapCause.values), chance.choice([GapState.OPEN, GapState.NOTHING, gap.state])
        Gap.objects.filter(pk=gap.pk).update(cause=cause, state=state)
    Pipeline.objects.filter(pk=past.pipeline).update(frozen=chance.random() < 0.3)


def questions(past: Past, span: dict[str, str]) -> list[Asked]:
    market = {"exchange": "kraken", "symbol": Pipeline.objects.get(pk=past.pipeline).market.symbol}
    return [
        (f"/api/v1/pipelines/{past.pipeline}/history", span),
        ("/api/v1/candles", {**span, **market, "interval": "1h"}),
        ("/api/v1/candles", {**span, **market, "interval": "7m", "format": "csv"}),
        ("/api/v1/quality", {**span, **market}),
        ("/api/v1/rollups/export", {**span, **market}),
    ]


def ask(client: Client, question: Asked, **more: Any) -> tuple[int, dict[str, Any]]:
    """The status of an answer, and the packet in it, wherever it stands."""
    answer = client.get(question[0], {**question[1], **more}, headers=ADMIN)
    if answer.streaming:
        b"".join(answer.streaming_content)
    if "X-Data-Quality" in answer.headers:
        return answer.status_code, orjson.loads(answer.headers["X-Data-Quality"])
    body = answer.json()
    packet: dict[str, Any] = body["results"][0]["quality"] if "results" in body else body["quality"]
    return answer.status_code, packet


def a_span(past: Past, chance: random.Random) -> tuple[datetime, datetime]:
    """Of whole minutes or not, inside and beyond what is stored."""
    first, last = sorted(chance.sample(range(-30 * 60, (MINUTES + 60) * 60), 2))
    scale = chance.choice([1, 60])
    first, last = (number // scale * scale for number in (first, last))
    return past.start + timedelta(seconds=first), past.start + timedelta(seconds=max(last, first + 1))


def check_packets(client: Client, past: Past, chance: random.Random, *, spans: int) -> int:
    """Asks every route for spans at random; returns how many answers had the packet that the ledger makes."""
    ledger, answers = Ledger.of(past.pipeline), 0
    for _ in range(spans):
        start, end = a_span(past, chance)
        expected = ledger.packet(start, end)
        for question in questions(past, {"from": start.isoformat(), "to": end.isoformat()}):
            assert ask(client, question) == (200, expected), (question, start, end)
            answers += 1
    return answers


def test_packets_are_what_the_ledger_says(client, checkered):
    assert check_packets(client, checkered, random.Random(1), spans=20) == 100


def thresholds(packet: dict[str, Any]) -> list[tuple[str, bool]]:
    """What may be asked for at least of such a packet, and whether it is given."""
    condition, share = packet["condition"], packet["completeness"]
    found = [("available", condition == "available"), ("degraded", condition != "missing")]
    if share is None:
        return [*found, ("0", False)]
    return [*found, (f"{share:f}", True), *([(f"{share + 2e-6:f}", False)] if share < 0.99999 else [])]


def test_each_threshold_is_kept_to_the_last_minute(client, checkered):
    """And refusals carry the packet, so that a caller sees what there is."""
    chance = random.Random(3)
    ledger: Callable[..., dict[str, Any]] = Ledger.of(checkered.pipeline).packet
    for place in [0, 1, 2, 4] * 5:  # history, candles, CSV and exports; the quality itself is never refused
        start, end = a_span(checkered, chance)
        question = questions(checkered, {"from": start.isoformat(), "to": end.isoformat()})[place]
        for least, is_given in thresholds(ledger(start, end)):
            status, packet = ask(client, question, min_quality=least)
            assert (status, packet) == (200 if is_given else 409, ledger(start, end)), (least, start, end)
