"""A coordinator's replica: who may ask it when, and what becomes of those who wait."""

import asyncio
from types import SimpleNamespace

import pytest

from trimaran.broker import coordinator, live_groups
from trimaran.broker.coordinator import GROUPS_FILE, Coordinator
from trimaran.broker.group_cleaning import GroupCleaning
from trimaran.broker.group_topics import GroupTopics
from trimaran.errors import ErrorCode, NotLeaderError, ProposalRefusedError, RequestError
from trimaran.groups.commands import CommitOffsets, DeleteGroups, StoreGroup, encode_command
from trimaran.groups.messages import (
    BeatRequest,
    GroupSettings,
    JoinRequest,
    MemberClaim,
    SyncRequest,
)
from trimaran.groups.parts import NOTHING
from trimaran.groups.stored import CommittedOffset, StoredGroup, StoredMember, StoredProtocol
from trimaran.groups.table import GroupTable
from trimaran.ids import GROUPS_TOPIC_ID, Index, NodeId, Offset, Term, TopicId, group_id
from trimaran.metadata.image import Image
from trimaran.raft.ready import Role, RoleChange
from trimaran.records.entry import Entry, EntryKind

TOPIC = TopicId(b"A" * 16)
RANGE = StoredProtocol("range", b"")
DAY_MS = 86_400_000


def commit(offset=5):
    return CommitOffsets("g", (CommittedOffset(TOPIC, 0, offset, -1, ""),))


def member(name="m"):
    return StoredMember(name, None, "c", "/h", 10_000, 60_000, (RANGE,), b"part")


class FakeRaft:
    """A core that leads when told, and whose log the test commits."""

    def __init__(self):
        self.is_leader = False
        self.is_transferring = False
        self.term = Term(1)
        self.log = SimpleNamespace(last_log_time_ms=0, entries=[])
        self.refuses = False
        self.reads = []

    def propose(self, kind, payload, *, log_time_ms):
        if not self.is_leader:
            raise NotLeaderError("no")
        if self.refuses or self.is_transferring:
            raise ProposalRefusedError("full")
        return self.append(kind, payload, log_time_ms)

    def append(self, kind, payload=b"", log_time_ms=1_000):
        index = Index(len(self.log.entries) + 1)
        entry = Entry(index, self.term, kind, Offset(0), 0, log_time_ms, payload)
        self.log.entries.append(entry)
        return entry

    def read(self, context, number):
        self.reads.append(context)


class Bench:
    """One coordinator; the test elects and commits."""

    def __init__(self, *commands):
        self.raft = FakeRaft()
        table = GroupTable()
        for command in commands:
            table.apply(command, log_time_ms=1_000)
        self.time_ms = 2_000
        self.has_proposed = asyncio.Event()
        owner = SimpleNamespace(
            log_time_ms=lambda: self.time_ms,
            proposed=lambda replica, events: self.has_proposed.set(),
            confirm_leadership=lambda replica: 7,
        )
        settings = GroupSettings(initial_rebalance_delay_ms=0)
        self.coordinator = Coordinator(
            number=0,
            table=table,
            settings=settings,
            topics=GroupTopics(Image),
            raft=self.raft,
            owner=owner,
        )
        self.replica = SimpleNamespace(
            leads=True,
            applied=Index(0),
            group=group_id(GROUPS_TOPIC_ID, 0),
            proposed=lambda entry: None,
        )
        self.coordinator.bind(self.replica)

    def elect(self):
        """Begin a term as leader; its first entry is not committed yet."""
        self.raft.is_leader = True
        self.raft.term = Term(self.raft.term + 1)
        self.change_role(Role.LEADER)
        self.raft.append(EntryKind.LEADER_START)

    def depose(self):
        self.raft.is_leader = False
        self.raft.term = Term(self.raft.term + 1)
        self.change_role(Role.FOLLOWER)

    def change_role(self, role):
        self.coordinator.role_changed(RoleChange(term=self.raft.term, role=role, leader=NodeId(1)))

    def commit(self):
        """Commit everything that the log holds."""
        entries = self.raft.log.entries[self.replica.applied :]
        self.replica.applied = Index(len(self.raft.log.entries))
        if entries:
            self.coordinator.committed(entries)

    def lead(self):
        self.elect()
        self.commit()
        return self.coordinator.live


