from __future__ import annotations

import json
import logging
import sys

import pytest
import structlog
from django.conf import settings as django_settings

from web.redaction import HIDDEN, RedactSecrets, clean, clean_text, hide_login

CANARY = "canary0123456789"


@pytest.mark.parametrize(
    "text",
    [
        f"GET /v1/status?api-key={CANARY}&source=x",
        f"GET /v1/status?source=x&api_key={CANARY}",
        f"GET /v1/status?API%2Dkey={CANARY}",
        f"/x?apikey={CANARY}",
        f"X-API-Key: {CANARY}",
        f"X-Admin-Key: {CANARY}",
        f"x_admin_key={CANARY}",
        f"Authorization: Bearer {CANARY}",
        f"Authorization: Basic {CANARY}==",
        f"{{'Authorization': 'Bearer {CANARY}', 'Accept': '*/*'}}",
        f'{{"X-API-Key": "{CANARY}"}}',
        f'{{\\"token\\": \\"{CANARY}\\"}}',
        f"[('X-API-Key', '{CANARY}')]",
        f"token={CANARY}",
        f"access_token={CANARY}; path=/",
        f"METRICS_WEBHOOK_TOKEN={CANARY}",
        f"password: {CANARY}",
        f"secret = '{CANARY}'",
        f"SECRET_KEY={CANARY}",
        f"postgres://marketmon:{CANARY}@db:5432/marketmon",
        f"redis://:{CANARY}@cache:6379/0",
        f"http://user:{CANARY}@proxy:3128",
        f"http://{CANARY}@proxy:3128",
        f"http://user:pass@{CANARY}@proxy:3128",
        f"http://user:{CANARY}'@proxy:3128",
        f"socks5h://{CANARY}:@[2001:db8::1]:1080/",
        f"x2_token={CANARY}",
        f"x%2dapi%2dkey={CANARY}",
        f"sent Bearer {CANARY} to the venue",
        f"Cookie: sessionid={CANARY}",
    ],
)
def test_a_secret_is_hidden_wherever_it_stands(text: str) -> None:
    cleaned = clean_text(text)

    assert CANARY not in cleaned
    assert HIDDEN in cleaned


@pytest.mark.parametrize(
    "text",
    [
        "kraken answered 200 with no tickers; treated as a bad reply",
        "GET /v1/status?source=binance_spot&symbol=BTC",
        "stored 245 rows of binance in 31 ms",
        "postgres://localhost:5432/marketmon",
        "CSRF token missing.",
        "2026-03-03T10:30:47Z",
        "wss://stream.example:9443/stream?streams=btcusdt@ticker",
        "mytoken = 1",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert clean_text(text) == text


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("", ""),
        ("http://proxy:3128", "http://proxy:3128"),
        (f"http://{CANARY}@proxy:3128", "http://***@proxy:3128"),
        (f"http://user:{CANARY}@proxy:3128", "http://***@proxy:3128"),
        (f"http://user:a@{CANARY}@proxy:3128", "http://***@proxy:3128"),
        (f"http://user:a/{CANARY}?#@proxy:3128", "http://***@proxy:3128"),
        (f"http://user:://{CANARY}@proxy:3128", "http://***@proxy:3128"),
        (f"user:{CANARY}@proxy:3128", "***@proxy:3128"),
    ],
)
def test_of_a_proxy_only_scheme_and_host_are_shown(address: str, shown: str) -> None:
    assert hide_login(address) == shown


def test_our_own_keys_are_hidden_without_a_name() -> None:
    assert django_settings.ADMIN_API_KEY not in clean_text(f"/x/{django_settings.ADMIN_API_KEY}/y")
    assert django_settings.SECRET_KEY not in clean_text(f"x {django_settings.SECRET_KEY} y")


def test_fields_are_hidden_by_name_and_containers_walked() -> None:
    cleaned = clean({"headers": {"X-API-Key": CANARY}, "n": [1, 2.5, None, True, f"token={CANARY}"], "password": 12345})

    assert cleaned == {
        "headers": {"X-API-Key": HIDDEN},
        "n": [1, 2.5, None, True, f"token={HIDDEN}"],
        "password": HIDDEN,
    }


def test_control_characters_cannot_forge_a_line() -> None:
    assert clean_text('BTC\n{"event": "forged"}\x1b[2J\u2028') == 'BTC\\n{"event": "forged"}\\x1b[2J\\u2028'


def test_long_values_are_cut() -> None:
    assert len(clean_text("x" * 1_000_000)) == 500
    assert clean_text("x" * 500) == "x" * 500


def test_a_secret_across_the_cut_leaves_no_half() -> None:
    assert "canary" not in clean_text("x" * 480 + f" api-key={CANARY}")


def test_deep_and_strange_values_become_text() -> None:
    nested: list = []
    nested.append(nested)

    assert "…" in json.dumps(clean(nested), ensure_ascii=False)
    assert clean({"k": object}) == {"k": "<class 'object'>"}


def formatted(record: logging.LogRecord) -> dict:
    (handler,) = (
        each for each in logging.getLogger().handlers if isinstance(each.formatter, structlog.stdlib.ProcessorFormatter)
    )
    assert handler.filter(record)
    return json.loads(handler.format(record))


def test_tracebacks_keep_their_lines_and_lose_their_secrets() -> None:
    try:
        raise ValueError(f"api-key={CANARY}")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed %s", (f"token={CANARY}",), sys.exc_info())

    line = formatted(record)

    assert CANARY not in str(line)
    assert "ValueError" in line["event"]
    assert "\n" in line["event"]


def test_structured_events_are_cleaned_before_they_are_written() -> None:
    record = logging.LogRecord(
        "x", logging.INFO, __file__, 1, {"event": "called", "url": f"http://u:{CANARY}@h/"}, (), None
    )
    record._logger, record._name = None, "info"

    assert formatted(record)["url"] == f"http://{HIDDEN}@h/"


def test_a_broken_format_string_loses_no_line() -> None:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "%d rows", ("many",), None)

    assert RedactSecrets().filter(record)
    assert "rows" in record.msg


@pytest.mark.parametrize("name", ["ADMIN_API_KEY", "SECRET_KEY", "METRICS_WEBHOOK_TOKEN"])
def test_a_secret_of_ours_is_hidden_whatever_stands_before_it(settings: object, name: str) -> None:
    setattr(settings, name, CANARY)

    assert CANARY not in clean_text(f"somebody wrote {CANARY} into a sentence")
