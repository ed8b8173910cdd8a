"""One name for one thing: an entry of the sidebar, the page it leads to, and the browser's tab."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.utils.html import strip_tags

from tests.api.conftest import Fill
from web import navigation

ENTRIES = [
    item
    for section in navigation.unfold(static_url="/static/", with_public_status=False, with_second_factor=False)[
        "SIDEBAR"
    ]["navigation"]
    for item in section["items"]
]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["title"])
def test_a_page_has_the_name_that_the_sidebar_gives_it(operator: Client, entry: dict[str, Any]):
    page = operator.get(str(entry["link"])).content.decode()

    (tab,) = re.findall(r"<title>(.*?)</title>", page, re.DOTALL)
    (heading,) = re.findall(r"<h1.*?</h1>", page, re.DOTALL)
    assert tab.split("|")[0].strip() == entry["title"]
    assert re.split(r"chevron_right", strip_tags(heading))[-1].strip() == entry["title"]


def test_a_row_is_called_as_it_is_written(operator: Client, world: Fill):
    world(2)

    page = operator.get("/admin/exchanges/exchange/binance/change/").content.decode()

    (heading,) = re.findall(r"<h1.*?</h1>", page, re.DOTALL)
    assert [each.strip() for each in strip_tags(heading).split("chevron_right")] == ["Exchanges", "binance"]
