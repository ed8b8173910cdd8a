"""The same answer as somebody would write it by hand: FastAPI, asyncpg and orjson, on the same tables."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import orjson
from fastapi import FastAPI, Response

ROWS = """
SELECT m.source, m.base, max(p.received_at) AS stored_at, max(p.gaps_24h) AS gaps
FROM exchanges_market AS m JOIN collectors_pipeline AS p ON p.market_id = m.id
WHERE m.active AND NOT m.blacklisted {more}
GROUP BY m.source, m.base ORDER BY m.source, m.base
"""
ALL = ROWS.format(more="")
ONE_SOURCE = ROWS.format(more="AND m.source = $1")


@asynccontextmanager
async def _lifespan(site: FastAPI) -> AsyncIterator[None]:
    parts = urlsplit(os.environ["DATABASE_URL"])
    host = parse_qs(parts.query).get("host", [parts.hostname])[0]
    site.state.pool = await asyncpg.create_pool(
        host=host, user=parts.username, password=parts.password, database=parts.path.strip("/"), min_size=2, max_size=8
    )
    yield
    await site.state.pool.close()


application = FastAPI(lifespan=_lifespan)


@application.get("/status")
async def status(source: str | None = None) -> Response:
    if source is None:
        rows = await application.state.pool.fetch(ALL)
    else:
        rows = await application.state.pool.fetch(ONE_SOURCE, source)
    now = int(time.time())
    data = [_row(row, now) for row in rows]
    meta = {"symbol": None, "source": source, "interval": None, "count": len(data), "next_cursor": None}
    return Response(orjson.dumps({"data": data, "meta": meta}), media_type="application/json")


def _row(row: Any, now: int) -> dict[str, Any]:
    stored_at: datetime | None = row["stored_at"]
    if stored_at is None:
        delay, stamp = None, None
    else:
        delay = max(0, now - int(stored_at.timestamp()))
        stamp = stored_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    word = "down" if delay is None or delay > 300 else "degraded" if delay >= 60 else "healthy"
    return {
        "source": row["source"],
        "symbol": row["base"],
        "last_ingested": stamp,
        "delay_seconds": delay,
        "status": word,
        "gaps_last_24h": row["gaps"],
    }
