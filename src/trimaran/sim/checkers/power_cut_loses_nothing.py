"""Were its power cut now, a node would find again all that it counts as stored (design D5).

A copy of the node's disk loses power and is opened as at a start. What the living process counts on
must be there: the hard state it may speak of, the boundary it releases journal by, every entry up
to its synced index, and no damage. Half of the time the process is only killed at first, and the
power goes while the next one opens its store from what the page cache still holds.

One node at a time, now and then; every one at the end.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from random import Random

from trimaran.errors import StorageError
from trimaran.records.entry import Entry, HardState
from trimaran.sim.checkers.checker import Checker, Evidence, entries_after, entry_digest
from trimaran.sim.cluster import STORE
from trimaran.sim.disk import Disk
from trimaran.sim.files import ProcessEnded, SimFiles
from trimaran.sim.history import History
from trimaran.sim.machine_faults import RECOVERY_CALLS_MAX
from trimaran.storage.identity import read_identity
from trimaran.storage.recovery import RecoveredGroup, open_store

LOOKS_EACH = 97
"""One look at the replicas in so many is such an experiment: it costs as much as ten others."""


class PowerCutLosesNothing(Checker):
    """Cuts the power of copies."""

    sees_all = True

    def __init__(self) -> None:
        self._chance = Random("power cuts of copies")
        self._looks = 0
        self._last: Sequence[Evidence] = ()

    def step(self, views: Sequence[Evidence]) -> Iterator[str]:
        """Try it with one node, at some looks."""
        self._looks += 1
        self._last = views
        if self._looks % LOOKS_EACH == 0 and views:
            name = self._chance.choice(sorted({view.node: None for view in views}))
            yield from self._try(name, views)

    def finish(self, history: History) -> Iterator[str]:
        """Try it with every node that lived at the last look."""
        del history
        for name in sorted({view.node: None for view in self._last}):
            yield from self._try(name, self._last)

    def _try(self, name: str, views: Sequence[Evidence]) -> Iterator[str]:
        replicas = [view for view in views if view.node == name]
        disk = replicas[0].disk
        if disk is None or disk.has_lied:
            return
        copy = disk.copy(self._chance)
        try:
            if self._chance.random() < 0.5:
                _open_in_part(copy, self._chance.randrange(RECOVERY_CALLS_MAX))
            found = list(_missed(copy, replicas))
        except StorageError as error:
            found = [f"no start: {error}"]
        for line in found:
            yield f"{name} after a power cut: {line}"


def _open_in_part(copy: Disk, calls: int) -> None:
    """Let a process open the store, and die after so many disk calls if it needs more."""
    files = SimFiles(copy, who="copy")
    identity = read_identity(files)
    files.fuse = calls
    with suppress(ProcessEnded):
        open_store(files, identity=identity, settings=STORE)
    files.detach()


def _missed(copy: Disk, replicas: Sequence[Evidence]) -> Iterator[str]:
    """Yield what the living replicas count on and a start on `copy` would not find."""
    copy.cut_power()
    files = SimFiles(copy, who="copy")
    store = open_store(files, identity=read_identity(files), settings=STORE)
    for view in replicas:
        if view.replica is None or view.replica.removed:
            continue
        found = store.groups.get(view.group)
        if found is None:
            yield f"group {view.group.hex()} is gone"
        elif found.damage is None:
            yield from _missed_of(view, found)
        elif view.replica.damage is None:
            yield f"group {view.group.hex()} is damaged: {found.damage.text}"


def _missed_of(view: Evidence, found: RecoveredGroup) -> Iterator[str]:
    assert view.replica is not None
    where = f"group {view.group.hex()}"
    state, counted = _as_started(found), view.replica.journaled
    if state.term < counted.term or (state.term == counted.term and state.vote != counted.vote):
        yield f"{where} has {state}, the process counts on {counted}"
    boundary = view.replica.boundary.position.index
    if found.boundary.position.index < boundary:
        yield f"{where} has a boundary at {found.boundary.position.index}, not at {boundary}"
    synced = view.replica.raft.synced_index
    if found.last_index < synced:
        yield f"{where} ends at {found.last_index}, synced is {synced}"
        return
    stored = {entry.index: entry for entry in found.entries}
    for entry in entries_after(view.core.log, found.boundary.position.index, synced):
        if _differ(stored.get(entry.index), entry):
            yield f"{where} has lost entry {entry.index} of term {entry.term}"
            return


def _as_started(found: RecoveredGroup) -> HardState:
    """Return the hard state that a start takes up: an install stores a later term as its boundary.

    Such a member starts without vote, so that it cannot vote twice in that term (seed 104).
    """
    term = found.boundary.position.term
    return found.hard_state if found.hard_state.term >= term else HardState(term=term, vote=None)


def _differ(found: Entry | None, entry: Entry) -> bool:
    return found is None or found.term != entry.term or entry_digest(found) != entry_digest(entry)
