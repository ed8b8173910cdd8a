"""The counts in Valkey: a sliding window per exchange and address, kept by one script, on Valkey's clock.

A window is a hash of buckets; a bucket counts until all of it has left, so no window of the exchange's, wherever it
begins, holds more than the budget.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from collectors.rate_limits.memory import process_name
from collectors.rules.breaker import ban_seconds
from collectors.rules.rate_limits import Priority, RateBudget
from lib import clock, valkey
from lib.presence import Presence

PREFIX = "marketmon:ledger"
PROCESSES = Presence(f"{PREFIX}:processes")
PRESENCE_SECONDS = 300.0  # a process that asked nobody for so long is not counted
BUDGETS = f"{PREFIX}:budgets"

# 1 granted or not, 2 milliseconds to wait, 3 is that the exchange's pause, 4 thousandths of units used.
TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local span, bucket, usable = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local allowed, cost, word = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local left, may_wait_for_empty = tonumber(ARGV[7]), ARGV[8] == '1'
local remembered, owed = tonumber(ARGV[9]), tonumber(ARGV[10])
local index = math.floor(now / bucket)
local lasting = math.ceil(span + bucket) + 1000

-- a process comes back from an outage: what it knows is used, from now on
if remembered > 0 and redis.call('EXISTS', KEYS[1]) == 0 then
    redis.call('HSET', KEYS[1], index .. ':remembered', remembered)
    redis.call('PEXPIRE', KEYS[1], lasting)
end
if owed > 0 then
    redis.call('HINCRBYFLOAT', KEYS[1], index .. ':' .. word, owed)
    redis.call('PEXPIRE', KEYS[1], lasting)
end

local used, entries, gone = 0, {}, {}
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
    local at, units = tonumber(string.match(fields[i], '^%d+')), tonumber(fields[i + 1])
    if (at + 1) * bucket + span > now then
        used = used + units
        entries[#entries + 1] = {at, units}
    else
        gone[#gone + 1] = fields[i]
    end
end
if #gone > 0 then redis.call('HDEL', KEYS[1], unpack(gone)) end

local wait, is_pause = 0, 0
for i = 2, 3 do
    local pause = tonumber(redis.call('GET', KEYS[i]) or '0') - now
    if pause > wait then wait, is_pause = pause, 1 end
end
local room = allowed - cost
if room < 0 and may_wait_for_empty then room = 0 end
if wait == 0 and room < 0 then
    wait = 86400000
elseif wait == 0 and used > room + 0.000001 then
    table.sort(entries, function(a, b) return a[1] < b[1] end)
    local rest = used
    for _, entry in ipairs(entries) do
        rest = rest - entry[2]
        wait = (entry[1] + 1) * bucket + span - now
        if rest <= room + 0.000001 then break end
    end
    wait = math.max(wait, 1)
end

if wait > left then
    local minute = math.floor(now / 60000)
    if redis.call('HINCRBY', KEYS[4], minute .. ':' .. word, 1) == 1 then
        for _, field in ipairs(redis.call('HKEYS', KEYS[4])) do
            if tonumber(string.match(field, '^%d+')) <= minute - 60 then redis.call('HDEL', KEYS[4], field) end
        end
    end
    redis.call('EXPIRE', KEYS[4], 3600)
end
if wait > 0 then return {0, math.ceil(wait), is_pause, math.floor(used * 1000)} end

-- what is larger than the whole window is counted for longer
local late = math.max(0, math.floor((cost / usable - 1) * span / bucket + 0.999))
redis.call('HINCRBYFLOAT', KEYS[1], (index + late) .. ':' .. word, cost)
redis.call('PEXPIRE', KEYS[1], lasting + math.ceil(late * bucket))
return {1, 0, 0, math.floor((used + cost) * 1000)}
"""

