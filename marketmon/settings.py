"""Every setting, top to bottom. Those of the environment are read by marketmon/settings_table.py."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

import orjson

from lib import home, server_addresses
from lib.database import limits
from lib.server_addresses import with_password
from lib.valkey import broker_limits, broker_tls, broker_url
from marketmon import __version__, logs, settings_table
from marketmon.sign_in import configuration as sign_in
from web import navigation

BASE_DIR = Path(__file__).resolve().parent.parent
home.load_environment()
WITHHELD = settings_table.forget_withheld(os.environ)  # what other processes know
server_addresses.forget_libpq_names()
value = settings_table.read()  # raises for all that are wrong at once, so that no process runs with one

VERSION = __version__

# --- Django ---------------------------------------------------------------------------------------------------
DEBUG = value["DEBUG"]
# A process that is not given it signs, opens and compares nothing; Django wants one all the same.
SECRET_KEY = value["SECRET_KEY"] or (secrets.token_urlsafe(64) if value["MARKETMON_PROCESS"] else "")
SECRET_KEY_FALLBACKS = value["SECRET_KEY_FALLBACKS"]
BASE_PATH = value["BASE_PATH"]
FORCE_SCRIPT_NAME = BASE_PATH or None  # whatever path a proxy leaves of it: see web/gateway.py
ALLOWED_HOSTS = value["ALLOWED_HOSTS"]
CSRF_TRUSTED_ORIGINS = value["CSRF_TRUSTED_ORIGINS"]
ROOT_URLCONF = "marketmon.urls"
WSGI_APPLICATION = "marketmon.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
APPEND_SLASH = False
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
USE_I18N = False
FORMAT_MODULE_PATH = ["marketmon.formats"]

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "web.apps.LateAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "django_structlog",
    "auditlog",
    *sign_in.apps(value),
    "marketmon",
    "archive",
    "access",
    "exchanges",
    "collectors",
    "incidents",
    "operations",
    "metrics",
    "board",
]

MIDDLEWARE = [
    "web.middleware.CorrelationMiddleware",
    "web.request_bodies.LimitedBodies",
    "django.middleware.security.SecurityMiddleware",
    "web.compression.StaticFiles",
    "web.compression.Pages",
    "web.middleware.SecurityPolicy",
    "web.middleware.LiveData",
    "web.middleware.RefuseControlCharacters",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "web.middleware.KnownHosts",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    *(["marketmon.sign_in.second_factor.RequireSecondFactor"] if value["SECOND_FACTOR"] == "REQUIRED" else []),
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "web.middleware.Audit",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

STATIC_URL = f"{BASE_PATH}/static/"
STATIC_ROOT = str(Path(value["STATIC_ROOT"] or home.home_dir() / "static").absolute())
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True  # unfold's and our own files are served without a collectstatic step
WHITENOISE_AUTOREFRESH = False

# --- transport security: on as soon as the site is served over TLS --------------------------------------------------
USE_TLS = value["USE_TLS"]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = USE_TLS
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = f"{BASE_PATH}/"
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
# With "Strict" a link from a chat or a mail leads who has signed in to the sign-in page. Other sites' forms and scripts
# send no cookie with "Lax" either, and what changes something asks for the CSRF token, too.
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 3600
SECURE_SSL_REDIRECT = USE_TLS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if USE_TLS else None
# Probes, Prometheus and n8n inside the container network speak plain HTTP, and know the web by another name.
INSIDE = re.escape(f"{BASE_PATH}/".lstrip("/"))
SECURE_REDIRECT_EXEMPT = [rf"^{INSIDE}(health|live|ready)/?$", rf"^{INSIDE}(metrics|regime|grids)(/|$)"]
SECURE_HSTS_SECONDS = 31_536_000 if USE_TLS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = USE_TLS and value["HSTS_SUBDOMAINS"]
SECURE_HSTS_PRELOAD = USE_TLS and value["HSTS_PRELOAD"]
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]  # other hosts of a domain are covered by choice
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
FILE_UPLOAD_HANDLERS = ["web.request_bodies.NoUploads"]

# --- sign-in (marketmon/sign_in) --------------------------------------------------------------------------------------
globals().update(sign_in.settings(value))
# What must count for all processes: codes of a second factor that were used, and guesses at them.
CACHES = {"default": {"BACKEND": "web.caches.SharedCache", "LOCATION": "sign-in"}}

# --- PostgreSQL -------------------------------------------------------------------------------------------------------
# The server's own side: what a host that has vanished still holds is free after seconds, not after the system's hours.
KEEPALIVES = "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3"
DATABASES = {"default": {**value["DATABASE_URL"]}}
if value["DATABASE_PASSWORD"]:
    DATABASES["default"]["PASSWORD"] = value["DATABASE_PASSWORD"]
DATABASES["default"].update(CONN_MAX_AGE=60, CONN_HEALTH_CHECKS=True)
DATABASES["default"].setdefault("OPTIONS", {}).update(
    connect_timeout=3,
    keepalives_idle=10,
    keepalives_interval=3,
    keepalives_count=3,
    tcp_user_timeout=15_000,  # ms until what was sent and never acknowledged is an error, not a wait
    options=f"{limits.OPTIONS} {KEEPALIVES}",
)
DATABASES["default"]["DISABLE_SERVER_SIDE_CURSORS"] = True  # a pooler would give its next part to another session
DATABASE_FOLDER = value["DATABASE_FOLDER"]
BACKUPS_ARE_EXPECTED = bool(value["BACKUP_FOLDER"] or value["BACKUP_PASSPHRASE"])
BACKUP_FOLDER = value["BACKUP_FOLDER"] or str(home.home_dir() / "backups")
BACKUP_PASSPHRASE = value["BACKUP_PASSPHRASE"]
BACKUPS_KEPT = value["BACKUPS_KEPT"]
RAW_RETENTION_HOURS = value["RAW_RETENTION_HOURS"]
RAW_RETENTION_MOST_HOURS = value["RAW_RETENTION_MOST_HOURS"]
ROLLUP_RETENTION_DAYS = value["ROLLUP_RETENTION_DAYS"]
RUN_RETENTION_DAYS = value["RUN_RETENTION_DAYS"]
GAP_RETENTION_DAYS = value["GAP_RETENTION_DAYS"]
ORDERBOOK_RETENTION_DAYS = value["ORDERBOOK_RETENTION_DAYS"]
TRADE_RETENTION_DAYS = value["TRADE_RETENTION_DAYS"]
FUNDING_RETENTION_DAYS = value["FUNDING_RETENTION_DAYS"]
AUDIT_RETENTION_DAYS = value["AUDIT_RETENTION_DAYS"]
CREDIT_RETENTION_DAYS = value["CREDIT_RETENTION_DAYS"]
ARCHIVE_URL = value["ARCHIVE_URL"] or f"file://{home.home_dir() / 'archive'}"
ARCHIVE_RETENTION_DAYS = value["ARCHIVE_RETENTION_DAYS"]
ARCHIVE_MAX_GB = value["ARCHIVE_MAX_GB"]
if ARCHIVE_MAX_GB is None:
    ARCHIVE_MAX_GB = 20 if "DATABASE_URL" in home.names_from_files else 0  # one machine's disk is for more than this
ARCHIVE_GRAIN = value["ARCHIVE_GRAIN"]
ARCHIVE_S3_ENDPOINT = value["ARCHIVE_S3_ENDPOINT"]
ARCHIVE_S3_REGION = value["ARCHIVE_S3_REGION"]
ARCHIVE_S3_KEY = value["ARCHIVE_S3_KEY"]
ARCHIVE_S3_SECRET = value["ARCHIVE_S3_SECRET"]

# --- Valkey -----------------------------------------------------------------------------------------------------------
REDIS_URL = value["REDIS_URL"]
if value["REDIS_PASSWORD"]:
    REDIS_URL = with_password(REDIS_URL, value["REDIS_PASSWORD"])

# --- Celery (the reason for each value: docs/settings.md) --------------------------------------------------------------
CELERY_BROKER_URL = broker_url(REDIS_URL)
CELERY_BROKER_USE_SSL = broker_tls(REDIS_URL)
CELERY_TIMEZONE = "UTC"
CELERY_ENABLE_UTC = True
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_SOFT_TIME_LIMIT = value["TASK_SOFT_TIME_LIMIT_SECONDS"]
CELERY_TASK_TIME_LIMIT = CELERY_TASK_SOFT_TIME_LIMIT + 5
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_CREATE_MISSING_QUEUES = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_MAX_TASKS_PER_CHILD = 20_000  # about a day of a child's life: what leaks ends with it
CELERY_WORKER_MAX_MEMORY_PER_CHILD = value["WORKER_MAX_MEMORY_PER_CHILD_KB"]
CELERY_WORKER_PROC_ALIVE_TIMEOUT = 30
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 8
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False  # liveness is rows stored; replies without TTL would pile up in Valkey
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_timeout": 5,
    "socket_connect_timeout": 3,
    "socket_keepalive": True,
    "health_check_interval": 2,
    "retry_on_timeout": False,
    "visibility_timeout": 90,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    **broker_limits(REDIS_URL),
}
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0.1, "interval_max": 0.5}
CELERY_BEAT_SCHEDULER = "marketmon.scheduler:LeaderScheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 1
DJANGO_CELERY_BEAT_TZ_AWARE = True
DJANGO_STRUCTLOG_CELERY_ENABLED = True
LIVENESS_FILE = value["LIVENESS_FILE"]

# --- collection -----------------------------------------------------------------------------------------------------
COLLECTION_ENABLED = value["COLLECTION_ENABLED"]
POLL_INTERVAL_SECONDS = value["POLL_INTERVAL_SECONDS"]
POLL_DEADLINE_SECONDS = value["POLL_DEADLINE_SECONDS"]
MARKETS_DEADLINE_SECONDS = value["MARKETS_DEADLINE_SECONDS"]
MIN_SHARE_OF_USUAL_ROWS = value["MIN_SHARE_OF_USUAL_ROWS"]
CLOCK_TOLERANCE_SECONDS = value["CLOCK_TOLERANCE_SECONDS"]
BREAKER_FAILURES = value["BREAKER_FAILURES"]
BREAKER_PAUSE_MAX_SECONDS = value["BREAKER_PAUSE_MAX_SECONDS"]
# Never empty: an address of the sandbox that resolved to nothing would send simulated exchanges to the real ones.
SANDBOX_URL = value["SANDBOX_URL"] or f"http://127.0.0.1:{value['SANDBOX_PORT']}"
OUTGOING_ADDRESS = value["OUTGOING_ADDRESS"]
LEDGER_LEAST_PROCESSES = value["LEDGER_LEAST_PROCESSES"]
PULSE_SECONDS = value["PULSE_SECONDS"]
STREAM_SILENCE_SECONDS = value["STREAM_SILENCE_SECONDS"]
STREAM_CONNECT_SECONDS = value["STREAM_CONNECT_SECONDS"]
STREAM_PING_SECONDS = value["STREAM_PING_SECONDS"]
STREAM_LEASE_SECONDS = value["STREAM_LEASE_SECONDS"]
STREAM_FLUSH_SECONDS = value["STREAM_FLUSH_SECONDS"]
STREAM_SHADOW_INTERVALS = value["STREAM_SHADOW_INTERVALS"]
STREAM_BACKOFF_MAX_SECONDS = value["STREAM_BACKOFF_MAX_SECONDS"]
STREAM_DIALS_PER_FIVE_MINUTES = value["STREAM_DIALS_PER_FIVE_MINUTES"]
BACKFILL_REQUESTS_PER_MINUTE = value["BACKFILL_REQUESTS_PER_MINUTE"]
CADENCE_CEILING_SECONDS = value["CADENCE_CEILING_SECONDS"]
FROZEN_AFTER_SECONDS = value["FROZEN_AFTER_SECONDS"]
RATE_CONFLICT_SHARE = value["RATE_CONFLICT_SHARE"]
RATE_JUMP_SHARE = value["RATE_JUMP_SHARE"]

# --- what operators may set for an exchange -----------------------------------------------------------------------------
CREDENTIALS_KEY = value["CREDENTIALS_KEY"]
# Everything on one machine (the supervisor's embedded servers): exchanges there may be on this machine, too.
ALLOW_PRIVATE_EXCHANGE_URLS = value["ALLOW_PRIVATE_EXCHANGE_URLS"]
if ALLOW_PRIVATE_EXCHANGE_URLS is None:
    ALLOW_PRIVATE_EXCHANGE_URLS = "DATABASE_URL" in home.names_from_files

# --- changes made by people (auditlog) -------------------------------------------------------------------------------
AUDITLOG_INCLUDE_TRACKING_MODELS = (
    {
        "model": "exchanges.Exchange",
        "include_fields": [
            "name",
            "enabled",
            "blacklisted",
            "poll_interval_seconds",
            "transport",
            "priority",
            "budget_units",
            "budget_seconds",
            "market_filter",
            "base_url",
            "proxy",
            "ca_file",
        ],
        "mask_fields": ["proxy"],
        "mask_callable": "web.redaction.hide_login",  # keeps the address, hides who may use it
    },
    {
        "model": "auth.User",
        "include_fields": ["username", "email", "password", "is_active", "is_staff", "is_superuser"],
        "mask_fields": ["password"],
    },
)
AUDITLOG_CID_GETTER = "web.middleware.correlation_id"  # the header itself is a stranger's text of any length
AUDITLOG_DISABLE_REMOTE_ADDR = True  # X-Forwarded-For is a stranger's text too, and no address stops the write

# --- programs that call us ----------------------------------------------------------------------------------------
ADMIN_API_KEY = value["ADMIN_API_KEY"]
API_KEY_PEPPERS = value["API_KEY_PEPPERS"]
TRUSTED_PROXIES = value["TRUSTED_PROXIES"]
STATUS_BODY_MAX_AGE_SECONDS = value["STATUS_BODY_MAX_AGE_SECONDS"]
PUBLIC_STATUS = value["PUBLIC_STATUS"]
PUBLIC_DATA = value["PUBLIC_DATA"]
PUBLIC_DATA_PER_MINUTE = value["PUBLIC_DATA_PER_MINUTE"]

# --- the second listener (web/internal.py) -------------------------------------------------------------------------------
INTERNAL_PORT = value["INTERNAL_PORT"]
INTERNAL_ADDRESS = value["INTERNAL_ADDRESS"]

# --- metrics: webhook, candles, regimes, grids (metrics/rules/policy.py has the regime's numbers) -------------------------------
METRICS_WEBHOOK_TOKEN = value["METRICS_WEBHOOK_TOKEN"]
# Everything on one machine: the web listens on loopback only. Elsewhere the whole internet may be able to ask.
METRICS_WEBHOOK_OPEN = value["METRICS_WEBHOOK_OPEN"]
if METRICS_WEBHOOK_OPEN is None:
    METRICS_WEBHOOK_OPEN = "DATABASE_URL" in home.names_from_files
METRICS_BUDGET_SECONDS = value["METRICS_BUDGET_SECONDS"]
METRICS_FRESH_SECONDS = value["METRICS_FRESH_SECONDS"]
METRICS_RETENTION_DAYS = value["METRICS_RETENTION_DAYS"]
METRICS_MARKETS = value["METRICS_MARKETS"]
METRICS_TIMEFRAMES = value["METRICS_TIMEFRAMES"]
CANDLE_LOOKBACK = value["CANDLE_LOOKBACK"]
REGIME_POLICY = value["REGIME_POLICY"]

# --- incidents and who is told -----------------------------------------------------------------------------------
PUBLIC_URL = value["PUBLIC_URL"].rstrip("/") or f"http://127.0.0.1:{value['PORT']}"
PUBLIC_URL = PUBLIC_URL if PUBLIC_URL.endswith(BASE_PATH) else PUBLIC_URL + BASE_PATH
MAIL_URL = value["MAIL_URL"]
DEFAULT_FROM_EMAIL = SERVER_EMAIL = value["MAIL_FROM"]
ALLOW_PRIVATE_ALERT_URLS = value["ALLOW_PRIVATE_ALERT_URLS"]
if ALLOW_PRIVATE_ALERT_URLS is None:
    ALLOW_PRIVATE_ALERT_URLS = "DATABASE_URL" in home.names_from_files
HEARTBEAT_URL = value["HEARTBEAT_URL"]
DRILL_MAX_AGE_DAYS = value["DRILL_MAX_AGE_DAYS"]
INCIDENT_RETENTION_DAYS = value["INCIDENT_RETENTION_DAYS"]

REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["drf_orjson_renderer.renderers.ORJSONRenderer", "web.drf.BrowsableRenderer"],
    "DEFAULT_PARSER_CLASSES": ["web.drf.GuardedJSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "web.drf.JsonUnlessBrowser",
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"],
    "DEFAULT_FILTER_BACKENDS": ["web.queries.StrictFilters"],
    "DEFAULT_PAGINATION_CLASS": "web.drf.CursorPages",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "web.errors.problem_response",
    "ORJSON_RENDERER_OPTIONS": (orjson.OPT_UTC_Z,),
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}

SPECTACULAR_SETTINGS = {
    "TITLE": "marketmon",
    "DESCRIPTION": "Crypto market data collection, and whether it can be trusted.",
    "VERSION": __version__,
    "SERVERS": [{"url": BASE_PATH}] if BASE_PATH else [],
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "ENUM_NAME_OVERRIDES": {
        "ChannelKindEnum": "incidents.models.ChannelKind",
        "EntryKindEnum": "incidents.models.EntryKind",
        "DeliveryStateEnum": "incidents.models.DeliveryState",
        "MarketStateEnum": "exchanges.models.MarketState",
        "GapStateEnum": "collectors.models.GapState",
        "HoleStateEnum": "collectors.models.market_data.HoleState",
    },
    "PREPROCESSING_HOOKS": ["marketmon.openapi.without_escapes"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "marketmon.openapi.describe_refusals",
    ],
}

# --- admin ------------------------------------------------------------------------------------------------------
UNFOLD = navigation.unfold(
    static_url=STATIC_URL, with_public_status=PUBLIC_STATUS, with_second_factor=value["SECOND_FACTOR"] != "OFF"
)

# --- logs: one JSON object a line, on stderr -----------------------------------------------------------------------
LOG_LEVEL = value["LOG_LEVEL"]
LOGGING = logs.configuration(LOG_LEVEL)
logs.configure_structlog()