def cleaning_of(bench, *, topic=None):
    """Return what cleans the bench's groups of what is a day old; `topic`: the only one's name."""
    known = None if topic is None else SimpleNamespace(name=topic)
    image = SimpleNamespace(was_deleted=lambda topic_id: False, topic_by_id=lambda topic_id: known)
    return GroupCleaning(
        image=lambda: image,
        coordinators=lambda: [bench.coordinator],
        log_time_ms=lambda: bench.time_ms,
        retention_ms=DAY_MS,
    )


async def clean(bench):
    """Look at the bench's groups once, and commit what that deletes."""
    run = asyncio.ensure_future(cleaning_of(bench, topic="flights").clean(bench.coordinator))
    await soon(run)
    bench.commit()
    await run


async def soon(task):
    """Let the loop turn a few times."""
    for _ in range(20):
        if task.done():
            return
        await asyncio.sleep(0)


def join_request(live, **changes):
    fields = {"member_id": "", "fresh_id": "new", "protocols": (RANGE,)}
    times = {"session_timeout_ms": 10_000, "rebalance_timeout_ms": 60_000}
    return JoinRequest(
        ticket=live.new_ticket(), protocol_type="consumer", **(fields | times | changes)
    )


@pytest.mark.asyncio
async def test_a_leader_is_ready_when_an_entry_of_its_own_term_is_committed():
    bench = Bench()
    with pytest.raises(RequestError) as refused:
        await bench.coordinator.ready()
    bench.elect()
    waiting = asyncio.ensure_future(bench.coordinator.ready())
    await soon(waiting)
    assert not waiting.done()
    bench.commit()

    assert await waiting is bench.coordinator.live
    assert refused.value.code is ErrorCode.NOT_COORDINATOR


@pytest.mark.asyncio
async def test_a_leader_is_not_ready_while_only_what_others_began_is_committed():
    bench = Bench()
    bench.raft.append(EntryKind.COMMAND, encode_command(commit(5)))
    bench.raft.append(EntryKind.COMMAND, encode_command(commit(6)))
    bench.elect()
    entries = bench.raft.log.entries
    bench.replica.applied = Index(1)

    bench.coordinator.committed(entries[:1])
    assert bench.coordinator.live is None, "the second commit is not known yet"

    bench.commit()
    assert bench.coordinator.live is not None


@pytest.mark.asyncio
async def test_who_waits_for_a_leader_to_be_ready_is_sent_away_if_it_loses():
    bench = Bench()
    bench.elect()
    waiting = asyncio.ensure_future(bench.coordinator.ready())
    await soon(waiting)
    bench.depose()

    with pytest.raises(RequestError):
        await waiting


@pytest.mark.asyncio
async def test_a_commit_is_answered_when_it_is_committed():
    bench = Bench()
    bench.lead()
    waiting = asyncio.ensure_future(bench.coordinator.execute(commit()))
    await soon(waiting)
    assert not waiting.done()
    bench.commit()
    await waiting

    assert bench.coordinator.table.position("g", (TOPIC, 0)).offset == 5


@pytest.mark.asyncio
async def test_a_commit_under_a_deposed_leader_may_still_succeed():
    bench = Bench()
    bench.lead()
    waiting = asyncio.ensure_future(bench.coordinator.execute(commit()))
    await soon(waiting)
    bench.depose()
    await soon(waiting)
    assert not waiting.done()
    bench.commit()

    await waiting


