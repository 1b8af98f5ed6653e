"""Looks at groups: one that cannot be asked holds nobody up, and the worst lag is looked up."""

import asyncio
from types import SimpleNamespace

import pytest

from trimaran.errors import ErrorCode, ProtocolError, RequestError
from trimaran.server.http import group_lags, grouping, lag_watch, topic_rows
from trimaran.server.http.describing import Described, Standing
from trimaran.server.http.lag_watch import LagWatch, rest_after
from trimaran.server.http.models.groups import GroupDetail, GroupPartition
from trimaran.server.http.recently import Shared

pytestmark = pytest.mark.asyncio

DESCRIBED = Described(state="Empty", protocol_type="", protocol="")


def detail(group_id, *, lag=3, topic="t"):
    row = GroupPartition(
        topic=topic,
        partition=0,
        committed=1,
        log_start=0,
        high_watermark=1 + lag,
        lag_events=lag,
        lag_s=1.0,
        metadata=None,
        member_id=None,
    )
    return GroupDetail(
        group_id=group_id,
        state="Empty",
        protocol_type="",
        protocol="",
        coordinator=1,
        lag_events=lag,
        lag_s=1.0,
        topics=[topic],
        members=[],
        partitions=[row],
    )


async def for_ever():
    await asyncio.Event().wait()


async def test_a_coordinator_that_froze_is_not_waited_for_when_it_has_a_successor(monkeypatch):
    asked = []

    async def standing(node, group_id):
        asked.append(group_id)
        if len(asked) == 1:
            await for_ever()
        return Standing(described=DESCRIBED, coordinator=2)

    monkeypatch.setattr(grouping, "_standing", standing)
    monkeypatch.setattr(grouping, "ATTEMPT_S", 0.01)
    async with asyncio.timeout(2):
        found = await grouping.standing(None, "g")
    assert (found.coordinator, asked) == (2, ["g", "g"])


async def test_a_coordinator_that_stays_silent_is_told_with_a_reason(monkeypatch):
    async def standing(node, group_id):
        raise ConnectionResetError("closed")

    monkeypatch.setattr(grouping, "_standing", standing)
    monkeypatch.setattr(grouping, "ASK_S", 0.05)
    with pytest.raises(RequestError, match="does not answer: closed") as found:
        await grouping.standing(None, "g")
    assert found.value.code is ErrorCode.COORDINATOR_NOT_AVAILABLE


async def test_one_silent_group_hides_no_other_of_its_topic(monkeypatch):
    names = ["answers", "silent", "gone", "answers-too"]

    async def all_groups(node):
        return [(SimpleNamespace(group_id=name), 1) for name in names]

    async def one(node, group_id):
        if group_id == "silent":
            await for_ever()
        if group_id == "gone":
            raise RequestError(ErrorCode.GROUP_ID_NOT_FOUND, "gone")
        return detail(group_id)

    monkeypatch.setattr(grouping, "all_groups", all_groups)
    monkeypatch.setattr(grouping, "detail", one)
    monkeypatch.setattr(topic_rows, "LAG_ANSWER_S", 0.02)
    found = await topic_rows.group_lags(SimpleNamespace(shared=Shared()))
    assert [row.group_id for row in found["t"]] == ["answers", "answers-too"]


async def test_the_partitions_that_are_furthest_behind_are_looked_up(monkeypatch):
    places = [("t", number) for number in range(group_lags.LAG_READS_MAX + 6)]
    looked_up = []

    async def log_ends(node, wanted):
        return {(name, number): (0, 10 + number) for name, number in wanted}

    async def age_s(node, place, offset):
        looked_up.append(place[1])
        return float(place[1])

    monkeypatch.setattr(group_lags, "log_ends", log_ends)
    monkeypatch.setattr(group_lags, "_age_s", age_s)
    found = Standing(described=DESCRIBED, coordinator=1, committed=dict.fromkeys(places, (5, None)))
    rows = (await group_lags.details(None, {"g": found}))["g"].partitions
    assert min(looked_up) == 6
    assert rows[-1].lag_s == float(len(places) - 1)
    assert rows[0].lag_s is None


@pytest.mark.parametrize(
    ("groups", "partitions", "rest_s"),
    [
        (0, 0, lag_watch.EVERY_S),
        (50, 300, 7.0),
        (100, 10_000, 37.5),
        (2, 30_000, lag_watch.REST_S_MAX),
    ],
)
async def test_the_rest_after_a_look_goes_by_what_was_looked_at(groups, partitions, rest_s):
    assert rest_after(groups, partitions) == pytest.approx(rest_s)


async def test_a_look_that_waited_long_is_not_followed_by_a_long_rest(monkeypatch):
    """As in a failover: who looks at the group then finds no hole of a minute in its history."""
    noted: asyncio.Queue[float] = asyncio.Queue()

    async def own_groups(node):
        return ["silent"]

    async def one(node, group_id):
        await for_ever()

    monkeypatch.setattr(grouping, "own_groups", own_groups)
    monkeypatch.setattr(grouping, "detail", one)
    monkeypatch.setattr(lag_watch, "GROUP_S", 0.2)
    monkeypatch.setattr(lag_watch, "EVERY_S", 0.1)
    observer = SimpleNamespace(note_group_lags=lambda found, *, held_s: noted.put_nowait(held_s))
    running = asyncio.create_task(LagWatch(SimpleNamespace(observer=observer)).run())
    async with asyncio.timeout(10):
        held_s = [await noted.get() for _ in range(2)]
    running.cancel()
    assert held_s == [0.1 * lag_watch.HELD_LOOKS] * 2


async def test_looks_go_on_after_one_that_failed(monkeypatch):
    script = [RuntimeError("a mistake"), ["g"]]
    noted = asyncio.Event()
    told = {}

    async def own_groups(node):
        step = script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    async def one(node, group_id):
        return detail(group_id, lag=7)

    def note_group_lags(found, *, held_s):
        told.update(found)
        noted.set()

    monkeypatch.setattr(grouping, "own_groups", own_groups)
    monkeypatch.setattr(grouping, "detail", one)
    monkeypatch.setattr(lag_watch, "REST_S_MAX", 0.0)
    observer = SimpleNamespace(note_group_lags=note_group_lags)
    running = asyncio.create_task(LagWatch(SimpleNamespace(observer=observer)).run())
    async with asyncio.timeout(5):
        await noted.wait()
    running.cancel()
    assert told["g"].events == 7


@pytest.mark.parametrize("error", [ProtocolError("no answer"), OSError(), None])
async def test_a_group_that_cannot_be_asked_is_left_out_of_the_look(monkeypatch, error):
    async def own_groups(node):
        return ["bad", "good"]

    async def one(node, group_id):
        if group_id == "bad":
            if error is None:
                await for_ever()
            raise error
        return detail(group_id)

    monkeypatch.setattr(grouping, "own_groups", own_groups)
    monkeypatch.setattr(grouping, "detail", one)
    monkeypatch.setattr(lag_watch, "GROUP_S", 0.01)
    found = await LagWatch(SimpleNamespace()).look()
    assert list(found.lags) == ["good"]
    assert found.partitions == 1
