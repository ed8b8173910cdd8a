"""The one place that reads the wall clock; everything else takes `now` as a parameter."""

from datetime import UTC, datetime


def now() -> datetime:
    return datetime.now(UTC)


def seconds_z(moment: datetime) -> str:
    """Returns `2026-03-03T10:30:47Z`: the whole second, cut and not rounded, so that no stamp lies in the future."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def milliseconds_z(moment: datetime) -> str:
    """Returns `2026-01-06T10:00:00.000Z`: the metrics webhook API's form."""
    moment = moment.astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def microseconds_z(moment: datetime) -> str:
    """Returns `2026-01-06T10:00:00.000000Z`: the form of our own APIs."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def moment(seconds: float) -> datetime:
    """Returns the moment of a Unix second, in UTC."""
    return datetime.fromtimestamp(seconds, UTC)
