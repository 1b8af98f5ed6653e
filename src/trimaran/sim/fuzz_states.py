"""What fuzz targets read of state files, control entries and members' own bytes (see `fuzz`).

State files go through what a start does with them, up to the state in memory; commands through
decoding. What members of consumer groups write for each other is read by coordinators too.

Does not: know the frames around any of it, or check a checksum: the boundary holds that.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trimaran.broker.deduplication import EventIds
from trimaran.dedup.event_ids import hash_id, pack_ids, unpack_ids
from trimaran.dedup.id_window import EventIdWindow
from trimaran.dedup.marks import DedupMark, decode_mark, encode_mark
from trimaran.dedup.producers import ProducerTable
from trimaran.groups import commands as group_commands
from trimaran.groups.stored import (
    CommittedOffset,
    MemberState,
    StoredConsumer,
    StoredGroup,
    StoredMember,
    StoredProtocol,
    StoredTopic,
)
from trimaran.groups.subscription import read_assignment, read_subscription, write_assignment
from trimaran.groups.table import GroupTable
from trimaran.ids import Index, NodeId, Offset, Term, TopicId, group_id
from trimaran.metadata.commands import CreateTopic, decode_command, encode_command
from trimaran.metadata.image import Image
from trimaran.records.control import (
    Compaction,
    LogStart,
    StoredSettings,
    decode_compaction,
    decode_log_start,
    decode_settings,
    encode_compaction,
    encode_log_start,
    encode_settings,
)
from trimaran.records.entry import LogPosition
from trimaran.storage.compacted_list import DIGEST_BYTES, decode_compacted, encode_compacted
from trimaran.storage.segment import Segment

TOPIC_ID = TopicId(b"topic-0-topic-00")


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One kind of bytes: what the code wrote, and what reads it back."""

    sample: bytes
    read: Callable[[bytes], object]


def all_states() -> Mapping[str, State]:
    """Return every kind, by name."""
    return {**_of_partitions(), **_of_metadata(), **_of_groups()}


def _of_partitions() -> Mapping[str, State]:
    return {
        "producers": State(sample=_producers().encode(), read=ProducerTable.decode),
        "event ids": State(sample=_event_ids(), read=_restore_ids),
        "packed ids": State(sample=pack_ids(_hashes(3), [0, 2, 5]), read=unpack_ids),
        "compacted": State(
            sample=encode_compacted(_compacted()),
            read=lambda data: decode_compacted(data, source="compacted-9"),
        ),
        "log start": State(
            sample=encode_log_start(LogStart(index=Index(2), offset=Offset(3))),
            read=decode_log_start,
        ),
        "settings": State(
            sample=encode_settings(StoredSettings(segment_bytes=1 << 20)), read=decode_settings
        ),
        "compaction": State(sample=encode_compaction(_compaction()), read=decode_compaction),
        "mark": State(sample=encode_mark(_mark()), read=decode_mark),
    }


def _producers() -> ProducerTable:
    table = ProducerTable()
    for index in range(1, 8):
        table.fold(
            producer_id=index % 3,
            epoch=0,
            first_sequence=index,
            last_sequence=index,
            base_offset=Offset(index),
            last_offset=Offset(index),
            entry_index=Index(index),
            log_time_ms=index,
        )
    return table


def _hashes(count: int) -> bytes:
    return b"".join(hash_id(bytes([number])) for number in range(count))


def _event_ids() -> bytes:
    window = EventIdWindow()
    window.change(
        index=Index(1), log_time_ms=1, next_offset=Offset(0), window_ms=60_000, ids_max=100
    )
    for index in range(2, 5):
        packed = pack_ids(_hashes(index), range(index))
        window.fold(index=Index(index), log_time_ms=index, offset=Offset(9 * index), packed=packed)
    _, content = window.flush(Index(4))
    assert content is not None
    return content


def _restore_ids(data: bytes) -> EventIds:
    """Take two pieces, the second of them damaged, as a start does."""
    files = [(f"event-ids-{number}", len(data), 0) for number in (4, 9)]
    return EventIds.restore(zip(files, (_event_ids(), data), strict=True))


