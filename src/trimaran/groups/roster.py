"""Who is in a group, who is about to be, and what they agree on.

Invariants: a static member's instance id leads to it and to nobody else; the leader, if there is
one, is a member; all members offer one protocol type and at least one protocol in common.
Does not: know generations or states (`group` does), or read a clock.
"""

from collections.abc import Iterator, Sequence

from trimaran.errors import ErrorCode
from trimaran.groups.messages import JoinedMember, JoinRequest, MemberClaim, Ticket
from trimaran.groups.stored import StoredGroup, StoredMember, StoredProtocol


class Member:
    """One member of a living group."""

    __slots__ = (
        "assignment",
        "client_host",
        "client_id",
        "deadline_ms",
        "has_synced",
        "instance_id",
        "is_nameless",
        "join_ticket",
        "member_id",
        "protocols",
        "rebalance_timeout_ms",
        "session_timeout_ms",
        "sync_ticket",
        "told",
    )

    def __init__(self, stored: StoredMember, *, now_ms: int) -> None:
        """Take up a member whose session begins now."""
        self.member_id = stored.member_id
        self.instance_id = stored.instance_id
        self.client_id = stored.client_id
        self.client_host = stored.client_host
        self.session_timeout_ms = stored.session_timeout_ms
        self.rebalance_timeout_ms = stored.rebalance_timeout_ms
        self.protocols = stored.protocols
        self.assignment = stored.assignment
        """What is planned for it, or was: it knows once it has asked."""
        self.told = stored.assignment
        """The last part that it was given; it may read that until it joins again."""
        self.join_ticket: Ticket | None = None
        self.sync_ticket: Ticket | None = None
        self.has_synced = True
        """Whether it has asked for its part in this generation."""
        self.is_nameless = False
        """Whether it does not know its id yet: it cannot come back under it."""
        self.deadline_ms = now_ms + self.session_timeout_ms

    @classmethod
    def joining(cls, request: JoinRequest, member_id: str, *, now_ms: int) -> "Member":
        """Return the member that `request` makes."""
        stored = StoredMember(
            member_id=member_id,
            instance_id=request.instance_id,
            client_id=request.client_id,
            client_host=request.client_host,
            session_timeout_ms=request.session_timeout_ms,
            rebalance_timeout_ms=request.rebalance_timeout_ms,
            protocols=request.protocols,
            assignment=b"",
        )
        return cls(stored, now_ms=now_ms)

    @property
    def is_waiting(self) -> bool:
        """Whether an answer to it is still out: it cannot be expected to give signs of life."""
        return self.join_ticket is not None or self.sync_ticket is not None

    def seen(self, *, now_ms: int) -> None:
        """Begin its session anew."""
        self.deadline_ms = now_ms + self.session_timeout_ms

    def update(self, request: JoinRequest) -> None:
        """Take over what it says now."""
        self.client_id = request.client_id
        self.client_host = request.client_host
        self.session_timeout_ms = request.session_timeout_ms
        self.rebalance_timeout_ms = request.rebalance_timeout_ms
        self.protocols = request.protocols

    def metadata(self, protocol: str | None) -> bytes:
        """Return what it says under `protocol`; nothing if it does not offer that."""
        return next((one.metadata for one in self.protocols if one.name == protocol), b"")

    def stored(self) -> StoredMember:
        """Return it as the log holds it."""
        return StoredMember(
            member_id=self.member_id,
            instance_id=self.instance_id,
            client_id=self.client_id,
            client_host=self.client_host,
            session_timeout_ms=self.session_timeout_ms,
            rebalance_timeout_ms=self.rebalance_timeout_ms,
            protocols=self.protocols,
            assignment=self.assignment,
        )


