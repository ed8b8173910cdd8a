"""The pages for people: board, exchange, pair, pipeline, gaps, drills; the public status page and its badges."""

from __future__ import annotations

from django.urls import URLPattern, re_path

from board import badges, page_urls, status_feed, status_page, views
from board.drills import views as drill_views

# The page puts the words in: `VERB` and `EXCHANGE` stand for them until then.
ACT = "(?P<verb>restart|backfill|VERB)/(?P<exchange_id>[a-z0-9_-]{1,64}|EXCHANGE)"

urlpatterns: list[URLPattern] = [
    re_path(r"^board/?$", views.index, name="board"),
    re_path(r"^board/live/?$", views.live_view, name="board-live"),
    re_path(rf"^board/act/{ACT}/?$", views.act, name="board-act"),
    *drill_views.urlpatterns,
    *page_urls.urlpatterns,
    re_path(r"^status/?$", status_page.page, name="public-status"),
    re_path(r"^status\.rss/?$", status_feed.feed, name="public-status-feed"),
    re_path(r"^status\.json/?$", status_page.data, name="public-status-data"),
    re_path(r"^badge/exchange/(?P<exchange_id>[^/]{1,64})\.svg$", badges.exchange, name="badge-exchange"),
    re_path(
        r"^badge/quality/(?P<exchange_id>[^/]{1,64})/(?P<name>[^/]{1,120})\.svg$",
        badges.market_quality,
        name="badge-quality",
    ),
    re_path(r"^badge/pair/(?P<name>[^/]{1,120})\.svg$", badges.pair, name="badge-pair"),
]
