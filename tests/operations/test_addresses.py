"""Operators' addresses never lead into our own network; credentials and keys are what they should be."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from cryptography.fernet import Fernet, InvalidToken

from access.admin_key import find_fault
from access.checks import check_admin_key
from exchanges import addresses, secrets
from exchanges.market_filter import Candidate, parse

PRIVATE = [
    "http://127.0.0.1",
    "http://localhost",
    "http://127.1",
    "http://2130706433",
    "http://0x7f000001",
    "http://0177.0.0.1",
    "http://0",
    "http://10.0.0.1",
    "http://172.16.0.1",
    "http://192.168.1.1",
    "http://169.254.169.254",
    "http://100.64.0.1",
    "http://198.18.0.1",
    "http://224.0.0.1",
    "http://240.0.0.1",
    "http://255.255.255.255",
    "http://192.0.0.8",
    "http://192.0.2.1",
    "http://192.88.99.1",
    "http://[::1]",
    "http://[::]",
    "http://[::ffff:127.0.0.1]",
    "http://[::ffff:10.0.0.1]",
    "http://[64:ff9b::7f00:1]",
    "http://[64:ff9b::a00:1]",
    "http://[2002:7f00:1::]",
    "http://[2002:c0a8:101::]",
    "http://[fe80::1]",
    "http://[fc00::1]",
    "http://[ff02::1]",
    "http://[2001:db8::1]",
    "http://[2001:0:0:0:0:0:80ff:fffe]",
    "http://[3fff::1]",
    "http://[5f00::1]",
    "http://[100:0:0:1::1]",
]
MALFORMED = [
    "ftp://example.com",
    "gopher://8.8.8.8",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "//8.8.8.8",
    "8.8.8.8",
    "http://",
    "http://:80",
    "http://user@8.8.8.8",
    "http://user:pw@8.8.8.8",
    "http://8.8.8.8:0x50",
    "http://8.8.8.8:99999",
    "http://8.8.8.8:0",
    "http://8.8.8.8:22",
    "http://8.8.8.8:6379",
    "http://8.8.8.8/?x=1",
    "http://8.8.8.8/#x",
    "http://8.8.8.8\\@127.0.0.1",
    "http://[::1",
    "{SANDBOX_URL}",
]


@pytest.fixture
def strict(settings: Any) -> None:
    settings.ALLOW_PRIVATE_EXCHANGE_URLS = False


@pytest.mark.parametrize(
    "url", [*PRIVATE, *MALFORMED, "http://8.8.8.8\r\nX: y", "http://8.8.8.8\x00", "http://8.8.8 .8"]
)
def test_no_way_into_our_own_network(strict: None, url: str) -> None:
    with pytest.raises(addresses.Unsafe):
        addresses.check_base_url(url)


@pytest.mark.parametrize("url", ["", "https://8.8.8.8", "https://8.8.8.8:8443/api", "http://[2606:4700::1111]"])
def test_the_internet_is_allowed(strict: None, url: str) -> None:
    addresses.check_base_url(url)


def test_a_name_is_judged_by_all_its_addresses(strict: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: Any, **__: Any) -> list[Any]:
        return [(2, 1, 6, "", ("8.8.8.8", 443)), (2, 1, 6, "", ("10.0.0.7", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    with pytest.raises(addresses.Unsafe, match="private network"):
        addresses.check_base_url("https://rebinding.example")


def test_a_proxy_may_have_a_login_and_any_port_but_no_private_host(strict: None) -> None:
    addresses.check_proxy("http://user:pw@8.8.8.8:3128")

    with pytest.raises(addresses.Unsafe):
        addresses.check_proxy("http://10.0.0.1:3128")


def test_where_exchanges_run_here_they_may_be_here(settings: Any) -> None:
    settings.ALLOW_PRIVATE_EXCHANGE_URLS = True

    addresses.check_base_url("http://127.0.0.1:9100")
    addresses.check_base_url("{SANDBOX_URL}")
    with pytest.raises(addresses.Unsafe):
        addresses.check_base_url("file:///etc/passwd")


METADATA = ["169.254.169.254", "2852039166", "0xa9fea9fe", "[::ffff:169.254.169.254]", "[fe80::1]", "[fd00:ec2::254]"]


@pytest.mark.parametrize("is_allowed", [True, False], ids=["private allowed", "strict"])
@pytest.mark.parametrize("host", [*METADATA, "100.100.100.200", "168.63.129.16"])
def test_a_cloud_s_secrets_are_refused_whatever_is_allowed(settings: Any, host: str, is_allowed: bool) -> None:
    """They were accepted here and refused at each connect."""
    settings.ALLOW_PRIVATE_EXCHANGE_URLS = is_allowed

    for check in (addresses.check_base_url, addresses.check_proxy):
        with pytest.raises(addresses.Unsafe, match="no setting permits that"):
            check(f"http://{host}/")


def test_a_name_of_a_clouds_secrets_is_refused_too(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ALLOW_PRIVATE_EXCHANGE_URLS = True
    found = [(2, 1, 6, "", ("10.0.0.7", 80)), (2, 1, 6, "", ("169.254.169.254", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    with pytest.raises(addresses.Unsafe, match="no setting permits that"):
        addresses.check_base_url("http://metadata.example")


def test_where_exchanges_run_here_a_name_may_be_unknown_yet(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror("no such name")

    settings.ALLOW_PRIVATE_EXCHANGE_URLS = True
    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    addresses.check_base_url("http://exchange-of-tomorrow:9000")


# --- credentials ------------------------------------------------------------------------------------------------


def test_credentials_survive_a_change_of_keys(settings: Any) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    settings.CREDENTIALS_KEY = ""
    derived = secrets.seal({"apiKey": "a"})
    settings.CREDENTIALS_KEY = old
    sealed = secrets.seal({"apiKey": "b"})
    settings.CREDENTIALS_KEY = f"{new},{old}"

    assert (secrets.unseal(derived), secrets.unseal(sealed)) == ({"apiKey": "a"}, {"apiKey": "b"})
    assert "b" not in sealed.split("gAAA")[0]


def test_without_the_key_they_stay_shut_and_collection_goes_on(settings: Any) -> None:
    sealed = secrets.seal({"apiKey": "a"})
    settings.SECRET_KEY = "another one"

    with pytest.raises(InvalidToken):
        secrets.unseal(sealed)
    assert secrets.unseal_or_none(sealed) is None


def test_a_key_that_is_none_stops_start_up(settings: Any) -> None:
    settings.CREDENTIALS_KEY = "not a key"

    assert [problem.id for problem in secrets.check_key()] == ["exchanges.E001"]


# --- the admin key ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "code"),
    {
        "": "exchanges.E010",
        "  ": "exchanges.E010",
        "secret": "exchanges.E011",
        "x" * 31: "exchanges.E011",
        "x" * 64: "exchanges.E012",
        "your-admin-api-key-here-your-admin-api-key": "exchanges.E012",
        "changemechangemechangemechangeme": "exchanges.E012",
        "REPLACE_ME_WITH_A_RANDOM_SECRET_VALUE": "exchanges.E012",
        "0123456789abcdef0123456789abcdef": "exchanges.E012",
        "admin-secret-key-change-in-production": "exchanges.E012",
    }.items(),
)
def test_check_deploy_refuses_a_bad_admin_key(settings: Any, key: str, code: str) -> None:
    settings.ADMIN_API_KEY = key

    (problem,) = check_admin_key()

    assert problem.id == code
    assert problem.hint


@pytest.mark.parametrize("key", ["t3qVb7m-kLx0_9Zk1dYw8RfGh2Jn5Ps6Uv4", "only-for-make-check-0123456789abcdefghijklmn"])
def test_a_key_of_one_s_own_is_fine(key: str) -> None:
    assert find_fault(key) == ""


# --- filters ----------------------------------------------------------------------------------------------------

LISTED = [
    Candidate("BTC/USD", "USD", 900.0),
    Candidate("ETH/USD", "USD", 500.0),
    Candidate("BTC/EUR", "EUR", 700.0),
    Candidate("NEW/USD", "USD", None),
]


@pytest.mark.parametrize(
    ("wanted", "selected"),
    [
        ({}, {"BTC/USD", "ETH/USD", "BTC/EUR", "NEW/USD"}),
        ({"quotes": ["EUR"]}, {"BTC/EUR"}),
        ({"symbols": ["ETH/USD", "BTC/EUR"]}, {"ETH/USD", "BTC/EUR"}),
        ({"quotes": ["USD"], "symbols": ["ETH/USD", "BTC/EUR"]}, {"ETH/USD"}),
        ({"top": 2}, {"BTC/USD", "BTC/EUR", "NEW/USD"}),
        ({"quotes": ["USD"], "top": 1}, {"BTC/USD", "NEW/USD"}),
    ],
    ids=str,
)
def test_what_a_filter_lets_through(wanted: dict[str, Any], selected: set[str]) -> None:
    assert parse(wanted).selected(LISTED) == selected
