"""A probe's report as a page of text: what was found, what it means, and a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from feeds.base import Quote
from feeds.streams import has_stream
from operations.probe import ProbeReport, lost_fields

SKEW_WORTH_TELLING = 2.0  # the Date header has whole seconds
NEARLY_ALL = 0.95


def page(report: ProbeReport) -> str:
    """Returns the report as lines of text, the verdict first."""
    lines = [f"{report.name or report.exchange} at {report.address}", "", verdict(report), ""]
    return "\n".join([*lines, *_findings(report)])


def verdict(report: ProbeReport) -> str:
    """Returns in one or two sentences whether it can be collected, and how well."""
    if report.failure:
        return f"It cannot be collected from here: {report.failure}. {report.advice}".rstrip()
    if not report.polled:
        return "It answers, but not one of its markets could be read."
    total = sum(report.markets.values())
    said = f"It can be collected: {report.polled} of {total} markets in {report.poll_requests} requests"
    said += f", every {max(report.least_interval_seconds, 1):g} s or slower."
    return f"{said} {_stream_verdict(report)}"


def _stream_verdict(report: ProbeReport) -> str:
    pushed = report.pushed
    if pushed is None or not pushed.quotes:
        return "It will be polled; no stream was proven."
    lost = lost_fields(report)
    if lost:
        return f"It streams, but without {', '.join(lost)}."
    return f"It streams: {len(pushed.quotes)} of {pushed.asked} markets within {pushed.first_after_seconds or 0:.1f} s."


def _findings(report: ProbeReport) -> Iterator[str]:
    if report.needs_credentials:
        yield f"credentials    needed even for public data: {', '.join(report.needs_credentials)}"
    if report.latencies_ms:
        yield f"answers in     {min(report.latencies_ms)} ms (of {len(report.latencies_ms)} tries)"
    yield f"its clock      {_skew(report)}"
    if report.failure:
        return
    idle = f"; {report.inactive} more do not trade" if report.inactive else ""
    yield f"markets        {_counts(report.markets) or 'none'}{idle}"
    for kind, (came, count) in report.by_kind.items():
        yield f"polled {kind:<8}{came} of {count}"
    for part in report.missing:
        yield f"left out       {part.part}: {part.kind}: {part.reason}"
    for reason, count in report.rejected.items():
        yield f"refused rows   {count}: {reason}"
    yield f"by poll        {_shares(report.poll_fields)}"
    for name, result in report.others.items():
        yield f"{name:<15}{result}"
    yield from _stream(report)
    for sample in report.samples:
        yield ""
        yield f"{sample.symbol}: {_reading(sample.quote)}"
        yield f"  sent: {sample.raw}"


def _skew(report: ProbeReport) -> str:
    if report.skew_seconds is None:
        return "not known: no answer had a time of its own"
    if abs(report.skew_seconds) < SKEW_WORTH_TELLING:
        return "agrees with ours"
    return f"{abs(report.skew_seconds):.0f} s {'ahead of' if report.skew_seconds > 0 else 'behind'} ours"


def _stream(report: ProbeReport) -> Iterator[str]:
    if not has_stream(report.exchange):
        yield "stream         none that we can read: it is polled"
        return
    pushed = report.pushed
    if pushed is None:
        yield "stream         not tried: nothing was polled"
        return
    after = pushed.first_after_seconds
    first = "nothing came" if after is None else f"the first after {after:.1f} s"
    yield f"stream         {len(pushed.quotes)} of {pushed.asked} markets heard, {first}"
    if pushed.complaint:
        yield f"               {pushed.complaint}"
    if report.push_fields:
        yield f"by stream      {_shares(report.push_fields)}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))


def _shares(shares: Mapping[str, float]) -> str:
    return ", ".join(_share(name, share) for name, share in shares.items()) or "nothing"


def _share(name: str, share: float) -> str:
    if share >= NEARLY_ALL:
        return name
    return f"no {name}" if not share else f"{name} of {share:.0%}"


def _reading(quote: Quote) -> str:
    values = {name: value for name, value in quote._asdict().items() if name not in ("symbol", "received_at")}
    return ", ".join(f"{name} {'null' if value is None else format(value, '.10g')}" for name, value in values.items())