# A pause is never shortened.
PAUSE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = now + tonumber(ARGV[1])
if ends > tonumber(redis.call('GET', KEYS[1]) or '0') then redis.call('SET', KEYS[1], ends, 'PXAT', ends) end
"""

# What is heard in the pause of a ban is still that ban. The count is forgotten once requests have been allowed for as
# long as the pause was.
NOTE_BAN = """
local bans = tonumber(redis.call('GET', KEYS[1]) or '0')
if bans > 0 and redis.call('EXISTS', KEYS[2]) == 1 then return bans - 1 end
redis.call('SET', KEYS[1], bans + 1)
return bans
"""


class RateAccount(NamedTuple):
    """One exchange over one outgoing address."""

    exchange_id: str
    address: str

    @property
    def key(self) -> str:
        return f"{PREFIX}:{self.exchange_id}:{self.address}"

    @property
    def pause_key(self) -> str:
        return f"{self.key}:pause"

    @property
    def dial_pause_key(self) -> str:
        return f"{self.key}:dial-pause"

    @property
    def bans_key(self) -> str:
        return f"{self.key}:bans"

    @property
    def held_key(self) -> str:
        return f"{self.key}:held"


class RequestPermission(NamedTuple):
    """The answer to a request: 0 seconds if it was counted and may leave; `is_pause`: the exchange wants a wait."""

    wait_seconds: float
    is_pause: bool
    used_units: float


def take(
    line: RateAccount,
    budget: RateBudget,
    *,
    priority: Priority,
    cost: float,
    seconds_left: float,
    is_dial: bool,
    remembered_units: float = 0.0,
    owed_units: float = 0.0,
) -> RequestPermission:
    """Counts one request if there is room for it. Raises redis.RedisError."""
    keys = [line.key, line.pause_key, line.dial_pause_key if is_dial else line.pause_key, line.held_key]
    granted, wait_ms, is_pause, used = _scripts().take(
        keys,
        [
            budget.span_seconds * 1000,
            budget.bucket_seconds * 1000,
            budget.usable,
            budget.allowed(priority),
            cost,
            priority.value,
            max(0.0, seconds_left) * 1000,
            int(budget.may_wait_for_empty(priority, cost)),
            remembered_units,
            owed_units,
        ],
    )
    return RequestPermission(0.0 if granted else wait_ms / 1000, bool(is_pause), used / 1000)


def pause(line: RateAccount, seconds: float, *, is_dial: bool) -> None:
    """Pauses all requests to this exchange for so long. Raises redis.RedisError."""
    _scripts().pause([line.dial_pause_key if is_dial else line.pause_key], [int(seconds * 1000)])


def note_ban(line: RateAccount, *, is_dial: bool) -> float:
    """Counts a ban that names no end; returns its pause, twice that of the ban before. Raises redis.RedisError."""
    bans_before = int(_scripts().note_ban([line.bans_key, line.dial_pause_key if is_dial else line.pause_key]))
    seconds = ban_seconds(bans_before)
    valkey.client().pexpire(line.bans_key, int(2000 * seconds))
    return seconds


def lift_pause(line: RateAccount) -> float:
    """Lets requests and handshakes leave again; how many seconds of the longer pause were left. Raises
    redis.RedisError."""
    keys = line.pause_key, line.dial_pause_key
    with valkey.client().pipeline(transaction=True) as pipe:
        for key in keys:
            pipe.pttl(key)
        pipe.delete(*keys, line.bans_key)
        *left, _ = pipe.execute()
    return float(max(0, *left)) / 1000


def say_present() -> tuple[int, int]:
    """Says that this process asks exchanges; returns how many do, and its place in them. Raises redis.RedisError."""
    names = PROCESSES.say(process_name(), now=clock.unix(), seconds=PRESENCE_SECONDS)
    return len(names), names.index(process_name())


def say_budget(line: RateAccount, budget: RateBudget) -> None:
    """Writes the budget down for the page. Raises redis.RedisError."""
    said = f"{budget.units} {budget.seconds} {clock.unix()}"
    valkey.client().hset(BUDGETS, f"{line.exchange_id} {line.address}", said)


class _Scripts(NamedTuple):
    take: Any
    pause: Any
    note_ban: Any


@cache
def _scripts() -> _Scripts:
    client = valkey.client()
    return _Scripts(*(client.register_script(script) for script in (TAKE, PAUSE, NOTE_BAN)))