@pytest.mark.asyncio
@pytest.mark.parametrize("end", ["truncated", "majority_lost", "deleted"])
async def test_a_commit_whose_end_nobody_learns_is_refused(end):
    bench = Bench()
    bench.lead()
    waiting = asyncio.ensure_future(bench.coordinator.execute(commit()))
    await soon(waiting)
    bench.raft.is_leader = False
    if end == "truncated":
        bench.coordinator.truncated(Index(2))
    else:
        getattr(bench.coordinator, end)()

    with pytest.raises(RequestError) as refused:
        await waiting
    assert refused.value.code is ErrorCode.NOT_COORDINATOR


@pytest.mark.asyncio
async def test_a_leader_that_can_take_nothing_says_so():
    bench = Bench()
    bench.lead()
    codes = []
    for name, value in (("refuses", True), ("is_transferring", True), ("is_leader", False)):
        setattr(bench.raft, name, value)
        with pytest.raises(RequestError) as refused:
            await bench.coordinator.execute(commit())
        codes.append(refused.value.code)
    bench.raft.is_leader = True
    with pytest.raises(RequestError) as refused:
        await bench.coordinator.execute(CommitOffsets("", ()))
    codes.append(refused.value.code)

    assert codes == [
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.INVALID_REQUEST,
    ]


@pytest.mark.asyncio
async def test_a_read_waits_until_leadership_is_confirmed():
    bench = Bench()
    bench.lead()
    sure = asyncio.ensure_future(bench.coordinator.confirm())
    lost = asyncio.ensure_future(bench.coordinator.confirm())
    await soon(sure)
    assert not sure.done()
    bench.coordinator.read_confirmed(1, bench.replica.applied)
    bench.coordinator.read_confirmed(2, None)
    bench.coordinator.read_confirmed(3, None)

    await sure
    with pytest.raises(RequestError):
        await lost
    bench.depose()
    with pytest.raises(RequestError):
        await bench.coordinator.confirm()


@pytest.mark.asyncio
async def test_members_of_the_log_go_on_under_the_next_leader():
    group = StoredGroup("g", 4, "consumer", "range", "m", (member(),))
    bench = Bench(StoreGroup(group))
    live = bench.lead()

    assert live.heartbeat("g", MemberClaim(member_id="m", generation=4)) is ErrorCode.NONE
    answer = live.sync("g", SyncRequest(ticket=9, claim=MemberClaim(member_id="m", generation=4)))
    assert answer.result().assignment == b"part"


@pytest.mark.asyncio
async def test_who_waits_in_a_group_is_sent_to_the_next_leader():
    group = StoredGroup("g", 4, "consumer", "range", "m", (member(),))
    bench = Bench(StoreGroup(group))
    live = bench.lead()
    waiting = live.join("g", join_request(live))
    bench.depose()

    assert waiting.result().error is ErrorCode.NOT_COORDINATOR
    assert bench.coordinator.live is None


@pytest.mark.asyncio
async def test_who_waits_for_an_answer_that_waits_for_the_log_is_sent_on_too():
    bench = Bench()
    live = bench.lead()
    joined = live.join("g", join_request(live, instance_id="i")).result()
    claim = MemberClaim(member_id=joined.member_id, instance_id="i", generation=1)
    live.sync("g", SyncRequest(ticket=live.new_ticket(), claim=claim))
    bench.commit()
    waiting = live.join("g", join_request(live, instance_id="i", fresh_id="newer"))
    assert not waiting.done()
    bench.depose()

    with pytest.raises(RequestError):
        waiting.result()


@pytest.mark.asyncio
async def test_an_assignment_that_cannot_be_proposed_is_brought_again():
    bench = Bench()
    live = bench.lead()
    joined = live.join("g", join_request(live)).result()
    claim = MemberClaim(member_id=joined.member_id, generation=1)
    bench.raft.refuses = True
    lost = live.sync("g", SyncRequest(ticket=live.new_ticket(), claim=claim))
    await soon(lost)
    bench.raft.refuses = False
    again = live.sync("g", SyncRequest(ticket=live.new_ticket(), claim=claim))
    bench.commit()

    assert lost.result().error is ErrorCode.NOT_COORDINATOR
    assert again.result().error is ErrorCode.NONE


