"""What heartbeats say of groups is said again wherever it may have been lost or forgotten."""

import asyncio
from types import SimpleNamespace

import pytest

from trimaran.broker.heartbeats import (
    GIVEN_UP_S,
    READS_UNDER_WAY_MAX,
    UNANSWERED_MAX,
    Heartbeats,
)
from trimaran.broker.in_sync import InSync
from trimaran.broker.leaders import LeaderTable
from trimaran.broker.log_clock import LogClock
from trimaran.broker.peer_frames import (
    BehindFacts,
    FrameBuffer,
    Heartbeat,
    HeartbeatAnswer,
    PeerLane,
    Refusal,
    read_frame,
)
from trimaran.config.replication import ReplicationSection
from trimaran.ids import GroupId, Index, NodeId, Term

NODE = NodeId(1)
OTHER = NodeId(2)
GROUP = GroupId(bytes(19) + b"\x07")


class FakePeer:
    """Keeps what it is sent, as frames."""

    def __init__(self, node_id=OTHER):
        self.node_id = node_id
        self.counts = True
        self.sessions = {PeerLane.CONTROL: object()}
        self.beats = []
        self.answers = []
        self.behind = []
        self.aborted = 0

    def send(self, lane, buffers):
        assert lane is PeerLane.CONTROL, "bulk data would hold it up"
        for body in FrameBuffer().feed(b"".join(map(bytes, buffers))):
            frame = read_frame(body)
            kept = {Heartbeat: self.beats, BehindFacts: self.behind}.get(type(frame), self.answers)
            kept.append(frame)

    def abort(self):
        self.aborted += 1
        self.sessions.clear()


class FakeRaft:
    """A leader in term 3 that has committed up to 5."""

    def __init__(self):
        self.is_leader = True
        self.term = Term(3)
        self.commit_index = Index(5)
        self.voters = (NODE, OTHER)
        self.resets = []
        self.has_reads = True
        self.match = Index(5)

    def follower_match(self, peer):
        return self.match

    def heartbeat_answered(self, peer, number):
        self.answered = number

    def peer_term(self, peer, term):
        pass

    def peer_reset(self, peer):
        self.resets.append(peer)


class Bench:
    def __init__(self, peers=(OTHER,)):
        self.peers = {NodeId(node): FakePeer(NodeId(node)) for node in peers}
        self.peer = self.peers.get(OTHER)
        self.raft = FakeRaft()
        self.replica = SimpleNamespace(
            group=GROUP, raft=self.raft, node_ids=(NODE, OTHER), leader_since_s=0.0
        )
        self.owner = SimpleNamespace(
            replica=lambda group: self.replica,
            touched=lambda replica: None,
            can_store=lambda: self.has_room,
            majority_silent=lambda replica: None,
            claim_dropped=lambda group, node: None,
            peer_silent=lambda node: None,
            peer_heard=lambda node: None,
            member_damaged=lambda peer, replica: None,
        )
        self.has_room = True
        self.intake = SimpleNamespace(from_leaders=True)
        self.leaders = LeaderTable()
        self.leaders.note(GROUP, Term(3), NODE, now_s=0.0)
        self.in_sync = InSync(self.leaders, node_id=NODE, lag_s=1.0)
        self.heartbeats = Heartbeats(
            owner=self.owner,
            reachability=self.owner,
            node_id=NODE,
            peers=self.peers,
            clock=SimpleNamespace(wall_ms=lambda: 0),
            log_clock=LogClock(),
            in_sync=self.in_sync,
            intake=self.intake,
            settings=ReplicationSection(),
        )

    def answer(self, *exceptions):
        beat = self.peer.beats[-1]
        self.heartbeats.receive_answer(self.peer, HeartbeatAnswer(beat.number, 0, exceptions))

    def beat(self):
        """Tick once, now; return what was sent."""
        self.heartbeats.start()
        self.heartbeats.stop()
        return self.peer.beats[-1]


def leading():
    """Return a node that leads one group and has just connected to the other member."""
    bench = Bench()
    bench.heartbeats.connected(OTHER)
    bench.heartbeats.led_changed(bench.replica, is_leader=True)
    return bench


@pytest.mark.asyncio
async def test_a_group_that_is_not_followed_is_claimed_again():
    bench = leading()
    assert bench.beat().claims == [(GROUP, 3, 5)]
    bench.answer()
    assert bench.beat().claims == []

    bench.answer((GROUP, Term(3), Refusal.NOT_FOLLOWING))

    assert bench.beat().claims == [(GROUP, 3, 5)]


