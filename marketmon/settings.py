"""Every setting, top to bottom; each environment variable is read once, here. docs/settings.md explains them."""

from __future__ import annotations

from pathlib import Path

import environ
import orjson

from lib import home
from lib.valkey import broker_url
from marketmon import logs
from web import navigation

BASE_DIR = Path(__file__).resolve().parent.parent
home.load_environment()
env = environ.Env()

# --- Django ---------------------------------------------------------------------------------------------------
DEBUG = env.bool("DEBUG", False)
SECRET_KEY = env.str("SECRET_KEY", "")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
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
    "django.contrib.admin",
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
    "marketmon",
    "access",
    "exchanges",
    "collectors",
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
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
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

STATIC_URL = "/static/"
STATIC_ROOT = env.path("STATIC_ROOT", default=str(home.home_dir() / "static"))()
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True  # unfold's and our own files are served without a collectstatic step
WHITENOISE_AUTOREFRESH = False

# --- transport security: on as soon as the site is served over TLS --------------------------------------------------
USE_TLS = env.bool("USE_TLS", False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = USE_TLS
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
SESSION_COOKIE_SAMESITE = "Strict"
SESSION_COOKIE_AGE = 12 * 3600
SECURE_SSL_REDIRECT = USE_TLS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if USE_TLS else None
SECURE_REDIRECT_EXEMPT = [r"^(health|live|ready)/?$"]  # probes inside the container network speak plain HTTP
SECURE_HSTS_SECONDS = 31_536_000 if USE_TLS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = USE_TLS and env.bool("HSTS_SUBDOMAINS", False)
SECURE_HSTS_PRELOAD = USE_TLS and env.bool("HSTS_PRELOAD", False)
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
FILE_UPLOAD_HANDLERS = ["web.request_bodies.NoUploads"]

# --- PostgreSQL -------------------------------------------------------------------------------------------------------
DATABASES = {"default": env.db("DATABASE_URL", default="postgres://marketmon@localhost/marketmon")}
DATABASES["default"].update(CONN_MAX_AGE=60, CONN_HEALTH_CHECKS=True)
DATABASES["default"].setdefault("OPTIONS", {}).update(
    connect_timeout=3,
    keepalives_idle=10,
    keepalives_interval=3,
    keepalives_count=3,
    tcp_user_timeout=15_000,  # ms until what was sent and never acknowledged is an error, not a wait
    options="-c statement_timeout=10000 -c lock_timeout=3000 -c idle_in_transaction_session_timeout=30000",
)
RAW_RETENTION_HOURS = env.int("RAW_RETENTION_HOURS", 48)
RAW_RETENTION_MOST_HOURS = env.int("RAW_RETENTION_MOST_HOURS", 168)  # of days that are not yet rolled up
ROLLUP_RETENTION_DAYS = env.int("ROLLUP_RETENTION_DAYS", 90)
RUN_RETENTION_DAYS = env.int("RUN_RETENTION_DAYS", 7)
GAP_RETENTION_DAYS = env.int("GAP_RETENTION_DAYS", 90)
ORDERBOOK_RETENTION_DAYS = env.int("ORDERBOOK_RETENTION_DAYS", 2)
TRADE_RETENTION_DAYS = env.int("TRADE_RETENTION_DAYS", 7)
FUNDING_RETENTION_DAYS = env.int("FUNDING_RETENTION_DAYS", 90)
COVERAGE_DAYS = env.int("COVERAGE_DAYS", 100)  # the status page shows 90
CREDIT_RETENTION_DAYS = env.int("CREDIT_RETENTION_DAYS", 400)

# --- Valkey -----------------------------------------------------------------------------------------------------------
REDIS_URL = env.str("REDIS_URL", "redis://localhost:6379/0")
VALKEY_TIMEOUT_SECONDS = env.float("VALKEY_TIMEOUT_SECONDS", 1.0)

# --- Celery (the reason for each value: docs/settings.md) --------------------------------------------------------------
CELERY_BROKER_URL = broker_url(REDIS_URL)
CELERY_TIMEZONE = "UTC"
CELERY_ENABLE_UTC = True
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_SOFT_TIME_LIMIT = env.int("TASK_SOFT_TIME_LIMIT_SECONDS", 30)
CELERY_TASK_TIME_LIMIT = CELERY_TASK_SOFT_TIME_LIMIT + 5
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_CREATE_MISSING_QUEUES = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_MAX_TASKS_PER_CHILD = env.int("WORKER_MAX_TASKS_PER_CHILD", 20_000)
CELERY_WORKER_MAX_MEMORY_PER_CHILD = env.int("WORKER_MAX_MEMORY_PER_CHILD_KB", 800_000)
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
}
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0.1, "interval_max": 0.5}
CELERY_BEAT_SCHEDULER = "marketmon.scheduler:LeaderScheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 1
DJANGO_CELERY_BEAT_TZ_AWARE = True
DJANGO_STRUCTLOG_CELERY_ENABLED = True
LIVENESS_FILE = env.str("LIVENESS_FILE", "")  # touched while a process works, for its container's health check

