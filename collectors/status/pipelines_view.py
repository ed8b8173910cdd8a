"""The pipelines API over HTTP: how its parameters are read, and its pages."""

from __future__ import annotations

from dataclasses import dataclass

from django.core import signing
from django.http import HttpRequest

from access import prices, refusals
from access.gate import CallTerms
from access.models import Endpoint
from collectors.history import names as listing
from collectors.status import openapi, published
from collectors.status import pipelines as pipelines_status
from collectors.status.dialects import pipelines
from collectors.status.metered import WHOLE_NUMBER, AdmittedCall, ApiAnswer, MeteredView, packed, ready

# Any of these in the query of /v1/status, and it is the pipelines API that the caller has read.
PIPELINES_PARAMETERS = frozenset({"api-key", "api_key", "source", "symbol", "limit", "after"})


@dataclass(frozen=True, slots=True)
class WantedPipelines:
    """The pipelines API's query, recognised. None is no filter."""

    sources: tuple[str, ...] | None
    symbols: tuple[str, ...] | None
    limit: int | None
    after: tuple[str, str] | None
    source_text: str | None
    symbol_text: str | None

    @property
    def is_everything(self) -> bool:
        return self.sources is None and self.symbols is None and self.after is None


@openapi.pipelines
class PipelinesStatus(MeteredView):
    """The health of each data ingestion pipeline, with its gaps."""

    terms = CallTerms(Endpoint.PIPELINES, credits=prices.STATUS_CALL)

    def parse(self, request: HttpRequest) -> WantedPipelines:
        query = request.GET
        source, symbol = query.get("source") or None, query.get("symbol") or None
        sources = None if source is None else _sources(source)
        symbols = None if symbol is None else _symbols(symbol)
        return WantedPipelines(
            sources=sources,
            symbols=symbols,
            limit=_limit(query.get("limit")),
            after=_after(query.get("after") or query.get("cursor")),
            source_text=source if not sources or len(sources) > 1 else sources[0],
            symbol_text=symbol if not symbols or len(symbols) > 1 else symbols[0],
        )

    def answer(self, call: AdmittedCall, wanted: WantedPipelines) -> ApiAnswer:
        cap = min(call.caller.max_rows, wanted.limit or call.caller.max_rows)
        return _everything(call, wanted, cap) or _one_source(call, wanted, cap) or _page(call, wanted, cap)


def _sources(text: str) -> tuple[str, ...]:
    found = listing.recent().source_names(text) or listing.current().source_names(text)
    if not found:
        raise refusals.bad_request("invalid_source", "The source value is not recognized.")
    return found


def _symbols(text: str) -> tuple[str, ...]:
    found = listing.recent().symbol_names(text) or listing.current().symbol_names(text)
    if not found:
        raise refusals.bad_request("invalid_symbol", "The symbol value is not recognized.")
    return found


def _limit(text: str | None) -> int | None:
    if text is None or text == "":
        return None
    if not WHOLE_NUMBER.match(text) or int(text) < 1:
        raise refusals.bad_request("invalid_limit", "The limit value is not a whole number from 1.")
    return int(text)


CURSOR_SALT = "pipelines-cursor"


def _after(text: str | None) -> tuple[str, str] | None:
    if not text:
        return None
    try:
        source, symbol = signing.loads(text, salt=CURSOR_SALT)
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise refusals.bad_request("invalid_cursor", "The cursor value is not recognized.") from error
    return source, symbol


def _everything(call: AdmittedCall, wanted: WantedPipelines, cap: int) -> ApiAnswer | None:
    """Returns what the pulse has rendered, when the caller may have all of it; else None."""
    if not wanted.is_everything or cap < len(listing.recent().pipelines.names.names):
        return None
    body = published.all_pipelines(call.now, accepts_gzip=call.accepts_gzip)
    return ready(body) if body.count <= cap else None


def _one_source(call: AdmittedCall, wanted: WantedPipelines, cap: int) -> ApiAnswer | None:
    if not wanted.sources or len(wanted.sources) > 1 or wanted.symbols is not None or wanted.after is not None:
        return None
    rows = published.one_source(wanted.sources[0], call.now)
    if rows.count > cap:
        return None
    return packed(pipelines.body([rows.content], count=rows.count, source=wanted.source_text), call)


def _page(call: AdmittedCall, wanted: WantedPipelines, cap: int) -> ApiAnswer:
    page = pipelines_status.read_page(
        call.now, sources=wanted.sources, symbols=wanted.symbols, after=wanted.after, limit=cap
    )
    names = page.rows.names.names
    was_cut = page.has_more and (wanted.limit is None or wanted.limit > cap)
    body = pipelines.body(
        pipelines.entries(page.rows),
        count=len(names),
        source=wanted.source_text,
        symbol=wanted.symbol_text,
        next_cursor=signing.dumps(list(names[-1]), salt=CURSOR_SALT) if page.has_more else None,
        is_capped=was_cut,
    )
    return packed(body, call, {"X-Rows-Capped": "true"} if was_cut else None)
