"""What stands between us and an exchange, in a person's words, and what can be done about it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from feeds.base import FeedError


class Obstacle(StrEnum):
    """An obstacle on the way to an exchange, before it could answer; `none` for answers of its own."""

    NONE = ""
    NAME = "name"
    CERTIFICATE = "certificate"
    PROXY = "proxy"
    PROXY_LOGIN = "proxy_login"
    REFUSED = "refused"
    SILENT = "silent"
    REGION = "region"
    PRIVATE = "private"


# By class name, anywhere in the chain of causes; the first that is found decides. A proxy fails by a name, too.
BY_CLASS: tuple[tuple[str, Obstacle], ...] = (
    ("NotConnected", Obstacle.PRIVATE),
    ("ClientProxyConnectionError", Obstacle.PROXY),
    ("ClientHttpProxyError", Obstacle.PROXY),
    ("ClientConnectorDNSError", Obstacle.NAME),
    ("gaierror", Obstacle.NAME),
    ("ClientConnectorCertificateError", Obstacle.CERTIFICATE),
    ("SSLCertVerificationError", Obstacle.CERTIFICATE),
    ("ClientConnectorSSLError", Obstacle.CERTIFICATE),
    ("SSLError", Obstacle.CERTIFICATE),
    ("RestrictedLocation", Obstacle.REGION),
    ("ConnectionRefusedError", Obstacle.REFUSED),
    ("ServerDisconnectedError", Obstacle.REFUSED),
    ("ConnectionResetError", Obstacle.REFUSED),
    ("TimeoutError", Obstacle.SILENT),
    ("RequestTimeout", Obstacle.SILENT),
)
BY_STATUS = {407: Obstacle.PROXY_LOGIN, 451: Obstacle.REGION}

# What it is, and what to do.
WORDS: dict[Obstacle, tuple[str, str]] = {
    Obstacle.NAME: (
        "its name cannot be resolved (DNS)",
        "Check the spelling of its address, and whether this host can resolve other names.",
    ),
    Obstacle.CERTIFICATE: (
        "its TLS certificate is not trusted",
        "If a company's proxy signs its own certificates, name its CA file; otherwise the exchange has to renew it.",
    ),
    Obstacle.PROXY: ("the proxy cannot be reached or refuses", "Check the proxy's address and whether it is running."),
    Obstacle.PROXY_LOGIN: ("the proxy wants a login", "Put user and password into the proxy's address."),
    Obstacle.REFUSED: (
        "the connection was refused or closed at once",
        "Check its address and port, and whether a firewall of ours blocks it.",
    ),
    Obstacle.SILENT: (
        "it did not answer in time",
        "Try again; if other exchanges answer, it is slow or blocks this address.",
    ),
    Obstacle.REGION: (
        "it does not serve this region",
        "Collect it from another region: by a proxy, or with its address for this country.",
    ),
    Obstacle.PRIVATE: (
        "its address leads into a private network, where we do not connect",
        "Correct the address, or allow private addresses (ALLOW_PRIVATE_EXCHANGE_URLS).",
    ),
}


def obstacle_of(names: Iterable[str], status: int | None) -> Obstacle:
    """Returns the obstacle behind an error, by the class names of its causes and the status of the last answer."""
    if status in BY_STATUS:
        return BY_STATUS[status]
    found = set(names)
    return next((obstacle for name, obstacle in BY_CLASS if name in found), Obstacle.NONE)


def explain(error: FeedError) -> tuple[str, str]:
    """Returns what is in the way, and what can be done; for an answer of the exchange its own words and no advice."""
    what, advice = WORDS.get(Obstacle(error.obstacle), ("", ""))
    return (what or str(error), advice)
