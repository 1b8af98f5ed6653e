"""What becomes of a group when something of it cannot be stored."""

import asyncio

import pytest

from trimaran.errors import ErrorCode
from trimaran.groups.commands import CommitOffsets
from trimaran.groups.consumer_group import ConsumerGroup
from trimaran.groups.messages import BeatRequest, JoinRequest
from trimaran.groups.parts import NOTHING
from trimaran.groups.stored import CommittedOffset, StoredProtocol

WANTS = {"rebalance_timeout_ms": 30_000, "topics": ("flights",), "owned": NOTHING}


def beat(live, member_id, epoch=0, **changes):
    """Return the future of a heartbeat's answer."""
    ticket = live.new_ticket()
    request = BeatRequest(ticket=ticket, member_id=member_id, epoch=epoch, **changes)
    return live.beat("g", request)


def classic_join(live, subscription):
    """Return the future of the answer to a classic member that joins, and has nothing yet."""
    request = JoinRequest(
        ticket=live.new_ticket(),
        fresh_id="classic",
        session_timeout_ms=10_000,
        rebalance_timeout_ms=60_000,
        protocol_type="consumer",
        protocols=(StoredProtocol("range", subscription + bytes(4)),),
    )
    return live.join("g", request)


@pytest.fixture
def begin_commit(coordinator, flights):
    """What begins a commit of group "g", and returns what ends it."""

    async def begin(live):
        offset = CommittedOffset(flights.topic_id, 0, 7, -1, "")
        coordinator.holds = True
        task = asyncio.create_task(live.commit(CommitOffsets("g", (offset,))))
        await asyncio.sleep(0)
        coordinator.holds = False

        async def end():
            coordinator.held.pop()()
            await task

        return end

    return begin


@pytest.mark.asyncio
async def test_a_change_that_is_refused_while_a_commit_is_on_its_way_is_forgotten(
    coordinator, begin_commit
):
    live = await coordinator.ready()
    epoch = (await beat(live, "one", **WANTS)).epoch
    end = await begin_commit(live)
    coordinator.refuses = True
    refused = await beat(live, "two", **WANTS)
    coordinator.refuses = False
    await end()

    assert refused.error is ErrorCode.NOT_COORDINATOR
    again = await beat(live, "one", epoch)
    assert (again.error, again.epoch) == (ErrorCode.NONE, epoch)
    assert (await beat(live, "two", **WANTS)).error is ErrorCode.NONE


@pytest.mark.asyncio
@pytest.mark.parametrize("begins_commit", [True, False])
async def test_a_group_that_could_not_be_stored_as_a_classic_one_is_none(
    coordinator, subscription, begin_commit, begins_commit
):
    live = await coordinator.ready()
    epoch = (await beat(live, "one", **WANTS)).epoch
    await classic_join(live, subscription)
    end = await begin_commit(live) if begins_commit else None
    coordinator.refuses = True
    refused = await beat(live, "one", -1)
    coordinator.refuses = False
    if end is not None:
        await end()

    assert refused.error is ErrorCode.NOT_COORDINATOR
    group = live.get("g")
    assert isinstance(group, ConsumerGroup)
    assert [member.member_id for member in group.members] == ["one", "classic"]
    assert (await beat(live, "one", epoch)).error is ErrorCode.NONE
