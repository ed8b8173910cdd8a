"""Parameters that nobody would send by accident: the key is asked for first, and the refusal is the document's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from tests.status.conftest import Venue

TEXTS = ["%00", "%ff", "a%0ab", "%1b[2J", "%F0%9F%92%A9", "'%3B--", "-1", "1e9", "%EF%BC%91", "%20", "x" * 3000]


@pytest.fixture(autouse=True)
def world(noon: Any, venue: Callable[..., Venue]) -> None:
    venue("luno").market("BTC", "NGN", age=5)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:12])
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("source", "invalid_source"),
        ("symbol", "invalid_symbol"),
        ("limit", "invalid_limit"),
        ("after", "invalid_cursor"),
        ("cursor", "invalid_cursor"),
    ],
)
def test_the_pipelines_api_refuses_in_its_own_words_after_the_key(
    client: Client, key_of: Callable[..., str], name: str, error: str, text: str
) -> None:
    stranger = client.get(f"/v1/status/pipelines?{name}={text}")
    answer = client.get(f"/v1/status/pipelines?api-key={key_of()}&{name}={text}")

    assert (stranger.status_code, stranger.json()["error"]) == (401, "unauthorized")
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert set(answer.json()) == {"error", "message"}


@pytest.mark.parametrize("text", [text for text in TEXTS if text != "%20"], ids=lambda text: text[:12])
@pytest.mark.parametrize(("name", "error"), [("pairs", "invalid_pair"), ("max_age", "invalid_max_age")])
def test_the_pairs_api_refuses_in_its_own_words(
    client: Client, key_of: Callable[..., str], name: str, error: str, text: str
) -> None:
    answer = client.get(f"/v1/rates/live?{name}={text}", headers={"X-API-Key": key_of()})

    assert (answer.status_code, answer.json()["error"], answer.json()["status"]) == (400, error, 400)


@pytest.mark.parametrize("key", ["%00", "%ff%fe", "mm_abcdefgh_%00", "mm_%F0%9F%92%A9", "mm_abcdefgh_" + "%0a" * 30])
def test_a_key_of_any_bytes_is_an_invalid_key(client: Client, db: None, key: str) -> None:
    assert client.get(f"/v1/status?api-key={key}").status_code == 401


def test_of_a_parameter_given_twice_the_last_counts(client: Client, key_of: Callable[..., str]) -> None:
    path = f"/v1/status/pipelines?api-key={key_of()}"

    assert client.get(f"{path}&symbol=nonsense&symbol=BTC").json()["meta"]["symbol"] == "BTC"
    assert client.get(f"{path}&symbol=BTC&symbol=nonsense").status_code == 400


@pytest.mark.parametrize(
    "path", ["/v1/rates/live?pairs=&max_age=", "/v1/status/pipelines?source=&symbol=&limit=&after="]
)
def test_an_empty_parameter_is_none(client: Client, key_of: Callable[..., str], path: str) -> None:
    assert client.get(path, headers={"X-API-Key": key_of()}).status_code != 400
