"""How a member whose disk lost something gets its vote back (design D11).

A damaged member may have forgotten entries that it acknowledged and votes that it gave. It neither
votes, campaigns nor counts until

    1. its leader hears of the damage, in an answer to a heartbeat, and from then on counts nothing
       that this member ever acknowledged;
    2. the leader proposes an entry, in its own term, and that entry is committed without the
       member: a majority of the others has followed this leader after the damage. So every
       entry that the member may have helped to commit is in this log, and nobody who still holds a
       vote of the member's from before can win with it: its log lacks that entry;
    3. the leader tells the member the entry's index;
    4. the member, following that leader in that term, holds the log up to there, synced;
    5. the member notes so in its journal, and votes again once that is synced.

Nothing of this is remembered but the damage: a leader that changes, or a crash on either side,
begins at 1 again. What a leader heard is bound to one life of the member (its boot id): a member
that was readmitted, voted, and was damaged again is heard anew.

Does not: bring the log back (appends and installs do), or find damage.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from trimaran.broker.groups import GroupTable
from trimaran.broker.peer_frames import PeerLane, write_readmit
from trimaran.broker.peers import Peer
from trimaran.broker.repair_frames import Readmit
from trimaran.broker.replica import Replica
from trimaran.broker.rounds import Rounds
from trimaran.errors import NotLeaderError, ProposalRefusedError
from trimaran.ids import BootId, GroupId, Index, NodeId, Term
from trimaran.records.entry import EntryKind

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Heard:
    """A member's damage, as this leader heard of it."""

    boot_id: BootId
    term: Term
    index: Index
    """Of the entry that was proposed afterwards."""


class ReadmissionOwner(Protocol):
    """What the node does for it."""

    def log_time_ms(self) -> int:
        """Return the cluster's time."""

    def proposed(self, replica: Replica, events: int) -> None:
        """The group has something new to send and sync."""

    def touched(self, replica: Replica) -> None:
        """Something was put into the group's core."""


class Readmission:
    """This node's part, as leader and as damaged member, for all of its groups."""

    def __init__(
        self,
        *,
        owner: ReadmissionOwner,
        groups: GroupTable,
        rounds: Rounds,
        peers: Mapping[NodeId, Peer],
        boot_id: BootId,
        readmitted: Callable[[Replica], None],
    ) -> None:
        """`readmitted` is called with each group in which this node has its vote again."""
        self._owner = owner
        self._groups = groups
        self._rounds = rounds
        self._peers = peers
        self._boot_id = boot_id
        self._readmitted = readmitted
        self._heard: dict[tuple[NodeId, GroupId], _Heard] = {}
        self._vouched: dict[GroupId, dict[NodeId, BootId | None]] = {}
        """Groups that no leader can lead without damaged members; see `last_resort`."""
        self._noting: dict[GroupId, None] = {}
        """Groups whose repair is on its way to the journal."""
        self.count = 0
        """Groups in which this node got its vote back since it started."""

    # The leader's half

    def member_damaged(self, peer: Peer, replica: Replica) -> None:
        """`peer`, which follows this leader, says that it is damaged."""
        raft = replica.raft
        progress = raft.progress.get(peer.node_id)
        if not raft.is_leader or progress is None or peer.boot_id is None:
            return
        if self._is_vouched(peer, replica):
            facts = [(replica.group, raft.term, raft.term_start)]
            peer.send(PeerLane.CONTROL, write_readmit(Readmit(peer.boot_id, facts)))
            return
        key = (peer.node_id, replica.group)
        heard = self._heard.get(key)
        # One that counted since was damaged a second time.
        is_known = (
            heard is not None
            and (heard.boot_id, heard.term) == (peer.boot_id, raft.term)
            and not progress.counts
        )
        if heard is None or not is_known:
            self._heard.pop(key, None)
            raft.peer_damaged(peer.node_id)
            index = self._propose_barrier(replica)
            if index is not None:
                self._heard[key] = _Heard(peer.boot_id, raft.term, index)
        elif raft.commit_index >= heard.index:
            facts = [(replica.group, heard.term, heard.index)]
            peer.send(PeerLane.CONTROL, write_readmit(Readmit(heard.boot_id, facts)))

    def forget(self, replica: Replica) -> None:
        """The group is not led here any more."""
        for node in replica.node_ids:
            self._heard.pop((node, replica.group), None)

    def vouch(self, group: GroupId, nodes: Collection[NodeId]) -> None:
        """Readmit `nodes`, in the lives that they live now, without a commit (last_resort)."""
        self._vouched.pop(group, None)
        if nodes:
            self._vouched[group] = {
                node: self._peers[node].boot_id for node in nodes if node in self._peers
            }

    def lives(self, replica: Replica) -> dict[NodeId, BootId | None]:
        """Return in which life each other member was heard of last."""
        return {node: self._peers[node].boot_id for node in replica.node_ids if node in self._peers}

    def _is_vouched(self, peer: Peer, replica: Replica) -> bool:
        """Whether the member is among those without whom nobody could lead; once only."""
        boots = self._vouched.get(replica.group, {})
        is_same_life = boots.get(peer.node_id) == peer.boot_id
        return is_same_life and not replica.raft.progress[peer.node_id].counts

    def _propose_barrier(self, replica: Replica) -> Index | None:
        """Propose an entry; None: not now, the member says again that it is damaged."""
        raft = replica.raft
        if replica.folded != raft.log.last_index:
            return None
        try:
            entry = raft.propose(EntryKind.BARRIER, b"", log_time_ms=self._owner.log_time_ms())
        except (NotLeaderError, ProposalRefusedError):
            return None
        replica.machine.appended((entry,))
        replica.proposed(entry)
        self._owner.proposed(replica, 0)
        return entry.index

    # The damaged member's half

    def receive(self, peer: Peer, frame: Readmit) -> None:
        """The leader says up to where this node must hold the log; it says so again and again."""
        if frame.boot_id != self._boot_id:
            return
        for group, term, index in frame.groups:
            replica = self._groups.get(group)
            if replica is None or replica.raft.may_vote or group in self._noting:
                continue
            raft = replica.raft
            follows = (raft.leader, raft.term) == (peer.node_id, term) and raft.is_hard_state_synced
            if follows and min(raft.matched, raft.synced_index) >= index:
                self.readmit(replica)

    def readmit(self, replica: Replica) -> None:
        """Note durably that the damage is repaired; then this node has its vote back."""
        if replica.group in self._noting:
            return
        self._noting[replica.group] = None
        done = self._rounds.store_repaired(replica)
        done.add_done_callback(lambda _: self._noted(replica))

    def _noted(self, replica: Replica) -> None:
        """The journal holds that the damage is repaired."""
        self._noting.pop(replica.group, None)
        if replica.removed or replica.damage is not None:
            return
        log.warning("group repaired group=%s effect=votes again", replica.group.hex())
        self.count += 1
        self._owner.touched(replica)
        self._readmitted(replica)
