"""A member of a group of the new protocol (KIP-848): heartbeats, and what the answers hand to it.

It joins with epoch 0, reads what it is told that it has, and commits under its epoch. What an
answer takes away it reads a while longer, as applications do, at times too long; then it commits,
and its next heartbeat says that it gave it up. It leaves at times, and at times vanishes without a
word. Fenced, it drops everything and joins anew. A lost answer changes nothing: it says all that it
has and goes on, over another connection. Only a member that does not know what became of a commit
comes back under another name, since nobody else may commit for a partition before the old name is
out.

Does not: judge; what it had and was told is in the history.
"""

import asyncio
from random import Random

from trimaran.errors import ErrorCode
from trimaran.ids import TopicId
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    FindCoordinatorRequest,
    HeartbeatTopicPartitions,
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetFetchRequest,
    OffsetFetchRequestTopic,
)
from trimaran.sim.client import PartitionConsumer, retrying
from trimaran.sim.history import OffsetNote, OwnershipNote
from trimaran.sim.kafka import KafkaClient, KafkaConnection, RetryError

GROUP = "sharers"
REBALANCE_MS = 1_000
TURN_S = 0.25
"""Between two signs of life; each third of them commits."""
COMMIT_EVERY = 3
LEAVES = 0.05
"""Share of turns after which a member leaves, and again of those in which it vanishes."""
PAUSE_S = 0.5
GIVES_UP_AFTER_S = 0.3
"""Mean; after REBALANCE_MS a member is out."""
COMMIT_VERSION = 9
"""Of OffsetCommit: the first that carries a member's epoch."""
HEARTBEAT_VERSIONS = (0, 1)
JOIN, LEAVE = 0, -1
_FENCED = (
    ErrorCode.UNKNOWN_MEMBER_ID,
    ErrorCode.FENCED_MEMBER_EPOCH,
    ErrorCode.GROUP_ID_NOT_FOUND,
)


