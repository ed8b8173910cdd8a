"""Reads settings from environment variables by a table that also says what is allowed.

Standard library only: the supervisor reads by it, too. A wrong value is never raised for on its
own: it is collected, so that one start names all of them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

N = TypeVar("N", int, float)
FILE_SUFFIX = "_FILE"  # NAME_FILE names a file that holds the secret, as Docker and Kubernetes hand secrets over
YES = frozenset({"1", "true", "yes", "on"})
NO = frozenset({"0", "false", "no", "off"})
SHOWN_CHARACTERS = 80
PLAIN = re.compile(r"[\w.,:/+*@%-]+", re.ASCII)  # needs no quotes to be read in a sentence


class WrongValue(ValueError):
    """One setting's fault: its name, its value unless that is a secret, and what is allowed."""


@dataclass(frozen=True, slots=True)
class ValueKind:
    """A kind of value: how a text becomes one (ValueError when it cannot), and the words for what is allowed."""

    read: Callable[[Setting, str], Any]
    allowed: Callable[[Setting], str]
    is_default_when_empty: bool = False
    is_verbatim: bool = False  # a blank around it is part of it


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable. `least` and `most` are allowed themselves."""

    name: str
    kind: ValueKind
    default: Any
    sentence: str
    least: float | None = None
    most: float | None = None
    unit: str = ""
    words: tuple[str, ...] = ()  # those of a choice
    usually: str = ""  # the default in words, where it is not a value that is the same everywhere
    is_secret: bool = False  # its value is never shown, and a file may hold it
    why_not_empty: str = ""  # what an empty value would open
    may_be_empty: bool = False  # although it is a secret: empty, it opens nothing
    needed_by: tuple[str, ...] = ()  # the processes that are given this secret, where not all are

    @property
    def fault_of_empty(self) -> str:
        """Returns why it may not be set to nothing; empty where it may. Nobody means a secret without a character."""
        if self.why_not_empty or not self.is_secret or self.may_be_empty or self.kind.is_default_when_empty:
            return self.why_not_empty
        return "give it a value, or leave the variable out"

    @property
    def allowed(self) -> str:
        return self.kind.allowed(self)


@dataclass(frozen=True, slots=True)
class Combination:
    """A condition on several settings together, as a pure function of their values in the order of `names`."""

    names: tuple[str, ...]
    holds: Callable[..., bool]
    sentence: str

    def fault(self, values: Mapping[str, Any]) -> str:
        """Returns the fault in words; empty when the combination holds."""
        chosen = [values[name] for name in self.names]
        if self.holds(*chosen):
            return ""
        named = ", ".join(f"{name}={number(value)}" for name, value in zip(self.names, chosen, strict=True))
        return f"{named}: {self.sentence}"


@dataclass(slots=True)
class EnvironmentReading:
    """All values, the default where one was wrong, and a sentence for each wrong one."""

    values: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    wrong: set[str] = field(default_factory=set)


def read(
    settings: Iterable[Setting], environ: Mapping[str, str], combinations: Iterable[Combination] = ()
) -> EnvironmentReading:
    """Reads every setting's value. A combination is judged only where each of its settings is sound."""
    reading = EnvironmentReading()
    for setting in settings:
        try:
            reading.values[setting.name] = value_of(setting, environ)
        except WrongValue as fault:
            reading.values[setting.name] = setting.default
            reading.faults.append(str(fault))
            reading.wrong.add(setting.name)
    for combination in combinations:
        if reading.wrong.isdisjoint(combination.names) and (sentence := combination.fault(reading.values)):
            reading.faults.append(sentence)
    return reading


def withheld_names(settings: Iterable[Setting], process: str) -> set[str]:
    """Returns the variables of secrets that a process of this name does not need, however they may be given."""
    names = {each.name for each in settings if process and each.needed_by and process not in each.needed_by}
    return names | {name + FILE_SUFFIX for name in names}


def value_of(setting: Setting, environ: Mapping[str, str]) -> Any:
    """Returns the value in effect; the default when the variable is not set. Raises WrongValue."""
    text = text_of(setting, environ)
    if text is None:
        return setting.default
    if not setting.kind.is_verbatim:
        text = text.strip()
    if setting.fault_of_empty and not text.strip():
        raise WrongValue(f"{setting.name} is set but empty: {setting.fault_of_empty}")
    if not text and setting.kind.is_default_when_empty:
        return setting.default
    try:
        return setting.kind.read(setting, text)
    except ValueError:
        raise WrongValue(f"{setting.name}{_shown(setting, text)}: must be {setting.allowed}") from None


def text_of(setting: Setting, environ: Mapping[str, str]) -> str | None:
    """Returns what is set, by itself or, for a secret, in NAME_FILE's file; None when nothing is. Raises WrongValue."""
    path = environ.get(setting.name + FILE_SUFFIX, "") if setting.is_secret else ""
    if not path:
        return environ.get(setting.name)
    if setting.name in environ:
        raise WrongValue(f"{setting.name} and {setting.name}{FILE_SUFFIX} are both set: leave one of them out")
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise WrongValue(f"{setting.name}{FILE_SUFFIX}={path}: the file cannot be read: {reason}") from None
    return text.removesuffix("\n").removesuffix("\r")


