"""A reader of all partitions at once, as Java's consumer is: a fetch session with each node.

One fetcher per node asks over one connection for all partitions that the node leads, and leaves out
now and then what it has not digested yet, which so leaves the session. When a connection breaks it
goes on with the session or begins another. At times it ends its session, or provokes an error by a
wrong epoch, a wrong id, or topics named another way; no other session error may come. Once stopped
it does nothing of the kind, and reads all up to where the logs then end: a session that keeps
something back for ever shows.

Does not: judge what it reads, but what the answers of a session leave out or add.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from trimaran.errors import ErrorCode
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    FetchPartition,
    FetchRequest,
    FetchResponse,
    ForgottenTopic,
    PartitionData,
)
from trimaran.sim.client import (
    BACK_OFF_S,
    FETCH_BYTES,
    FETCH_WAIT_MS,
    TOPIC_IDS_FROM,
    Reading,
    asked_topic,
    is_late,
    retrying,
)
from trimaran.sim.fetch_session import (
    NO_SESSION,
    SESSION_ERRORS,
    Asked,
    ReaderSession,
)
from trimaran.sim.kafka import KafkaClient, KafkaConnection, RetryError

LEAVES_OUT = 0.1
"""Share of the requests for several partitions that leave one out."""
ENDS = 0.02
"""Share of the requests that end their session."""
PROVOKES = 0.03
"""Share of the requests in a session that are wrong on purpose."""
GOES_ON = 0.5
"""Share of the broken connections after which the session is to go on."""
FEW_BYTES = 2_000
"""What some answers are limited to: often less than there is."""
LIMITS_BYTES = (FETCH_BYTES, FETCH_BYTES, FEW_BYTES)
_ID_MAX = 2**31 - 1


class SessionReader:
    """Reads several partitions of the client's topic."""

    def __init__(
        self, client: KafkaClient, partitions: Sequence[int], nodes: Sequence[int]
    ) -> None:
        """Read `partitions` from their start, wherever in `nodes` they are led."""
        self.client = client
        reads = client.history.reads
        self._readings = {
            partition: Reading(
                client, partition, into=reads.setdefault((client.name, partition), [])
            )
            for partition in partitions
        }
        """The one that got something longest ago first."""
        self._leaders: dict[int, int] = {}
        """The node that leads each partition, where it is known."""
        self._fetchers = [_Fetcher(self, node) for node in nodes]
        self._stopped = asyncio.Event()
        self._changed = asyncio.Event()
        self.sessions = 0
        """How many were opened."""
        self.session_errors = 0
        self.forgotten = 0
        """How many partitions left a session."""

    @property
    def is_stopping(self) -> bool:
        """Whether only the rest is to be read."""
        return self._stopped.is_set()

    @property
    def is_done(self) -> bool:
        """Whether everything is read up to its end."""
        return all(reading.is_at_end for reading in self._readings.values())

    def stop(self) -> None:
        """End at the ends of the logs as they are soon."""
        self._stopped.set()

    async def run(self) -> None:
        """Read until stopped, then up to the ends."""
        loop = asyncio.get_running_loop()
        work = [loop.create_task(fetcher.run()) for fetcher in self._fetchers]
        work.append(loop.create_task(self._find_leaders()))
        work.append(loop.create_task(self._find_ends()))
        await asyncio.gather(*work)

    def wanted(self, node: int) -> dict[int, int]:
        """Return the partitions that `node` leads, as far as known, and where each one stands."""
        return {
            partition: reading.position
            for partition, reading in self._readings.items()
            if self._leaders.get(partition) == node
        }

    async def wait_for_work(self, node: int) -> bool:
        """Wait until `node` leads something; False if all is read before."""
        while not self.is_done and not self.wanted(node):
            await self._changed.wait()
        return not self.is_done

    def take(self, data: PartitionData) -> None:
        """Take in what is told of one partition; after an error its leader is to be found."""
        partition = data.partition_index
        try:
            self._readings[partition].take(data)
        except RetryError:
            self._leaders.pop(partition, None)
            self._tell()
            return
        if any(data.records):
            self._readings[partition] = self._readings.pop(partition)
        if self.is_done:
            self._tell()

    def lost(self, node: int) -> None:
        """Find the leaders of what `node` led: it does not answer."""
        for partition in self.wanted(node):
            del self._leaders[partition]
        self._tell()

    async def _find_ends(self) -> None:
        await self._stopped.wait()
        for reading in list(self._readings.values()):
            await reading.find_end()
        self._tell()

    async def _find_leaders(self) -> None:
        """Ask for leaders whenever one is not known."""
        while not self.is_done:
            if len(self._leaders) < len(self._readings):
                await asyncio.sleep(self.client.chance.uniform(*BACK_OFF_S))
                await retrying(self.client, self._look, stop_when=lambda: self.is_done)
            else:
                await self._changed.wait()

    async def _look(self) -> None:
        found = await self.client.leaders()
        for partition in self._readings:
            if partition in found:
                self._leaders.setdefault(partition, found[partition])
        self._tell()
        if len(self._leaders) < len(self._readings):
            raise RetryError("not every partition has a leader")

    def _tell(self) -> None:
        """Wake whoever waits for a change."""
        self._changed.set()
        self._changed = asyncio.Event()


