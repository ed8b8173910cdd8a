"""What went wrong, as a table: ccxt's error words, HTTP statuses and raw Python errors → the FeedError family.

Nothing here imports ccxt: its classes are known by name, looked up along the raised class's ancestry.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from feeds.base import BadReply, Denied, FeedError, Throttled, Unreachable, Unsupported

MESSAGE_CHARACTERS = 300  # ccxt puts whole bodies into its messages
LONGEST_WAIT_SECONDS = 7 * 86400.0  # binance bans up to 3 days; more is a broken header
SHORTEST_SECRET = 4  # a shorter "secret" would black out ordinary words

# By class name, nearest ancestor first. Causes are looked at before the error that wraps them.
BY_CLASS: Mapping[str, type[FeedError]] = {
    # aiohttp and Python
    "ClientConnectorCertificateError": Denied,
    "SSLCertVerificationError": Denied,
    "ClientProxyConnectionError": Unreachable,
    "ClientHttpProxyError": Denied,
    "ClientPayloadError": Unreachable,
    "ClientConnectionError": Unreachable,
    "TooManyRedirects": BadReply,
    "ContentTypeError": BadReply,
    "InvalidURL": BadReply,
    "ClientResponseError": Unreachable,
    "ClientError": Unreachable,
    "TimeoutError": Unreachable,
    "OSError": Unreachable,
    # ccxt: no use asking again before somebody acted
    "AuthenticationError": Denied,
    "RestrictedLocation": Denied,
    "ManualInteractionNeeded": Denied,
    "InvalidProxySettings": Denied,
    "InvalidNonce": Denied,
    # ccxt: not this market, not this venue
    "BadSymbol": Unsupported,
    "NotSupported": Unsupported,
    "ArgumentsRequired": Unsupported,
    "MarketClosed": Unsupported,
    "ContractUnavailable": Unsupported,
    # ccxt: wait
    "RateLimitExceeded": Throttled,
    "DDoSProtection": Throttled,
    # ccxt: nobody home
    "ExchangeNotAvailable": Unreachable,
    "OnMaintenance": Unreachable,
    "RequestTimeout": Unreachable,
    "NetworkError": Unreachable,
    "OperationFailed": Unreachable,
    "ExchangeClosedByUser": Unreachable,
    # ccxt: an answer that is no data
    "ChecksumError": BadReply,
    "BadResponse": BadReply,
    "NullResponse": BadReply,
    "ExchangeError": BadReply,
    "BaseError": BadReply,
    # whatever a parser stumbles over
    "Exception": BadReply,
}

BY_STATUS: Mapping[int, type[FeedError]] = {
    401: Denied,
    403: Denied,  # WAF page or missing permission
    407: Denied,
    408: Unreachable,
    418: Throttled,  # binance: the address is banned
    429: Throttled,
    451: Denied,  # not in this region
    511: Denied,
}

BANNED_STATUS = 418

_SECRET_PARAMETER = re.compile(
    r"(?i)((?:api[-_]?key|access[-_]?key|secret|signature|sign|passphrase|password|token)[\"']?\s*[=:]\s*[\"']?)"
    r"[^\s&\"',;}]+"
)
# A proxy's login: everything before the last @ of what names the host, for a token may be all there is.
_URL_LOGIN = re.compile(r'(://)[^\s/?#"<>]*@')


def class_for_status(status: int) -> type[FeedError] | None:
    """The class an HTTP status alone decides; None for 2xx and for what a body may explain better."""
    if status in BY_STATUS:
        return BY_STATUS[status]
    if status >= 500:
        return Unreachable
    return BadReply if status >= 300 else None


def from_status(status: int, *, reason: str, url: str, body: str, headers: Mapping[str, str], now: float) -> FeedError:
    kind = class_for_status(status) or BadReply
    message = shorten(redact(f"HTTP {status} {reason} from {url}"))
    if issubclass(kind, Throttled):
        wait = retry_after_seconds(headers, now=now)
        banned = status == BANNED_STATUS
        return kind(message, retry_after_seconds=wait, banned=banned, status=status, excerpt=redact(body[:500]))
    return kind(message, status=status, excerpt=redact(body[:500]))


def from_exception(
    error: BaseException,
    *,
    status: int | None = None,
    excerpt: str = "",
    secrets: tuple[str, ...] = (),
) -> FeedError:
    """The FeedError that says the same as `error`; `status` and `excerpt` are of the last answer, if one came."""
    if isinstance(error, FeedError):
        return _without(secrets, error)
    decisive = _decisive(error)
    kind = _class_for(decisive)
    if status is not None and status >= 400 and kind in (BadReply, Unreachable):
        kind = class_for_status(status) or kind
    message = redact(f"{_class_chain(error)}: {error}"[: 4 * MESSAGE_CHARACTERS], secrets)
    return kind(shorten(message), status=status, excerpt=redact(excerpt[:500], secrets))


def secrets_in(credentials: Mapping[str, str]) -> tuple[str, ...]:
    """What `redact` must hide of them. A node's address is a credential that errors and redirects name in parts."""
    whole = [value for value in credentials.values() if value]
    ways = [value.partition("://")[2].partition("/")[2] for value in whole]
    return (*whole, *(way for way in ways if way))


def retry_after_seconds(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds or an HTTP date; None where the venue did not say or said nonsense."""
    text = next((value for name, value in headers.items() if name.lower() == "retry-after"), "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = _seconds_until(text, now)
    return min(max(seconds, 0.0), LONGEST_WAIT_SECONDS) if math.isfinite(seconds) else None


def redact(text: str, secrets: tuple[str, ...] = ()) -> str:
    """`text` without keys: neither ours nor anything that stands where a key usually does."""
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, "***")
    return _SECRET_PARAMETER.sub(r"\1***", _URL_LOGIN.sub(r"\1***@", text))


def shorten(text: str, limit: int = MESSAGE_CHARACTERS) -> str:
    """One printable line of at most `limit` characters: venues' words end up in logs."""
    line = "".join(letter if letter.isprintable() else " " for letter in text[: limit + 1])
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _without(secrets: tuple[str, ...], error: FeedError) -> FeedError:
    """Our own parsers quote addresses and answers, too."""
    error.args = tuple(redact(each, secrets) if isinstance(each, str) else each for each in error.args)
    error.excerpt = redact(error.excerpt, secrets)
    return error


def _seconds_until(http_date: str, now: float) -> float:
    try:
        at = parsedate_to_datetime(http_date)
    except (ValueError, TypeError, IndexError, OverflowError):
        return math.nan
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - datetime.fromtimestamp(now, UTC).timestamp()


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__


def _decisive(error: BaseException) -> BaseException:
    """The certificate behind "not available", the cut body behind "exchange error": the innermost transport cause."""
    causes = [one for one in _chain(error) if type(one).__module__.partition(".")[0] in ("aiohttp", "ssl")]
    return causes[0] if causes else error


def _class_for(error: BaseException) -> type[FeedError]:
    names = (ancestor.__name__ for ancestor in type(error).__mro__)
    return next((BY_CLASS[name] for name in names if name in BY_CLASS), BadReply)


def _class_chain(error: BaseException) -> str:
    return " from ".join(type(one).__name__ for one in list(_chain(error))[:3])
