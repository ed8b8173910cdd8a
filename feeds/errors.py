"""The table of errors: ccxt's error words, HTTP statuses and raw Python errors → the FeedError family.

Nothing here imports ccxt: its classes are known by name, looked up along the raised class's ancestry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from feeds import waits
from feeds.base import BadReply, Denied, FeedError, Throttled, Unreachable, Unsupported
from feeds.obstacles import obstacle_of
from feeds.shared.headers import NO_HEADERS
from lib import clock

MESSAGE_CHARACTERS = 300  # ccxt puts whole bodies into its messages
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

ONLY_BY_STATUS = frozenset({401, 407, 451, 511})  # whatever their pages say
# A firewall's page that stays until somebody acts; others pass with the next request.
_OF_THE_REGION = re.compile(r"(?i)your (?:country|region|location)|restricted (?:location|region)|not available in")

_SECRET_PARAMETER = re.compile(
    r"(?i)((?:api[-_]?key|access[-_]?key|secret|signature|sign|passphrase|password|token)[\"']?\s*[=:]\s*[\"']?)"
    r"[^\s&\"',;}]+"
)
# A proxy's login: everything before the last @ of what names the host, for a token may be all there is.
_URL_LOGIN = re.compile(r'(://)[^\s/?#"<>]*@')


def class_for_status(status: int) -> type[FeedError] | None:
    """Returns the class an HTTP status alone decides; None for 2xx and for what a body may explain better."""
    if status in BY_STATUS:
        return BY_STATUS[status]
    if status >= 500:
        return Unreachable
    return BadReply if status >= 300 else None


def class_for_answer(status: int, body: str) -> type[FeedError] | None:
    """Returns the class that the body's words decide where they say more: a wish to wait, a firewall's challenge."""
    if status >= 400 and status not in ONLY_BY_STATUS and waits.asks_to_wait(body):
        return Throttled
    if status == 403 and body[:1] == "<" and not _OF_THE_REGION.search(body[: waits.SEARCHED_CHARACTERS]):
        return Unreachable
    return class_for_status(status)


def from_status(status: int, *, reason: str, url: str, body: str, headers: Mapping[str, str], now: float) -> FeedError:
    kind = class_for_answer(status, body) or BadReply
    message = redact(f"HTTP {status} {reason} from {url}")
    return _made(kind, message, status=status, excerpt=redact(body[:500]), headers=headers, text=body, now=now)


def from_exception(
    error: BaseException,
    *,
    status: int | None = None,
    excerpt: str = "",
    secrets: tuple[str, ...] = (),
    headers: Mapping[str, str] = NO_HEADERS,
    now: float | None = None,
) -> FeedError:
    """Returns the FeedError that says the same as `error`; `status`, `excerpt` and `headers` are of the last answer,
    if one came."""
    if isinstance(error, FeedError):
        return _without(secrets, error)
    kind = _class_for(_decisive(error))
    if status is not None and status >= 400 and kind in (BadReply, Unreachable):
        kind = class_for_answer(status, excerpt) or kind
    if kind is BadReply and _is_ccxts(error) and waits.asks_to_wait(str(error)):
        kind = Throttled
    message = redact(f"{_class_chain(error)}: {error}"[: 4 * MESSAGE_CHARACTERS], secrets)
    made = _made(
        kind,
        message,
        status=status,
        excerpt=redact(excerpt[:500], secrets),
        headers=headers,
        text=f"{error} {excerpt}",
        now=clock.unix() if now is None else now,
    )
    made.obstacle = obstacle_of(_names(error), status)
    return made


def _made(
    kind: type[FeedError],
    message: str,
    *,
    status: int | None,
    excerpt: str,
    headers: Mapping[str, str],
    text: str,
    now: float,
) -> FeedError:
    """Returns the error with the time that the answer names, which counts whatever its status is."""
    is_limit = issubclass(kind, Throttled)
    wait = waits.read(status, headers, text, now=now, is_limit=is_limit)
    said = shorten(f"{wait.remark}: {message}" if wait.remark else message)
    made = kind(said, retry_after_seconds=wait.seconds, status=status, excerpt=excerpt)
    if isinstance(made, Throttled):
        made.banned = wait.banned
    made.obstacle = obstacle_of((), status)
    return made


def _is_ccxts(error: BaseException) -> bool:
    return any(type(one).__module__.startswith("ccxt.") for one in _chain(error))


def secrets_in(credentials: Mapping[str, str]) -> tuple[str, ...]:
    """Returns what `redact` must hide: also an address's path, as errors and redirects name a node's in parts."""
    whole = [value for value in credentials.values() if value]
    ways = [value.partition("://")[2].partition("/")[2] for value in whole]
    return (*whole, *(way for way in ways if way))


def redact(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Returns `text` without keys: neither ours nor anything that stands where a key usually does."""
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, "***")
    return _SECRET_PARAMETER.sub(r"\1***", _URL_LOGIN.sub(r"\1***@", text))


def shorten(text: str, limit: int = MESSAGE_CHARACTERS) -> str:
    """Returns one printable line of at most `limit` characters: exchanges' words end up in logs."""
    line = "".join(letter if letter.isprintable() else " " for letter in text[: limit + 1])
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _without(secrets: tuple[str, ...], error: FeedError) -> FeedError:
    """Removes secrets from the error: our own parsers quote addresses and answers, too."""
    error.args = tuple(redact(each, secrets) if isinstance(each, str) else each for each in error.args)
    error.excerpt = redact(error.excerpt, secrets)
    return error


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__


def _decisive(error: BaseException) -> BaseException:
    """Returns the innermost transport cause: the certificate behind "not available", the cut body behind an error."""
    causes = [one for one in _chain(error) if type(one).__module__.partition(".")[0] in ("aiohttp", "ssl")]
    return causes[0] if causes else error


def _class_for(error: BaseException) -> type[FeedError]:
    names = (ancestor.__name__ for ancestor in type(error).__mro__)
    return next((BY_CLASS[name] for name in names if name in BY_CLASS), BadReply)


def _names(error: BaseException) -> Iterator[str]:
    return (ancestor.__name__ for one in _chain(error) for ancestor in type(one).__mro__)


def _class_chain(error: BaseException) -> str:
    return " from ".join(type(one).__name__ for one in list(_chain(error))[:3])