@pytest.mark.asyncio
async def test_a_group_claimed_again_is_dropped_when_it_is_led_no_more():
    bench = leading()
    bench.beat()
    bench.answer((GROUP, Term(3), Refusal.NOT_FOLLOWING))

    bench.raft.is_leader = False
    bench.heartbeats.led_changed(bench.replica, is_leader=False)

    assert bench.beat().dropped == [GROUP]


@pytest.mark.asyncio
async def test_the_first_answer_on_a_connection_has_the_follower_probed_anew():
    bench = leading()
    bench.beat()
    bench.answer()
    assert bench.raft.resets == [OTHER]
    bench.beat()
    bench.answer()
    assert bench.raft.resets == [OTHER]

    bench.heartbeats.disconnected(OTHER)
    bench.heartbeats.connected(OTHER)
    bench.answer()

    assert bench.raft.resets == [OTHER, OTHER]


@pytest.mark.asyncio
async def test_all_reads_of_a_turn_share_one_heartbeat_that_is_newer_than_each():
    bench = leading()
    before = len(bench.peer.beats)

    numbers = [bench.heartbeats.confirm(bench.replica) for _ in range(300)]
    await asyncio.sleep(0)

    assert len(bench.peer.beats) == before + 1
    assert bench.peer.beats[-1].number > max(numbers)


@pytest.mark.asyncio
async def test_an_answer_goes_where_no_bulk_data_is_in_its_way():
    bench = leading()

    bench.heartbeats.receive(bench.peer, Heartbeat(7, 0, full=True, claims=(), dropped=()))

    assert [answer.number for answer in bench.peer.answers] == [7]


@pytest.mark.asyncio
async def test_a_connection_on_which_nothing_is_heard_for_long_is_closed():
    bench = leading()
    loop = asyncio.get_running_loop()
    bench.beat()
    assert bench.peer.aborted == 0

    now_s = loop.time()
    loop.time = lambda: now_s + GIVEN_UP_S + 0.1
    bench.beat()

    assert bench.peer.aborted == 1


@pytest.mark.asyncio
@pytest.mark.parametrize(("heard", "cut_off_s"), [((), 5), ((2,), 5), ((2, 3), 1), ((2, 5), 3)])
async def test_a_node_is_cut_off_since_a_majority_was_heard_of(heard, cut_off_s):
    """Node N is heard of N - 2 seconds before the end of 5; this node is the fifth."""
    bench = Bench(peers=(2, 3, 4, 5))
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    beat = Heartbeat(1, 0, full=True, claims=(), dropped=())
    for node in sorted(heard, reverse=True):
        loop.time = lambda at_s=begun_s + 7 - node: at_s
        bench.heartbeats.receive(bench.peers[NodeId(node)], beat)
    loop.time = lambda: begun_s + 5

    assert bench.heartbeats.cut_off_for_s() == pytest.approx(cut_off_s, abs=0.1)


@pytest.mark.asyncio
async def test_a_node_without_others_is_never_cut_off():
    bench = Bench(peers=())
    loop = asyncio.get_running_loop()
    now_s = loop.time()
    loop.time = lambda: now_s + 5

    assert bench.heartbeats.cut_off_for_s() == 0.0


@pytest.mark.asyncio
async def test_a_node_that_the_settings_do_not_name_counts_as_gone():
    bench = leading()
    stranger = NodeId(9)
    confirmed = []

    bench.heartbeats.confirm_alive([stranger], lambda: confirmed.append(True))
    bench.heartbeats.gone(stranger)

    assert confirmed == [True]
    assert not bench.heartbeats.is_alive(stranger)
    assert not bench.heartbeats.can_lead(stranger, GROUP)
    assert bench.heartbeats.alive_for_s(stranger) == 0.0


@pytest.mark.asyncio
async def test_a_leader_whose_other_voters_the_settings_do_not_name_steps_down():
    bench = Bench()
    bench.raft.voters = (NODE, OTHER, NodeId(8), NodeId(9))
    lost = []
    bench.owner.majority_silent = lost.append
    bench.heartbeats.connected(OTHER)
    bench.heartbeats.led_changed(bench.replica, is_leader=True)
    bench.beat()
    bench.answer((GROUP, Term(3), Refusal.NOT_FOLLOWING))

    bench.beat()

    assert bench.replica in lost


