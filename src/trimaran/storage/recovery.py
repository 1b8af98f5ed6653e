"""Opening a data directory: journal replayed, segments checked, damage found (design D5, D11).

In order: the directory is this node's; the journal is replayed; each group's segments are held
against its boundary, and cut there; damage is collected per group; the live state of all groups
goes into a journal file of a new generation, synced, before anything is acknowledged: what a killed
process left in the page cache need not be durable. The files it was read from are synced before the
new one gets its name, which says that they are whole. Only then do they go: deleted if the journal
is whole, else kept aside as `<name>.damaged`. What earlier starts and installs left unfinished
counts for nothing and goes first: its space may be what this start lacks.

Invariants: nothing is cut or deleted of a group that is damaged; damage found once is in the new
journal file and stays until a record clears it.
Does not: repair, vote, or ask peers.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import count

from trimaran.errors import CorruptionError
from trimaran.ids import (
    TOPIC_ID_BYTES,
    GroupId,
    Index,
    TopicId,
    group_id,
    group_name,
)
from trimaran.records.entry import Entry, HardState
from trimaran.storage.boundary import Boundary
from trimaran.storage.damage import Damage, DamageKind
from trimaran.storage.files import Files
from trimaran.storage.group_list import (
    GROUP_LIST_PATH,
    GroupList,
    read_group_list,
)
from trimaran.storage.identity import (
    Identity,
    check_identity,
)
from trimaran.storage.install import (
    STAGING_DIRECTORY,
    AdoptStaged,
    BeginStaging,
    DiscardStaged,
    LoadInstalled,
    StagePart,
)
from trimaran.storage.journal import Journal, JournalSettings, JournalTail, LiveGroup
from trimaran.storage.journal_files import (
    DAMAGED_SUFFIX,
    JOURNAL_DIRECTORY,
    journal_path,
    write_range,
)
from trimaran.storage.journal_scan import JournalScan
from trimaran.storage.log_recovery import LogRecovery, recover_log, tidy_log
from trimaran.storage.open_files import OPEN_FILES_MAX, LetGo, OpenFiles
from trimaran.storage.page_cache import CACHED_BYTES_MAX, PageCache
from trimaran.storage.partition_log import SEGMENT_BYTES, LogFiles, PartitionLog, StoredLog
from trimaran.storage.replay import NO_INDEX, GroupReplay, replay
from trimaran.storage.segment import GROUPS_DIRECTORY, group_directory

REMOVED_SUFFIX = ".removed"
ASIDE_SUFFIX = ".aside"
PARTITIONS_END = 1 << 32


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Sizes and limits of a data directory."""

    journal: JournalSettings = field(default_factory=JournalSettings)
    segment_bytes: int = SEGMENT_BYTES
    open_files_max: int = OPEN_FILES_MAX
    """Of each of the two lanes that work on segments."""
    cached_bytes_max: int = CACHED_BYTES_MAX
    """Of segments that were written, in the system's page cache."""


DEFAULT_SETTINGS = StoreSettings()


@dataclass(slots=True, kw_only=True)
class RecoveredGroup:
    """One group as of the last record that stands."""

    group: GroupId
    boundary: Boundary
    hard_state: HardState
    log: PartitionLog
    """Ends at the boundary, unless the group is damaged."""
    entries: list[Entry] = field(default_factory=list)
    """Above the boundary, contiguous."""
    commit_index: Index = NO_INDEX
    """Highest commit index known, at most the last entry's index."""
    commit_known: Index = NO_INDEX
    """Highest commit index ever noted here; above `commit_index` if the end was never synced."""
    damage: Damage | None = None
    has_files: bool = True
    """Whether segments and state files are all that the boundary names."""

    @property
    def last_index(self) -> Index:
        """Index of the last entry."""
        return Index(self.boundary.position.index + len(self.entries))