# --- collection -----------------------------------------------------------------------------------------------------
COLLECTION_ENABLED = env.bool("COLLECTION_ENABLED", True)
POLL_INTERVAL_SECONDS = env.float("POLL_INTERVAL_SECONDS", 10.0)
POLL_DEADLINE_SECONDS = env.float("POLL_DEADLINE_SECONDS", 8.0)
MARKETS_DEADLINE_SECONDS = env.float("MARKETS_DEADLINE_SECONDS", 20.0)
MARKETS_REFRESH_SECONDS = env.float("MARKETS_REFRESH_SECONDS", 3600.0)
MIN_SHARE_OF_USUAL_ROWS = env.float("MIN_SHARE_OF_USUAL_ROWS", 0.5)
BREAKER_FAILURES = env.int("BREAKER_FAILURES", 3)
BREAKER_PAUSE_MAX_SECONDS = env.float("BREAKER_PAUSE_MAX_SECONDS", 60.0)
DENIED_PAUSE_SECONDS = env.float("DENIED_PAUSE_SECONDS", 900.0)
THROTTLE_PAUSE_SECONDS = env.float("THROTTLE_PAUSE_SECONDS", 30.0)
# Never empty: an address of the sandbox that resolved to nothing would send simulated exchanges to the real venues.
SANDBOX_URL = env.str("SANDBOX_URL", "") or f"http://127.0.0.1:{env.int('SANDBOX_PORT', 9100)}"
OUTGOING_ADDRESS = env.str("OUTGOING_ADDRESS", "direct")  # hosts that exchanges see under one address share a name
LEDGER_LEAST_PROCESSES = env.int("LEDGER_LEAST_PROCESSES", 8)  # that share a budget while Valkey is away
PULSE_SECONDS = env.float("PULSE_SECONDS", 1.0)
STREAM_SILENCE_SECONDS = env.float("STREAM_SILENCE_SECONDS", 6.0)  # without a ticker: no longer believed
STREAM_CONNECT_SECONDS = env.float("STREAM_CONNECT_SECONDS", 10.0)  # from dialling to the first proof of delivery
STREAM_PING_SECONDS = env.float("STREAM_PING_SECONDS", 0.0)  # 0: as ccxt thinks fit for each venue (6 to 180 s)
STREAM_LEASE_SECONDS = env.float("STREAM_LEASE_SECONDS", 10.0)
STREAM_FLUSH_SECONDS = env.float("STREAM_FLUSH_SECONDS", 1.0)
STREAM_FLUSH_ROWS = env.int("STREAM_FLUSH_ROWS", 2000)
STREAM_RUN_SECONDS = env.float("STREAM_RUN_SECONDS", 5.0)  # a run for each batch would be a row a second
STREAM_GOOD_UPDATES = env.int("STREAM_GOOD_UPDATES", 3)  # that bring a polled exchange back to its stream
STREAM_SHADOW_INTERVALS = env.int("STREAM_SHADOW_INTERVALS", 3)  # a poll beside the stream every so many; 0: none
STREAM_DISAGREEMENT_SHARE = env.float("STREAM_DISAGREEMENT_SHARE", 0.01)  # of a price: twice the usual spread and lag
STREAM_BACKOFF_SECONDS = env.float("STREAM_BACKOFF_SECONDS", 1.0)
STREAM_BACKOFF_MAX_SECONDS = env.float("STREAM_BACKOFF_MAX_SECONDS", 60.0)
STREAM_DIALS_PER_FIVE_MINUTES = env.int("STREAM_DIALS_PER_FIVE_MINUTES", 60)  # binance bans at 300
STREAM_RECYCLE_SECONDS = env.float("STREAM_RECYCLE_SECONDS", 72_000.0)  # 20 h: binance hangs up after 24
BACKFILL_REQUESTS_PER_MINUTE = env.int("BACKFILL_REQUESTS_PER_MINUTE", 6)
BACKFILL_DEADLINE_SECONDS = env.float("BACKFILL_DEADLINE_SECONDS", 3.0)
DEPTH_DEADLINE_SECONDS = env.float("DEPTH_DEADLINE_SECONDS", 5.0)
CADENCE_CEILING_SECONDS = env.float("CADENCE_CEILING_SECONDS", 300.0)
FROZEN_AFTER_SECONDS = env.float("FROZEN_AFTER_SECONDS", 600.0)
FROZEN_LEAST_MOVE_SHARE = env.float("FROZEN_LEAST_MOVE_SHARE", 0.001)