def number(value: Any) -> str:
    """Returns a value as a person would write it: 8, not 8.0."""
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)


def _shown(setting: Setting, text: str) -> str:
    if setting.is_secret:
        return " (its value is not shown)"
    short = text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
    return f"={short if PLAIN.fullmatch(short) else repr(short)}"


# --- kinds ------------------------------------------------------------------------------------------------------------


def _read_switch(setting: Setting, text: str) -> bool:
    word = text.lower()
    if word not in YES | NO:
        raise ValueError
    return word in YES


def _read_whole(setting: Setting, text: str) -> int:
    if not text.isascii():  # int() reads the digits of every script
        raise ValueError
    return _in_range(setting, int(text))


def _read_number(setting: Setting, text: str) -> float:
    value = float(text)
    if not text.isascii() or not math.isfinite(value):
        raise ValueError
    return _in_range(setting, value)


def _in_range(setting: Setting, value: N) -> N:
    too_small = setting.least is not None and value < setting.least
    too_large = setting.most is not None and value > setting.most
    if too_small or too_large:
        raise ValueError
    return value


def _range_in_words(setting: Setting, noun: str) -> str:
    unit = f" of {setting.unit}" if setting.unit else ""
    if setting.least is None or setting.most is None:
        return f"{noun}{unit}"
    return f"{noun}{unit} from {number(setting.least)} to {number(setting.most)}"


def _read_choice(setting: Setting, text: str) -> str:
    if text.upper() not in setting.words:
        raise ValueError
    return text.upper()


def _read_name(setting: Setting, text: str) -> str:
    if text not in setting.words:
        raise ValueError
    return text


def _read_list(setting: Setting, text: str) -> list[str]:
    return [item for part in text.split(",") if (item := part.strip())]


def _read_secrets(setting: Setting, text: str) -> list[str]:
    """Reads secrets with commas or line ends between."""
    return [secret for part in text.replace("\n", ",").split(",") if (secret := part.strip())]


def _read_mapping(setting: Setting, text: str) -> dict[str, str]:
    """Reads `1=…,2=…`; a value may hold `=`, and is kept as it is, because mappings hold secrets."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if not all(name.strip() and separator for name, separator, _ in pairs):
        raise ValueError
    return {name.strip(): value for name, _, value in pairs}


def _read_json_object(setting: Setting, text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError
    return found


def _read_base_path(setting: Setting, text: str) -> str:
    """Reads `/marketmon`; a slash at its end does not count. One that begins as our routes do could not be told from
    them where a proxy takes it away."""
    path = text.rstrip("/")
    if path and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", path, re.ASCII):
        raise ValueError
    if not {".", ".."}.isdisjoint(path.split("/")) or f"{path}/".split("/")[1] in setting.words:
        raise ValueError
    return path


def _read_web_address(setting: Setting, text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]\S*", text):
        raise ValueError
    return text


def _read_storage_address(setting: Setting, text: str) -> str:
    if text.lower() == "off":
        return "off"
    scheme, _, rest = text.partition("://")
    is_folder, is_bucket = scheme == "file" and rest.startswith("/"), scheme == "s3" and rest.strip("/") != ""
    if not (is_folder or is_bucket) or "@" in rest.partition("/")[0]:
        raise ValueError
    return text


SWITCH = ValueKind(_read_switch, lambda _: "on or off (1 or 0, true or false, yes or no)")
WHOLE = ValueKind(_read_whole, lambda setting: _range_in_words(setting, "a whole number"))
NUMBER = ValueKind(_read_number, lambda setting: _range_in_words(setting, "a number"))
CHOICE = ValueKind(_read_choice, lambda setting: f"one of {', '.join(setting.words)}")
NAME = ValueKind(_read_name, lambda setting: f"one of {', '.join(setting.words)}", is_default_when_empty=True)
TEXT = ValueKind(lambda _, text: text, lambda _: "text", is_default_when_empty=True)
PATH = ValueKind(lambda _, text: text, lambda _: "a path", is_default_when_empty=True)
SECRET = ValueKind(lambda _, text: text, lambda _: "text, taken as it is", is_verbatim=True)
SECRETS = ValueKind(_read_secrets, lambda _: "texts, separated by commas or lines", is_verbatim=True)
LIST = ValueKind(_read_list, lambda _: "a list, separated by commas")
MAPPING = ValueKind(_read_mapping, lambda _: "a list like 1=…,2=…", is_verbatim=True)
JSON_OBJECT = ValueKind(_read_json_object, lambda _: "a JSON object")
BASE_PATH = ValueKind(
    _read_base_path, lambda _: "a path like /marketmon that begins with no route of ours", is_default_when_empty=True
)
STORAGE_ADDRESS = ValueKind(
    _read_storage_address, lambda _: "file:///a/folder, s3://bucket/folder, or off", is_default_when_empty=True
)
WEB_ADDRESS = ValueKind(_read_web_address, lambda _: "an http or https address", is_default_when_empty=True)
