"""Browsers load a tenth; what they are told of the rest stays the same."""

from __future__ import annotations

import gzip

import pytest
from django.contrib.auth.models import User
from django.test import Client

from exchanges.models import Exchange

STYLES = "/static/marketmon/admin.css"
TAKES = {"Accept-Encoding": "gzip, deflate, br"}


def content(response: object) -> bytes:
    return b"".join(response.streaming_content) if response.streaming else response.content  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", [STYLES, "/static/board/board.js", "/static/marketmon/favicon.svg"])
def test_a_static_file_is_packed_for_who_takes_it(client: Client, path: str) -> None:
    plain, packed = client.get(path), client.get(path, headers=TAKES)

    assert packed.headers["Content-Encoding"] == "gzip"
    body = content(packed)
    assert gzip.decompress(body) == content(plain)
    assert packed.headers["Content-Length"] == str(len(body))
    assert "Content-Encoding" not in plain.headers
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
    for name in ("Content-Type", "ETag", "Cache-Control", "Last-Modified"):
        assert plain.headers[name] == packed.headers[name]


def test_who_has_the_file_is_told_so(client: Client) -> None:
    first = client.get(STYLES, headers=TAKES)

    again = client.get(STYLES, headers=TAKES | {"If-None-Match": first.headers["ETag"]})

    assert (again.status_code, content(again)) == (304, b"")


@pytest.mark.parametrize(
    "headers",
    [{}, {"Accept-Encoding": "gzip;q=0"}, {"Accept-Encoding": "identity"}, TAKES | {"Range": "bytes=0-9"}],
    ids=["nothing said", "refused", "another", "a part of it"],
)
def test_who_does_not_take_it_gets_it_plain(client: Client, headers: dict[str, str]) -> None:
    assert "Content-Encoding" not in client.get(STYLES, headers=headers).headers


def test_a_font_is_not_packed_again(client: Client) -> None:
    from django.contrib.staticfiles import finders

    finder_lists = (each.list(None) for each in finders.get_finders())
    font = next(path for found in finder_lists for path, _ in found if path.endswith(".woff2"))

    assert "Content-Encoding" not in client.get(f"/static/{font}", headers=TAKES).headers


def test_a_page_is_packed_and_no_two_answers_are_alike(db: None, client: Client) -> None:
    """The same page with the same text: neither its length nor its bytes tell of the token in it."""
    client.force_login(User.objects.create_superuser("olga", password="correct horse battery"))

    packed = [client.get("/admin/", headers=TAKES) for _ in range(20)]

    assert {each.headers["Content-Encoding"] for each in packed} == {"gzip"}
    assert b"csrfmiddlewaretoken" in gzip.decompress(packed[0].content)
    assert len({len(each.content) for each in packed}) > 5


def test_the_apis_bodies_are_left_to_who_makes_them(db: None, client: Client) -> None:
    assert "Content-Encoding" not in client.get("/api/v1/exchanges/config", headers=TAKES).headers


def test_a_part_that_came_packed_is_not_sent_again(db: None, client: Client) -> None:
    client.force_login(User.objects.create_superuser("olga", password="correct horse battery"))
    Exchange.objects.create(id="kraken")
    first = client.get("/board/heat", headers=TAKES)

    again = client.get("/board/heat", headers=TAKES | {"If-None-Match": first.headers["ETag"]})

    assert (first.headers["Content-Encoding"], again.status_code) == ("gzip", 304)