class AddGroups:
    """Makes new groups part of the node. Made by `Store.plan_add_groups`."""

    __slots__ = ("_boundaries", "_store", "done")

    def __init__(self, store: "Store", boundaries: Sequence[Boundary]) -> None:
        """Add the groups of `boundaries`."""
        self._store = store
        self._boundaries = boundaries
        self.done = False

    def run(self) -> None:
        """Make directories and the line in the list durable, on the lane of segments.

        Raises:
            DiskFullError: no space; the groups are not on this node.
            StorageError: the disk failed.
        """
        files = self._store._shared.files
        for boundary in self._boundaries:
            directory = group_directory(boundary.group)
            if files.list(directory):
                _set_aside(files, directory)
            files.make_directory(directory)
        files.sync_directory(GROUPS_DIRECTORY)
        self._store._list.add(boundary.group for boundary in self._boundaries)
        self.done = True

    def finish(self) -> list[RecoveredGroup]:
        """Return the new groups, on the loop. Their boundaries go into the next journal round."""
        assert self.done
        return [self._store._added(boundary) for boundary in self._boundaries]


class RemoveGroup:
    """Deletes a group's files. Made by `Store.plan_remove_group`."""

    __slots__ = ("_group", "_store")

    def __init__(self, store: "Store", group: GroupId) -> None:
        """Delete what `group` has on this node."""
        self._store = store
        self._group = group

    def run(self) -> None:
        """Take the group off the list and delete, on the lane of segments. Raises StorageError."""
        shared = self._store._shared
        directory = group_directory(self._group)
        shared.writes.drop_below(directory + "/")
        _remove_group(shared.files, self._store._list, self._group)
        shared.reads.retire(directory + "/")

    def plan_let_go(self) -> LetGo:
        """Close what was deleted: what is open keeps its space. On the lane of reads."""
        return LetGo(self._store._shared.reads)


class Store:
    """An open data directory. The loop owns it; blocking parts are works."""

    __slots__ = ("_list", "_shared", "damage", "groups", "journal", "notes", "settings")

    def __init__(
        self,
        *,
        shared: LogFiles,
        group_list: GroupList,
        journal: Journal,
        settings: StoreSettings,
        groups: dict[GroupId, RecoveredGroup],
        damage: list[str],
        notes: list[str],
    ) -> None:
        """Hold what `open_store` found."""
        self._shared = shared
        self._list = group_list
        self.journal = journal
        self.settings = settings
        self.groups = groups
        """As recovered, ascending by id. A group's `entries` may be dropped once taken up."""
        self.damage = damage
        """What fails its check, in words; empty on a healthy directory."""
        self.notes = notes
        """What was tidied up, in words."""

    def plan_add_group(self, boundary: Boundary) -> AddGroups:
        """Make a new group part of this node; see `plan_add_groups`."""
        return self.plan_add_groups([boundary])

    def plan_add_groups(self, boundaries: Sequence[Boundary]) -> AddGroups:
        """Make new groups part of this node, with one write of the list for all.

        Before a group's first vote its boundary must be synced too: the caller puts it into a
        journal round after `finish`.
        """
        assert all(boundary.group not in self.groups for boundary in boundaries)
        return AddGroups(self, boundaries)

    def plan_remove_group(self, group: GroupId) -> RemoveGroup:
        """Delete a group's files; its REMOVED record must be synced. The group is gone at once."""
        self.groups.pop(group, None)
        return RemoveGroup(self, group)

    def plan_staging(self, group: GroupId, *, needed_bytes: int) -> BeginStaging:
        """Make room for files of `group` that come from another node."""
        return BeginStaging(self._shared.files, group, needed_bytes)

    def plan_stage(
        self,
        group: GroupId,
        name: str,
        data: bytes,
        *,
        position: int,
        is_last: bool,
        reserve_bytes: int,
    ) -> StagePart:
        """Write a part of such a file."""
        return StagePart(
            self._shared.files,
            group,
            name,
            data,
            position=position,
            is_last=is_last,
            reserve_bytes=reserve_bytes,
        )

    def plan_discard(self, group: GroupId) -> DiscardStaged:
        """Remove what is staged of `group`."""
        return DiscardStaged(self._shared.files, group)

    def plan_adopt(self, boundary: Boundary) -> AdoptStaged:
        """Check what was staged against `boundary`, and put it where the group's files are."""
        return AdoptStaged(self._shared, boundary)

    def plan_load(self, boundary: Boundary, keep: Collection[str]) -> LoadInstalled:
        """Open the adopted files; `boundary` is synced. Other segments than `keep` are removed."""
        return LoadInstalled(self._shared, boundary, keep)

    def installed(self, found: RecoveredGroup, stored: StoredLog) -> RecoveredGroup:
        """Return the group as it starts over with `stored`; `found` has the new boundary."""
        boundary = found.boundary
        last_term = found.entries[-1].term if found.entries else boundary.position.term
        hard_state = found.hard_state
        if hard_state.term < last_term:
            hard_state = HardState(term=last_term, vote=None)
        recovered = RecoveredGroup(
            group=found.group,
            boundary=boundary,
            hard_state=hard_state,
            log=PartitionLog(self._shared, boundary, stored, self.settings.segment_bytes),
            entries=found.entries,
            commit_known=max(found.commit_known, boundary.position.index),
            damage=found.damage,
        )
        recovered.commit_index = min(recovered.commit_known, recovered.last_index)
        self.groups[found.group] = recovered
        return recovered

    def close(self) -> None:
        """Close all files; syncs nothing. Nothing may run in a thread any more."""
        self.journal.close()
        self._shared.writes.close()
        self._shared.reads.close()

    def _added(self, boundary: Boundary) -> RecoveredGroup:
        stored = StoredLog(position=boundary.position)
        recovered = RecoveredGroup(
            group=boundary.group,
            boundary=boundary,
            hard_state=GroupReplay(group=boundary.group).hard_state,
            log=PartitionLog(self._shared, boundary, stored, self.settings.segment_bytes),
            commit_index=boundary.position.index,
            commit_known=boundary.position.index,
        )
        self.groups[boundary.group] = recovered
        return recovered


