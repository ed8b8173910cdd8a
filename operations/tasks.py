"""The Celery tasks of managing exchanges: what machines ask for, or what takes longer than a page may."""

from __future__ import annotations

import json
from typing import Any

import structlog
from celery import shared_task

from exchanges import connectivity, secrets
from exchanges.connectivity import Finding
from exchanges.models import Exchange
from lib import clock
from operations import commands, onboarding, probe, probe_words, progress

log = structlog.get_logger(__name__)

PROBE_SECONDS = 300
REFRESH_SECONDS = 600  # a hundred exchanges that use up their budgets, six at a time, and as much again


@shared_task(name="exchanges.tasks.judge_markets")
def judge_markets(**_: Any) -> list[str]:
    """Takes out markets that were bad in every one of the last polls. Twice is harmless: they are out."""
    return commands.blacklist_bad_markets(clock.now())


@shared_task(name="exchanges.tasks.check_connectivity")
def check_connectivity(*, exchange_id: str, occasion: str = "on demand", **_: Any) -> dict[str, str]:
    """Runs the four checks. Twice is harmless: half a minute later is soon enough for another request."""
    return commands.check(exchange_id, occasion=occasion, now=clock.now()).words()


@shared_task(name="exchanges.tasks.add_exchange")
def add_exchange(
    *,
    exchange_id: str,
    by: str,
    origin: str = "",
    wanted: dict[str, Any] | None = None,
    sealed: str = "",
    progress_key: str = "",
    **_: Any,
) -> None:
    """Runs `add` for a page that shows progress: `sealed` is what is wanted as JSON, sealed by `exchanges.secrets`.

    Twice is harmless: an active exchange stays as it is.
    """
    try:
        wanted = json.loads(secrets.unseal_text(sealed)) if sealed else wanted
        first = _first_look(exchange_id, wanted or {})
        progress.note(progress_key, exchange_id, progress.RUNNING, findings=first)
        report = commands.add(exchange_id, by=by, now=clock.now(), origin=origin, wanted=wanted)
    except (commands.CommandRefused, connectivity.CannotOpen) as refusal:
        found = refusal.report.findings if isinstance(refusal, commands.Unsuitable) else ()
        progress.note(progress_key, exchange_id, progress.FAILED, findings=found, message=str(refusal))
        log.info("exchange_not_added", exchange=exchange_id, by=by, reason=str(refusal))
    except Exception as error:  # whoever watches the page is told; the log has the rest
        progress.note(progress_key, exchange_id, progress.FAILED, message=f"{type(error).__name__}; see the log")
        raise
    else:
        progress.note(progress_key, exchange_id, progress.DONE, findings=report.findings)


@shared_task(
    name="exchanges.tasks.probe_exchange",
    acks_late=False,
    soft_time_limit=PROBE_SECONDS,
    time_limit=PROBE_SECONDS + 5,
)
def probe_exchange(*, exchange_id: str, sealed: str, progress_key: str, **_: Any) -> None:
    """Runs a probe for a page that shows it; `sealed` is how to reach the exchange, as for `add_exchange`."""
    progress.note_probe(progress_key, exchange_id, progress.RUNNING)
    try:
        wanted = json.loads(secrets.unseal_text(sealed))
        ways = {name: wanted[name] for name in ("base_url", "proxy", "ca_file") if wanted.get(name)}
        report = probe.probe(onboarding.candidate(exchange_id, ways), now=clock.now().timestamp())
    except commands.CommandRefused as refusal:
        progress.note_probe(progress_key, exchange_id, progress.FAILED, message=str(refusal))
    except Exception as error:  # whoever watches the page is told; the log has the rest
        progress.note_probe(progress_key, exchange_id, progress.FAILED, message=f"{type(error).__name__}; see the log")
        raise
    else:
        progress.note_probe(progress_key, exchange_id, progress.DONE, page=probe_words.page(report))


@shared_task(
    name="exchanges.tasks.refresh_exchanges",
    acks_late=False,
    soft_time_limit=REFRESH_SECONDS,
    time_limit=REFRESH_SECONDS + 5,
)
def refresh_exchanges(*, by: str, origin: str = "", exchange_ids: list[str] | None = None, **_: Any) -> None:
    """Runs `refresh` for a page. Twice is harmless: what was refreshed half a minute ago is not asked again."""
    commands.refresh(by=by, now=clock.now(), origin=origin, exchange_ids=exchange_ids)


def _first_look(exchange_id: str, wanted: dict[str, Any]) -> tuple[Finding, ...]:
    """Returns what can be said before the exchange is asked."""
    commands.require_known(exchange_id)
    report = connectivity.check(
        Exchange(id=exchange_id, **wanted),
        market_count=None,
        budget_seconds=onboarding.CHECKS_SECONDS,
        health=Finding("health", "asking"),
    )
    return report.findings
