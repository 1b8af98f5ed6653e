"""Signs of life between nodes, and what they say about groups (design D7).

Every `heartbeat_ms` each node tells each other node that it lives and which groups it leads there:
all of them after a reconnect, changes afterwards, each with min(its commit index, that follower's
match). The answer repeats the number and lists the claimed groups that the receiver does not follow
in that term, misses or holds damaged, and those of which it takes no events now. From this follow,
per group, without any per-group timer:

- a follower learns commit indexes when no entries flow;
- a leader knows which of its followers really follow (ReadIndex, CheckQuorum);
- silence of a node is silence of the leader of every group it led.

A node that finds itself late (its loop was busy or it was frozen) grants the others that much more
time. One that is late again and again says so, and silence has to last longer for it to mean
something (`starvation`). Does not: decide who campaigns when (elections).
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from trimaran.broker.confirmations import Confirmations
from trimaran.broker.in_sync import InSync
from trimaran.broker.intake import Intake
from trimaran.broker.log_clock import LogClock
from trimaran.broker.observations import Observations
from trimaran.broker.peer_frames import (
    Heartbeat,
    HeartbeatAnswer,
    PeerLane,
    Refusal,
    write_behind,
    write_heartbeat,
    write_heartbeat_answer,
)
from trimaran.broker.peer_pulse import NEVER_S, PeerPulse
from trimaran.broker.peers import Peer
from trimaran.broker.ports import Clock
from trimaran.broker.replica import Replica
from trimaran.broker.starvation import PATIENCE_S, Starvation
from trimaran.config import ReplicationSection
from trimaran.ids import GroupId, Index, NodeId, Term

log = logging.getLogger(__name__)

LATE_S = 0.01
"""A tick later than this counts as lateness of this node, not as silence of the others."""

UNTOLD = (Term(0), Index(0))
"""In place of what a node was told of a group: unlike anything there is to tell."""
GIVEN_UP_S = 3.0
"""A connection on which nothing was heard for so long is closed: TCP, which repeats what is lost at
ever longer intervals, could take minutes to notice that the way is free again."""
READS_UNDER_WAY_MAX = 32
"""Unanswered heartbeats beyond which further reads wait for an answer and share the next one."""
UNANSWERED_MAX = 256
"""Heartbeats whose answer is still expected; an older one's answer is ignored."""


class HeartbeatsOwner(Protocol):
    """What the node does with what heartbeats tell."""

    def replica(self, group: GroupId) -> Replica | None:
        """Return this node's member of `group`."""

    def touched(self, replica: Replica) -> None:
        """Something was put into the group's core."""

    def can_store(self) -> bool:
        """Whether there is room for events."""

    def majority_silent(self, replica: Replica) -> None:
        """This node leads the group and hears no majority of it."""

    def claim_dropped(self, group: GroupId, node: NodeId) -> None:
        """`node` no longer says that it leads `group`."""

    def member_damaged(self, peer: Peer, replica: Replica) -> None:
        """A follower in a group led here says that it is damaged."""


class Watcher(Protocol):
    """Who is told when a node's signs of life end and begin."""

    def peer_silent(self, node: NodeId) -> None:
        """`node` was silent for the shortest election time-out."""

    def peer_heard(self, node: NodeId) -> None:
        """`node` is heard of again after it was silent."""