@pytest.mark.asyncio
async def test_a_follower_that_was_away_is_in_sync_only_when_its_answer_shows_what_it_holds():
    bench = leading()
    bench.beat()
    bench.answer()
    bench.beat()
    assert bench.in_sync.behind(GROUP) == ()

    bench.raft.match = Index(4)
    bench.heartbeats.disconnected(OTHER)
    assert bench.in_sync.behind(GROUP) == (OTHER,)
    bench.heartbeats.connected(OTHER)
    bench.raft.match = Index(5)  # of before: it has not answered yet
    bench.beat()
    assert bench.in_sync.behind(GROUP) == (OTHER,)

    bench.answer()
    bench.beat()
    assert bench.in_sync.behind(GROUP) == ()
    assert [list(frame.facts) for frame in bench.peer.behind][-2:] == [
        [(GROUP, 3, (OTHER,))],
        [(GROUP, 3, ())],
    ]


@pytest.mark.asyncio
async def test_a_member_that_does_not_follow_for_long_is_not_in_sync_whatever_it_once_held():
    bench = leading()
    loop = asyncio.get_running_loop()
    bench.beat()
    bench.answer()
    bench.beat()
    bench.answer((GROUP, Term(3), Refusal.DAMAGED))
    bench.beat()
    assert bench.in_sync.behind(GROUP) == ()

    now_s = loop.time()
    loop.time = lambda: now_s + 1.0
    bench.heartbeats.receive(bench.peer, Heartbeat(1, 0, full=True, claims=(), dropped=()))
    bench.beat()
    assert bench.in_sync.behind(GROUP) == (OTHER,)

    bench.answer()
    bench.beat()
    assert bench.in_sync.behind(GROUP) == ()


@pytest.mark.asyncio
async def test_a_silent_follower_is_not_in_sync_and_is_looked_at_when_it_is_heard_again():
    bench = leading()
    loop = asyncio.get_running_loop()
    bench.beat()
    bench.answer()
    begun_s = loop.time()
    for step in range(8):
        loop.time = lambda at_s=begun_s + step * 0.03: at_s
        bench.heartbeats._tick()
    assert bench.in_sync.behind(GROUP) == (OTHER,)

    bench.heartbeats.receive(bench.peer, Heartbeat(1, 0, full=True, claims=(), dropped=()))
    bench.heartbeats._tick()
    bench.heartbeats.stop()
    assert bench.in_sync.behind(GROUP) == ()


@pytest.mark.asyncio
async def test_a_node_without_room_says_so_and_is_not_made_leader():
    bench = leading()
    bench.has_room = False
    assert bench.beat().has_room is False
    bench.answer()
    assert bench.heartbeats.can_lead(OTHER, GROUP)

    beat = Heartbeat(1, 0, full=True, claims=(), dropped=(), has_room=False)
    bench.heartbeats.receive(bench.peer, beat)

    assert not bench.heartbeats.can_lead(OTHER, GROUP)


class Bulk:
    """A bulk connection that was given `bytes_out` bytes."""

    def __init__(self, bytes_out):
        self.bytes_out = bytes_out
        self.bytes_in = 11
        self.aborted = 0

    def abort(self):
        self.aborted += 1


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("arrived", "aborted"),
    [((0, 0, 0), 1), ((0, 10, 20), 0), ((100, 100, 100), 0), ((0, 0, 100), 0), ((7, 7, 7), 1)],
)
async def test_a_bulk_connection_on_which_nothing_arrives_is_broken(arrived, aborted):
    """Signs of life pass on the other connection; TCP alone would need a quarter of an hour."""
    bench = leading()
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    bulk = bench.peer.sessions[PeerLane.BULK] = Bulk(bytes_out=100)
    for step, count in enumerate(arrived):
        loop.time = lambda at_s=begun_s + step * (GIVEN_UP_S / 2 + 0.1): at_s
        bench.heartbeats._send_all()
        number = bench.peer.beats[-1].number
        bench.heartbeats.receive_answer(bench.peer, HeartbeatAnswer(number, 0, (), count))

    assert bulk.aborted == aborted


@pytest.mark.asyncio
async def test_an_answer_tells_what_came_on_the_bulk_connection():
    bench = leading()
    bench.peer.sessions[PeerLane.BULK] = Bulk(bytes_out=0)

    bench.heartbeats.receive(bench.peer, Heartbeat(1, 0, full=True, claims=(), dropped=()))

    assert bench.peer.answers[-1].bulk_bytes == 11


