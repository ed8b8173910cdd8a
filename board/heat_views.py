"""The heat map on the board, and that of one exchange's pipelines; each also as a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe

from board import coverage, links
from board.coverage import HeatRow
from board.rules import heat
from board.rules.heat import Stretch
from exchanges.models import Exchange
from lib import clock

HOURS = 24
TICKS = range(0, heat.QUARTERS, 16)  # a label every four hours


def of_exchanges(request: HttpRequest) -> HttpResponse:
    now = clock.now()
    lines = coverage.of_exchanges(now)
    urls = {line.key: links.exchange(line.key) for line in lines}
    context = {"rows": _rows(lines, urls, now), "what": "exchange", "url": reverse("board-heat")}
    return _render(request, context | {"began_at": _began_at(lines, now)}, now)


def of_pipelines(request: HttpRequest, exchange_id: str) -> HttpResponse:
    if not Exchange.objects.known().filter(pk=exchange_id).exists():
        raise Http404
    now = clock.now()
    page = coverage.of_pipelines(exchange_id, now, number=page_number(request))
    urls = {line.key: links.pipeline(exchange_id, line.name, number=int(line.key)) for line in page.lines}
    context = {
        "rows": _rows(page.lines, urls, now),
        "what": "pipeline",
        "url": reverse("board-exchange-heat", args=[exchange_id]),
        "pager": pager(page.number, page.last, page.found),
        "began_at": _began_at(page.lines, now),
    }
    return _render(request, context, now)


def _began_at(lines: Sequence[HeatRow], now: datetime) -> datetime | None:
    """Returns when the first of them began to be collected, if that is a part of this day."""
    moments = [line.began_at for line in lines if line.began_at]
    return min(moments) if moments and min(moments) > heat.window(now)[0] + heat.QUARTER else None


def page_number(request: HttpRequest) -> int:
    text = request.GET.get("page", "1")
    return max(1, int(text)) if text.isdecimal() and len(text) < 6 else 1


def pager(number: int, last: int, found: int) -> dict[str, int]:
    return {
        "number": number,
        "last": last,
        "found": found,
        "before": number - 1 if number > 1 else 0,
        "after": number + 1 if number < last else 0,
    }


def _render(request: HttpRequest, context: dict[str, Any], now: datetime) -> HttpResponse:
    template = "heat_table.html" if request.GET.get("as") == "table" else "heat_rows.html"
    quarters = heat.window(now)
    return render(
        request,
        f"board/{template}",
        {**context, "width": heat.QUARTERS, "ticks": [quarters[tick] for tick in TICKS], "legend": heat.WORDS},
    )


def _rows(lines: Sequence[HeatRow], urls: dict[str, str], now: datetime) -> list[dict[str, Any]]:
    quarters = heat.window(now)
    return [_row(line, urls[line.key], quarters) for line in lines]


def _drawing(found: Sequence[Stretch], quarters: Sequence[datetime]) -> SafeString:
    """Draws one rectangle for a stretch. Only our own words and numbers; a template would take ten times as long."""
    return mark_safe(  # noqa: S308
        "".join(
            f'<rect class="h-{each.level}" x="{each.first}" width="{each.count}" height="10">'
            f"<title>{heat.said(each, quarters)}</title></rect>"
            for each in found
        )
    )


def _row(line: HeatRow, url: str, quarters: Sequence[datetime]) -> dict[str, Any]:
    found = heat.stretches(line.cells)
    lost = [stretch for stretch in found if stretch.level in (heat.NONE, heat.LITTLE, heat.PARTLY, heat.NEARLY)]
    share = heat.share(line.cells)
    return {
        "key": line.key,
        "name": line.name,
        "url": url,
        "share": heat.share_words(share),
        "tone": heat.Cell(10_000, round((share or 0) * 10_000)).level if share is not None else heat.UNKNOWN,
        "drawing": _drawing(found, quarters),
        "lost": [heat.said(each, quarters) for each in lost],
        "unknown": sum(each.count for each in found if each.level == heat.UNKNOWN) / 4,
        "planned": sum(each.count for each in found if each.level == heat.PLANNED) / 4,
    }
