"""Where the logs of many partitions begin and end: each leader is asked once for all of its own.

What this node leads it knows itself. A leader that moved meanwhile is looked for again, for about a
second; what has none then is left out.
Does not: read events.
"""

import asyncio
from collections.abc import Iterable, Sequence

from trimaran.broker.rows import in_turns
from trimaran.errors import ErrorCode, ProtocolError
from trimaran.ids import NodeId
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from trimaran.server.http.context import NodeContext
from trimaran.server.http.kafka.asking import EARLIEST, LATEST

ENDS_S = 1.0
"""How long leaders are looked for and asked, all together."""
ANSWER_S = 0.5
"""For one of them: who froze has a successor by then."""
LOOK_AGAIN_S = 0.05
LANE = "ends"

Place = tuple[str, int]
"""A topic's name and a partition's number."""
Ends = tuple[int, int]
"""Log start and high watermark."""


async def log_ends(node: NodeContext, places: Iterable[Place]) -> dict[Place, Ends]:
    """Return [log start, high watermark) of each place that somebody leads."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + ENDS_S
    found: dict[Place, Ends] = {}
    left = list(dict.fromkeys(places))
    while True:
        own, led = await _sorted_out(node, left)
        found.update(own)
        left_s = min(ANSWER_S, deadline_s - loop.time())
        for rows in await asyncio.gather(*(_ask(node, *one, left_s) for one in led.items())):
            found.update(rows)
        left = [place for places in led.values() for place in places if place not in found]
        if not left or loop.time() + LOOK_AGAIN_S > deadline_s:
            return found
        await asyncio.sleep(LOOK_AGAIN_S)


async def _sorted_out(
    node: NodeContext, places: Sequence[Place]
) -> tuple[dict[Place, Ends], dict[NodeId | None, list[Place]]]:
    """Return what this node knows itself, and who leads the rest; None: nobody for now.

    What does not exist, or no longer, is in neither.
    """
    own: dict[Place, Ends] = {}
    led: dict[NodeId | None, list[Place]] = {}
    async for name, number in in_turns(places):
        topic = node.image.topic(name)
        if topic is None or number >= len(topic.partitions):
            continue
        replica = node.replica(topic, number)
        if replica is not None and replica.is_leader:
            own[name, number] = (replica.log_start, replica.high_watermark)
        else:
            leader = node.broker.services.leader_hint(topic.group(number))[0]
            led.setdefault(leader, []).append((name, number))
    return own, led


async def _ask(
    node: NodeContext, leader: NodeId | None, places: Sequence[Place], timeout_s: float
) -> dict[Place, Ends]:
    """Return what one leader tells; nothing of what it does not lead, or if it is silent."""
    if leader is None:
        return {}
    try:
        async with asyncio.timeout(timeout_s):
            starts, ends = await asyncio.gather(
                _offsets(node, leader, places, EARLIEST), _offsets(node, leader, places, LATEST)
            )
    except (OSError, ProtocolError):
        return {}
    return {place: (start, ends[place]) for place, start in starts.items() if place in ends}


async def _offsets(
    node: NodeContext, leader: NodeId, places: Sequence[Place], timestamp: int
) -> dict[Place, int]:
    rows: dict[str, list[ListOffsetsPartition]] = {}
    for name, number in places:
        row = ListOffsetsPartition(partition_index=number, timestamp=timestamp)
        rows.setdefault(name, []).append(row)
    topics = [ListOffsetsTopic(name=name, partitions=some) for name, some in rows.items()]
    answer: ListOffsetsResponse = await node.kafka.ask(
        leader,
        ApiKey.LIST_OFFSETS,
        ListOffsetsRequest(topics=topics),
        lane=LANE,
        timeout_s=ANSWER_S,
    )
    return {
        (topic.name, row.partition_index): row.offset
        for topic in answer.topics
        for row in topic.partitions
        if row.error_code == ErrorCode.NONE
    }
