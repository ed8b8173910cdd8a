"""Django's cache, shared by all processes through Valkey; with Valkey away each process keeps its own."""

from __future__ import annotations

from typing import Any

import orjson
import redis
from django.conf import settings
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache

SECONDS = 1.0


class JsonValues:
    """Values as JSON: what is read from a server must not be able to run."""

    def dumps(self, value: Any) -> bytes:
        return orjson.dumps(value)

    def loads(self, data: bytes) -> Any:
        return orjson.loads(data)


class SharedCache(BaseCache):
    """A cache that answers whatever Valkey does: who signs in must not be stopped by it."""

    def __init__(self, name: str, parameters: dict[str, Any]) -> None:
        super().__init__(parameters)
        options = {"serializer": JsonValues(), "socket_timeout": SECONDS, "socket_connect_timeout": SECONDS}
        self._shared = RedisCache(settings.REDIS_URL, {"KEY_PREFIX": f"django:{name}", "OPTIONS": options})
        self._own = LocMemCache(name, parameters)

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        return bool(self._ask("add", key, value, timeout, version))

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        return self._ask("get", key, default, version)

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        self._ask("set", key, value, timeout, version)

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        return bool(self._ask("touch", key, timeout, version))

    def delete(self, key: Any, version: int | None = None) -> bool:
        return bool(self._ask("delete", key, version))

    def clear(self) -> None:
        """Forgets this process's own part: Valkey holds more than this cache."""
        self._own.clear()

    def _ask(self, verb: str, *arguments: Any) -> Any:
        try:
            return getattr(self._shared, verb)(*arguments)
        except redis.RedisError:
            return getattr(self._own, verb)(*arguments)
