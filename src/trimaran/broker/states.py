"""What a group stood for at its boundary: its state files read, checked and decoded, as a work.

A million event ids are 23 MiB, and there may be five: a node that serves has a lane read them and
goes on meanwhile. Before it serves the same work is simply run.
Does not: know which groups are taken up, or make anything of a state.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from trimaran.broker.deduplication import IDS_FILE, EventIds
from trimaran.broker.stored_rules import StoredRules
from trimaran.dedup.producers import ProducerTable
from trimaran.groups.table import GroupTable
from trimaran.metadata.image import Image
from trimaran.storage.boundary import StateFile
from trimaran.storage.compacted_list import COMPACTED_FILE
from trimaran.storage.recovery import RecoveredGroup

T_co = TypeVar("T_co", covariant=True)
Contents: TypeAlias = Iterable[tuple[StateFile, bytes]]


class PartitionState(NamedTuple):
    """Of a partition."""

    producers: ProducerTable
    rules: StoredRules
    event_ids: EventIds


GroupState: TypeAlias = PartitionState | GroupTable


class ReadState(Generic[T_co]):
    """Reads one group's state. Made by the functions below, on the loop."""

    __slots__ = ("_decode", "_files", "_log")

    def __init__(self, found: RecoveredGroup, decode: Callable[[Contents], T_co]) -> None:
        """Read what the boundary of `found` names."""
        self._log = found.log
        self._files = found.boundary.state_files
        self._decode = decode

    def run(self) -> T_co:
        """Read and decode: at once, or on the lane of segments.

        Raises:
            CorruptionError: a file is missing, or not what was written.
            StorageError: the disk failed.
        """
        return self._decode(self._contents())

    def _contents(self) -> Iterator[tuple[StateFile, bytes]]:
        for file in self._files:
            yield file, self._log.read_state(file)


def read_group(found: RecoveredGroup, *, is_internal: bool) -> ReadState[GroupState]:
    """Plan to read a partition's state, or (`is_internal`) a coordinator's."""
    return ReadState(found, _decode_table if is_internal else _decode_partition)


def read_image(found: RecoveredGroup) -> ReadState[Image]:
    """Plan to read the metadata."""
    return ReadState(found, _decode_image)


def _decode_partition(contents: Contents) -> PartitionState:
    producers, rules = ProducerTable(), StoredRules()
    ids: list[tuple[StateFile, bytes]] = []
    for file, content in contents:
        if rules.restore(file, content) or file[0].startswith(COMPACTED_FILE + "-"):
            continue
        if file[0].startswith(IDS_FILE + "-"):
            ids.append((file, content))
        else:
            producers = ProducerTable.decode(content, source=file[0])
    return PartitionState(producers, rules, EventIds.restore(ids))


def _decode_table(contents: Contents) -> GroupTable:
    table = GroupTable()
    for file, content in contents:
        table = GroupTable.decode(content, source=file[0])
    return table


def _decode_image(contents: Contents) -> Image:
    image = Image()
    for file, content in contents:
        image = Image.decode(content, source=file[0])
    return image
