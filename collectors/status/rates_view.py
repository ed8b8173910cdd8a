"""Live rates over HTTP: how their parameters are read, and what answers when none is to be had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from django.http import HttpRequest

from access import refusals
from access.gate import CallTerms
from access.models import Endpoint
from access.refusals import Dialect
from collectors.history import names as listing
from collectors.rules.pair_rates import OLDER, Rate
from collectors.status import openapi, rates
from collectors.status.metered import WHOLE_NUMBER, AdmittedCall, ApiAnswer, MeteredView, packed
from collectors.status.workers import require_collection

PAIRS_MAX = 200
MAX_AGE_DEFAULT, MAX_AGE_LIMIT = 60, 1800
ALL_KINDS = "all"


@dataclass(frozen=True, slots=True)
class WantedRates:
    markets_of_pairs: dict[str, tuple[int, ...]]
    max_age_seconds: int
    kind: str


@openapi.rates
class LiveRates(MeteredView):
    """The volume-weighted price of each pair over its fresh sources; all pairs when none is named."""

    dialect = Dialect.PAIRS
    terms = CallTerms(Endpoint.RATES, requests=1)

    def parse(self, request: HttpRequest) -> WantedRates:
        texts = [text.strip() for text in request.GET.get("pairs", "").split(",") if text.strip()]
        if len(texts) > PAIRS_MAX:
            raise refusals.bad_request("invalid_pairs", f"At most {PAIRS_MAX} pairs can be asked for at once.")
        max_age = request.GET.get("max_age") or str(MAX_AGE_DEFAULT)
        if not WHOLE_NUMBER.match(max_age) or not 1 <= int(max_age) <= MAX_AGE_LIMIT:
            raise refusals.bad_request("invalid_max_age", f"max_age is a whole number from 1 to {MAX_AGE_LIMIT}.")
        kind = request.GET.get("kind") or ALL_KINDS
        if kind not in (*rates.KINDS.values(), ALL_KINDS):
            raise refusals.bad_request(
                "invalid_kind", f"kind is one of {', '.join(rates.KINDS.values())}, {ALL_KINDS}."
            )
        return WantedRates(_markets_of(texts), int(max_age), "" if kind == ALL_KINDS else kind)

    def answer(self, call: AdmittedCall, wanted: WantedRates) -> ApiAnswer:
        require_collection()
        asked = dict(list(wanted.markets_of_pairs.items())[: call.caller.max_rows])
        found = rates.read(asked, call.now, max_age_seconds=wanted.max_age_seconds, kind=wanted.kind)
        if not any(rate.sources for rate in found):
            raise refusals.unavailable(_why_none(found))
        capped = {"X-Rows-Capped": "true"} if len(asked) < len(wanted.markets_of_pairs) else {}
        body = rates.render(
            found, call.now, max_age_seconds=wanted.max_age_seconds, quality=rates.quality_of(found, asked),
            asked_for=len(wanted.markets_of_pairs),
        )  # fmt: skip
        return packed(orjson.dumps(body), call, capped)


def _why_none(found: Sequence[Rate]) -> str:
    reasons = {each.reason for rate in found for each in rate.excluded}
    if reasons <= {OLDER}:
        return "No source of these pairs is younger than 30 minutes."
    return f"No source of these pairs can be used: they are {', '.join(sorted(reasons - {OLDER}))}."


def _markets_of(texts: list[str]) -> dict[str, tuple[int, ...]]:
    """Returns the markets by pair, in the caller's order; all pairs when none is named."""
    known = listing.current()
    if not texts:
        return dict(known.markets_of_pairs.values())
    found = {}
    for text in texts:
        pair = known.pair(text)
        if pair is None:
            raise refusals.bad_request("invalid_pair", "A pair in pairs is not recognized.")
        found[pair[0]] = pair[1]
    return found
