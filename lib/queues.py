"""The names of Celery's queues."""

POLL_QUEUE = "poll"
DEFAULT_QUEUE = "default"
