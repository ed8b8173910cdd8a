"""Start-up checks of the regime's numbers and the watched markets: values that cannot be meant stop a start."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from metrics.models import PERIOD_SECONDS
from metrics.rules.policy import UnknownNumber, with_changes


@register()
def check_metrics_settings(**_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    try:
        needed = with_changes(settings.REGIME_POLICY).least_bars
        if needed > settings.CANDLE_LOOKBACK:
            words = (
                f"CANDLE_LOOKBACK={settings.CANDLE_LOOKBACK}: REGIME_POLICY wants least_bars={needed:g} for a verdict."
            )
            found.append(Error(words, hint="Keep as many candles, or want fewer.", id="metrics.E004"))
    except UnknownNumber as error:
        found.append(Error(str(error), hint="Names and defaults are in metrics/rules/policy.py.", id="metrics.E001"))
    if unknown := sorted(set(settings.METRICS_TIMEFRAMES) - set(PERIOD_SECONDS)):
        hint = f"Known: {', '.join(PERIOD_SECONDS)}."
        found.append(Error(f"METRICS_TIMEFRAMES has {', '.join(unknown)}.", hint=hint, id="metrics.E002"))
    if wrong := [name for name in settings.METRICS_MARKETS if ":" not in name]:
        words = f"METRICS_MARKETS has {', '.join(wrong)} without an exchange."
        found.append(Error(words, hint="Write binance:BTC/USDT.", id="metrics.E003"))
    return found


@register(Tags.security, deploy=True)
def check_webhook_token(**_: Any) -> list[CheckMessage]:
    """Returns a warning while the webhook has no token: it is open to everybody, or to nobody but INTERNAL_PORT's."""
    if settings.METRICS_WEBHOOK_TOKEN or (settings.INTERNAL_PORT and not settings.METRICS_WEBHOOK_OPEN):
        return []
    found = "open to everybody" if settings.METRICS_WEBHOOK_OPEN else "closed, and answer 401"
    words = f"Without a token the routes /metrics, /metrics/*, /regime/* and /grids/* are {found}."
    return [Warning(words, hint="Set METRICS_WEBHOOK_TOKEN, or INTERNAL_PORT and ask there.", id="metrics.W001")]