@pytest.mark.asyncio
async def test_a_group_that_is_about_to_be_stored_as_empty_does_not_rise_again():
    group = StoredGroup("g", 4, "consumer", "range", "m", (member(),))
    bench = Bench(StoreGroup(group))
    live = bench.lead()
    live.leave("g", [MemberClaim(member_id="m")])
    joined = live.join("g", join_request(live)).result()

    assert (joined.generation, len(joined.members)) == (6, 1)


@pytest.mark.asyncio
async def test_sessions_end_by_the_loops_own_clock():
    fast = StoredMember("m", None, "c", "/h", 20, 60_000, (RANGE,), b"part")
    bench = Bench(StoreGroup(StoredGroup("g", 4, "consumer", "range", "m", (fast,))))
    live = bench.lead()
    async with asyncio.timeout(10):
        await bench.has_proposed.wait()
    bench.commit()

    assert bench.coordinator.table.stored("g").members == ()
    assert live.get("g").state.value == "Empty"


@pytest.mark.asyncio
async def test_a_group_that_could_not_be_stored_as_empty_is_read_again():
    """Or the log would have a member for ever that nobody waits for: the group is in the way."""
    fast = StoredMember("m", None, "c", "/h", 20, 60_000, (RANGE,), b"part")
    bench = Bench(StoreGroup(StoredGroup("g", 4, "consumer", "range", "m", (fast,))))
    live = bench.lead()
    bench.raft.refuses = True
    codes = live.leave("g", [MemberClaim(member_id="m")])
    await asyncio.sleep(0)
    bench.raft.refuses = False
    bench.has_proposed.clear()
    async with asyncio.timeout(10):
        await bench.has_proposed.wait()  # its session ends
    bench.commit()

    assert codes == [ErrorCode.NONE]
    assert bench.coordinator.table.stored("g").members == ()
    assert list(live._groups) == []


@pytest.mark.asyncio
async def test_the_state_file_has_the_table():
    bench = Bench()
    bench.lead()
    waiting = asyncio.ensure_future(bench.coordinator.execute(commit(9)))
    await soon(waiting)
    bench.commit()
    await waiting

    files = bench.coordinator.flushed(bench.raft.log.entries)

    assert GroupTable.decode(files[GROUPS_FILE]).position("g", (TOPIC, 0)).offset == 9
    assert encode_command(commit(9)) == bench.raft.log.entries[-1].payload


@pytest.mark.asyncio
async def test_the_leader_cleans_what_expired():
    bench = Bench(commit(), StoreGroup(StoredGroup("g", 1, "consumer", None, None, ())))
    cleaning = cleaning_of(bench)
    await cleaning.clean(bench.coordinator)
    bench.lead()
    await cleaning.clean(bench.coordinator)
    assert len(bench.coordinator.table) == 1, "nothing is old enough"
    bench.time_ms = 10_000 + DAY_MS
    for _ in range(2):
        run = asyncio.ensure_future(cleaning.clean(bench.coordinator))
        await soon(run)
        bench.commit()
        await run

    assert len(bench.coordinator.table) == 0


@pytest.mark.asyncio
async def test_a_command_that_nobody_commits_is_answered_in_time(monkeypatch):
    """A deposed leader that hears nobody any more learns of no outcome."""
    monkeypatch.setattr(coordinator, "EXECUTE_S", 0.01)
    bench = Bench()
    bench.lead()
    task = asyncio.create_task(bench.coordinator.execute(DeleteGroups(("g",))))
    await soon(task)
    bench.depose()

    with pytest.raises(RequestError) as unknown:
        await task

    assert unknown.value.code is ErrorCode.COORDINATOR_NOT_AVAILABLE


@pytest.mark.asyncio
async def test_a_read_sees_what_was_proposed_before_it():
    """A client that commits and asks at once, on one connection, means to see its commit."""
    bench = Bench()
    bench.lead()
    committing = asyncio.create_task(bench.coordinator.execute(commit(7)))
    await soon(committing)
    reading = asyncio.create_task(bench.coordinator.confirm())
    await soon(reading)
    (context,) = bench.coordinator._reads

    bench.coordinator.read_confirmed(context, bench.replica.applied)
    await soon(reading)
    assert not reading.done()
    bench.commit()
    await reading

    assert bench.coordinator.table.position("g", (TOPIC, 0)).offset == 7
    await committing


