"""Rows of a settings table: name, type, range, default, and whether it does anything yet.

A setting that is not there yet is known by name. It can be set to the one value that describes what
the node does anyway, its default here; every other value is refused, so that nobody relies on what
does not happen. Texts are kept as given; `parse` makes typed values of them, `written` what clients
are told.
Does not: hold the tables (`topic_settings`, `node_settings` do).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum, IntEnum
from itertools import islice
from typing import TypeAlias

from trimaran.errors import ErrorCode, RequestError

Value: TypeAlias = bool | int | float | str | tuple[str, ...]
Table: TypeAlias = Mapping[str, "Setting"]

VALUE_CHARACTERS_MAX = 4_096
"""Longest text of a value."""
SETTINGS_MAX = 100
"""Settings of one topic or node in one request: several times those that there are."""
PROBLEMS_MAX = 5
"""So many problems a refusal names: finding the name that was meant takes time, and a client is
told a thousand characters. Who mends these is told the next."""
INT_MAX = 2**31 - 1
LONG_MAX = 2**63 - 1

_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_DECIMAL = re.compile(
    r"[+-]?([0-9]{1,20}(\.[0-9]{0,20})?|\.[0-9]{1,20})([eE][+-]?[0-9]{1,3})?",
)


class Kind(IntEnum):
    """The type of a value; the numbers are those of DescribeConfigs."""

    BOOLEAN = 1
    STRING = 2
    INT = 3
    LONG = 5
    DOUBLE = 6
    LIST = 7


class Effect(Enum):
    """What setting it does."""

    LIVE = "takes effect"
    ACCEPTED = "accepted, promises no more than what always holds"
    WAITING = "not there yet: only its default is accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One row. `low` and `high` bound numbers, both included; `choices` are the words allowed."""

    name: str
    kind: Kind
    default: str
    doc: str
    effect: Effect = Effect.LIVE
    low: int | float | None = None
    high: int | float | None = None
    choices: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        """What a value must be, in words."""
        if self.kind is Kind.BOOLEAN:
            return "true or false"
        if self.kind is Kind.LIST:
            return f"a list of {', '.join(self.choices)}"
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.kind is Kind.STRING:
            return f"1 to {self.high} characters"
        return f"{self.kind.name.lower()} from {self.low} to {self.high}"


def table_of(*rows: Setting) -> Table:
    """Return the rows by name, in their order; every default is a value that parses."""
    table = {row.name: row for row in rows}
    assert len(table) == len(rows), "names are unique"
    assert all(parse(row, row.default) is not None for row in rows)
    return table


def parse(setting: Setting, text: str) -> Value:
    """Return the value that `text` stands for.

    Raises:
        RequestError: INVALID_CONFIG, with what is allowed.
    """
    value = _parse(setting, text.strip()) if len(text) <= VALUE_CHARACTERS_MAX else None
    if value is None:
        raise RequestError(
            ErrorCode.INVALID_CONFIG,
            f"{setting.name}: expected {setting.allowed}, found {text[:100]!r}",
        )
    return value


def written(setting: Setting, text: str) -> str:
    """Return the value that `text` stands for as Kafka tells it: without spaces, signs and zeros.

    Raises:
        RequestError: as `parse`.
    """
    value = parse(setting, text)
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def check_count(count: int) -> None:
    """Return if a request may name so many settings of one topic or node.

    Raises:
        RequestError: INVALID_CONFIG.
    """
    if count > SETTINGS_MAX:
        raise RequestError(
            ErrorCode.INVALID_CONFIG, f"expected at most {SETTINGS_MAX} settings, found {count}"
        )


def check(table: Table, settings: Mapping[str, str]) -> None:
    """Return if every one of `settings` may be set.

    Raises:
        RequestError: INVALID_CONFIG that names what may not, and why (the first `PROBLEMS_MAX`);
            or there are more settings than `check_count` allows.
    """
    check_count(len(settings))
    found = (_problem(table, name, text) for name, text in settings.items())
    problems = list(islice((problem for problem in found if problem is not None), PROBLEMS_MAX))
    if problems:
        raise RequestError(ErrorCode.INVALID_CONFIG, "; ".join(problems))


def _problem(table: Table, name: str, text: str) -> str | None:
    setting = table.get(name)
    if setting is None:
        nearest = get_close_matches(name[:100], table, n=1)
        hint = f"did you mean {nearest[0]}? " if nearest else ""
        return f"unknown setting {name[:100]!r}: {hint}known are {', '.join(table)}"
    try:
        value = parse(setting, text)
    except RequestError as error:
        return str(error)
    if setting.effect is Effect.WAITING and value != parse(setting, setting.default):
        return f"{name}: not there yet, only {setting.default!r} is accepted, found {text[:100]!r}"
    return None


def _parse(setting: Setting, text: str) -> Value | None:
    match setting.kind:
        case Kind.BOOLEAN:
            return {"true": True, "false": False}.get(text.lower())
        case Kind.INT | Kind.LONG:
            number = int(text) if _INTEGER.fullmatch(text) else None
            return number if number is not None and _is_in_range(setting, number) else None
        case Kind.DOUBLE:
            decimal = float(text) if _DECIMAL.fullmatch(text) else None
            return decimal if decimal is not None and _is_in_range(setting, decimal) else None
        case Kind.STRING:
            fits = text in setting.choices if setting.choices else _is_in_range(setting, len(text))
            return text if fits else None
        case Kind.LIST:  # pragma: no branch (mypy proves that there is no other)
            words = [word.strip() for word in text.split(",")] if text else []
            fits = all(word in setting.choices for word in words)
            return tuple(dict.fromkeys(words)) if fits else None


def _is_in_range(setting: Setting, number: float) -> bool:
    assert setting.low is not None
    assert setting.high is not None
    return setting.low <= number <= setting.high