@pytest.mark.asyncio
async def test_reads_share_a_heartbeat_when_many_are_under_way():
    """Else answers that come late would be forgotten, and a healthy leader with them."""
    bench = leading()
    bench.beat()
    for _ in range(10 * READS_UNDER_WAY_MAX):
        bench.heartbeats.confirm(bench.replica)
        await asyncio.sleep(0)
    sent = [beat.number for beat in bench.peer.beats]
    assert len(sent) <= READS_UNDER_WAY_MAX + 2
    asked = bench.heartbeats.confirm(bench.replica)
    await asyncio.sleep(0)

    bench.heartbeats.receive_answer(bench.peer, HeartbeatAnswer(sent[-1], 0, ()))

    assert bench.peer.beats[-1].number > asked
    assert bench.raft.answered == sent[-1]


@pytest.mark.asyncio
async def test_any_number_who_ask_for_a_sign_of_life_share_few_heartbeats():
    """Each Metadata request asks: with a heartbeat each, answers over a long way came too late."""
    bench = leading()
    bench.beat()
    bench.answer()
    before = len(bench.peer.beats)
    alive = []

    for _ in range(10 * READS_UNDER_WAY_MAX):
        for _ in range(3):
            bench.heartbeats.confirm_alive([OTHER], lambda: alive.append(True))
        await asyncio.sleep(0)
    sent = bench.peer.beats[before:]
    assert len(sent) <= READS_UNDER_WAY_MAX + 1

    bench.heartbeats.receive_answer(bench.peer, HeartbeatAnswer(sent[0].number, 0, ()))
    assert len(alive) == 3, "those who asked in its turn"
    bench.answer()
    bench.answer()
    assert len(alive) == 30 * READS_UNDER_WAY_MAX


@pytest.mark.asyncio
async def test_who_waits_for_a_node_that_is_gone_goes_on():
    bench = leading()
    alive = []

    bench.heartbeats.confirm_alive([OTHER], lambda: alive.append(True))
    assert not alive
    bench.heartbeats.gone(OTHER)

    assert alive == [True]


@pytest.mark.asyncio
async def test_what_a_late_answer_says_of_groups_is_taken():
    """What the other side says once, it must not say in vain."""
    bench = leading()
    bench.beat()
    bench.answer()
    before = len(bench.raft.resets)
    for _ in range(UNANSWERED_MAX + 2):
        bench.heartbeats._send(OTHER, bench.heartbeats._pulses[OTHER])
    first = bench.peer.beats[-UNANSWERED_MAX - 2].number
    late = HeartbeatAnswer(first, 0, ((GROUP, Term(0), Refusal.MISSING),))

    bench.heartbeats.receive_answer(bench.peer, late)
    bench.heartbeats.receive_answer(bench.peer, HeartbeatAnswer(first + 1, 0, ()))

    assert len(bench.raft.resets) == before + 1


BUSY = (GROUP, Term(0), Refusal.BUSY)


@pytest.mark.asyncio
async def test_a_busy_follower_counts_for_the_quorum_and_for_reads_and_is_handed_nothing():
    bench = leading()
    lost = []
    bench.owner.majority_silent = lost.append
    bench.beat()
    bench.answer(BUSY)
    now_s = asyncio.get_running_loop().time()
    asyncio.get_running_loop().time = lambda: now_s + 1.0
    bench.heartbeats.receive(bench.peer, Heartbeat(1, 0, full=True, claims=(), dropped=()))
    bench.heartbeats.confirm(bench.replica)
    beat = bench.beat()

    bench.answer(BUSY)

    lost.clear()
    assert not bench.heartbeats.can_lead(OTHER, GROUP)
    assert bench.raft.answered == beat.number
    bench.beat()
    assert lost == []


@pytest.mark.asyncio
async def test_a_busy_follower_is_probed_once_when_it_takes_events_again():
    bench = leading()
    bench.beat()
    bench.answer()
    bench.raft.resets.clear()
    for _ in range(3):
        bench.beat()
        bench.answer(BUSY)
    assert bench.raft.resets == []

    for _ in range(2):
        bench.beat()
        bench.answer()

    assert bench.raft.resets == [OTHER]


@pytest.mark.asyncio
async def test_dropped_events_are_named_once_and_for_as_long_as_none_are_taken():
    bench = Bench()

    def named():
        beat = Heartbeat(1, 0, full=False, claims=(), dropped=())
        bench.heartbeats.receive(bench.peer, beat)
        return list(bench.peer.answers[-1].exceptions)

    bench.heartbeats.held_back(OTHER, GROUP)  # and events are taken again already
    assert [named(), named()] == [[BUSY], []]

    bench.intake.from_leaders = False
    bench.heartbeats.held_back(OTHER, GROUP)
    assert [named(), named()] == [[BUSY], [BUSY]]
    bench.intake.from_leaders = True
    assert [named(), named()] == [[BUSY], []]