def open_store(
    files: Files, *, identity: Identity, settings: StoreSettings = DEFAULT_SETTINGS
) -> Store:
    """Open the data directory of `identity`; blocks, reads the journal and the ends of segments.

    Raises:
        DiskFullError: no space for a new journal file; only what was unfinished is gone.
        StorageError: not formatted, another identity's, or the disk cannot be read or written.
    """
    check_identity(files, identity)
    return _Opening(files, identity, settings).open()


class _Opening:
    """The steps of `open_store`, and what they found so far."""

    def __init__(self, files: Files, identity: Identity, settings: StoreSettings) -> None:
        self.files = files
        self.identity = identity
        self.settings = settings
        self.scan = JournalScan(files, identity)
        self.shared = LogFiles(
            files=files,
            writes=OpenFiles(files, settings.open_files_max),
            reads=OpenFiles(files, settings.open_files_max),
            cache=PageCache(files, settings.cached_bytes_max),
            serials=count(1),
        )
        self.replays: dict[GroupId, GroupReplay] = {}
        self.listed: list[GroupId] = []
        self.list_damage: Damage | None = None
        self.everyone: Damage | None = None
        self.damage: list[str] = []
        self.notes: list[str] = []
        self.gone: list[GroupId] = []
        self.found: list[LogRecovery] = []

    def open(self) -> Store:
        self.replays = replay(self.scan)
        self.damage += [str(fault) for fault in self.scan.faults]
        self.notes += self.scan.notes
        for fault in self.scan.faults:
            if fault.everyone and self.everyone is None:
                self.everyone = Damage(kind=fault.kind, text=str(fault))
        self._read_list()
        groups: dict[GroupId, RecoveredGroup] = {}
        for group in self._groups():
            recovered = self._recover_group(group)
            if recovered is not None:
                groups[group] = recovered
        self._remove_unfinished()
        self._sync_replayed()
        journal = new_journal(
            self.files,
            self.identity,
            self.settings.journal,
            self.scan.tail,
            [_live_group(recovered) for recovered in groups.values()],
        )
        self._put_away(journal.generation)
        # Only now: what was replayed may have been in the page cache alone, and what it allows to
        # be deleted would be missed after a power cut.
        for found in self.found:
            tidy_log(self.files, found)
        group_list = GroupList(self.files, self.listed)
        self._settle_list(group_list, groups)
        return Store(
            shared=self.shared,
            group_list=group_list,
            journal=journal,
            settings=self.settings,
            groups=groups,
            damage=self.damage,
            notes=self.notes,
        )

    def _read_list(self) -> None:
        try:
            self.listed = read_group_list(self.files)
        except CorruptionError as error:
            self.list_damage = Damage(kind=DamageKind.BOUNDARY, text=str(error))
            self.damage.append(str(error))

    def _groups(self) -> list[GroupId]:
        """Return every group that is or may be on this node, ascending."""
        found = dict.fromkeys(self.listed)
        found.update(dict.fromkeys(self.replays))
        if self.everyone is not None or self.list_damage is not None:
            # Journal or list may have lost a group: its directory is the third witness.
            found.update(dict.fromkeys(_group_directories(self.files)))
        return sorted(found)

    def _recover_group(self, group: GroupId) -> RecoveredGroup | None:
        state = self.replays.get(group)
        removed = state is not None and state.removed
        # Removed, and on the list: the removal stopped half-way, or the group came back and the
        # journal lost it. Only a whole journal tells which.
        if removed and (self.everyone is None or group not in self.listed):
            self.gone.append(group)
            return None
        if state is None and self._was_never_begun(group):
            self.gone.append(group)
            return None
        if state is None or removed:
            state = GroupReplay(group=group)
        boundary = state.boundary or Boundary(group=group)
        found = recover_log(self.shared, boundary)
        damage = self._group_damage(state, found)
        if damage is None:
            self.found.append(found)
        else:
            self.damage.append(f"{group_name(group)}: {damage.text}")
        log = PartitionLog(self.shared, boundary, found.stored, self.settings.segment_bytes)
        last_index = Index(boundary.position.index + len(state.entries))
        known = max(boundary.position.index, state.commit)
        return RecoveredGroup(
            group=group,
            boundary=boundary,
            hard_state=state.hard_state,
            log=log,
            entries=state.entries,
            commit_index=min(known, last_index),
            commit_known=known,
            damage=damage,
            has_files=found.damage is None,
        )

    def _was_never_begun(self, group: GroupId) -> bool:
        """Whether a listed group without any record was being added when the process ended.

        Its boundary was never synced, so it never voted. That is known only if the journal is whole
        and there are no files.
        """
        names = self.files.list(group_directory(group))
        return self.everyone is None and self.list_damage is None and not names

    def _group_damage(self, state: GroupReplay, found: LogRecovery) -> Damage | None:
        """Return the group's damage: what earlier lives found comes first."""
        no_boundary = None
        if state.boundary is None:
            text = f"{group_name(state.group)}: the journal has no boundary"
            no_boundary = Damage(kind=DamageKind.BOUNDARY, text=text)
        unlisted = None
        if state.group not in self.listed and self.list_damage is None:
            text = f"{GROUP_LIST_PATH}: {group_name(state.group)} is missing"
            unlisted = Damage(kind=DamageKind.MISSING_FILES, text=text)
        reasons = (
            state.damage,
            self.everyone,
            state.missing(),
            no_boundary,
            self.list_damage,
            unlisted,
            found.damage,
        )
        return next((reason for reason in reasons if reason is not None), None)

    def _remove_unfinished(self) -> None:
        """Free what never got its name: files of starts that were cut, staged parts of groups."""
        for path in self.scan.listing.unfinished:
            self.files.remove(path)
        if self.files.exists(STAGING_DIRECTORY):
            self.files.remove(STAGING_DIRECTORY)

    def _sync_replayed(self) -> None:
        """Make what was replayed durable, last round and names included, up to the identity's.

        The new file proves that all before it was synced: after a power cut a last round that was
        in the page cache alone would be damage.
        """
        for generation in self.scan.needed:
            file = self.files.open(journal_path(generation))
            try:
                file.sync()
            finally:
                file.close()
        for directory in (JOURNAL_DIRECTORY, "."):
            self.files.sync_directory(directory)

    def _put_away(self, generation: int) -> None:
        """Let go of the journal files before `generation`: all that counts is in it.

        What is kept aside gets its name before the range leaves it out: a file below the range is
        one that may be deleted. One after the other, so that a start that is cut meanwhile leaves
        no hole: what the range names and is aside stands in the new file.
        """
        older = [journal_path(number) for number in self.scan.listing.generations]
        if self.scan.faults:
            for path in older:
                self.files.rename(path, path + DAMAGED_SUFFIX)
                self.files.sync_directory(JOURNAL_DIRECTORY)
                self.notes.append(f"{path}: kept as {path}{DAMAGED_SUFFIX}")
        write_range(self.files, generation, generation)
        for path in () if self.scan.faults else older:
            self.files.remove(path)

    def _settle_list(self, group_list: GroupList, groups: dict[GroupId, RecoveredGroup]) -> None:
        """Make the list say what is here, and finish removals that were under way."""
        missing = [group for group in groups if group not in self.listed]
        if missing or self.list_damage is not None:
            group_list.add(missing)
        for group in self.gone:
            _remove_group(self.files, group_list, group)
            self.notes.append(f"{group_name(group)}: removed")
        for name in self.files.list(GROUPS_DIRECTORY):
            if name.endswith(REMOVED_SUFFIX):
                self.files.remove(f"{GROUPS_DIRECTORY}/{name}")


