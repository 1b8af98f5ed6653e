"""A member of a consumer group (classic protocol): it reads its part and commits where it stands.

Members share the partitions of the clients' topic. Each begins where the group stands, reads, and
commits now and then; it obeys rebalances, leaves at times, and at times vanishes without a word. A
member that does not know what became of a commit comes back under another name: the generation
fences the lost request, so that what a group has committed only ever goes forward.

Does not: judge; what it did and was told is in the history.
"""

import asyncio
import json
from collections.abc import Sequence

from trimaran.errors import ErrorCode
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    FindCoordinatorRequest,
    HeartbeatRequest,
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    JoinGroupResponse,
    LeaveGroupRequest,
    MemberIdentity,
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetFetchRequest,
    OffsetFetchRequestTopic,
    SyncGroupRequest,
    SyncGroupRequestAssignment,
)
from trimaran.sim.client import PartitionConsumer, retrying
from trimaran.sim.history import GenerationNote, OffsetNote, ReadRecord
from trimaran.sim.kafka import KafkaClient, KafkaConnection

GROUP = "watchers"
SESSION_MS = 1_500
REBALANCE_MS = 1_000
TURN_S = 0.25
"""Between two signs of life; each third of them commits."""
COMMIT_EVERY = 3
LEAVES = 0.02
"""Share of turns after which a member leaves, and again of those in which it vanishes."""
PAUSE_S = 0.5


class GroupMember:
    """One member after the other, of one group, in one process."""

    def __init__(self, client: KafkaClient, partitions: Sequence[int]) -> None:
        """Share `partitions` of the client's topic with the group's other members."""
        self._client = client
        self._partitions = list(partitions)
        self._member_id = ""
        self._stopping = False
        self.commits = 0
        """How many were acknowledged."""
        self.stays = 0
        """How often it belonged to a generation."""

    def stop(self) -> None:
        """Leave soon."""
        self._stopping = True

    async def run(self) -> None:
        """Be a member until stopped."""
        while not self._stopping:
            await retrying(self._client, self._take_part, stop_when=lambda: self._stopping)
            await asyncio.sleep(self._client.chance.expovariate(1.0 / PAUSE_S))

    async def _take_part(self) -> None:
        """Join over one connection to the coordinator, again after each rebalance."""
        connection = await self._connect()
        try:
            while not self._stopping:
                stay = await self._join(connection)
                if not await stay.last():
                    return
        finally:
            connection.close()

    async def _connect(self) -> KafkaConnection:
        """Return a connection to the group's coordinator. Raises OSError, RetryError."""
        request = FindCoordinatorRequest(key=GROUP)
        answer = await self._client.ask_anyone(ApiKey.FIND_COORDINATOR, request)
        self._client.check(answer.error_code)
        return await self._client.connect(answer.host, answer.port)

    async def _join(self, connection: KafkaConnection) -> "_Stay":
        """Belong to the next generation. Raises OSError, RetryError."""
        loop = asyncio.get_running_loop()
        asked_s = loop.time()
        joined = await self._ask_to_join(connection)
        if joined.error_code == ErrorCode.MEMBER_ID_REQUIRED:
            self._member_id = joined.member_id
            joined = await self._ask_to_join(connection)
        self._check(joined.error_code)
        joined_s = loop.time()
        self._member_id = joined.member_id
        request = SyncGroupRequest(
            group_id=GROUP,
            generation_id=joined.generation_id,
            member_id=joined.member_id,
            protocol_type="simulated",
            protocol_name="even",
            assignments=self._shares(joined),
        )
        synced = await self._ask(connection, ApiKey.SYNC_GROUP, request)
        self._check(synced.error_code)
        partitions = tuple(json.loads(synced.assignment))
        self._client.history.generations.append(
            GenerationNote(
                GROUP,
                joined.generation_id,
                joined.leader,
                joined.member_id,
                partitions,
                asked_s,
                joined_s,
            )
        )
        self.stays += 1
        return _Stay(self, connection, joined.generation_id, partitions)

    async def _ask_to_join(self, connection: KafkaConnection) -> JoinGroupResponse:
        request = JoinGroupRequest(
            group_id=GROUP,
            session_timeout_ms=SESSION_MS,
            rebalance_timeout_ms=REBALANCE_MS,
            member_id=self._member_id,
            protocol_type="simulated",
            protocols=[JoinGroupRequestProtocol(name="even", metadata=b"")],
        )
        response: JoinGroupResponse = await self._ask(connection, ApiKey.JOIN_GROUP, request)
        return response

    def _shares(self, joined: JoinGroupResponse) -> list[SyncGroupRequestAssignment]:
        """Return who gets what, if this member is the leader."""
        names = sorted(member.member_id for member in joined.members)
        if joined.leader != joined.member_id or not names:
            return []
        return [
            SyncGroupRequestAssignment(
                member_id=name,
                assignment=json.dumps(self._partitions[at :: len(names)]).encode(),
            )
            for at, name in enumerate(names)
        ]

    async def _ask(self, connection: KafkaConnection, key: ApiKey, request: object):  # type: ignore[no-untyped-def]  # noqa: ANN202
        return await connection.ask(key, self._client.versions[key], request)

    def _check(self, code: int) -> None:
        """Raise RetryError unless `code` says success; a name that is not known is given up."""
        if code in (ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.FENCED_INSTANCE_ID):
            self._member_id = ""
        self._client.check(code)


