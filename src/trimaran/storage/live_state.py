"""The live state of all groups as the rounds that a journal file begins with (design D5).

One round holds it as a rule. What is longer (a node may end with more above its boundaries than
the journal should ever hold) goes into several: a round's lengths have a limit, above which they
are taken for damage, and the next start reads a round at a time.

Does not: encode, or know where the rounds go.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from trimaran.ids import GroupId, Index, Term
from trimaran.records.entry import Entry, HardState
from trimaran.storage.boundary import Boundary
from trimaran.storage.damage import Damage
from trimaran.storage.journal_format import RoundContent

NO_INDEX = Index(0)
GROUPS_PER_ROUND = 2000
"""Of which a round holds terms and boundaries: 56 MB at most."""
ENTRY_BYTES_PER_ROUND = 32 << 20
"""Entries are counted by their `size`; a longer one has a round for itself."""


@dataclass(slots=True)
class LiveGroup:
    """What a new file must hold of a group so that older files may go."""

    group: GroupId
    hard_state: HardState
    boundary: Boundary
    entries: Sequence[Entry] = ()
    """The end of the group's journaled log, or nothing of it. Older files are kept for entries
    above the boundary that are not among them."""
    commit: Index = NO_INDEX
    damage: Damage | None = None


def live_rounds(live: Sequence[LiveGroup]) -> list[RoundContent]:
    """Return the first rounds of a new file, at least one: every group's state, then entries."""
    rounds = [RoundContent()]
    for number, item in enumerate(live, 1):
        _add_state(rounds[-1], item)
        if number % GROUPS_PER_ROUND == 0:
            rounds.append(RoundContent())
    room = ENTRY_BYTES_PER_ROUND
    for item in live:
        previous, start = _previous_term(item), 0
        while start < len(item.entries):
            end, room = _fitting(item.entries, start, room)
            if end == start:
                rounds.append(RoundContent())
                room = ENTRY_BYTES_PER_ROUND
                continue
            rounds[-1].entries.append((item.group, previous, item.entries[start:end]))
            previous, start = item.entries[end - 1].term, end
    return rounds


def _fitting(entries: Sequence[Entry], start: int, room: int) -> tuple[int, int]:
    """Return up to where entries fit into `room`, and what is left; one fits where nothing is."""
    end = start
    while end < len(entries) and entries[end].size <= room:
        room -= entries[end].size
        end += 1
    if end == start and room == ENTRY_BYTES_PER_ROUND:
        return end + 1, 0
    return end, room


def _add_state(content: RoundContent, item: LiveGroup) -> None:
    content.hard_states.append((item.group, item.hard_state))
    content.boundaries.append(item.boundary)
    content.commits.append((item.group, item.commit))
    if item.damage is not None:
        content.damaged.append((item.group, item.damage))


def _previous_term(item: LiveGroup) -> Term | None:
    """Return the term of the entry before the copied ones, None if they start later."""
    position = item.boundary.position
    assert item.boundary.group == item.group
    if not item.entries:
        return None
    assert item.entries[0].index > position.index, "only what is above the boundary is copied"
    return position.term if item.entries[0].index == position.index + 1 else None