def new_journal(
    files: Files,
    identity: Identity,
    settings: JournalSettings,
    tail: JournalTail,
    live: Sequence[LiveGroup],
) -> Journal:
    """Return a journal with a new file that holds `live`, synced."""
    journal = Journal(files, identity=identity, settings=settings, tail=tail)
    first = journal.plan_rollover(live)
    first.run()
    first.finish()
    return journal


def _live_group(recovered: RecoveredGroup) -> LiveGroup:
    return LiveGroup(
        group=recovered.group,
        hard_state=recovered.hard_state,
        boundary=recovered.boundary,
        entries=recovered.entries,
        commit=recovered.commit_known,
        damage=recovered.damage,
    )


def _group_directories(files: Files) -> list[GroupId]:
    """Return the groups that have a directory."""
    found = []
    for name in files.list(GROUPS_DIRECTORY):
        topic, _, partition = name.partition("-")
        hexadecimal = len(topic) == 2 * TOPIC_ID_BYTES and set(topic) <= set("0123456789abcdef")
        if hexadecimal and partition.isascii() and partition.isdigit():
            number = int(partition)
            # Other spellings of a number, and those too high, are no group's directory.
            if number < PARTITIONS_END and partition == str(number):
                found.append(group_id(TopicId(bytes.fromhex(topic)), number))
    return found


def _remove_group(files: Files, group_list: GroupList, group: GroupId) -> None:
    """Delete a group: out of the way by one rename, off the list, then the files."""
    directory = group_directory(group)
    removed = directory + REMOVED_SUFFIX
    if files.exists(directory):
        if files.exists(removed):
            files.remove(removed)
        files.rename(directory, removed)
        files.sync_directory(GROUPS_DIRECTORY)
    group_list.remove([group])
    if files.exists(removed):
        files.remove(removed)


def _set_aside(files: Files, directory: str) -> None:
    """Give files that belong to no group on the list another name; they are never deleted."""
    number = 0
    while files.exists(f"{directory}{ASIDE_SUFFIX}{number}"):
        number += 1
    files.rename(directory, f"{directory}{ASIDE_SUFFIX}{number}")