class ConsumerMember:
    """One member after the other, of one group, in one process."""

    def __init__(self, client: KafkaClient, chance: Random) -> None:
        """Share the client's topic with the group's other members."""
        self._client = client
        self._chance = chance
        self._version = chance.randint(*HEARTBEAT_VERSIONS)
        self._stopping = False
        self._life = 0
        self._member_id = ""
        self._epoch = JOIN
        self._topic_id: TopicId | None = None
        self._had: dict[int, OwnershipNote] = {}
        self._until_s: dict[int, float] = {}
        """When it will give up what was taken away."""
        self._stays: list[OwnershipNote] = []
        """All that it had under its name."""
        self._readers: dict[int, PartitionConsumer] = {}
        self._committed: dict[int, int] = {}
        self._work: list[asyncio.Task[None]] = []
        self._says_all = True
        self.commits = 0
        """How many were acknowledged."""
        self.joins = 0
        """How often it was taken in."""
        self.hand_overs = 0
        """How many partitions it gave up because it was told to."""
        self.fencings = 0
        """How often it was told that it is out."""

    def stop(self) -> None:
        """Leave soon."""
        self._stopping = True

    async def run(self) -> None:
        """Be a member until stopped."""
        while not self._stopping:
            await retrying(self._client, self._take_part, stop_when=lambda: self._stopping)
            self._begin_anew()
            await asyncio.sleep(self._chance.expovariate(1.0 / PAUSE_S))
        await asyncio.gather(*self._work)

    async def _take_part(self) -> None:
        """Give signs of life over one connection to the coordinator until it is time to go."""
        connection = await self._connect()
        self._says_all = True
        turn = 0
        try:
            while not self._stopping:
                await self._beat(connection)
                await self._read_what_is_new(connection)
                await self._give_up(connection)
                await asyncio.sleep(TURN_S)
                turn += 1
                if turn % COMMIT_EVERY == 0:
                    await self._commit(connection, list(self._readers))
                if self._chance.random() < LEAVES:
                    break
            if self._stopping or self._chance.random() < 0.5:
                await self._leave(connection)
        finally:
            connection.close()

    async def _connect(self) -> KafkaConnection:
        """Return a connection to the group's coordinator. Raises OSError, RetryError."""
        request = FindCoordinatorRequest(key=GROUP)
        answer = await self._client.ask_anyone(ApiKey.FIND_COORDINATOR, request)
        self._client.check(answer.error_code)
        return await self._client.connect(answer.host, answer.port)

    # Signs of life

    async def _beat(self, connection: KafkaConnection) -> None:
        """Say what it has, do what the answer says. Raises OSError, RetryError."""
        now = asyncio.get_running_loop().time
        if not self._member_id:
            self._life += 1
            self._member_id = f"{self._client.name}-{self._life}-{self._chance.getrandbits(32):08x}"
        asked_s = now()
        says_all, self._says_all = self._says_all or self._epoch == JOIN, True
        answer = await self._ask_to_go_on(connection, says_all=says_all)
        self._check(answer.error_code)
        if answer.member_epoch != self._epoch:
            self._prove(asked_s)  # whoever enters an epoch was in the group
            self.joins += self._epoch == JOIN
            self._epoch = answer.member_epoch
        self._says_all = False
        if answer.assignment is None:
            return
        told = {
            number: topic.topic_id
            for topic in answer.assignment.topic_partitions
            for number in topic.partitions
        }
        self._topic_id = next(iter(told.values()), self._topic_id)
        for number in told:
            if number not in self._had:
                self._had[number] = OwnershipNote(GROUP, number, self._member_id, now())
                self._stays.append(self._had[number])
                self._client.history.ownerships.append(self._had[number])
            self._until_s.pop(number, None)
        for number in self._had:
            if number not in told:
                until_s = now() + self._chance.expovariate(1.0 / GIVES_UP_AFTER_S)
                self._until_s.setdefault(number, until_s)

    async def _ask_to_go_on(
        self, connection: KafkaConnection, *, says_all: bool
    ) -> ConsumerGroupHeartbeatResponse:
        owned = []
        if self._had and self._topic_id is not None:
            owned = [
                HeartbeatTopicPartitions(topic_id=self._topic_id, partitions=sorted(self._had))
            ]
        request = ConsumerGroupHeartbeatRequest(
            group_id=GROUP,
            member_id=self._member_id,
            member_epoch=self._epoch,
            rebalance_timeout_ms=REBALANCE_MS if says_all else -1,
            subscribed_topic_names=[self._client.topic] if says_all else None,
            topic_partitions=owned if says_all else None,
        )
        response: ConsumerGroupHeartbeatResponse = await self._ask_heartbeat(connection, request)
        return response

    async def _give_up(self, connection: KafkaConnection) -> None:
        """Stop reading what was taken away long enough ago, and commit it.

        Raises:
            OSError, RetryError: as a commit.
        """
        now = asyncio.get_running_loop().time
        due = [number for number, until_s in self._until_s.items() if until_s <= now()]
        for number in due:
            if number in self._readers:
                self._readers[number].stop()
        await self._commit(connection, due)
        for number in due:
            self._says_all = True
            self._readers.pop(number, None)
            self._until_s.pop(number)
            self._had.pop(number).given_up_s = now()
            self.hand_overs += 1

    async def _leave(self, connection: KafkaConnection) -> None:
        """Commit, give everything up and say so. Raises OSError, RetryError."""
        self._stop_reading()
        await self._commit(connection, list(self._readers))
        asked_s = asyncio.get_running_loop().time()
        stays = self._stays
        member_id = self._member_id
        self._begin_anew()
        request = ConsumerGroupHeartbeatRequest(
            group_id=GROUP, member_id=member_id, member_epoch=LEAVE
        )
        answer = await self._ask_heartbeat(connection, request)
        if answer.error_code == ErrorCode.NONE:
            for note in stays:
                note.proven_s = asked_s

    async def _ask_heartbeat(
        self, connection: KafkaConnection, request: ConsumerGroupHeartbeatRequest
    ) -> ConsumerGroupHeartbeatResponse:
        key = ApiKey.CONSUMER_GROUP_HEARTBEAT
        response: ConsumerGroupHeartbeatResponse = await connection.ask(key, self._version, request)
        return response

    def _check(self, code: int) -> None:
        """Raise RetryError unless `code` says success; who is fenced has nothing any more."""
        if code in _FENCED:
            self.fencings += 1
            self._begin_anew()
        self._client.check(code)

    def _begin_anew(self) -> None:
        """Have nothing, and join under another name."""
        self._stop_reading()
        self._readers.clear()
        now_s = asyncio.get_running_loop().time()
        for note in self._had.values():
            note.given_up_s = now_s
        self._had.clear()
        self._until_s.clear()
        self._stays = []
        self._member_id = ""
        self._epoch = JOIN

    def _prove(self, asked_s: float) -> None:
        """Note that it was in the group, and had been since it joined, at `asked_s`."""
        for note in self._stays:
            note.proven_s = asked_s

    # Reading and committing

    async def _read_what_is_new(self, connection: KafkaConnection) -> None:
        """Begin where the group stands, on each partition that is not read yet.

        Raises:
            OSError, RetryError: the coordinator does not answer, or another one is to be asked.
        """
        new = [number for number in self._had if number not in self._readers]
        if not new:
            return
        loop, history = asyncio.get_running_loop(), self._client.history
        asked_s = loop.time()
        topic = OffsetFetchRequestTopic(name=self._client.topic, partition_indexes=new)
        key = ApiKey.OFFSET_FETCH
        request = OffsetFetchRequest(group_id=GROUP, topics=[topic])
        answer = await connection.ask(key, self._client.versions[key], request)
        self._client.check(answer.error_code)
        for row in answer.topics[0].partitions:
            self._client.check(row.error_code)
            number, offset = row.partition_index, row.committed_offset
            history.offsets.append(OffsetNote(GROUP, number, offset, False, asked_s, loop.time()))
            start = max(0, offset)
            consumer = PartitionConsumer(self._client, number, into=[], start=start)
            self._readers[number] = consumer
            self._committed[number] = start
            self._work.append(loop.create_task(consumer.run()))

    def _stop_reading(self) -> None:
        for consumer in self._readers.values():
            consumer.stop()

    async def _commit(self, connection: KafkaConnection, numbers: list[int]) -> None:
        """Commit what was read since the last time. Raises OSError, RetryError."""
        ahead = {
            number: self._readers[number].position
            for number in numbers
            if number in self._readers and self._readers[number].position > self._committed[number]
        }
        if not ahead:
            return
        loop = asyncio.get_running_loop()
        asked_s = loop.time()
        notes = [OffsetNote(GROUP, number, ahead[number], True, asked_s) for number in ahead]
        self._client.history.offsets += notes
        rows = [
            OffsetCommitRequestPartition(partition_index=number, committed_offset=offset)
            for number, offset in ahead.items()
        ]
        request = OffsetCommitRequest(
            group_id=GROUP,
            generation_id_or_member_epoch=self._epoch,
            member_id=self._member_id,
            topics=[OffsetCommitRequestTopic(name=self._client.topic, partitions=rows)],
        )
        try:
            answer = await connection.ask(ApiKey.OFFSET_COMMIT, COMMIT_VERSION, request)
            codes = [row.error_code for row in answer.topics[0].partitions]
            for code in codes:
                if code != ErrorCode.STALE_MEMBER_EPOCH:
                    self._check(code)
        except (OSError, RetryError):
            self._begin_anew()  # what became of it is not known
            raise
        if ErrorCode.STALE_MEMBER_EPOCH in codes:
            return  # nothing was committed; the next heartbeat tells the epoch
        self._prove(asked_s)
        for note in notes:
            note.done_s = loop.time()
            self.commits += 1
        self._committed |= ahead