# --- what operators may set for an exchange -----------------------------------------------------------------------------
CREDENTIALS_KEY = env.str("CREDENTIALS_KEY", "")  # Fernet keys, newest first; without one it follows from SECRET_KEY
CONNECTIVITY_BUDGET_SECONDS = env.float("CONNECTIVITY_BUDGET_SECONDS", 10.0)
# Everything on one machine (the supervisor's embedded servers): exchanges there may be on this machine, too.
ALLOW_PRIVATE_EXCHANGE_URLS = env.bool("ALLOW_PRIVATE_EXCHANGE_URLS", "DATABASE_URL" in home.names_from_files)

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
ADMIN_API_KEY = env.str("ADMIN_API_KEY", "")
API_KEY_PEPPERS = env.dict("API_KEY_PEPPERS", default={})  # `1=...,2=...`; the highest number hashes new keys
API_KEY_CACHE_SECONDS = env.float("API_KEY_CACHE_SECONDS", 0.5)  # a revoked key is refused everywhere within a second
TRUSTED_PROXIES = env.list("TRUSTED_PROXIES", default=[])  # networks whose X-Forwarded-For is believed
STATUS_BODY_MAX_AGE_SECONDS = env.float("STATUS_BODY_MAX_AGE_SECONDS", 2.0)  # 0: each request is rendered on its own
PUBLIC_STATUS = env.bool("PUBLIC_STATUS", True)  # /status, /status.json and the badges, without login
RATE_OUTLIER_SHARE = env.float("RATE_OUTLIER_SHARE", 0.05)  # further than this from the median of three or more

# --- metrics: webhook, candles, regimes, grids (metrics/rules/policy.py has the regime's numbers) -------------------------------
METRICS_WEBHOOK_TOKEN = env.str("METRICS_WEBHOOK_TOKEN", "")  # empty: open, as an internal service
METRICS_BUDGET_SECONDS = env.float("METRICS_BUDGET_SECONDS", 60.0)
METRICS_EXCHANGE_SECONDS = env.float("METRICS_EXCHANGE_SECONDS", 10.0)
METRICS_WAIT_SECONDS = env.float("METRICS_WAIT_SECONDS", 30.0)  # for a collection that is already running
METRICS_FRESH_SECONDS = env.float("METRICS_FRESH_SECONDS", 60.0)  # older quotes are asked for again, or left out
METRICS_RETENTION_DAYS = env.int("METRICS_RETENTION_DAYS", 14)
METRICS_MARKETS = env.list("METRICS_MARKETS", default=["binance:BTC/USDT", "binance:ETH/USDT", "kraken:BTC/USD"])
METRICS_TIMEFRAMES = env.list("METRICS_TIMEFRAMES", default=["1h", "4h"])
CANDLE_SETTLE_SECONDS = env.float("CANDLE_SETTLE_SECONDS", 5.0)  # an exchange's clock may be behind ours
CANDLE_HOLES_SECONDS = env.float("CANDLE_HOLES_SECONDS", 3600.0)  # how often candles that did not come are asked for
CANDLE_LOOKBACK = env.int("CANDLE_LOOKBACK", 250)
REGIME_POLICY = env.json("REGIME_POLICY", default={})  # {"trend_limit": 0.7}: any number of metrics/rules/policy.py

REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["drf_orjson_renderer.renderers.ORJSONRenderer", "web.drf.BrowsableRenderer"],
    "DEFAULT_PARSER_CLASSES": ["web.drf.GuardedJSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "web.drf.JsonUnlessBrowser",
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_PAGINATION_CLASS": "web.drf.CursorPages",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "web.errors.problem_response",
    "ORJSON_RENDERER_OPTIONS": (orjson.OPT_UTC_Z,),
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}

SPECTACULAR_SETTINGS = {
    "TITLE": "marketmon",
    "DESCRIPTION": "Crypto market data collection, and whether it can be trusted.",
    "VERSION": "0.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "marketmon.openapi.describe_refusals",
    ],
}

# --- admin ------------------------------------------------------------------------------------------------------
UNFOLD = navigation.unfold(static_url=STATIC_URL, with_public_status=PUBLIC_STATUS)

# --- logs: one JSON object a line, on stderr -----------------------------------------------------------------------
LOG_LEVEL = env.str("LOG_LEVEL", "INFO")
LOGGING = logs.configuration(LOG_LEVEL)
logs.configure_structlog()
