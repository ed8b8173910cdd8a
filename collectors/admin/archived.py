"""Admin pages of the archive: its days by exchange, and the ledger of its files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import Max
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path
from django.utils.dateparse import parse_date
from django.views.decorators.http import require_GET
from unfold.decorators import display

from archive import switch
from archive.models import ArchiveFile, FileState
from collectors.history import archive_times
from collectors.history.archived_kinds import KINDS
from collectors.models import Watermark
from lib import clock
from web.admin import MachineAdmin, ago, utc, word_filter

DAYS_OF_PAGE = 14
FIRST_YEAR, LAST_YEAR = 1970, 9999
LABELS = {FileState.STORED.value: "success", FileState.LOST.value: "danger", FileState.REMOVED.value: "info"}


@admin.register(ArchiveFile)
class ArchiveFileAdmin(MachineAdmin):
    """Files of the ledger, the newest first."""

    list_display = ("id", "day", "exchange", "kind", "shown_state", "rows", "size", "verified", "path")
    list_filter = (
        word_filter("kind", [(kind.kind, kind.kind) for kind in KINDS], parameter="kind",
                    narrow=lambda files, word: files.filter(kind=word)),
        word_filter("state", FileState.choices, parameter="state", narrow=lambda files, word: files.filter(state=word)),
    )  # fmt: skip
    search_fields = ("exchange__startswith", "sha256__startswith")
    search_help_text = "Beginning of an exchange's id, or of a hash"
    ordering = ("-id",)

    def get_urls(self) -> list[Any]:
        days = self.admin_site.admin_view(require_GET(self.days))
        return [path("days/", days, name="archive_days"), *super().get_urls()]

    @display(description="state", label=LABELS)
    def shown_state(self, file: ArchiveFile) -> str:
        return "wrong" if file.fault and file.state == FileState.STORED else file.state

    @display(description="bytes")
    def size(self, file: ArchiveFile) -> str:
        return f"{file.bytes:,}"

    @display(description="last verified")
    def verified(self, file: ArchiveFile) -> str:
        return ago(file.verified_at, clock.now())

    def days(self, request: HttpRequest) -> HttpResponse:
        """Shows what is archived of each day and exchange, two weeks a page."""
        now = clock.now()
        shown = _context(request, now) if self.has_view_permission(request) else {"absence": "You may not see this."}
        frame = {**self.admin_site.each_context(request), "title": "Archive"}
        return render(request, "admin/archive/days.html", {**frame, **shown})


@dataclass(slots=True)
class _DayRow:
    """What is archived of one day and exchange."""

    day: date
    exchange: str
    kinds: set[str] = field(default_factory=set)
    rows: int = 0
    bytes: int = 0
    verified_at: datetime | None = None
    faults: list[str] = field(default_factory=list)
    lost: int = 0
    removed: int = 0
    is_alone: bool = True

    def add(self, file: ArchiveFile) -> None:
        if file.state == FileState.LOST:
            self.lost += file.rows
        elif file.state == FileState.REMOVED:
            self.removed += file.rows
        else:
            self._add_stored(file)

    def _add_stored(self, file: ArchiveFile) -> None:
        self.kinds.add(file.kind)
        self.rows += file.rows
        self.bytes += file.bytes
        self.faults += [file.fault] if file.fault else []
        self.is_alone &= file.dropped_at is not None
        moments = [each for each in (self.verified_at, file.verified_at) if each]
        self.verified_at = min(moments, default=None)

    @property
    def state(self) -> tuple[str, str]:
        """Returns what holds of the day, and the tone of it."""
        if self.faults:
            return f"wrong: {self.faults[0]}", "danger"
        if self.lost:
            return f"{self.lost:,} rows lost", "danger"
        if not self.kinds:
            return "removed", "quiet"
        return ("in files only" if self.is_alone else "archived"), "success"

    def shown(self, now: datetime) -> dict[str, Any]:
        words, tone = self.state
        return {
            "day": f"{self.day}", "exchange": self.exchange, "words": words, "tone": tone,
            "kinds": ", ".join(kind.kind for kind in KINDS if kind.kind in self.kinds), "rows": f"{self.rows:,}",
            "bytes": f"{self.bytes:,}", "verified": ago(self.verified_at, now), "verified_at": utc(self.verified_at),
        }  # fmt: skip


def _context(request: HttpRequest, now: datetime) -> dict[str, Any]:
    last = _day_asked_for(request) or ArchiveFile.objects.aggregate(last=Max("day"))["last"]
    rows = list(_rows(last)) if last else []
    first = last - timedelta(days=DAYS_OF_PAGE - 1) if last else None
    older = ArchiveFile.objects.filter(day__lt=first).exists() if first else False
    return {
        "rows": [row.shown(now) for row in rows],
        "older": f"{first - timedelta(days=1)}" if older and first else "",
        "notes": list(_notes(now)),
        "place": settings.ARCHIVE_URL,
        "is_on": switch.is_on(),
    }


def _day_asked_for(request: HttpRequest) -> date | None:
    try:
        asked = parse_date(request.GET.get("until", ""))
    except ValueError:
        return None
    return asked if asked is not None and FIRST_YEAR <= asked.year < LAST_YEAR else None


def _rows(last: date) -> Sequence[_DayRow]:
    files = ArchiveFile.objects.filter(day__gt=last - timedelta(days=DAYS_OF_PAGE), day__lte=last)
    found: defaultdict[tuple[date, str], list[ArchiveFile]] = defaultdict(list)
    for file in files.order_by("-day", "exchange", "id"):
        found[file.day, file.exchange].append(file)
    rows = []
    for (day, exchange), of_day in found.items():
        row = _DayRow(day, exchange)
        for file in of_day:
            row.add(file)
        rows.append(row)
    return rows


def _notes(now: datetime) -> Iterator[str]:
    """Yields what is wrong with the archive as a whole."""
    marks = dict(Watermark.objects.filter(name__in=archive_times.CURSORS).values_list("name", "reached_at"))
    times = archive_times.of_marks(marks)
    if times.is_late(now):
        yield f"Rows wait to be archived since {utc(times.waiting_since)}: see the workers' log of archive."
    if times.has_lost(now):
        yield f"Rows were lost at {utc(times.lost_at)}: dropped for want of room, and in no file."
