"""When damaged members are so many that no leader can exist without them (design D11).

A power cut of all nodes can leave several journals with a last round that is bad without a proof
that it was never synced. Then too few members may vote, and readmission, which needs a leader, can
never begin. Every member of a group that has had no leader for a while therefore asks all others
what they hold. If **all** voters answer, and no other damage than such an uncertain end is among
them, the longest valid log in Raft's order wins:

- its holder takes its vote back;
- the other damaged members vote for it and for nobody else. It is elected as ever, in a term above
  each that its voters have seen;
- as leader it readmits them as soon as they hold its log, without a commit that cannot be had.

All voters are without leader and hardly any may vote, so what they answer cannot change meanwhile;
each comes to the same conclusion by itself. If a voter is missing, if one has lost what it had
synced, or if the longest log ends below a commit index or boundary that anybody knows, the group
stays as it is and people are asked: what is missing may be what a client was told is safe.

With replication.forced_recovery people have answered: the longest log that is left wins, although
other members have lost what they had synced or know of more. Still all voters must answer, a new
disk in the place of a lost one: none may come back later with another truth.

Does not: choose among logs of which any was cut short by damage that is certain, unless it is told
to.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Protocol

from trimaran.broker.asking import Asking
from trimaran.broker.groups import GroupTable
from trimaran.broker.readmission import Readmission
from trimaran.broker.repair_frames import MemberStatus, RepairKind, decode_status
from trimaran.broker.replica import Replica
from trimaran.errors import PeerError
from trimaran.ids import GroupId, NodeId
from trimaran.raft.quorum import majority_count
from trimaran.storage.damage import DamageKind

log = logging.getLogger(__name__)

LOOK_S = 1.0
WAIT_S = 3.0
"""A group that has had no leader for so long is looked at."""
SAY_S = 60.0
"""How often people are told again that a group needs them."""


class LastResortOwner(Protocol):
    """What the node does for it."""

    groups: GroupTable

    def touched(self, replica: Replica) -> None:
        """Something was put into the group's core."""