def _compacted() -> list[Segment]:
    ends = [
        LogPosition(index=Index(9 * at), term=Term(2), next_offset=Offset(9 * at), log_time_ms=at)
        for at in range(3)
    ]
    return [
        Segment(
            group=group_id(TOPIC_ID, 0),
            serial=at,
            base=ends[at],
            last=ends[at + 1],
            size=100,
            generation=1,
            kept_count=4,
            digest=bytes(DIGEST_BYTES),
        )
        for at in range(2)
    ]


def _compaction() -> Compaction:
    return Compaction(
        generation=2, end=90, starts=(1, 40), tombstones=30, passes=((30, 1_000), (90, 2_000))
    )


def _mark() -> DedupMark:
    return DedupMark(
        producer_id=1, epoch=0, first_sequence=3, last_sequence=4, original_offset=Offset(9)
    )


def _of_metadata() -> Mapping[str, State]:
    create = CreateTopic(
        name="topic",
        topic_id=TOPIC_ID,
        assignments=((NodeId(1), NodeId(2), NodeId(3)),),
        settings={"retention.ms": "1000"},
    )
    image = Image()
    image.apply(create, Index(1))
    return {
        "image": State(sample=image.encode(), read=Image.decode),
        "command": State(sample=encode_command(create), read=decode_command),
    }


def _of_groups() -> Mapping[str, State]:
    parts = (("topic", (0, 2)), ("other", (1,)))
    subscription = b"\0\1\0\0\0\1\0\5topic\0\0\0\3abc" + write_assignment(1, parts)[2:]
    table = GroupTable()
    states = {
        "subscription": State(sample=subscription, read=read_subscription),
        "assignment": State(sample=write_assignment(1, parts), read=read_assignment),
    }
    for command in _group_commands(subscription):
        table.apply(command, log_time_ms=7)
        states[f"group {type(command).__name__}"] = State(
            sample=group_commands.encode_command(command), read=_apply_to_groups
        )
    states["groups"] = State(sample=table.encode(), read=GroupTable.decode)
    return states


def _apply_to_groups(data: bytes) -> GroupTable:
    """Apply a command, which never fails, and write what came of it."""
    table = GroupTable()
    table.apply(group_commands.decode_command(data), log_time_ms=7)
    return GroupTable.decode(table.encode())


def _group_commands(subscription: bytes) -> list[group_commands.Command]:
    member = StoredMember(
        member_id="m",
        instance_id=None,
        client_id="c",
        client_host="h",
        session_timeout_ms=9,
        rebalance_timeout_ms=9,
        protocols=(StoredProtocol(name="range", metadata=subscription),),
        assignment=b"",
    )
    consumer = StoredConsumer(
        member_id="m",
        instance_id="i",
        rack_id=None,
        client_id="c",
        client_host="h",
        rebalance_timeout_ms=9,
        topics=("topic",),
        pattern="",
        assignor="uniform",
        classic=None,
        epoch=2,
        previous_epoch=1,
        state=MemberState.STABLE,
        assigned=((TOPIC_ID, (0, 1)),),
        revoking=(),
        target=((TOPIC_ID, (0, 1)),),
    )
    key = (TOPIC_ID, 1)
    committed = CommittedOffset(
        topic_id=TOPIC_ID, partition=1, offset=5, leader_epoch=-1, metadata="note"
    )
    return [
        group_commands.StoreGroup(
            group=StoredGroup(
                group_id="classic",
                generation=3,
                protocol_type="consumer",
                protocol="range",
                leader="m",
                members=(member,),
            )
        ),
        group_commands.StoreConsumers(
            group_id="new",
            epoch=2,
            assignment_epoch=2,
            topics=(StoredTopic(name="topic", topic_id=TOPIC_ID, partition_count=2),),
            members=(consumer,),
            removed=("gone",),
        ),
        group_commands.CommitOffsets(group_id="classic", offsets=(committed,)),
        group_commands.DeleteOffsets(group_id="other", keys=(key,)),
        group_commands.ExpireOffsets(group_id="other", before_ms=9, keys=(key,)),
        group_commands.DeleteGroups(group_ids=("gone",)),
    ]