@pytest.mark.asyncio
async def test_a_group_to_which_a_commit_is_on_its_way_is_not_cleaned_away():
    bench = Bench(StoreGroup(StoredGroup("g", 1, "consumer", None, None, ())))
    cleaning = cleaning_of(bench)
    live = bench.lead()
    bench.time_ms = 10_000 + DAY_MS
    committing = asyncio.create_task(live.commit(commit(7)))
    await soon(committing)

    await cleaning.clean(bench.coordinator)
    bench.commit()
    await committing

    assert bench.coordinator.table.position("g", (TOPIC, 0)).offset == 7


def old_member_leaves(bench, live):
    """The only member of a group that rebalanced long ago goes; that is not committed yet."""
    bench.time_ms = 10 * DAY_MS
    live.leave("g", [MemberClaim(member_id="m")])


def old_group():
    """Return what made a group whose only member committed long ago."""
    return StoreGroup(StoredGroup("g", 4, "consumer", "range", "m", (member(),))), commit(5)


@pytest.mark.asyncio
async def test_a_group_that_has_just_become_empty_keeps_its_offsets():
    bench = Bench(*old_group())
    old_member_leaves(bench, bench.lead())

    await clean(bench)

    assert bench.coordinator.table.position("g", (TOPIC, 0)).offset == 5


@pytest.mark.asyncio
async def test_a_group_whose_next_member_has_only_its_id_keeps_its_offsets():
    bench = Bench(*old_group())
    live = bench.lead()
    old_member_leaves(bench, live)
    bench.commit()
    live.join("g", join_request(live, learns_id_first=True))

    await clean(bench)

    assert bench.coordinator.table.position("g", (TOPIC, 0)).offset == 5


@pytest.mark.asyncio
async def test_a_group_whose_last_member_of_the_new_protocol_is_about_to_go_keeps_its_offsets():
    bench = Bench(commit(5))
    live = bench.lead()
    fields = {"rebalance_timeout_ms": 30_000, "topics": ("flights",), "owned": NOTHING}
    for epoch, changes in ((0, fields), (-1, {})):
        bench.commit()
        ticket = live.new_ticket()
        live.beat("g", BeatRequest(ticket=ticket, member_id="m", epoch=epoch, **changes))
    bench.time_ms = 10 * DAY_MS

    await clean(bench)

    assert bench.coordinator.table.position("g", (TOPIC, 0)).offset == 5


@pytest.mark.asyncio
@pytest.mark.parametrize("is_stable", [True, False])
async def test_offsets_that_nobody_wants_expire_only_while_the_group_is_stable(is_stable):
    other = b"\x00\x01\x00\x00\x00\x01\x00\x01a\xff\xff\xff\xff"
    reader = StoredMember("m", None, "c", "/h", 10_000, 60_000, (StoredProtocol("r", other),), b"")
    stored = StoredGroup("g", 4, "consumer", "r", "m", (reader,), is_rebalancing=not is_stable)
    bench = Bench(StoreGroup(stored), commit(5))
    bench.lead()
    bench.time_ms = 10 * DAY_MS

    await clean(bench)

    assert (bench.coordinator.table.position("g", (TOPIC, 0)) is None) is is_stable


@pytest.mark.asyncio
async def test_groups_that_only_live_count_as_groups(monkeypatch):
    monkeypatch.setattr(live_groups, "GROUPS_MAX", 3)
    bench = Bench()
    live = bench.lead()
    for number in range(3):
        live.join(f"g{number}", join_request(live, fresh_id=f"m{number}"))

    with pytest.raises(RequestError) as refused:
        live.join("g3", join_request(live, fresh_id="m3"))

    assert refused.value.code is ErrorCode.GROUP_MAX_SIZE_REACHED