class _Stay:
    """A member's part in one generation."""

    def __init__(
        self,
        member: GroupMember,
        connection: KafkaConnection,
        generation: int,
        partitions: Sequence[int],
    ) -> None:
        self._member = member
        self._client = member._client
        self._connection = connection
        self._generation = generation
        self._partitions = partitions
        self._consumers: dict[int, PartitionConsumer] = {}
        self._committed: dict[int, int] = {}
        self._work: list[asyncio.Task[None]] = []

    async def last(self) -> bool:
        """Read until the generation ends; return whether to join the next one at once.

        Raises:
            OSError, RetryError: the coordinator does not answer, or another one is to be asked.
        """
        try:
            await self._begin()
            turn = 0
            while not self._member._stopping:
                await asyncio.sleep(TURN_S)
                turn += 1
                if turn % COMMIT_EVERY == 0:
                    await self._commit()
                if not await self._is_current():
                    self._stop_reading()
                    await self._commit()
                    return True
                if self._client.chance.random() < LEAVES:
                    break
            if self._client.chance.random() < 0.5:
                await self._leave()
            self._member._member_id = ""  # or vanish without a word
            return False
        finally:
            self._stop_reading()
            await asyncio.gather(*self._work)

    async def _begin(self) -> None:
        """Ask where the group stands, and read from there."""
        history, loop = self._client.history, asyncio.get_running_loop()
        if not self._partitions:
            return
        asked_s = loop.time()
        topic = OffsetFetchRequestTopic(
            name=self._client.topic, partition_indexes=list(self._partitions)
        )
        request = OffsetFetchRequest(group_id=GROUP, topics=[topic])
        answer = await self._member._ask(self._connection, ApiKey.OFFSET_FETCH, request)
        self._member._check(answer.error_code)
        for row in answer.topics[0].partitions:
            self._member._check(row.error_code)
            history.offsets.append(
                OffsetNote(
                    GROUP, row.partition_index, row.committed_offset, False, asked_s, loop.time()
                )
            )
            start = max(0, row.committed_offset)
            records: list[ReadRecord] = []
            consumer = PartitionConsumer(
                self._client, row.partition_index, into=records, start=start
            )
            self._consumers[row.partition_index] = consumer
            self._committed[row.partition_index] = start
            self._work.append(loop.create_task(consumer.run()))

    def _stop_reading(self) -> None:
        for consumer in self._consumers.values():
            consumer.stop()

    async def _is_current(self) -> bool:
        """Give a sign of life; return whether the generation goes on."""
        request = HeartbeatRequest(
            group_id=GROUP, generation_id=self._generation, member_id=self._member._member_id
        )
        answer = await self._member._ask(self._connection, ApiKey.HEARTBEAT, request)
        if answer.error_code == ErrorCode.REBALANCE_IN_PROGRESS:
            return False
        self._member._check(answer.error_code)
        return True

    async def _commit(self) -> None:
        """Commit what was read since the last time. Raises OSError, RetryError."""
        ahead = {
            partition: consumer.position
            for partition, consumer in self._consumers.items()
            if consumer.position > self._committed[partition]
        }
        if not ahead:
            return
        loop = asyncio.get_running_loop()
        notes = [
            OffsetNote(GROUP, partition, offset, True, loop.time())
            for partition, offset in ahead.items()
        ]
        self._client.history.offsets += notes
        rows = [
            OffsetCommitRequestPartition(partition_index=partition, committed_offset=offset)
            for partition, offset in ahead.items()
        ]
        request = OffsetCommitRequest(
            group_id=GROUP,
            generation_id_or_member_epoch=self._generation,
            member_id=self._member._member_id,
            topics=[OffsetCommitRequestTopic(name=self._client.topic, partitions=rows)],
        )
        name, self._member._member_id = self._member._member_id, ""
        answer = await self._member._ask(self._connection, ApiKey.OFFSET_COMMIT, request)
        for note, row in zip(notes, answer.topics[0].partitions, strict=True):
            self._client.check(row.error_code)
            note.done_s = loop.time()
            self._member.commits += 1
        self._committed |= ahead
        self._member._member_id = name  # what became of the commit is known

    async def _leave(self) -> None:
        name = self._member._member_id
        request = LeaveGroupRequest(group_id=GROUP, members=[MemberIdentity(member_id=name)])
        await self._member._ask(self._connection, ApiKey.LEAVE_GROUP, request)
