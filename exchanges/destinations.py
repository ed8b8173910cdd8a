"""Where an exchange's credentials may be sent: to whom they were given for, and in clear text to this machine alone.

Whoever may set an address could otherwise have sent to them what they may not read.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

SANDBOX_PLACEHOLDER = "{SANDBOX_URL}"
SEND_AGAIN = (
    "It decides where the stored credentials are sent. Send them again with this change, or delete them "
    "(credentials of {}) with it."
)
IN_CLEAR = "Credentials go over https only, or over http to this machine without a proxy."
THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})


def leading_elsewhere(base_url: str, names: Iterable[str]) -> list[str]:
    """Returns which of the settings that change lead what is sent to another reader: an address or an authority always,
    a proxy where it reads along, because http is spoken."""
    deciding = {"base_url", "ca_file", *(("proxy",) if _speaks_http(base_url) else ())}
    return sorted(deciding.intersection(names))


def sends_in_clear(base_url: str, proxy: str) -> bool:
    """Says whether what is sent to the address can be read on its way. An empty one is the exchange's own: https."""
    if not _speaks_http(base_url):
        return False
    is_sandbox = f"{base_url}/".startswith(f"{SANDBOX_PLACEHOLDER}/")
    return bool(proxy) or not (is_sandbox or urlsplit(base_url).hostname in THIS_MACHINE)


def _speaks_http(base_url: str) -> bool:
    return base_url.lower().startswith("http:") or SANDBOX_PLACEHOLDER in base_url
