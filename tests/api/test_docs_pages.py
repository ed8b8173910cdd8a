"""The documentation that an installation serves itself."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from marketmon import docs_pages


def test_every_page_is_served_with_links_that_lead_somewhere(client: Client) -> None:
    assert {"apis", "running", "settings", "sources", "trust", "changelog"} <= set(docs_pages.names())
    for name in docs_pages.names():
        answer = client.get(f"/docs/{name}")
        assert answer.status_code == 200
        page = answer.content.decode()
        assert "<h1" in page
        for target in set(re.findall(r'(?:href|src)="(/docs/[^"#]*)', page)):
            assert client.get(target).status_code == 200, (name, target)


def test_a_page_loads_nothing_from_elsewhere(client: Client) -> None:
    for name in docs_pages.names():
        page = client.get(f"/docs/{name}").content.decode()
        assert re.findall(r'<(?:script|img|link)[^>]+(?:src|href)="(?:https?:)?//', page) == []


def test_the_first_page_lists_all_the_others(client: Client) -> None:
    page = client.get("/docs/").content.decode()

    assert "<h1>Documentation</h1>" in page
    assert all(f'<dt><a href="/docs/{name}' in page for name in docs_pages.names())


@pytest.mark.parametrize("name", ["nothing", "..%2Fsecrets", "img/nothing.png", "img/..%2Fapis.md"])
def test_what_is_no_page_is_not_found(client: Client, name: str) -> None:
    assert client.get(f"/docs/{name}").status_code == 404


def test_the_browsable_api_leads_to_the_pages(client: Client) -> None:
    page = client.get("/api/v1/", headers={"Accept": "text/html"}).content.decode()

    assert 'href="/docs/"' in page or 'href="/docs"' in page


def test_tables_and_commands_are_shown_as_such(client: Client) -> None:
    page = client.get("/docs/sources").content.decode()

    assert "<table>" in page
    assert "<pre><code" in page