class Roster:
    """The members of one group."""

    __slots__ = ("_by_instance", "_members", "leader", "pending", "protocol", "protocol_type")

    def __init__(self) -> None:
        """Begin with nobody."""
        self._members: dict[str, Member] = {}
        self._by_instance: dict[str, str] = {}
        self.pending: dict[str, int] = {}
        """Ids that were given out to members that have not come back yet; until when they may."""
        self.leader: str | None = None
        self.protocol_type = ""
        self.protocol: str | None = None

    @classmethod
    def restored(cls, stored: StoredGroup, *, now_ms: int) -> "Roster":
        """Return the members that a log holds, all of them alive for now."""
        roster = cls()
        for member in stored.members:
            roster.add(Member(member, now_ms=now_ms))
        roster.protocol_type = stored.protocol_type
        roster.protocol = stored.protocol
        if stored.leader in roster:
            roster.leader = stored.leader
        return roster

    def __len__(self) -> int:
        """Return how many members there are."""
        return len(self._members)

    def __contains__(self, member_id: object) -> bool:
        """Whether a member has this id."""
        return member_id in self._members

    def __iter__(self) -> Iterator[Member]:
        """Yield members in order of joining; the roster may change meanwhile."""
        return iter(list(self._members.values()))

    def get(self, member_id: str) -> Member | None:
        """Return the member with this id."""
        return self._members.get(member_id)

    def of_instance(self, instance_id: str | None) -> Member | None:
        """Return the static member of that name."""
        if instance_id is None:
            return None
        member_id = self._by_instance.get(instance_id)
        return None if member_id is None else self._members[member_id]

    def add(self, member: Member) -> None:
        """Take a member in; the first one leads."""
        assert member.member_id not in self._members
        self._members[member.member_id] = member
        if member.instance_id is not None:
            self._by_instance[member.instance_id] = member.member_id
        if self.leader is None:
            self.leader = member.member_id
        self.pending.pop(member.member_id, None)

    def remove(self, member_id: str) -> Member:
        """Let a member go; the next one leads if it did."""
        member = self._members.pop(member_id)
        if member.instance_id is not None:
            del self._by_instance[member.instance_id]
        if self.leader == member_id:
            self.leader = next(iter(self._members), None)
        return member

    def replace(self, old: Member, new: Member) -> None:
        """Put a static member's new life in its old one's place."""
        assert old.instance_id == new.instance_id
        members = [new if member is old else member for member in self._members.values()]
        self._members = {member.member_id: member for member in members}
        if new.instance_id is not None:
            self._by_instance[new.instance_id] = new.member_id
        if self.leader == old.member_id:
            self.leader = new.member_id

    def judge(self, claim: MemberClaim) -> ErrorCode:
        """Return NONE if a member is who it claims to be (its generation not looked at)."""
        if claim.instance_id is not None:
            known = self._by_instance.get(claim.instance_id)
            if known is None:
                return ErrorCode.UNKNOWN_MEMBER_ID
            if known != claim.member_id:
                return ErrorCode.FENCED_INSTANCE_ID
        return ErrorCode.NONE if claim.member_id in self._members else ErrorCode.UNKNOWN_MEMBER_ID

    # Protocols

    def accepts(
        self,
        protocol_type: str,
        protocols: Sequence[StoredProtocol],
        *,
        besides: Member | None = None,
    ) -> bool:
        """Whether somebody with these protocols fits the members, `besides` left out."""
        others = [member for member in self._members.values() if member is not besides]
        if not others:
            return bool(protocol_type) and len(protocols) > 0
        common = _common(others)
        return protocol_type == self.protocol_type and any(one.name in common for one in protocols)

    def choose_protocol(self) -> str | None:
        """Return the protocol that most members like best of those all offer."""
        members = list(self._members.values())
        if not members:
            return None
        common = _common(members)
        votes = dict.fromkeys(common, 0)
        for member in members:
            first = next((one.name for one in member.protocols if one.name in common), None)
            assert first is not None, "members have a protocol in common"
            votes[first] += 1
        return max(votes, key=lambda name: votes[name])

    # What is known of all

    @property
    def has_all_joined(self) -> bool:
        """Whether nobody is waited for."""
        waiting = [member for member in self._members.values() if member.join_ticket is None]
        return not waiting and not self.pending

    @property
    def rebalance_timeout_ms(self) -> int:
        """The longest time that a member may take to join again."""
        return max((member.rebalance_timeout_ms for member in self._members.values()), default=0)

    def bytes_besides(self, left_out: Member | None) -> int:
        """Return how much the members say under all their protocols, `left_out` left out."""
        return sum(
            len(one.metadata)
            for member in self._members.values()
            if member is not left_out
            for one in member.protocols
        )

    def joined_members(self) -> list[JoinedMember]:
        """Return what the leader must know to assign."""
        return [
            JoinedMember(
                member_id=member.member_id,
                instance_id=member.instance_id,
                metadata=member.metadata(self.protocol),
            )
            for member in self._members.values()
        ]

    def stored(self, group_id: str, generation: int, *, is_rebalancing: bool) -> StoredGroup:
        """Return the group as the log holds it."""
        return StoredGroup(
            group_id=group_id,
            generation=generation,
            protocol_type=self.protocol_type,
            protocol=self.protocol,
            leader=self.leader,
            members=tuple(member.stored() for member in self._members.values()),
            is_rebalancing=is_rebalancing,
        )


def _common(members: Sequence[Member]) -> dict[str, None]:
    """Return the names of the protocols that all of `members` offer, as the first likes them."""
    names = {one.name: None for one in members[0].protocols}
    for member in members[1:]:
        offered = {one.name: None for one in member.protocols}
        names = {name: None for name in names if name in offered}
    return names