class Heartbeats:
    """Sends, answers and judges heartbeats."""

    def __init__(
        self,
        *,
        owner: HeartbeatsOwner,
        reachability: Watcher,
        node_id: NodeId,
        peers: Mapping[NodeId, Peer],
        clock: Clock,
        log_clock: LogClock,
        in_sync: InSync,
        intake: Intake,
        settings: ReplicationSection,
        observations: Observations | None = None,
    ) -> None:
        """Nothing is sent before `start`."""
        self._observations = observations or Observations.apart()
        self._owner = owner
        self._reachability = reachability
        self._node_id = node_id
        self._peers = peers
        self._clock = clock
        self._log_clock = log_clock
        self._in_sync = in_sync
        self._intake = intake
        self._interval_s = settings.heartbeat_ms / 1000
        self._silence_s = settings.election_timeout_min_ms / 1000
        self._quorum_lost_s = settings.quorum_lost_ms / 1000
        self._loop = asyncio.get_running_loop()
        self._begun_s = self._loop.time()
        self._pulses = {node: PeerPulse() for node in peers}
        self._led: dict[GroupId, Replica] = {}
        self._reading: dict[GroupId, Replica] = {}
        self._confirmations = Confirmations(self._loop)
        self._starvation = Starvation(self._begun_s)
        self._number = 0
        self._is_confirm_due = False
        self._due_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.lateness_s_max = 0.0

    # Life

    def start(self) -> None:
        """Begin to tick."""
        now = self._loop.time()
        self._log_clock.heard(self._node_id, wall_ms=self._clock.wall_ms(), now_s=now)
        self._due_s = now
        self._tick()

    def stop(self) -> None:
        """Tick no more."""
        if self._timer is not None:
            self._timer.cancel()

    def confirm(self, replica: Replica) -> int:
        """Have answers to come confirm a read of `replica`; return the last number sent so far.

        All reads of a turn share one heartbeat to each node.
        """
        self._reading[replica.group] = replica
        self._send_soon()
        return self._number

    def _send_soon(self) -> None:
        if not self._is_confirm_due:
            self._is_confirm_due = True
            self._loop.call_soon(self._send_all)

    def _send_all(self) -> None:
        self._is_confirm_due = False
        for node, pulse in self._pulses.items():
            pulse.is_owed = len(pulse.sent_s) >= READS_UNDER_WAY_MAX
            if not pulse.is_owed:
                self._send(node, pulse)

    def confirm_alive(self, nodes: Iterable[NodeId], done: Callable[[], None]) -> None:
        """Call `done` when each of `nodes` has answered a heartbeat to come, or is known gone.

        At the latest after CONFIRM_S. Called at once if there is nobody to ask. All who ask in a
        turn, and its reads, share one heartbeat to each node.
        """
        asked = [node for node in nodes if node != self._node_id and self.is_alive(node)]
        if asked:
            self._send_soon()
        self._confirmations.wait(dict.fromkeys(asked, self._number + 1), done)

    def is_alive(self, node: NodeId) -> bool:
        """Whether `node` was heard of lately; this node itself always is.

        A node that has registered need not be one of cluster.nodes here (it was taken out of the
        settings, or not put in yet): it is never heard of.
        """
        pulse = self._pulses.get(node)
        return node == self._node_id or (pulse is not None and not pulse.is_silent)

    def can_lead(self, node: NodeId, group: GroupId) -> bool:
        """Whether `node`, a follower of a group led here, is alive, whole, following, with room."""
        return (
            self.is_alive(node)
            and self._pulses[node].has_room
            and self._peers[node].counts
            and group not in self._pulses[node].excepted_since_s
            and group not in self._pulses[node].busy
        )

    @property
    def is_leading(self) -> bool:
        """Whether this node leads any group."""
        return len(self._led) > 0

    def alive_for_s(self, node: NodeId) -> float:
        """Return for how long `node` has been heard of without a break; 0 if it is not."""
        if not self.is_alive(node):
            return 0.0
        return self._loop.time() - self._pulses[node].alive_since_s

    def heard_ago_s(self, node: NodeId) -> float:
        """Return how long ago `node`'s last heartbeat came, this node's own lateness left out."""
        return self._loop.time() - self._pulses[node].heard_s

    def cut_off_for_s(self) -> float:
        """Return how long this node has not heard of as many others as make a majority with it."""
        wanted = (len(self._pulses) + 1) // 2
        if wanted == 0:
            return 0.0
        heard_s = sorted((pulse.heard_s for pulse in self._pulses.values()), reverse=True)
        return self._loop.time() - max(heard_s[wanted - 1], self._begun_s)

    def connected(self, node: NodeId) -> None:
        """The control lane to `node` is new: tell it everything, give it time."""
        pulse = self._pulses[node]
        pulse.begin(self._loop.time())
        self._send(node, pulse)

    def disconnected(self, node: NodeId) -> None:
        """The control lane to `node` broke: what it claimed is void."""
        self._pulses[node].end()
        self._in_sync.away(node, self._led_with(node))

    def gone(self, node: NodeId) -> None:
        """Those who wait for a sign of life of `node` need not: what it led is known as lost."""
        self._confirmations.heard(node, self._number + 1)

    # Facts about groups

    def led_changed(self, replica: Replica, *, is_leader: bool) -> None:
        """This node began or ceased to lead the group."""
        group = replica.group
        if is_leader:
            self._led[group] = replica
            absent = [node for node in replica.node_ids if not self._answers(node)]
            self._in_sync.lead(group, replica.raft.term, absent=absent)
        else:
            self._led.pop(group, None)
            self._in_sync.unlead(group)
        for node in replica.node_ids:
            pulse = self._pulses.get(node)
            if pulse is None:
                continue
            pulse.excepted_since_s.pop(group, None)
            pulse.busy.pop(group, None)
            if is_leader:
                pulse.changed[group] = None
                pulse.dropped.pop(group, None)
            elif pulse.told is not None and pulse.told.pop(group, None) is not None:
                pulse.dropped[group] = None

    def progressed(self, replica: Replica) -> None:
        """The commit index or a follower's match of a led group moved."""
        for node in replica.node_ids:
            pulse = self._pulses.get(node)
            if pulse is not None:
                pulse.changed[replica.group] = None

    def following_changed(self, replica: Replica) -> None:
        """Term, role or leader of a group changed here: check it against what others claim."""
        for pulse in self._pulses.values():
            if replica.group in pulse.claimed:
                pulse.doubtful[replica.group] = None

    def missed(self, node: NodeId, group: GroupId) -> None:
        """A message of `node` for `group` was dropped: say so, that it begins anew."""
        self._pulses[node].missed[group] = None

    def held_back(self, node: NodeId, group: GroupId) -> None:
        """Events of `node` for `group` were dropped: say so until events are taken again."""
        self._pulses[node].held_back[group] = None

    # Frames

    def receive(self, peer: Peer, beat: Heartbeat) -> None:
        """Take up a heartbeat and answer it."""
        now = self._loop.time()
        pulse = self._pulses[peer.node_id]
        pulse.heard_s = max(pulse.heard_s, now)
        pulse.has_room, pulse.is_starved = beat.has_room, beat.is_starved
        if pulse.is_silent:
            pulse.alive_since_s = now
            pulse.is_silent = False
            pulse.changed.update(dict.fromkeys(self._led_with(peer.node_id)))
            self._reachability.peer_heard(peer.node_id)
        self._log_clock.heard(peer.node_id, wall_ms=beat.wall_ms, now_s=now)
        if beat.full:
            self._drop_claims(peer.node_id, pulse, _missing(pulse.claimed, beat.claims))
        self._drop_claims(peer.node_id, pulse, beat.dropped)
        for group, term, commit in beat.claims:
            if pulse.claimed.get(group) != term:
                pulse.claimed[group] = term
                pulse.doubtful[group] = None
            replica = self._owner.replica(group)
            if replica is not None:
                replica.raft.heard_leader(peer.node_id, term, commit)
                self._owner.touched(replica)
        bulk = peer.sessions.get(PeerLane.BULK)
        answer = HeartbeatAnswer(
            beat.number,
            self._clock.wall_ms(),
            self._exceptions(peer.node_id, pulse),
            0 if bulk is None else bulk.bytes_in,
        )
        peer.send(PeerLane.CONTROL, write_heartbeat_answer(answer))

    def receive_answer(self, peer: Peer, answer: HeartbeatAnswer) -> None:
        """Take up the answer to one of our heartbeats."""
        now = self._loop.time()
        pulse = self._pulses[peer.node_id]
        self._log_clock.heard(peer.node_id, wall_ms=answer.wall_ms, now_s=now)
        sent_s = pulse.sent_s.pop(answer.number, None)
        if answer.number <= pulse.answered_number:
            return
        self._watch_bulk(peer, pulse, answer.bulk_bytes, now)
        if sent_s is None:  # so late that it says nothing of now
            self._take_exceptions(peer, answer, now)
            return
        if answer.number >= pulse.timed_number > 0:
            self._measured(peer.node_id, pulse, answer.number)
        if pulse.answered_sent_s == NEVER_S:
            self._begin_anew(peer.node_id)
        pulse.answered_number = answer.number
        pulse.answered_sent_s = sent_s
        self._confirmations.heard(peer.node_id, answer.number)
        self._take_exceptions(peer, answer, sent_s)
        if peer.counts:
            self._answer_reads(peer.node_id, pulse)
        if pulse.is_owed:
            pulse.is_owed = False
            self._send(peer.node_id, pulse)

    def _watch_bulk(self, peer: Peer, pulse: PeerPulse, arrived: int, now: float) -> None:
        """Break a bulk connection on which nothing arrives: signs of life pass on the other one."""
        bulk = peer.sessions.get(PeerLane.BULK)
        sent = 0 if bulk is None else bulk.bytes_out
        if pulse.bulk_idle_s(sent, arrived, now_s=now) > GIVEN_UP_S and bulk is not None:
            log.warning("peer gets no data peer=%s effect=new connection", peer.node_id)
            pulse.bulk_moved_s = now
            bulk.abort()

    def _take_exceptions(self, peer: Peer, answer: HeartbeatAnswer, sent_s: float) -> None:
        """Take up which groups `peer` does not follow or take events of, and which it does again.

        One that is busy follows: it counts for the quorum and for reads.
        """
        pulse = self._pulses[peer.node_id]
        excepted: dict[GroupId, float] = {}
        busy: dict[GroupId, None] = {}
        for group, term, refusal in answer.exceptions:
            replica = self._led.get(group)
            if replica is None:
                continue
            if refusal is Refusal.BUSY:
                busy[group] = None
                continue
            if group not in pulse.excepted_since_s:
                pulse.changed[group] = None
            excepted[group] = pulse.excepted_since_s.get(group, sent_s)
            self._take_exception(peer, replica, term, refusal)
        for group in dict.fromkeys((*pulse.excepted_since_s, *pulse.busy)):
            if group not in excepted and group not in busy and group in self._led:
                replica = self._led[group]
                pulse.changed[group] = None
                replica.raft.peer_reset(peer.node_id)
                self._owner.touched(replica)
        pulse.excepted_since_s, pulse.busy = excepted, busy

    def _measured(self, node: NodeId, pulse: PeerPulse, number: int) -> None:
        """The heartbeat that was timed is answered, or a later one: then it was lost."""
        if number == pulse.timed_number:
            observations = self._observations
            round_trip_s = observations.now_s() - pulse.timed_s
            observations.counters.peer(node).round_trip.add(round_trip_s)
        pulse.timed_number = 0

    def _take_exception(self, peer: Peer, replica: Replica, term: Term, refusal: Refusal) -> None:
        """`peer` does not follow, misses or holds damaged a group led here."""
        pulse, group = self._pulses[peer.node_id], replica.group
        if refusal is Refusal.NOT_FOLLOWING:
            self._claim_again(pulse, group)
        replica.raft.peer_term(peer.node_id, term)
        if refusal is not Refusal.DAMAGED:
            pulse.not_following[group] = None
        elif group in pulse.not_following:  # what was sent to it meanwhile is lost
            del pulse.not_following[group]
            replica.raft.peer_reset(peer.node_id)
        if refusal is Refusal.DAMAGED:
            self._owner.member_damaged(peer, replica)
        self._owner.touched(replica)

    def _begin_anew(self, node: NodeId) -> None:
        """`node` answers for the first time since the connection was made: probe what it holds.

        What was sent to it before may have found it unable to answer: each side learns by itself
        that a connection is there.
        """
        for group in self._led_with(node):
            replica = self._led[group]
            self._pulses[node].changed[group] = None
            replica.raft.peer_reset(node)
            self._owner.touched(replica)

    def _led_with(self, node: NodeId) -> list[GroupId]:
        """Return the groups led here that `node` is a member of."""
        return [group for group, replica in self._led.items() if node in replica.node_ids]

    def _answers(self, node: NodeId) -> bool:
        """Whether `node` is heard of and has answered on the connection of now."""
        pulse = self._pulses.get(node)
        return node == self._node_id or (
            pulse is not None and not pulse.is_silent and pulse.answered_sent_s != NEVER_S
        )

    def _claim_again(self, pulse: PeerPulse, group: GroupId) -> None:
        """A node that forgot us in a moment of silence, or has the group only now, is told again.

        It stays among what was told, so that it is also told if we lead no more.
        """
        if pulse.told is not None and group in pulse.told:
            pulse.told[group] = UNTOLD
            pulse.changed[group] = None

    def _answer_reads(self, node: NodeId, pulse: PeerPulse) -> None:
        for group, replica in list(self._reading.items()):
            if not replica.raft.has_reads:
                del self._reading[group]
            elif group not in pulse.excepted_since_s:
                replica.raft.heartbeat_answered(node, pulse.answered_number)
                self._owner.touched(replica)

    def _drop_claims(self, node: NodeId, pulse: PeerPulse, groups: Iterable[GroupId]) -> None:
        for group in groups:
            if pulse.claimed.pop(group, None) is not None:
                pulse.doubtful.pop(group, None)
                self._owner.claim_dropped(group, node)

    def _exceptions(self, node: NodeId, pulse: PeerPulse) -> list[tuple[GroupId, Term, Refusal]]:
        """Name the claimed groups that this node does not follow in the claimed (synced) term."""
        exceptions = pulse.take_missed(takes_events=self._intake.from_leaders)
        for group in list(pulse.doubtful):
            term = pulse.claimed[group]
            replica = self._owner.replica(group)
            if replica is None:
                exceptions.append((group, Term(0), Refusal.MISSING))
                continue
            raft = replica.raft
            if raft.leader == node and raft.term == term and raft.is_hard_state_synced:
                if raft.may_vote:
                    del pulse.doubtful[group]
                else:
                    exceptions.append((group, raft.synced_term, Refusal.DAMAGED))
                continue
            exceptions.append((group, raft.synced_term, Refusal.NOT_FOLLOWING))
        return exceptions

    # Time

    def _tick(self) -> None:
        now = self._loop.time()
        late_s = now - self._due_s
        self._starvation.ticked(late_s, now)
        if late_s > LATE_S:
            self.lateness_s_max = max(self.lateness_s_max, late_s)
            for pulse in self._pulses.values():
                pulse.heard_s = min(now, pulse.heard_s + late_s)
                pulse.answered_sent_s = min(now, pulse.answered_sent_s + late_s)
                pulse.bulk_moved_s = min(now, pulse.bulk_moved_s + late_s)
        self._due_s = max(self._due_s + self._interval_s, now)
        self._timer = self._loop.call_at(self._due_s, self._tick)
        self._log_clock.heard(self._node_id, wall_ms=self._clock.wall_ms(), now_s=now)
        for node, pulse in self._pulses.items():
            if pulse.told is not None and now - pulse.heard_s > GIVEN_UP_S:
                self._peers[node].abort()
            self._send(node, pulse)
            silence_s = self._silence_s + self._patience_s(pulse)
            if not pulse.is_silent and now - pulse.heard_s > silence_s:
                pulse.is_silent = True
                self._in_sync.away(node, self._led_with(node))
                self._reachability.peer_silent(node)
        self.tell_behind()
        self._check_quorum(now)

    def _patience_s(self, pulse: PeerPulse) -> float:
        """Return by how much longer than usual a node may be silent."""
        return PATIENCE_S if pulse.is_starved or self._starvation.holds else 0.0

    def tell_behind(self) -> None:
        """Tell all nodes which followers came out of sync, or into it, since the last time."""
        facts = self._in_sync.tick(self._loop.time())
        if facts:
            for peer in self._peers.values():
                peer.send(PeerLane.CONTROL, write_behind(facts))

    def _send(self, node: NodeId, pulse: PeerPulse) -> None:
        peer = self._peers[node]
        if PeerLane.CONTROL not in peer.sessions:
            return
        self._number += 1
        number = self._number
        full = pulse.told is None
        if pulse.told is None:
            pulse.told = {}
            pulse.dropped.clear()
            pulse.changed = dict.fromkeys(self._led_with(node))
        told = pulse.told
        now, answers = self._loop.time(), self._answers(node)
        claims: list[tuple[GroupId, Term, Index]] = []
        for group in pulse.changed:
            led = self._led.get(group)
            # The core may have stepped down in this very turn, in a term that another leads.
            if led is None or not led.raft.is_leader:
                continue
            raft = led.raft
            match = raft.follower_match(node)
            if answers:
                held = UNTOLD[1] if group in pulse.excepted_since_s else match
                self._in_sync.looked(group, node, match=held, commit=raft.commit_index, now_s=now)
            commit = min(raft.commit_index, match)
            if told.get(group) != (raft.term, commit):
                told[group] = (raft.term, commit)
                claims.append((group, raft.term, commit))
        pulse.changed = {}
        dropped = list(pulse.dropped)
        pulse.dropped = {}
        pulse.sent_s[number] = now
        if pulse.timed_number == 0:
            pulse.timed_number, pulse.timed_s = number, self._observations.now_s()
        if len(pulse.sent_s) > UNANSWERED_MAX:
            del pulse.sent_s[next(iter(pulse.sent_s))]
        wall_ms, has_room = self._clock.wall_ms(), self._owner.can_store()
        is_starved = self._starvation.holds
        beat = Heartbeat(number, wall_ms, full, claims, dropped, has_room, is_starved)
        peer.send(PeerLane.CONTROL, write_heartbeat(beat))

    def _check_quorum(self, now: float) -> None:
        """A leader that hears no majority steps down (CheckQuorum, thesis section 6.2)."""
        absent = {
            node: None
            for node, pulse in self._pulses.items()
            if now - pulse.answered_sent_s > self._quorum_lost_s + self._patience_s(pulse)
            or not self._peers[node].counts
        }
        if not absent and not any(pulse.excepted_since_s for pulse in self._pulses.values()):
            return
        for replica in list(self._led.values()):
            voters = replica.raft.voters
            present = sum(
                voter == self._node_id or not self._is_absent(voter, absent, replica.group, now)
                for voter in voters
            )
            if present * 2 <= len(voters) and self._has_led_for(replica, now):
                self._owner.majority_silent(replica)

    def _is_absent(
        self, node: NodeId, absent: Mapping[NodeId, None], group: GroupId, now: float
    ) -> bool:
        if node in absent or node not in self._pulses:
            return True
        since = self._pulses[node].excepted_since_s.get(group)
        return since is not None and now - since > self._quorum_lost_s

    def _has_led_for(self, replica: Replica, now: float) -> bool:
        return now - replica.leader_since_s > self._quorum_lost_s


def _missing(
    claimed: Mapping[GroupId, Term], claims: Iterable[tuple[GroupId, Term, Index]]
) -> list[GroupId]:
    """Return the groups claimed before that a full list of claims no longer holds."""
    still = {group for group, _, _ in claims}
    return [group for group in claimed if group not in still]
