"""The broker's incidents and happenings in words and names of topics, as people are shown them.

Does not: keep or count anything.
"""

from collections.abc import Callable, Sequence

from trimaran.broker import happenings, incidents
from trimaran.broker.happenings import HappeningKind
from trimaran.ids import METADATA_GROUP, GroupId, NodeId, split_group_id
from trimaran.metadata.image import Image
from trimaran.server.observing import shapes
from trimaran.server.observing.groups import METADATA

LIMIT_MS = 600.0
"""What a failover may take."""
NAMED_MAX = 3
"""Groups that a line names; of the others it says how many."""

Place = tuple[str | None, int | None]
NOWHERE: Place = (None, None)


class Teller:
    """Tells what happened on one node."""

    def __init__(self, node_id: NodeId, image: Callable[[], Image]) -> None:
        """`image` returns what the cluster agreed on now."""
        self._node_id = node_id
        self._image = image

    def incident(self, found: incidents.Incident) -> shapes.Incident:
        """Return a failover as it is shown: its phases are those of the last group to get there."""
        total_ms = found.total_ms
        topic, partition = self._only_place(found.groups, found.group_count)
        phases = [shapes.Phase(name="last_ack", at_ms=0.0)]
        phases += [shapes.Phase(name=one.name.value, at_ms=one.last_ms) for one in found.phases]
        return shapes.Incident(
            id=f"{self._node_id}-{found.number}-{found.time_ms}",
            began_ms=found.time_ms,
            observed_by=self._node_id,
            cause=found.cause.value,
            lost_node=found.lost_node,
            groups=found.group_count,
            topic=topic,
            partition=partition,
            old_term=found.old_term,
            new_term=found.term,
            new_leader=found.new_leaders[0] if len(found.new_leaders) == 1 else None,
            phases=phases,
            total_ms=total_ms,
            over_limit=total_ms is not None and total_ms > LIMIT_MS,
        )

    def happening(self, found: happenings.Happening) -> shapes.Happening:
        """Return a happening with a line for people."""
        topic, partition = self._only_place(found.groups, found.group_count)
        leads = found.kind in (HappeningKind.ELECTION, HappeningKind.LEADER_MOVED)
        return shapes.Happening(
            seq=found.number,
            at_ms=found.time_ms,
            node_id=self._node_id,
            kind=found.kind.value,
            text=self._text(found),
            topic=topic,
            partition=partition,
            term=found.term,
            leader=found.node if leads else None,
            subject_node=found.node,
            ms=found.duration_ms,
        )

    def _text(self, found: happenings.Happening) -> str:
        where = self._groups(found.groups, found.group_count)
        who = "" if found.node is None else f"node {found.node}"
        match found.kind:
            case HappeningKind.ELECTION | HappeningKind.LEADER_MOVED:
                text = f"{who} leads {where}"
            case HappeningKind.NODE_UP | HappeningKind.NODE_DOWN:
                text = f"{who}: {found.text}"
            case HappeningKind.INCIDENT:
                text = f"{found.text}: {where}"
            case HappeningKind.REPAIR:
                text = f"repaired, votes again: {where}"
            case HappeningKind.DAMAGE:
                text = f"damaged, has no vote: {where}"
            case HappeningKind.WARNING if found.group_count > 0:
                text = f"heard no majority and stepped down: {where}"
            case _:
                text = found.text
        return text

    def _groups(self, groups: Sequence[GroupId], count: int) -> str:
        """Return a few names and how many there are beyond."""
        names = []
        for group in groups[:NAMED_MAX]:
            topic, number = self._place(group)
            names.append("a deleted topic" if topic is None else f"{topic}-{number}")
        if count > len(names):
            names.append(f"{count - len(names)} more")
        return ", ".join(names)

    def _only_place(self, groups: Sequence[GroupId], count: int) -> Place:
        """Return topic and partition if it is about one group alone."""
        return self._place(groups[0]) if count == 1 and groups else NOWHERE

    def _place(self, group: GroupId) -> Place:
        topic_id, number = split_group_id(group)
        if group == METADATA_GROUP:
            return METADATA, number
        topic = self._image().topic_by_id(topic_id)
        return NOWHERE if topic is None else (topic.name, number)
