"""The settings that `up` itself reads, before there is Django."""

from __future__ import annotations

from lib.environment import PATH, SWITCH, WHOLE, Setting

MARKETMON_HOME = Setting(
    "MARKETMON_HOME", PATH, "", "folder for embedded data, logs and generated secrets", usually="`.marketmon`"
)
PORT = Setting("PORT", WHOLE, 8000, "where the web listens, on 127.0.0.1 (embedded mode)", least=1, most=65_535)
INTERNAL_PORT = Setting(
    "INTERNAL_PORT", WHOLE, None,
    "a second listener for programs inside the network: `/metrics`, `/regime/*`, `/grids/*` and the probes, without "
    "the webhook's token",
    least=1, most=65_535, usually="none",
)  # fmt: skip
SANDBOX_PORT = Setting("SANDBOX_PORT", WHOLE, 9100, "where the sandbox listens, on 127.0.0.1", least=1, most=65_535)
SANDBOX = Setting("SANDBOX", SWITCH, True, "off: no sandbox is started (embedded mode)")
WORKER_CONCURRENCY = Setting(
    "WORKER_CONCURRENCY", WHOLE, 6,
    "children of one worker process, half of them for polls alone; more than the exchanges that may hang at once",
    least=1, most=500,
)  # fmt: skip
