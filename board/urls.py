"""The pages for people: board, exchange, pair, pipeline, gaps, drills; the public status page and its badges."""

from __future__ import annotations

from django.urls import URLPattern

from board import page_urls

urlpatterns: list[URLPattern] = [
    *page_urls.urlpatterns,
]
