"""What a consumer group has committed is never lost and never moves back.

A question for the group's offset is answered with at least what was acknowledged or told before it
was asked, and at most what anybody had tried to commit by then. Members only ever commit forward,
and no commit of unknown outcome arrives late: a later generation fences it.
"""

from collections.abc import Iterator
from math import inf

from trimaran.sim.checkers.checker import Checker
from trimaran.sim.history import History, OffsetNote


class CommittedOffsetsKept(Checker):
    """Compares each answer with all that was known before."""

    def finish(self, history: History) -> Iterator[str]:
        """Judge each group's partition by itself."""
        parts: dict[tuple[str, int], list[OffsetNote]] = {}
        for note in history.offsets:
            parts.setdefault((note.group, note.partition), []).append(note)
        for (group, partition), notes in parts.items():
            yield from _judge(f"group {group} partition {partition}", notes)


def _judge(name: str, notes: list[OffsetNote]) -> Iterator[str]:
    known = sorted((note for note in notes if note.done_s < inf), key=lambda note: note.done_s)
    tried = sorted((note for note in notes if note.is_commit), key=lambda note: note.asked_s)
    floor = ceiling = -1
    done = begun = 0
    for note in sorted(notes, key=lambda note: note.asked_s):
        while done < len(known) and known[done].done_s < note.asked_s:
            floor = max(floor, known[done].offset)
            done += 1
        if note.is_commit:
            continue
        if note.offset < floor:
            yield f"{name}: stands at {note.offset}, which was {floor} before {note.asked_s:.3f} s"
        while begun < len(tried) and tried[begun].asked_s <= note.done_s:
            ceiling = max(ceiling, tried[begun].offset)
            begun += 1
        if note.offset > ceiling:
            yield f"{name}: stands at {note.offset}, nobody committed beyond {ceiling}"
