"""Exit codes, and errors that a person reads.

0: it worked. 1: the thing asked for failed. 2: it was asked for wrongly (usage, settings, a missing
extra). 130: interrupted with Ctrl-C.
Does not: format what succeeded.
"""

import sys
from typing import NoReturn

OK = 0
FAILED = 1
USAGE = 2
INTERRUPTED = 130


class CommandError(Exception):
    """Ends the command with a message that says what was wrong and what to do next."""

    def __init__(self, message: str, *, code: int = FAILED) -> None:
        """Carry the message for standard error and the exit code."""
        super().__init__(message)
        self.code = code


def end_with(error: BaseException, code: int) -> NoReturn:
    """Print `error` to standard error, one line each, and exit with `code`."""
    for number, line in enumerate(str(error).splitlines() or [type(error).__name__]):
        print(f"error: {line}" if number == 0 else f"  {line}", file=sys.stderr)
    raise SystemExit(code)
