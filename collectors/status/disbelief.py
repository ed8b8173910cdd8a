"""Says in words why a pipeline's price is not believed, for pages and for the API of pipelines."""

from __future__ import annotations

from collectors.models import Pipeline
from collectors.rules import pair_rates
from collectors.rules.age import AnswerState


def word(pipeline: Pipeline, answers: AnswerState | None) -> str:
    """Returns the reason in one word, as rates give it; empty for a sound price. Reads the market with it."""
    return pair_rates.fault_of(
        is_halted=pipeline.market.halted_at is not None,
        is_old=answers is not None and answers.is_old,
        is_frozen=pipeline.frozen,
        is_unconfirmed=pipeline.is_unconfirmed,
    )


def reason(pipeline: Pipeline, answers: AnswerState | None) -> str:
    market = pipeline.market
    pair = f"{market.base}/{market.quote}"
    return {
        "": "",
        pair_rates.HALTED: f"halted by the exchange: {market.halt}",
        pair_rates.OLD: answers.reason if answers is not None else "",
        pair_rates.FROZEN: f"rows come, but their values have not changed, while {pair} moves elsewhere",
        pair_rates.UNCONFIRMED: f"its price has jumped from {pipeline.trusted_price:g}, and nothing else agrees yet"
        if pipeline.trusted_price is not None
        else "its price has jumped, and nothing else agrees yet",
    }[word(pipeline, answers)]
