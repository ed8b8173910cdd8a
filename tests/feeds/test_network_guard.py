"""No connection leads into our own network, whatever its name resolved to when an operator entered it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from exchanges import addresses
from exchanges.models import SANDBOX_PLACEHOLDER, Exchange
from feeds import close_feeds, open_feed
from feeds.base import BadReply, Denied, FeedError, FeedSpec
from feeds.network_guard import PrivateAddress, is_public, public_socket
from feeds.streams import market_cache_key, open_stream

from .conftest import MarketsInMemory
from .venue import Answer, Venue

HOST = "venue.example"


class Trap:
    """A listener in our own network that nobody may reach."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.port = int(self._socket.getsockname()[1])

    @property
    def was_reached(self) -> bool:
        try:
            self._socket.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def trap() -> Iterator[Trap]:
    trap = Trap()
    yield trap
    close_feeds()
    trap.close()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What this machine's resolver says, which may change at any moment."""
    known: dict[str, str] = {}
    really = socket.getaddrinfo

    def resolve(host: Any, *rest: Any, **options: Any) -> Any:
        return really(known.get(host, host), *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known


def test_the_trap_notices_who_comes(trap: Trap) -> None:
    socket.create_connection(("127.0.0.1", trap.port)).close()

    assert trap.was_reached
    assert not trap.was_reached


@pytest.mark.parametrize("exchange_id", ["kraken", "binance", "quidax", "valr", "chainlink", "kalshi", "okx"])
def test_a_name_that_turned_to_our_network_after_it_was_saved_is_not_followed(
    exchange_id: str, trap: Trap, names: dict[str, str], settings: Any
) -> None:
    settings.ALLOW_PRIVATE_EXCHANGE_URLS = False
    names[HOST] = "8.8.8.8"
    addresses.check_base_url(f"https://{HOST}:8443")
    names[HOST] = "127.0.0.1"
    exchange = Exchange(id=exchange_id, base_url=f"http://{HOST}:{trap.port}")

    with pytest.raises(Denied) as caught:
        open_feed(exchange.feed_spec()).load_markets(deadline_seconds=5)

    assert not trap.was_reached
    assert caught.value.kind == "not_connected"
    assert f"{HOST} leads to 127.0.0.1" in str(caught.value)
    assert "ALLOW_PRIVATE_EXCHANGE_URLS" in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "0", "127.1", "2130706433", "0x7f000001"])
@pytest.mark.parametrize("exchange_id", ["kraken", "valr"])
def test_no_spelling_of_this_machine_is_connected_to(exchange_id: str, host: str, trap: Trap) -> None:
    spec = FeedSpec(exchange_id, base_url=f"http://{host}:{trap.port}", public_only=True)

    with pytest.raises(FeedError) as caught:
        open_feed(spec).load_markets(deadline_seconds=5)

    assert not trap.was_reached
    assert isinstance(caught.value, Denied | BadReply)  # of numbers that are no addresses aiohttp knows itself


@pytest.mark.parametrize("exchange_id", ["kraken", "valr"])
def test_a_proxy_in_our_own_network_is_not_connected_to(exchange_id: str, trap: Trap, names: dict[str, str]) -> None:
    names["proxy.example"] = "127.0.0.1"
    spec = FeedSpec(exchange_id, proxy=f"http://user:pw@proxy.example:{trap.port}", public_only=True)

    with pytest.raises(Denied, match=r"proxy\.example leads to 127\.0\.0\.1") as caught:
        open_feed(spec).load_markets(deadline_seconds=5)

    assert not trap.was_reached
    assert "user:pw" not in str(caught.value)


@pytest.mark.parametrize("exchange_id", ["kraken", "valr"])
def test_websockets_are_not_dialled_there_either(
    exchange_id: str, trap: Trap, names: dict[str, str], market_lists: MarketsInMemory, venue: Venue
) -> None:
    names[HOST] = "127.0.0.1"
    spec = FeedSpec(exchange_id, base_url=f"http://{HOST}:{trap.port}", public_only=True)
    markets = {"kraken": (market_lists.load(market_cache_key(FeedSpec("kraken", base_url=venue.base_url))), "BTC/USD")}
    packed, symbol = markets.get(exchange_id, (VALR_MARKETS, "BTC/ZAR"))
    assert packed is not None

    complaint = asyncio.run(_complaint(spec, packed, symbol))

    assert f"{HOST} leads to 127.0.0.1" in complaint
    assert not trap.was_reached


VALR_MARKETS = (
    b'[{"symbol":"BTC/ZAR","base":"BTC","quote":"ZAR","kind":"spot","venue_id":"BTCZAR",'
    b'"active":true,"taker_fee":null}]'
)


async def _complaint(spec: FeedSpec, packed: bytes, symbol: str) -> str:
    stream = open_stream(spec)
    stream.install_markets(packed)
    try:
        await stream.subscribe([symbol])
        async with asyncio.timeout(5):
            while not stream.complaint:
                await asyncio.sleep(0.01)
        return stream.complaint
    finally:
        await stream.close()


@pytest.mark.parametrize("location", ["http://169.254.169.254/latest/meta-data/", "http://[::ffff:169.254.169.254]/"])
def test_a_venue_cannot_send_us_there(location: str, venue: Venue) -> None:
    """Its own answer says where to go next: neither the address nor what is said there gets to us."""
    venue.answers["/public/AssetPairs"] = Answer(b"", status=302, headers={"Location": location})

    with pytest.raises(BadReply, match=r"redirected .* not followed"):
        open_feed(FeedSpec("kraken", base_url=venue.base_url)).load_markets(deadline_seconds=5)


@pytest.mark.parametrize(
    "address",
    [
        "168.63.129.16",
        "64:ff9b:1::a00:1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "fd00:ec2::254",
        "fec0::1",
        "100.100.100.200",
    ],
)
def test_where_clouds_keep_their_secrets_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"])
def test_the_internet_is_connected_to(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    with public_socket((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, 443))) as made:
        assert made.family == family


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]"])
def test_a_cloud_s_secrets_are_out_of_reach_whatever_is_allowed(host: str) -> None:
    spec = FeedSpec("kraken", base_url=f"http://{host}", public_only=False)

    with pytest.raises(Denied, match="not connected") as caught:
        open_feed(spec).load_markets(deadline_seconds=5)

    assert "ALLOW_PRIVATE" not in str(caught.value)


def test_a_zone_does_not_hide_an_address() -> None:
    with pytest.raises(PrivateAddress):
        public_socket((socket.AF_INET6, socket.SOCK_STREAM, 0, "", ("fe80::1%eth0", 443, 0, 2)))


@pytest.mark.parametrize(
    ("base_url", "proxy", "allowed", "public_only"),
    [
        ("", "", False, True),
        (f"https://{HOST}", "", False, True),
        (SANDBOX_PLACEHOLDER, "", False, False),
        (f"{SANDBOX_PLACEHOLDER}/clone-1", "", False, False),
        (f"{SANDBOX_PLACEHOLDER}.evil.example", "", False, True),
        (f"https://evil.example/{SANDBOX_PLACEHOLDER}", "", False, True),
        (SANDBOX_PLACEHOLDER, "http://proxy.example", False, True),
        (f"https://{HOST}", "", True, False),
    ],
)
def test_private_addresses_are_for_the_sandbox_and_where_a_setting_says_so(
    base_url: str, proxy: str, allowed: bool, public_only: bool, settings: Any
) -> None:
    settings.ALLOW_PRIVATE_EXCHANGE_URLS = allowed

    assert Exchange(id="kraken", base_url=base_url, proxy=proxy).feed_spec().public_only is public_only
