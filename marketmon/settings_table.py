"""The table of all settings: it is the reader, the check at start, and the tables of docs/settings.md.

A setting is here because an operator has a reason to turn it. What only a developer would turn is a constant in the
module that uses it; those that were settings once are in marketmon/retired_settings.py.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from embedded import variables
from lib import environment
from lib.environment import (
    BASE_PATH,
    CHOICE,
    JSON_OBJECT,
    LIST,
    MAPPING,
    NAME,
    NUMBER,
    PATH,
    SECRET,
    SECRETS,
    STORAGE_ADDRESS,
    SWITCH,
    TEXT,
    WEB_ADDRESS,
    WHOLE,
    Combination,
    Setting,
)  # fmt: skip
from lib.server_addresses import POSTGRES_ADDRESS, POSTGRES_ENGINE, VALKEY_ADDRESS
from marketmon.sign_in import configuration as sign_in

DECADE_DAYS = 3650
# Who needs which secret. `prepare` judges all settings before the others start, and a backup seals the keys.
OPENS_SEALED = ("web", "worker", "stream", "notify", "backup", "prepare")
OF_WEB = ("web", "backup", "prepare")
OF_ARCHIVE = ("web", "worker", "backup", "prepare")  # who reads its files, writes them, keeps and judges the settings
OF_MESSAGES = ("notify", "backup", "prepare")
PROCESSES = ("web", "worker", "beat", "pulse", "stream", "notify", "backup", "prepare")
LOCAL_POSTGRES = {
    "ENGINE": POSTGRES_ENGINE, "HOST": "localhost", "NAME": "marketmon", "USER": "marketmon",
}  # fmt: skip


class WrongSettings(ImproperlyConfigured):
    """A refusal of settings that may not be as they are set; the message has a line for each."""


@dataclass(frozen=True, slots=True)
class Section:
    """One table of the page, under the heading `title`."""

    title: str
    settings: tuple[Setting, ...]


WHERE_AND_WHO = Section(
    "Where and who",
    (
        variables.MARKETMON_HOME,
        variables.PORT,
        variables.INTERNAL_PORT,
        Setting(
            "INTERNAL_ADDRESS", TEXT, "127.0.0.1",
            "where `INTERNAL_PORT` listens; compose sets all addresses of the container, which publishes no such port",
        ),
        variables.SANDBOX_PORT,
        variables.SANDBOX,
        Setting(
            "SANDBOX_MARKETS", WHOLE, None, "so many on each simulated exchange; fewer for a small machine",
            least=1, most=100_000, usually="as many as each exchange is known for, 1,600 together",
        ),
        Setting(
            "SANDBOX_URL", WEB_ADDRESS, "", "what `{SANDBOX_URL}` in an exchange's address stands for",
            usually="`http://127.0.0.1:SANDBOX_PORT`",
        ),
        Setting(
            "SECRET_KEY", SECRET, "", "signs sessions; required", usually="generated in embedded mode",
            is_secret=True, needed_by=OPENS_SEALED,
        ),
        Setting(
            "SECRET_KEY_FALLBACKS", SECRETS, [],
            "earlier values of `SECRET_KEY`, newest first: what was signed, sealed or hashed with them is still good; "
            "[how keys are replaced](running.md#replacing-keys)",
            is_secret=True, needed_by=OPENS_SEALED,
        ),
        Setting(
            "ADMIN_API_KEY", SECRET, "",
            "opens the admin-only API; at least 32 characters; unset: those routes answer 503",
            usually="generated in embedded mode", is_secret=True, needed_by=OF_WEB,
        ),
        Setting("ADMIN_USERNAME", TEXT, "", "the first administrator", usually="`admin` in embedded mode"),
        Setting(
            "ADMIN_PASSWORD", SECRET, "", "that administrator's first password; without one nobody is created",
            usually="generated in embedded mode", is_secret=True, needed_by=("prepare",), may_be_empty=True,
        ),
        Setting(
            "ALLOWED_HOSTS", LIST, ["localhost", "127.0.0.1", "[::1]"], "host names that the web answers to"
        ),
        Setting(
            "CSRF_TRUSTED_ORIGINS", LIST, [], "origins of a proxy in front, such as `https://marketmon.example`"
        ),
        Setting(
            "BASE_PATH", BASE_PATH, "",
            "the path under which a proxy shows us, where it is not its root: [under a path](running.md#under-a-path)",
            words=(
                "accounts", "admin", "api", "badge", "beat", "board", "docs", "favicon.ico", "grids", "health",
                "incidents", "live", "mcp", "metrics", "ready", "regime", "static", "status", "status.json", "v1",
            ),
        ),
        Setting(
            "USE_TLS", SWITCH, False,
            "secure cookies, redirect to https, HSTS for this host; needs a proxy that sets `X-Forwarded-Proto`",
        ),
        Setting(
            "HSTS_SUBDOMAINS", SWITCH, False,
            "with `USE_TLS`: browsers speak nothing but TLS with every host below this one, for a year",
        ),
        Setting(
            "HSTS_PRELOAD", SWITCH, False,
            "with `USE_TLS`: asks for a place in the lists that browsers are shipped with; hard to take back",
        ),
        Setting(
            "MARKETMON_PROCESS", NAME, "",
            "which process this is; compose and `make run` set it, and secrets that it does not need are not read: "
            "[who gets which](running.md#who-gets-which-secret)",
            words=PROCESSES, usually="none: all are read",
        ),
        Setting("DEBUG", SWITCH, False, "Django's debug pages; never in production"),
        Setting(
            "LOG_LEVEL", CHOICE, "INFO", "logs are one JSON object a line on stderr",
            words=("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
        ),
        Setting(
            "LIVENESS_FILE", PATH, "",
            "touched while a process works; compose sets it, for the health checks of what has no port",
        ),
        Setting(
            "STATIC_ROOT", PATH, "", "where `collectstatic` writes", usually="`MARKETMON_HOME/static`"
        ),
    ),
)  # fmt: skip

SERVERS = Section(
    "Servers",
    (
        Setting(
            "DATABASE_URL", POSTGRES_ADDRESS, LOCAL_POSTGRES,
            "PostgreSQL 18 or newer; set it and no embedded server is started", usually="embedded", is_secret=True,
        ),
        Setting(
            "DATABASE_PASSWORD", SECRET, "",
            "its password, whatever signs it holds, instead of one in `DATABASE_URL`", usually="none", is_secret=True,
        ),
        Setting(
            "DATABASE_FOLDER", PATH, "",
            "a folder on PostgreSQL's disk, where that can be seen from here: its room is watched",
            usually="embedded; compose mounts it",
        ),
        Setting(
            "REDIS_URL", VALKEY_ADDRESS, "redis://localhost:6379/0",
            "Valkey 8 or Redis 7 and newer, `maxmemory-policy noeviction`; holds queue and caches, nothing of value",
            usually="embedded", is_secret=True,
        ),
        Setting(
            "REDIS_PASSWORD", SECRET, "",
            "its password, whatever signs it holds, instead of one in `REDIS_URL`", usually="none", is_secret=True,
        ),
        variables.WORKER_CONCURRENCY,
        # A child of ours begins at about 150 MB: with less it would be replaced after each task.
        Setting(
            "WORKER_MAX_MEMORY_PER_CHILD_KB", WHOLE, 800_000,
            "memory above which a child of a worker is replaced after its task",
            least=250_000, most=64_000_000, unit="KB",
        ),
        # Most: the killed task, 5 s later, must be redelivered by the visibility timeout of 90 s, and a container is
        # given 45 s to stop.
        Setting(
            "TASK_SOFT_TIME_LIMIT_SECONDS", WHOLE, 30, "a task is interrupted then, and killed 5 s later",
            least=5, most=40, unit="seconds",
        ),
    ),
)  # fmt: skip

COLLECTION = Section(
    "Collection",
    (
        Setting(
            "COLLECTION_ENABLED", SWITCH, True, "off: nothing is polled, the worker status answers 503"
        ),
        Setting(
            "POLL_INTERVAL_SECONDS", NUMBER, 10.0, "interval of a new exchange; edit existing ones in the admin",
            least=0.5, most=86_400, unit="seconds",
        ),
        Setting(
            "POLL_DEADLINE_SECONDS", NUMBER, 8.0,
            "all requests of one poll together; shorter than the interval, so that a hanging exchange misses only its "
            "own slot",
            least=0.1, most=39, unit="seconds",
        ),
        Setting(
            "MARKETS_DEADLINE_SECONDS", NUMBER, 20.0, "the same for loading a market list",
            least=0.1, most=39, unit="seconds",
        ),
        Setting(
            "MIN_SHARE_OF_USUAL_ROWS", NUMBER, 0.5,
            "of an answer with a smaller share of the usual rows the run says so; its rows are stored", least=0, most=1,
        ),
        # Most: what is stamped five seconds ahead is taken for the future, and two clocks may differ by twice as much.
        Setting(
            "CLOCK_TOLERANCE_SECONDS", NUMBER, 2.0,
            "a host's clock may differ from PostgreSQL's by so much; beyond it rows are stamped by PostgreSQL's, and "
            "the host deletes nothing",
            least=0.1, most=2.5, unit="seconds",
        ),
        Setting(
            "BREAKER_FAILURES", WHOLE, 3, "failures in a row after which an exchange is paused", least=1, most=100
        ),
        Setting(
            "BREAKER_PAUSE_MAX_SECONDS", NUMBER, 60.0, "pauses double from twice the interval up to this",
            least=1, most=86_400, unit="seconds",
        ),
        Setting(
            "OUTGOING_ADDRESS", TEXT, "direct",
            "name of the address that exchanges see this host under; hosts behind one address give the same, so that "
            "they share its limits; a proxy counts by its own",
        ),
        Setting(
            "LEDGER_LEAST_PROCESSES", WHOLE, 8,
            "among so many processes, or more when more were seen, an exchange's limit is divided while Valkey is away",
            least=1, most=10_000,
        ),
        # Most: the board is drawn anew by each reader once the pulse has been silent for three seconds.
        Setting(
            "PULSE_SECONDS", NUMBER, 1.0, "how often silence is looked for", least=0.1, most=2, unit="seconds"
        ),
        Setting(
            "BACKFILL_REQUESTS_PER_MINUTE", WHOLE, 6,
            "requests for missed history per exchange, made only in the pauses between polls; 0 switches backfill off",
            least=0, most=600,
        ),
        Setting(
            "CADENCE_CEILING_SECONDS", NUMBER, 300.0,
            "a pipeline whose rows come seldom is expected at least this often, whatever was learned",
            least=1, most=86_400, unit="seconds",
        ),
        Setting(
            "FROZEN_AFTER_SECONDS", NUMBER, 600.0,
            "values that stand still for longer, while the same pair moves on two other exchanges, are marked frozen",
            least=10, most=86_400, unit="seconds",
        ),
        Setting(
            "RATE_CONFLICT_SHARE", NUMBER, 0.2,
            "two sources of a pair that differ by a larger share of the lower price make no rate: one of them is wrong",
            least=0.01, most=10,
        ),
        Setting(
            "RATE_JUMP_SHARE", NUMBER, 0.2,
            "a price that moves by a larger share in one answer, alone of all exchanges, is in no rate until confirmed",
            least=0.01, most=10,
        ),
    ),
)  # fmt: skip

STREAMS = Section(
    "Streams",
    (
        Setting(
            "STREAM_SILENCE_SECONDS", NUMBER, 6.0, "without a ticker for so long a stream is no longer believed",
            least=0.5, most=300, unit="seconds",
        ),
        Setting(
            "STREAM_CONNECT_SECONDS", NUMBER, 10.0, "from dialling to the proof of delivery",
            least=0.5, most=120, unit="seconds",
        ),
        Setting(
            "STREAM_SHADOW_INTERVALS", WHOLE, 3,
            "poll intervals between two polls beside a stream, which compare prices and bring quiet markets; 0: none",
            least=0, most=10_000,
        ),
        Setting(
            "STREAM_FLUSH_SECONDS", NUMBER, 1.0,
            "how often batches are stored, or sooner at 2,000 rows; between two, the newest ticker of a market wins",
            least=0.1, most=60, unit="seconds",
        ),
        # Least: it is renewed four times in its life, by a process that looks every 0.4 s. Most: a lease that ends
        # later than in ten minutes is taken for one of a clock that was set back.
        Setting(
            "STREAM_LEASE_SECONDS", NUMBER, 10.0,
            "after a stream process dies, another, or polls, take over in this time and two seconds",
            least=2, most=300, unit="seconds",
        ),
        Setting(
            "STREAM_BACKOFF_MAX_SECONDS", NUMBER, 60.0,
            "pauses between connections double from one second up to this, fully jittered",
            least=0.1, most=3600, unit="seconds",
        ),
        # Most: binance bans an address at 300.
        Setting(
            "STREAM_DIALS_PER_FIVE_MINUTES", WHOLE, 60, "connections to one exchange", least=1, most=250
        ),
        Setting(
            "STREAM_PING_SECONDS", NUMBER, 0.0,
            "between two pings; 0: as ccxt thinks fit for the exchange, 6 to 180 s", least=0, most=300, unit="seconds",
        ),
    ),
)  # fmt: skip

RETENTION = Section(
    "Retention",
    (
        # Least: what interval a market keeps is learned from six hours.
        Setting(
            "RAW_RETENTION_HOURS", WHOLE, 48, "ticks; dropped by whole days", least=6, most=87_600, unit="hours"
        ),
        Setting(
            "RAW_RETENTION_MOST_HOURS", WHOLE, 168,
            "ticks of days that are not all rolled up, should rollups fail: the board says so after a quarter of an "
            "hour, and so long is the time to mend it. Then the disk comes first and they are lost; a week at 5,000 "
            "rows a second is 430 GB",
            least=6, most=87_600, unit="hours",
        ),
        Setting(
            "ROLLUP_RETENTION_DAYS", WHOLE, 90, "one-minute rollups", least=1, most=DECADE_DAYS, unit="days"
        ),
        Setting("RUN_RETENTION_DAYS", WHOLE, 7, "collection cycles", least=1, most=DECADE_DAYS, unit="days"),
        Setting(
            "GAP_RETENTION_DAYS", WHOLE, 90, "closed gaps, and changes of status and of transport",
            least=1, most=DECADE_DAYS, unit="days",
        ),
        Setting(
            "ORDERBOOK_RETENTION_DAYS", WHOLE, 2,
            "order books; dropped by whole days, as are the next two; 0.4 KB each at ten levels",
            least=1, most=DECADE_DAYS, unit="days",
        ),
        Setting(
            "TRADE_RETENTION_DAYS", WHOLE, 7, "trades, and how far back missed ones are asked for",
            least=1, most=DECADE_DAYS, unit="days",
        ),
        Setting("FUNDING_RETENTION_DAYS", WHOLE, 90, "funding rates", least=1, most=DECADE_DAYS, unit="days"),
        Setting(
            "AUDIT_RETENTION_DAYS", WHOLE, 400, "the audit log, the log of changed fields, and the admin's own log",
            least=31, most=DECADE_DAYS, unit="days",
        ),
        # Least: the entries of a whole month, by which its bill can be explained.
        Setting(
            "CREDIT_RETENTION_DAYS", WHOLE, 400, "the ledger of charged calls", least=31, most=DECADE_DAYS, unit="days"
        ),
    ),
)  # fmt: skip

ARCHIVE = Section(
    "Archive",
    (
        Setting(
            "ARCHIVE_URL", STORAGE_ADDRESS, "",
            "where rows are kept for good before retention drops them: [the archive](archive.md); `off`: they are not; "
            "it needs pyarrow (`requirements-archive.txt`), without which it is off",
            usually="`file://MARKETMON_HOME/archive`",
        ),
        Setting(
            "ARCHIVE_GRAIN", CHOICE, "DAY", "what a file holds; `hour` where a day has hundreds of millions of rows",
            words=("DAY", "HOUR"),
        ),
        Setting(
            "ARCHIVE_RETENTION_DAYS", WHOLE, 0, "archived files; 0: for ever", least=0, most=10 * DECADE_DAYS,
            unit="days",
        ),
        Setting(
            "ARCHIVE_MAX_GB", WHOLE, None, "above that the oldest archived days are removed; 0: never",
            least=0, most=10_000_000, unit="GB", usually="20 in embedded mode, else 0",
        ),
        Setting(
            "ARCHIVE_S3_ENDPOINT", WEB_ADDRESS, "", "the S3 server, where it is not Amazon's",
            usually="Amazon's",
        ),
        Setting("ARCHIVE_S3_REGION", TEXT, "", "its region", usually="as the machine is configured"),
        Setting(
            "ARCHIVE_S3_KEY", SECRET, "", "the access key's id", usually="as the machine is configured", is_secret=True,
            needed_by=OF_ARCHIVE,
        ),
        Setting(
            "ARCHIVE_S3_SECRET", SECRET, "", "the access key's secret", usually="as the machine is configured",
            is_secret=True, needed_by=OF_ARCHIVE,
        ),
    ),
)  # fmt: skip

BACKUPS = Section(
    "Backups",
    (
        Setting(
            "BACKUP_FOLDER", PATH, "", "where `manage.py backup` writes", usually="`MARKETMON_HOME/backups`"
        ),
        Setting(
            "BACKUP_PASSPHRASE", SECRET, "",
            "seals the keys in a backup; keep it elsewhere than the backups: without it they stay closed",
            usually="asked for", is_secret=True, needed_by=("backup",),
        ),
        Setting("BACKUPS_KEPT", WHOLE, 7, "of those that are made each night", least=1, most=1000),
    ),
)  # fmt: skip

KEYS_AND_LIMITS = Section(
    "Exchanges, keys and limits",
    (
        Setting(
            "CREDENTIALS_KEY", SECRET, "",
            "Fernet keys, newest first, that encrypt exchanges' credentials, proxies' passwords and second factors at "
            "rest",
            usually="from `SECRET_KEY`", is_secret=True, needed_by=OPENS_SEALED,
        ),
        Setting(
            "ALLOW_PRIVATE_EXCHANGE_URLS", SWITCH, None,
            "whether an exchange's address or proxy may be on a private network; asked when it is entered and again "
            "before each connect; link-local addresses never",
            usually="on in embedded mode, else off",
        ),
        Setting(
            "API_KEY_PEPPERS", MAPPING, {},
            "`1=…,2=…`: secrets that key hashes depend on; the highest number hashes new keys",
            usually="from `SECRET_KEY`", is_secret=True, needed_by=OF_WEB,
        ),
        Setting(
            "TRUSTED_PROXIES", LIST, [],
            "networks whose `X-Forwarded-For` is believed, to bind keys to addresses and to count wrong "
            "ones: [behind a proxy](running.md#behind-a-proxy)",
        ),
        Setting(
            "STATUS_BODY_MAX_AGE_SECONDS", NUMBER, 2.0,
            "age up to which a body of the pulse is handed out; 0: each request is rendered on its own",
            least=0, most=60, unit="seconds",
        ),
        Setting(
            "PUBLIC_DATA", SWITCH, True,
            "history, candles, trades, order books, funding, gaps and runs for everybody, within a limit per address; "
            "off: only with an API key, or as staff",
        ),
        Setting(
            "PUBLIC_DATA_PER_MINUTE", WHOLE, 120, "requests of one address for these without a key; 0: no limit",
            least=0, most=1_000_000, unit="requests a minute",
        ),
        Setting(
            "PUBLIC_STATUS", SWITCH, True,
            "`/status`, `/status.json` and the badges for everybody, without login; off: they do not exist",
        ),
    ),
)  # fmt: skip

METRICS = Section(
    "Metrics webhook, candles, regimes",
    (
        Setting(
            "METRICS_WEBHOOK_TOKEN", SECRET, "",
            "wanted as `Bearer` or `X-Webhook-Token` on the metrics, regime and grid routes; without one nobody is "
            "shown account balances",
            usually="none: open in embedded mode, else closed", is_secret=True, needed_by=OF_WEB,
            why_not_empty="the webhook would be open; set a token, or leave the variable out if it may be open",
        ),
        Setting(
            "METRICS_WEBHOOK_OPEN", SWITCH, None,
            "whether these routes are open to everybody while there is no token: only where none but internal services "
            "reach them",
            usually="on in embedded mode, else off",
        ),
        # Least: the ten seconds that one exchange may take of it.
        Setting(
            "METRICS_BUDGET_SECONDS", NUMBER, 60.0, "one collection, in which an exchange may take ten seconds",
            least=10, most=600, unit="seconds",
        ),
        Setting(
            "METRICS_FRESH_SECONDS", NUMBER, 60.0, "older stored quotes are asked for again, or left out",
            least=1, most=86_400, unit="seconds",
        ),
        Setting("METRICS_RETENTION_DAYS", WHOLE, 14, "snapshots", least=1, most=DECADE_DAYS, unit="days"),
        Setting(
            "METRICS_MARKETS", LIST, ["binance:BTC/USDT", "binance:ETH/USDT", "kraken:BTC/USD"],
            "`exchange:SYMBOL` list of the markets with candles and regimes",
        ),
        Setting("METRICS_TIMEFRAMES", LIST, ["1h", "4h"], "their timeframes"),
        # Least: fewer give no verdict. Most: what the API takes as `lookback`.
        Setting("CANDLE_LOOKBACK", WHOLE, 250, "candles kept ready for the regime", least=60, most=1000),
        Setting(
            "REGIME_POLICY", JSON_OBJECT, {},
            'JSON, such as `{"trend_limit": 0.7}`: any number of `metrics/rules/policy.py`',
        ),
    ),
)  # fmt: skip

INCIDENTS = Section(
    "Incidents and who is told",
    (
        Setting(
            "PUBLIC_URL", WEB_ADDRESS, "",
            "where people reach this site, such as `https://marketmon.example`: for the links in messages; with "
            "`BASE_PATH` or without",
            usually="`http://127.0.0.1:PORT`",
        ),
        Setting(
            "MAIL_URL", SECRET, "",
            "server that mail channels send by: `smtp://user:password@host:587` (STARTTLS), `smtps://…:465`, or "
            "`smtp+plain://host:25` inside one's own network",
            usually="none: mail channels fail, and say so", is_secret=True, needed_by=OF_MESSAGES,
        ),
        Setting("MAIL_FROM", TEXT, "marketmon@localhost", "sender of these mails"),
        Setting(
            "ALLOW_PRIVATE_ALERT_URLS", SWITCH, None,
            "whether a channel's address may be on a private network, such as an Alertmanager's; link-local never",
            usually="on in embedded mode, else off",
        ),
        Setting(
            "HEARTBEAT_URL", SECRET, "",
            "asked once a minute while all is well, and with `/fail` added while it is not: a dead man's switch",
            usually="none", is_secret=True, needed_by=OF_MESSAGES,
        ),
        Setting(
            "DRILL_MAX_AGE_DAYS", WHOLE, 30, "the board says so when no drill went through a channel for so long",
            least=1, most=DECADE_DAYS, unit="days",
        ),
        Setting(
            "INCIDENT_RETENTION_DAYS", WHOLE, 400, "incidents, their timelines and deliveries",
            least=14, most=DECADE_DAYS, unit="days",
        ),
    ),
)  # fmt: skip

SIGN_IN = Section("Sign-in", sign_in.SETTINGS)

SECTIONS = (
    WHERE_AND_WHO, SIGN_IN, SERVERS, COLLECTION, STREAMS, RETENTION, ARCHIVE, BACKUPS, KEYS_AND_LIMITS, METRICS,
    INCIDENTS,
)  # fmt: skip
TABLE = tuple(setting for section in SECTIONS for setting in section.settings)

COMBINATIONS = (
    *sign_in.COMBINATIONS,
    Combination(
        ("PORT", "INTERNAL_PORT"),
        lambda port, internal: port != internal,
        "the second listener needs a port of its own: what it serves is open",
    ),
    Combination(
        ("POLL_DEADLINE_SECONDS", "POLL_INTERVAL_SECONDS"),
        lambda deadline, interval: deadline < interval,
        "a poll's deadline must be below the interval, or a hanging exchange misses more than its own slot",
    ),
    Combination(
        ("POLL_DEADLINE_SECONDS", "MARKETS_DEADLINE_SECONDS", "TASK_SOFT_TIME_LIMIT_SECONDS"),
        lambda poll, markets, limit: poll + markets < limit,
        "the two deadlines together must be below the task limit: a first poll loads the market list, too",
    ),
    Combination(
        ("RAW_RETENTION_HOURS", "RAW_RETENTION_MOST_HOURS"),
        lambda usual, most: usual <= most,
        "ticks that are not rolled up must be kept for at least as long as those that are",
    ),
    Combination(
        ("STREAM_FLUSH_SECONDS", "STREAM_SILENCE_SECONDS", "STREAM_LEASE_SECONDS"),
        lambda flush, silence, lease: flush < min(silence, lease),
        "streams must be stored more often than both the silence and the lease, which storing renews",
    ),
    Combination(
        ("STREAM_PING_SECONDS",),
        lambda seconds: seconds == 0 or seconds >= 0.5,
        "must be 0, or at least 0.5 seconds: more frequent pings are an attack to an exchange",
    ),
    Combination(
        ("PULSE_SECONDS", "STATUS_BODY_MAX_AGE_SECONDS"),
        lambda pulse, age: age == 0 or pulse < age,
        "bodies must be handed out for longer than the pulse takes to make new ones, or never (0)",
    ),
)


def forget_withheld(environ: MutableMapping[str, str]) -> frozenset[str]:
    """Takes the secrets out of the environment that the process which it names does not need. Returns their names."""
    names = environment.withheld_names(TABLE, environ.get("MARKETMON_PROCESS", "").strip())
    for name in names:
        environ.pop(name, None)
    return frozenset(names)


def read(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Returns every setting's value by its variable's name. Raises WrongSettings, with a line for each fault."""
    reading = environment.read(TABLE, os.environ if environ is None else environ, COMBINATIONS)
    if reading.faults:
        count = "A setting is" if len(reading.faults) == 1 else f"{len(reading.faults)} settings are"
        lines = [f"{count} wrong, and nothing is started (docs/settings.md explains each):", *reading.faults]
        raise WrongSettings("\n  ".join(lines))
    return reading.values
