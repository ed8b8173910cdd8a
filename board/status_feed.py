"""`/status.rss`: incidents and planned work as a feed, for those who want to be told."""

from __future__ import annotations

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.feedgenerator import Rss201rev2Feed

from board import public
from board.public import PublicReport
from board.status_page import AWAY, Renderings, answer, exchange_names, public_only
from collectors.status.workers import CollectorAbsent


@public_only
def feed(request: HttpRequest) -> HttpResponseBase:
    try:
        document = _feeds.get(public.current())
    except (CollectorAbsent, DatabaseError, InterfaceError):
        return HttpResponse(AWAY, status=503, content_type="text/plain", headers={"Retry-After": "5"})
    return answer(request, document, "application/rss+xml; charset=utf-8")


def render_feed(report: PublicReport) -> bytes:
    page = f"{settings.PUBLIC_URL}/status"
    found = Rss201rev2Feed(
        title="Status of the market data", link=page, description="Incidents and planned work", feed_url=f"{page}.rss",
        language="en",
    )  # fmt: skip
    for incident in report.incidents:
        names = exchange_names(incident.exchanges, report)
        state = "resolved" if incident.ended_at else incident.state
        newest = incident.messages[0].at if incident.messages else incident.ended_at or incident.started_at
        said = "\n".join([incident.words, *(f"{each.state}: {each.text}" for each in incident.messages)])
        found.add_item(
            title=f"{names or 'The system'}: {state}", link=f"{page}#incident-{incident.id}", description=said,
            unique_id=f"marketmon-incident-{incident.id}-{state}", unique_id_is_permalink=False, pubdate=newest,
        )  # fmt: skip
    for work in report.maintenance:
        found.add_item(
            title=f"Planned work: {work.reason}", link=f"{page}#maintenance",
            description=f"{work.starts_at:%Y-%m-%d %H:%M} to {work.ends_at:%Y-%m-%d %H:%M} UTC",
            unique_id=f"marketmon-work-{work.starts_at:%Y%m%d%H%M}-{work.reason}", unique_id_is_permalink=False,
        )  # fmt: skip
    return found.writeString("utf-8").encode()


_feeds = Renderings(render_feed)
