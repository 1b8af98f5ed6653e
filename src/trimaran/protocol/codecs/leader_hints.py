"""KIP-951's tagged fields, the same in Produce and Fetch: who leads now, and where it listens.

Does not: decide whom to name.
"""

from collections.abc import Sequence

from trimaran.protocol.messages.common import LeaderIdAndEpoch, NodeEndpoint
from trimaran.protocol.wire import Writer

_LEADER_BYTES = 9
"""Leader id i32, leader epoch i32, no tagged fields."""


def end_partition(writer: Writer, tag: int, leader: LeaderIdAndEpoch | None) -> None:
    """End a partition's struct with at most one tagged field, the current leader."""
    if leader is None:
        writer.buffer.append(0)
        return
    writer.buffer += bytes((1, tag, _LEADER_BYTES))
    writer.int32(leader.leader_id)
    writer.int32(leader.leader_epoch)
    writer.buffer.append(0)


def end_answer(writer: Writer, endpoints: Sequence[NodeEndpoint]) -> None:
    """End an answer with at most one tagged field (tag 0), the endpoints of the leaders."""
    if not endpoints:
        writer.buffer.append(0)
        return
    content = Writer(flexible=True)
    content.buffer.clear()
    content.array(endpoints, _write_endpoint)
    writer.buffer += b"\x01\x00"
    writer.uvarint(len(content.buffer))
    writer.buffer += content.buffer


def _write_endpoint(writer: Writer, endpoint: NodeEndpoint) -> None:
    writer.int32(endpoint.node_id)
    writer.string(endpoint.host)
    writer.int32(endpoint.port)
    writer.string(endpoint.rack)
    writer.end_struct()
