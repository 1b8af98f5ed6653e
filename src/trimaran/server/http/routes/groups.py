"""REST: consumer groups, and where they stand.

Does not: speak with coordinators (`grouping`).
"""

from typing import Any

from trimaran.ids import NodeId
from trimaran.metadata.topology import Topic
from trimaran.server.http import grouping
from trimaran.server.http.context import NodeContext
from trimaran.server.http.endpoint import Asked, Endpoint, Reply, get
from trimaran.server.http.group_pages import many_details
from trimaran.server.http.kafka.asking import EARLIEST, LATEST, list_offset, offsets_of
from trimaran.server.http.models.base import NoBody, NoQuery, SearchQuery
from trimaran.server.http.models.groups import (
    Group,
    GroupAnswer,
    GroupPage,
    ResetAnswer,
    ResetBody,
    ResetRow,
    ResetTo,
)
from trimaran.server.http.paging import page_of
from trimaran.server.http.problems import (
    CONFLICT,
    ProblemError,
    field_problem,
    not_found,
    unavailable,
)

NEEDS_VALUE = ("offset", "time", "shift")


async def groups(asked: Asked[SearchQuery, NoBody]) -> GroupPage:
    """All groups, with the lag of those on the page."""
    node, search = asked.node, asked.query.search or ""
    rows = [row for row in await grouping.all_groups(node) if search in row[0].group_id]
    page = page_of(
        rows,
        key=lambda row: row[0].group_id,
        limit=asked.query.limit,
        after=asked.query.after,
    )
    found = await many_details(node, {row.group_id: number for row, number in page.items})
    items = [
        grouping.summary(found[row.group_id])
        if row.group_id in found
        else _unknown(row.group_id, number)
        for row, number in page.items
    ]
    return GroupPage(items=items, next=page.next, total=page.total, served_by=node.node_id)


def _unknown(group_id: str, coordinator: NodeId) -> Group:
    """Return the row of a group that was listed, and of which its coordinator does not tell."""
    return Group(
        group_id=group_id,
        state="unknown",
        protocol_type="",
        protocol="",
        coordinator=coordinator,
        members=0,
        lag_events=None,
        lag_s=None,
        topics=[],
    )


async def one_group(asked: Asked[NoQuery, NoBody]) -> GroupAnswer:
    """One group with members and offsets."""
    found = await grouping.detail(asked.node, group_name(asked))
    values = {name: getattr(found, name) for name in found.__struct_fields__}
    return GroupAnswer(**values, served_by=asked.node.node_id)


async def delete_group(asked: Asked[NoQuery, NoBody]) -> Reply:
    """Delete a group that has no members."""
    await grouping.delete(asked.node, group_name(asked))
    return Reply(body=None, status=204)


async def reset_offsets(asked: Asked[NoQuery, ResetBody]) -> ResetAnswer:
    """Say what would change, and with `dry_run` false change it."""
    node, body, group_id = asked.node, asked.body, group_name(asked)
    if (body.to.kind in NEEDS_VALUE) != (body.to.value is not None):
        needed = "an integer" if body.to.kind in NEEDS_VALUE else "absent"
        raise field_problem("to.value", f"with kind {body.to.kind!r}", needed)
    topic = node.user_topic(body.topic)
    numbers = range(len(topic.partitions)) if body.partitions is None else body.partitions
    for number in numbers:
        node.partition_of(topic, number)
    try:
        found = await grouping.standing(node, group_id)
        before = {
            place[1]: at for place, (at, _) in found.committed.items() if place[0] == topic.name
        }
        members = len(found.described.members)
    except ProblemError:
        before, members = {}, 0  # a group begins with what is committed for it
    if members and not body.dry_run:
        raise ProblemError(
            CONFLICT, f"group {group_id!r} has {members} members: stop them, then reset"
        )
    after = await targets(node, topic, list(dict.fromkeys(numbers)), before, body.to)
    if not body.dry_run:
        await grouping.commit(node, group_id, topic, after)
    rows = [
        ResetRow(
            topic=topic.name,
            partition=number,
            before=before.get(number),
            after=offset,
            change=None if number not in before else offset - before[number],
        )
        for number, offset in sorted(after.items())
    ]
    return ResetAnswer(group_id=group_id, dry_run=body.dry_run, items=rows, served_by=node.node_id)


async def targets(
    node: NodeContext, topic: Topic, numbers: list[int], before: dict[int, int], to: ResetTo
) -> dict[int, int]:
    """Return where each partition's offset would go, within the log."""
    starts = await offsets_of(node.kafka, topic, numbers, EARLIEST)
    ends = await offsets_of(node.kafka, topic, numbers, LATEST)
    found = {}
    for number in numbers:
        start, end = starts[number], ends[number]
        if start is None or end is None:
            raise unavailable(f"partition {number} of {topic.name!r} has no leader")
        wanted = await _wanted(node, topic, number, before.get(number, start.offset), to)
        wanted = {EARLIEST: start.offset, LATEST: end.offset}.get(wanted, wanted)
        found[number] = min(max(wanted, start.offset), end.offset)
    return found


async def _wanted(node: NodeContext, topic: Topic, number: int, before: int, to: ResetTo) -> int:
    """Return an offset, not yet brought within the log; EARLIEST and LATEST name its ends."""
    value = to.value or 0
    match to.kind:
        case "earliest":
            return EARLIEST
        case "latest":
            return LATEST
        case "offset":
            return max(0, value)
        case "shift":
            return max(0, before + value)
        case "time":
            found = await list_offset(node.kafka, topic, number, max(0, min(value, 2**53)))
            return found.offset if found.offset >= 0 else LATEST


def group_name(asked: Asked[Any, Any]) -> str:
    """Return the group's id. Raises ProblemError (404) for what can be none."""
    group_id: str = asked.path["group"]
    if not 1 <= len(group_id) <= 249 or not group_id.isprintable():
        raise not_found("a group id has 1 to 249 printable characters")
    return group_id


ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (
    get("/v1/groups", "groups", "All consumer groups", groups, GroupPage, query=SearchQuery),
    get("/v1/groups/{group}", "groups", "One consumer group", one_group, GroupAnswer),
    Endpoint(
        method="DELETE",
        path="/v1/groups/{group}",
        tag="groups",
        summary="Delete a group without members",
        handle=delete_group,
        answer=None,
        query=NoQuery,
        body=NoBody,
        status=204,
    ),
    Endpoint(
        method="POST",
        path="/v1/groups/{group}/reset-offsets",
        tag="groups",
        summary="Move where a group goes on reading (by default only say how)",
        handle=reset_offsets,
        answer=ResetAnswer,
        query=NoQuery,
        body=ResetBody,
    ),
)
