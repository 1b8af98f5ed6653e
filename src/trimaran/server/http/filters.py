"""Filters of events, run in a process of their own that is killed when one runs too long.

The process starts with the first filter. One question at a time; whoever's question kills it gets
a problem that says so, the next question starts it again.
Does not: evaluate anything itself.
"""

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from trimaran.server.http.filter_process import LENGTH, VARIABLES, Question, Verdict
from trimaran.server.http.models.base import FieldProblem
from trimaran.server.http.problems import FILTER, TOO_MANY, ProblemError

TIME_S_MAX = 1.0
"""For one question, which has at most ROWS_MAX events."""
START_S_MAX = 5.0
ROWS_MAX = 500
WAITING_MAX = 32
VERDICT_BYTES_MAX = 1 << 20
ALLOWED = f"a CEL expression that is true or false, over {', '.join(VARIABLES)}"


class Filters:
    """The filter process of this node."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def check(self, expression: str) -> None:
        """Return if this is a filter. Raises ProblemError (400)."""
        await self.matches(expression, [])

    async def matches(self, expression: str, rows: Sequence[dict[str, Any]]) -> list[bool]:
        """Return for which rows the expression is true; an error on a row counts as false.

        Raises:
            ProblemError: no expression, or it ran too long (400); too many wait (429).
        """
        if self._waiting >= WAITING_MAX:
            raise ProblemError(TOO_MANY, "too many filters run at once", retry_after_s=1)
        found: list[bool] = []
        self._waiting += 1
        try:
            for begin in range(0, max(1, len(rows)), ROWS_MAX):
                question = Question(expression, list(rows[begin : begin + ROWS_MAX]))
                verdict = await self._ask(question)
                if verdict.error is not None:
                    raise filter_problem(verdict.error)
                found += verdict.matches
        finally:
            self._waiting -= 1
        return found

    async def _ask(self, question: Question) -> Verdict:
        content = msgspec.msgpack.encode(question)
        async with self._turn:
            process = await self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                async with asyncio.timeout(TIME_S_MAX):
                    process.stdin.write(LENGTH.pack(len(content)) + content)
                    await process.stdin.drain()
                    return await self._verdict(process.stdout)
            except TimeoutError:
                await self._kill()
                raise filter_problem(f"it ran longer than {TIME_S_MAX:g} s") from None
            except (OSError, EOFError, msgspec.MsgspecError):
                await self._kill()
                raise filter_problem("it needed too much memory, or ended its process") from None
            except asyncio.CancelledError:
                self._abandon()
                raise

    async def _verdict(self, stream: asyncio.StreamReader) -> Verdict:
        (length,) = LENGTH.unpack(await stream.readexactly(LENGTH.size))
        if length > VERDICT_BYTES_MAX:
            raise EOFError(f"a verdict of {length} bytes")
        return msgspec.msgpack.decode(await stream.readexactly(length), type=Verdict)

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "trimaran.server.http.filter_process",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        await self._warm(self._process)
        return self._process

    async def _warm(self, process: asyncio.subprocess.Process) -> None:
        """Loading the library takes longer than a filter may."""
        assert process.stdin is not None
        assert process.stdout is not None
        content = msgspec.msgpack.encode(Question("true", []))
        try:
            async with asyncio.timeout(START_S_MAX):
                process.stdin.write(LENGTH.pack(len(content)) + content)
                await self._verdict(process.stdout)
        except (OSError, EOFError, msgspec.MsgspecError) as error:
            await self._kill()
            raise filter_problem("the filter process does not start") from error
        except asyncio.CancelledError:
            self._abandon()
            raise

    def _abandon(self) -> None:
        """Its next answer would be to a question that nobody asks any more."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()

    async def _kill(self) -> None:
        process = self._process
        self._abandon()
        if process is not None:
            await process.wait()

    async def close(self) -> None:
        """End the process."""
        await self._kill()


def filter_problem(detail: str) -> ProblemError:
    """Return the problem that a filter is not valid or ran long."""
    found = FieldProblem(field="filter", detail=detail, allowed=ALLOWED)
    return ProblemError(FILTER, f"filter: {detail}", errors=[found])
