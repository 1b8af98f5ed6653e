"""The process that runs people's filters: CEL, which has no loops, no side effects, no Python.

Bounds: an expression is short (checked by the asker), so its tree is small; macros over lists are
bounded by the event's size to the power of their nesting, which the asker bounds by time (it kills
this process) and the kernel by memory (RLIMIT_AS). It runs at the lowest priority.

Messages, both ways: u32 length, then msgpack. Asked: `Question`; answered: `Verdict`.
Does not: keep anything between questions but compiled expressions.
"""

import os
import re
import resource
import struct
import sys
from functools import lru_cache
from typing import Any, BinaryIO

import msgspec

MEMORY_BYTES_MAX = 1 << 30
NICENESS = 10
LENGTH = struct.Struct(">I")
VARIABLES = ("key", "value", "headers", "partition", "offset", "timestamp_ms", "size_bytes")
TYPES = ("int", "uint", "double", "string", "bool", "bytes", "list", "map", "null_type", "type")
FUNCTIONS = (
    *("size", "contains", "startsWith", "endsWith", "matches", "has", "type", "min", "max"),
    *("int", "uint", "double", "string", "bytes", "bool", "dyn", "timestamp", "duration"),
    *("getFullYear", "getMonth", "getDate", "getDayOfWeek", "getHours", "getMinutes"),
    *("getSeconds", "getMilliseconds"),
)
BOUND = re.compile(r"\.(?:all|exists|exists_one|map|filter)\(\s*(\w+)\s*,")
"""Names that a macro gives to the items of a list."""
MESSAGE_CHARACTERS_MAX = 500


class Question(msgspec.Struct, array_like=True):
    """Which of `rows` does the expression hold for?"""

    expression: str
    rows: list[dict[str, Any]]


class Verdict(msgspec.Struct, array_like=True):
    """One bool a row; or why the expression is none. `failed`: rows it could not be tried on."""

    error: str | None
    matches: list[bool]
    failed: int = 0


def main() -> int:
    """Answer until the asker is gone."""
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    asked, answered = sys.stdin.buffer, sys.stdout.buffer
    decoder = msgspec.msgpack.Decoder(Question)
    while (message := read_message(asked)) is not None:
        verdict = judge(decoder.decode(message))
        content = msgspec.msgpack.encode(verdict)
        answered.write(LENGTH.pack(len(content)) + content)
        answered.flush()
    return 0


def read_message(stream: BinaryIO) -> bytes | None:
    """Return the next message, None at the end."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    return stream.read(length)


def judge(question: Question) -> Verdict:
    """Try the expression on every row."""
    try:
        program = compiled(question.expression)
    except ValueError as error:
        return Verdict(str(error)[:MESSAGE_CHARACTERS_MAX], [])
    matches = []
    failed = 0
    for row in question.rows:
        try:
            matches.append(program.execute(row) is True)
        except Exception:  # noqa: BLE001 - a field that this event lacks, in any type of error
            matches.append(False)
            failed += 1
    return Verdict(None, matches, failed)


@lru_cache(maxsize=64)
def compiled(expression: str) -> Any:  # noqa: ANN401 - cel.Program
    """Return the program. Raises ValueError that says what is wrong."""
    import cel

    program = cel.compile(expression)
    names = (*VARIABLES, *TYPES, *BOUND.findall(expression))
    unknown = [name for name in program.variables() if name not in names]
    if unknown:
        raise ValueError(f"unknown {', '.join(unknown)}; there are {', '.join(VARIABLES)}")
    functions = [name for name in program.functions() if name.isidentifier() and name[0] != "_"]
    functions += [name for name in program.functions() if name.startswith("__")]
    unknown = [name for name in functions if name not in FUNCTIONS]
    if unknown:
        raise ValueError(f"unknown {', '.join(unknown)}(); there are {', '.join(FUNCTIONS)}")
    return program


if __name__ == "__main__":
    sys.exit(main())
