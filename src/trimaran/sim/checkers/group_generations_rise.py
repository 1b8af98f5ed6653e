"""A consumer group's generations only rise; one generation has one leader and one assignment."""

from collections.abc import Iterator

from trimaran.sim.checkers.checker import Checker
from trimaran.sim.history import GenerationNote, History


class GroupGenerationsRise(Checker):
    """Compares what members were told."""

    def finish(self, history: History) -> Iterator[str]:
        """Judge all stays of all members."""
        leaders: dict[tuple[str, int], str] = {}
        owners: dict[tuple[str, int, int], str] = {}
        for note in history.generations:
            name = f"group {note.group} generation {note.generation}"
            leader = leaders.setdefault((note.group, note.generation), note.leader)
            if leader != note.leader:
                yield f"{name}: led by {leader} and by {note.leader}"
            for partition in note.partitions:
                owner = owners.setdefault((note.group, note.generation, partition), note.member)
                if owner != note.member:
                    yield f"{name}: partition {partition} is of {owner} and of {note.member}"
        yield from _fallen(history.generations)


def _fallen(notes: list[GenerationNote]) -> Iterator[str]:
    joined = sorted(notes, key=lambda note: note.joined_s)
    highest: dict[str, int] = {}
    done = 0
    for note in sorted(notes, key=lambda note: note.asked_s):
        while done < len(joined) and joined[done].joined_s < note.asked_s:
            group = joined[done].group
            highest[group] = max(highest.get(group, 0), joined[done].generation)
            done += 1
        known = highest.get(note.group, 0)
        if note.generation < known:
            yield (
                f"group {note.group}: {note.member} joined generation {note.generation} at "
                f"{note.joined_s:.3f} s, after there had been {known}"
            )