class _Fetcher:
    """What is read from one node."""

    def __init__(self, reader: SessionReader, node: int) -> None:
        self._reader = reader
        self._client = reader.client
        self._node = node
        self._version = self._client.versions[ApiKey.FETCH]
        self._session = ReaderSession()
        self._is_sure = False
        """Whether this connection's last request was answered: the session is as both know it."""
        self._was_hasty = False
        """Whether this connection's last answer was empty and early: its node is about to stop."""

    async def run(self) -> None:
        """Read until all is read, from wherever."""
        chance = self._client.chance
        while await self._reader.wait_for_work(self._node):
            try:
                await self._talk()
            except (OSError, RetryError) as error:
                self._client.history.note_answer(type(error).__name__)
                if chance.random() >= GOES_ON:
                    self._session.start_over()
                self._reader.lost(self._node)
                await asyncio.sleep(chance.uniform(*BACK_OFF_S))

    async def _talk(self) -> None:
        """Use one connection for as long as there is something to read at its end."""
        self._is_sure = self._was_hasty = False
        connection = await self._client.connect_to_node(self._node)
        try:
            while not self._reader.is_done and (wanted := self._wanted()):
                if self._session.is_open and self._draws(PROVOKES):
                    await self._provoke(connection, wanted)
                else:
                    await self._read(connection, wanted)
        finally:
            connection.close()

    def _wanted(self) -> dict[int, int]:
        """Return what to ask for: at times one partition less than there are."""
        wanted = self._reader.wanted(self._node)
        if len(wanted) > 1 and self._draws(LEAVES_OUT):
            del wanted[self._client.chance.choice(list(wanted))]
        return wanted

    def _draws(self, share: float) -> bool:
        """Whether to do now what is done in such a share of cases, up to the stop."""
        return self._client.chance.random() < share and not self._reader.is_stopping

    async def _read(self, connection: KafkaConnection, wanted: dict[int, int]) -> None:
        """Ask once and take what comes. Raises OSError, RetryError."""
        asked = self._session.ask(wanted, ends=self._draws(ENDS))
        now = asyncio.get_running_loop().time
        asked_s = now()
        response = await self._exchange(connection, asked, self._version)
        if response.error_code in SESSION_ERRORS:
            self._end_by_error(response.error_code)
            return
        self._client.check(response.error_code)
        told = [data for topic in response.responses for data in topic.partitions]
        for line in self._session.answered(asked, told, response.session_id):
            self._odd(line)
        self._was_hasty = not told and not is_late(now() - asked_s)
        self._is_sure = True
        self._reader.sessions += asked.is_full and response.session_id != NO_SESSION
        self._reader.forgotten += len(asked.forgotten)
        if any(data.records for data in told):
            self._client.history.note_fetch(is_late=is_late(now() - asked_s))
        for data in told:
            if data.partition_index in asked.named:
                self._reader.take(data)

    def _end_by_error(self, code: int) -> None:
        """Start over; there is no reason for the error if the last request was answered."""
        name = ErrorCode(code).name
        if self._is_sure:
            self._odd(f"{name} in a session that both know")
        self._client.history.note_answer(name)
        self._reader.session_errors += 1
        self._session.start_over()

    async def _provoke(self, connection: KafkaConnection, wanted: dict[int, int]) -> None:
        """Make one thing of a request wrong. Raises OSError, RetryError."""
        chance = self._client.chance
        asked = self._session.ask(wanted)
        version = self._version
        due = chance.choice(SESSION_ERRORS)
        if due == ErrorCode.FETCH_SESSION_ID_NOT_FOUND:
            asked = replace(asked, session_id=chance.randint(1, _ID_MAX))
        elif due == ErrorCode.INVALID_FETCH_SESSION_EPOCH:
            asked = replace(asked, epoch=asked.epoch + chance.randint(1, 3))
        else:
            version = TOPIC_IDS_FROM - 1 if version >= TOPIC_IDS_FROM else TOPIC_IDS_FROM
        response = await self._exchange(connection, asked, version)
        if self._is_sure and (response.error_code != due or response.responses):
            name = ErrorCode(response.error_code).name
            self._odd(f"{name} to a request that was to fail with {due.name}")
        self._is_sure = False
        if response.error_code in SESSION_ERRORS:
            self._end_by_error(response.error_code)
        else:
            self._session.start_over()

    async def _exchange(
        self, connection: KafkaConnection, asked: Asked, version: int
    ) -> FetchResponse:
        topic = asked_topic(
            self._client,
            version,
            [FetchPartition(*place, FETCH_BYTES) for place in asked.positions.items()],
        )
        forgotten = ForgottenTopic(topic.topic, topic.topic_id, asked.forgotten)
        request = FetchRequest(
            FETCH_WAIT_MS,
            1,
            [topic] if asked.positions else [],
            max_bytes=self._client.chance.choice(LIMITS_BYTES),
            session_id=asked.session_id,
            session_epoch=asked.epoch,
            forgotten_topics_data=[forgotten] if asked.forgotten else [],
        )
        response: FetchResponse = await connection.ask(ApiKey.FETCH, version, request)
        if self._was_hasty:
            self._odd("an answer without anything, before its time to wait was over")
        return response

    def _odd(self, text: str) -> None:
        history = self._client.history
        history.oddities.append(f"{self._client.name} at node {self._node}: {text}")
