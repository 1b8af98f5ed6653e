"""What the demo shows while it works: progress bars on a terminal, a line now and then elsewhere.

Does not: print the verdict; that is a plain last line in both cases.
"""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

LINE_EVERY_S = 5.0


class Show:
    """Progress of one long piece of work after another."""

    def __init__(self, *, live: bool) -> None:
        """`live`: bars that are redrawn; otherwise plain lines."""
        self._console = Console(highlight=False, soft_wrap=True)
        self._progress = (
            Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=self._console,
            )
            if live
            else None
        )
        self._task: TaskID | None = None
        self._title = ""
        self._total = 0
        self._line_due = 0.0

    def __enter__(self) -> Self:
        """Begin drawing."""
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop drawing; what was drawn stays."""
        if self._progress is not None:
            self._progress.stop()

    def say(self, text: str) -> None:
        """Print one line, above the bars."""
        self._console.print(text, markup=False)

    def begin(self, title: str, total: int) -> None:
        """Begin a piece of work of `total` steps."""
        self._title, self._total = title, total
        self._line_due = time.monotonic() + LINE_EVERY_S
        if self._progress is not None:
            self._task = self._progress.add_task(title, total=total)

    def reached(self, done: int) -> None:
        """Show that `done` steps of the current work are done."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done)
        elif time.monotonic() >= self._line_due:
            self._line_due = time.monotonic() + LINE_EVERY_S
            self.say(f"{self._title}: {done} of {self._total}")

    def finished(self, done: int) -> None:
        """Show that the current work is complete at `done` steps."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=done)
        else:
            self.say(f"{self._title}: {done}")
