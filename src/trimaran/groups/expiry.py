"""Which offsets nobody can want any more, and which groups are nothing any more (KIP-211).

A group without members keeps its offsets for the retention time after its last rebalance or commit;
a group with members keeps those of the topics it is subscribed to, and all of them while that may
change; offsets of a topic that was deleted go at once. A group without members and offsets goes
too.
Does not: delete; the coordinator has it agreed on.
"""

from collections.abc import Callable, Sequence

from trimaran.groups.commands import Command, DeleteGroups, DeleteOffsets, ExpireOffsets
from trimaran.groups.table import GroupTable, Position
from trimaran.ids import TopicId


def expired(
    table: GroupTable,
    group_id: str,
    *,
    topic_name: Callable[[TopicId], str | None],
    was_deleted: Callable[[TopicId], bool],
    subscribed: Sequence[str] | None,
    is_idle: bool,
    now_ms: int,
    retention_ms: int,
) -> Command | None:
    """Return what is to be deleted of a group next, None for nothing.

    Args:
        table: the coordinator's groups.
        group_id: one of them.
        topic_name: returns the name of a topic; None: this node does not know it, or not yet.
        was_deleted: tells whether a topic was deleted for sure.
        subscribed: topics that members want; None: unknown, all of them count.
        is_idle: whether nobody is in the group or about to be, and `table` says so: when the last
            one went is known.
        now_ms: log time.
        retention_ms: how long offsets are kept.
    """
    positions = table.positions(group_id)
    gone = [_key(one) for one in positions if was_deleted(one.committed.topic_id)]
    if gone:
        return DeleteOffsets(group_id, tuple(gone))
    before_ms = now_ms - retention_ms
    if before_ms <= 0 or (is_idle and table.changed_ms(group_id) >= before_ms):
        return None
    wanted = None if subscribed is None else dict.fromkeys(subscribed)

    def is_wanted(topic_id: TopicId) -> bool:
        name = topic_name(topic_id)
        return wanted is None or name is None or name in wanted

    old = [
        _key(one)
        for one in positions
        if one.commit_time_ms < before_ms and (is_idle or not is_wanted(one.committed.topic_id))
    ]
    if old:
        return ExpireOffsets(group_id, before_ms, tuple(old))
    if is_idle and not positions:
        return DeleteGroups((group_id,))
    return None


def _key(position: Position) -> tuple[TopicId, int]:
    return position.committed.topic_id, position.committed.partition