class LastResort:
    """This node's part in groups that cannot elect a leader."""

    def __init__(
        self,
        *,
        owner: LastResortOwner,
        node_id: NodeId,
        asking: Asking,
        readmission: Readmission,
        is_forced: bool = False,
    ) -> None:
        """Nothing is asked before a group has had no leader for WAIT_S.

        `is_forced`: people accept that what only lost disks held is gone.
        """
        self._is_forced = is_forced
        self._owner = owner
        self._node_id = node_id
        self._asking = asking
        self._readmission = readmission
        self._loop = asyncio.get_running_loop()
        self._leaderless_since_s: dict[GroupId, float] = {}
        self._said_s: dict[GroupId, float] = {}

    @property
    def stuck_count(self) -> int:
        """Groups that need people."""
        return len(self._said_s)

    async def run(self) -> None:
        """Look for groups without leader, for ever."""
        while True:
            self._forget_gone()
            for replica in self._owner.groups.all():
                if self._is_leaderless(replica):
                    await self._consider(replica)
            await asyncio.sleep(LOOK_S)

    def _forget_gone(self) -> None:
        """A deleted group needs nobody."""
        groups = self._owner.groups
        for group in [group for group in self._leaderless_since_s if groups.get(group) is None]:
            del self._leaderless_since_s[group]
            self._said_s.pop(group, None)
            self._readmission.vouch(group, ())

    def status(self, replica: Replica) -> MemberStatus:
        """Return what this member knows of its own log."""
        raft = replica.raft
        damage = replica.damage
        if damage is None and not raft.may_vote:
            kind: DamageKind | None = DamageKind.SET_BACK
        else:
            kind = None if damage is None else damage.kind
        return MemberStatus(
            term=raft.term,
            last_term=raft.log.last_term,
            last_index=raft.log.last_index,
            commit_known=max(raft.commit_index, replica.commit_known),
            boundary_index=replica.boundary.position.index,
            damage=kind,
        )

    def _is_leaderless(self, replica: Replica) -> bool:
        """Whether the group has had no leader for WAIT_S; one that has one needs nothing here."""
        group, now_s = replica.group, self._loop.time()
        if replica.raft.leader is not None or replica.removed:
            self._leaderless_since_s.pop(group, None)
            self._said_s.pop(group, None)
            replica.raft.rescuer = None
            if not replica.raft.is_leader:
                self._readmission.vouch(group, ())
            return False
        return now_s - self._leaderless_since_s.setdefault(group, now_s) >= WAIT_S

    async def _consider(self, replica: Replica) -> None:
        replica.raft.rescuer = None
        lives = self._readmission.lives(replica)
        statuses = await self._ask_all(replica)
        if replica.removed or replica.raft.leader is not None:
            return
        if self._readmission.lives(replica) != lives:
            return  # somebody was started again meanwhile
        voters = replica.raft.voters
        missing = [node for node in voters if node not in statuses]
        whole = [node for node, status in statuses.items() if status.damage is None]
        if len(whole) + len(missing) >= majority_count(voters) and missing:
            return  # an election may need none of the damaged
        if len(whole) >= majority_count(voters):
            self._said_s.pop(replica.group, None)
            return
        if missing:
            self._ask_people(replica, f"no answer from {missing}")
            return
        objection = _objection(statuses)
        if objection is not None and not self._is_forced:
            self._ask_people(replica, objection)
            return
        self._conclude(replica, statuses, objection)

    async def _ask_all(self, replica: Replica) -> dict[NodeId, MemberStatus]:
        """Return what each voter that answers says of itself, in replica order."""
        statuses: dict[NodeId, MemberStatus] = {}
        for node in replica.raft.voters:
            if node == self._node_id:
                continue
            body = await self._asking.ask(node, RepairKind.STATUS, replica.group)
            try:
                if body is not None:
                    statuses[node] = decode_status(body)
            except PeerError as error:
                log.warning("status cannot be read source=%s reason=%s", node, error)
        statuses[self._node_id] = self.status(replica)
        return {node: statuses[node] for node in replica.raft.voters if node in statuses}

    def _conclude(
        self, replica: Replica, statuses: Mapping[NodeId, MemberStatus], accepted: str | None
    ) -> None:
        """Have the longest log lead; `accepted` is what people were warned of."""
        best = _longest(statuses)
        group, raft = replica.group, replica.raft
        log.warning(
            "no leader without damaged members group=%s effect=the longest log leads node=%s "
            "term=%s index=%s%s",
            group.hex(),
            best,
            statuses[best].last_term,
            statuses[best].last_index,
            "" if accepted is None else f" forced=yes accepted={accepted}",
        )
        self._said_s.pop(group, None)
        if best != self._node_id:
            if not raft.may_vote:
                raft.rescuer = best
            return
        damaged = [node for node, status in statuses.items() if status.damage is not None]
        self._readmission.vouch(group, damaged)
        if not raft.may_vote:
            self._readmission.readmit(replica)

    def _ask_people(self, replica: Replica, reason: str) -> None:
        now_s = self._loop.time()
        if now_s - self._said_s.get(replica.group, -SAY_S) < SAY_S:
            return
        self._said_s[replica.group] = now_s
        log.error(
            "group needs an operator group=%s effect=no leader, nothing is read or written "
            "reason=%s",
            replica.group.hex(),
            reason,
        )


def _objection(statuses: Mapping[NodeId, MemberStatus]) -> str | None:
    """Return why the longest log might lack something that was acknowledged, None if not."""
    for node, status in statuses.items():
        if status.damage not in (None, DamageKind.UNCERTAIN):
            assert status.damage is not None
            return f"node {node} has lost what it had synced ({status.damage.name})"
    best = statuses[_longest(statuses)]
    for node, status in statuses.items():
        known = max(status.commit_known, status.boundary_index)
        if known > best.last_index:
            return f"node {node} knows entry {known}, the longest log ends at {best.last_index}"
    return None


def _longest(statuses: Mapping[NodeId, MemberStatus]) -> NodeId:
    """Return who has the longest log; of equal ones a whole one, then the first in rank."""
    ranked = list(statuses)
    return max(
        ranked,
        key=lambda node: (
            statuses[node].last_term,
            statuses[node].last_index,
            statuses[node].damage is None,
            -ranked.index(node),
        ),
    )
