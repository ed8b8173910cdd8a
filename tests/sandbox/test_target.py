from __future__ import annotations

import pytest

from sandbox.target import Target, resolve

PATH = "/0/public/Ticker"
TICKER = Target(None, "api.kraken.com", PATH, "pair=XXBTZUSD")


@pytest.mark.parametrize(
    ("raw", "host"),
    [
        ("http://api.kraken.com/0/public/Ticker?pair=XXBTZUSD", "127.0.0.1"),
        ("/https://api.kraken.com/0/public/Ticker?pair=XXBTZUSD", "127.0.0.1"),
        ("/https%3A%2F%2Fapi.kraken.com%2F0%2Fpublic%2FTicker%3Fpair%3DXXBTZUSD", "127.0.0.1"),
        ("/?url=https://api.kraken.com/0/public/Ticker?pair=XXBTZUSD", "127.0.0.1"),
        ("/?url=https%3A%2F%2Fapi.kraken.com%2F0%2Fpublic%2FTicker%3Fpair%3DXXBTZUSD", "127.0.0.1"),
        ("/api.kraken.com/0/public/Ticker?pair=XXBTZUSD", "127.0.0.1:9100"),
        ("/api.kraken.com:443/0/public/Ticker?pair=XXBTZUSD", "127.0.0.1:9100"),
        ("/0/public/Ticker?pair=XXBTZUSD", "API.kraken.com:443"),
    ],
)
def test_a_venue_is_found_however_the_client_was_pointed_here(raw: str, host: str) -> None:
    assert resolve(raw, host) == TICKER


def test_a_clone_is_named_before_the_host() -> None:
    assert resolve("/clone-17/api.kraken.com/0/public/Ticker", "127.0.0.1").clone == "clone-17"
    assert resolve("/clone-17/https://api.kraken.com/0/public/Ticker", "127.0.0.1").host == "api.kraken.com"


def test_an_address_in_the_query_is_not_a_target() -> None:
    target = resolve("/api.kraken.com/0/public/Ticker?next=https://elsewhere.example/", "127.0.0.1")
    assert (target.host, target.query) == ("api.kraken.com", "next=https://elsewhere.example/")
