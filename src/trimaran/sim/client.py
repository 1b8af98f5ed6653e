"""Simulated producers and consumers, which write down what they did and saw.

An idempotent producer has up to five batches under way to each partition and sends all of them
again, in order, when one fails: what every Kafka client does; at times it hangs up before the
answer, or waits until all is settled, asks for its next epoch and numbers anew (KIP-360). A plain
producer sends one at a time and never again; it takes a new name with each connection, because only
within one does TCP keep the order; now and then a bit of a batch flips on its way. Each producer
has a codec of its own. With acks=1 or 0 nothing is promised: such records end as UNKNOWN. A
consumer reads a partition from its start and goes on where it stopped.

Does not: judge what it sees (`checkers` do).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence

from trimaran.checking import make_value
from trimaran.errors import ErrorCode
from trimaran.ids import TopicId
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    InitProducerIdRequest,
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
    PartitionData,
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
    TopicProduceResponse,
)
from trimaran.records.batch import Codec, parse_header
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record, iterate_records
from trimaran.sim.history import Answer, Outcome, ReadRecord, SentRecord
from trimaran.sim.kafka import REQUEST_TIMEOUT_S, KafkaClient, KafkaConnection, RetryError

INFLIGHT_MAX = 5
IMPATIENT = 0.04
"""Share of an idempotent producer's turns after which it hangs up and sends again."""
RENEWALS = 0.02
"""Share of its turns after which it goes on with its next epoch."""
SPOILT_EVERY = 12
"""A bit of each so many-th batch of a plain producer flips on its way: that one must be refused."""
BACK_OFF_S = (0.02, 0.2)
RECORDS_MAX = 20
VALUE_BYTES_MAX = 400
FETCH_WAIT_MS = 200
FETCH_BYTES = 64 * 1024
LATEST = -1
ALL_REPLICAS = -1
LEADER_ONLY = 1
NOBODY = 0
TOPIC_IDS_FROM = 13
"""Fetch names topics by id from this version on."""
ZSTD_FROM = 7
"""Produce takes this codec from this version on (KIP-110)."""
NOWHERE = -1
"""The preferred read replica of a partition that is read where it was asked for."""
_SILENCE = ProduceResponse(
    responses=[TopicProduceResponse("", [PartitionProduceResponse(0, base_offset=-1)])]
)
"""Stands for the answer that acks=0 never gets: nothing is known."""
_DEFINITE = (
    ErrorCode.NOT_ENOUGH_REPLICAS,
    ErrorCode.KAFKA_STORAGE_ERROR,
    ErrorCode.CORRUPT_MESSAGE,
    ErrorCode.INVALID_RECORD,
    ErrorCode.MESSAGE_TOO_LARGE,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
)
"""Errors that promise that nothing was stored."""
_NEVER = (ErrorCode.INVALID_PRODUCER_EPOCH, ErrorCode.CORRUPT_MESSAGE)
"""Errors of which an idempotent producer of ours gives no cause."""


class PartitionProducer:
    """One producer's stream to one partition."""

    def __init__(
        self,
        client: KafkaClient,
        partition: int,
        *,
        think_s: float,
        idempotent: bool = False,
        acks: int = ALL_REPLICAS,
        batches_max: int | None = None,
        value_bytes_max: int = VALUE_BYTES_MAX,
        is_alone: bool = False,
    ) -> None:
        """Send a batch every `think_s` on average until `stop`, or until there were so many.

        `is_alone`: the cluster has one node, so that acks=1 promises what acks=all does.
        """
        assert not idempotent or acks == ALL_REPLICAS
        self._is_promised = acks == ALL_REPLICAS or (acks == LEADER_ONLY and is_alone)
        self._client = client
        self._partition = partition
        self._idempotent = idempotent
        self._think_s = think_s
        self._acks = acks
        self._batches_left = batches_max
        self._value_bytes_max = value_bytes_max
        self._name = client.name
        self._connection_count = 0
        self._inflight: deque[list[SentRecord]] = deque()
        self._count = 0
        self._batch_count = 0
        """Of a plain producer: how many it has sent."""
        self._stopping = False
        self._renewing = False
        self.last: SentRecord | None = None
        """The newest record of the newest settled batch that was acked."""
        self.producer_id = -1
        self.producer_epoch = -1
        self._codec = client.chance.choice(codecs_of(client.versions[ApiKey.PRODUCE]))
        self._first_number = 0
        """The record that has sequence 0 in the present epoch."""

    def stop(self) -> None:
        """Start no new batch; `run` ends once all are settled."""
        self._stopping = True

    async def run(self) -> None:
        """Produce until stopped and every batch is settled."""
        while not (self._stopping and not self._inflight):
            await retrying(self._client, self._exchange, stop_when=self._nothing_left)

    def _nothing_left(self) -> bool:
        if not self._idempotent:
            self._give_up(Outcome.UNKNOWN)
        return self._stopping and not self._inflight

    async def _exchange(self) -> None:
        """Use one connection to the leader for as long as it works."""
        if self._idempotent and self.producer_id < 0:
            await self._init_producer_id()
        connection = await self._client.connect_to_leader(self._partition)
        if not self._idempotent:
            self._connection_count += 1
            self._name = f"{self._client.name}#{self._connection_count}"
            self._count = 0
        try:
            answers: deque[asyncio.Future[ProduceResponse]] = deque()
            while not (self._stopping and not self._inflight):
                await self._renew_now_and_then()
                self._fill()
                while len(answers) < len(self._inflight):
                    answers.append(self._send(connection, self._inflight[len(answers)]))
                self._lose_patience()
                if answers:
                    async with asyncio.timeout(REQUEST_TIMEOUT_S):
                        response = await answers.popleft()
                    self._settle(response.responses[0].partition_responses[0], node=connection.host)
                await asyncio.sleep(self._client.chance.expovariate(1.0 / self._think_s))
        finally:
            connection.close()

    def _lose_patience(self) -> None:
        """Hang up at times right after sending: what was sent is on its way all the same.

        Raises:
            RetryError: everything under way is to be sent again, at once.
        """
        if self._idempotent and self._client.chance.random() < IMPATIENT:
            raise RetryError("the client has no patience")

    async def _renew_now_and_then(self) -> None:
        """Go on with the next epoch when all is settled; until then nothing new is sent."""
        if self._idempotent and self._client.chance.random() < RENEWALS:
            self._renewing = True
        if self._renewing and not self._inflight:
            await self._init_producer_id()
            self._renewing = False
            self._client.history.renewals += 1

    async def _init_producer_id(self) -> None:
        """Ask for an id, or for the next epoch of the one there is; sequences begin anew."""
        assert not self._inflight, "what is under way has its sequence"
        request = InitProducerIdRequest(
            producer_id=self.producer_id, producer_epoch=self.producer_epoch
        )
        response = await self._client.ask_anyone(ApiKey.INIT_PRODUCER_ID, request)
        self._client.check(response.error_code)
        self.producer_id = response.producer_id
        self.producer_epoch = response.producer_epoch
        self._first_number = self._count

    def _fill(self) -> None:
        wanted = self._client.chance.randint(1, INFLIGHT_MAX) if self._idempotent else 1
        while not (self._stopping or self._renewing) and len(self._inflight) < wanted:
            self._inflight.append(self._new_batch())
            if self._batches_left is not None:
                self._batches_left -= 1
                self._stopping = self._batches_left == 0

    def _new_batch(self) -> list[SentRecord]:
        chance = self._client.chance
        batch = []
        for _ in range(chance.randint(1, RECORDS_MAX)):
            fill = b"." * chance.randrange(self._value_bytes_max)
            value = make_value(f"{self._name}/{self._partition}", self._count, fill)
            record = SentRecord(self._name, self._partition, self._count, value, self._idempotent)
            self._count += 1
            batch.append(record)
        self._client.history.note_batch(batch, asyncio.get_running_loop().time())
        return batch

    def _send(
        self, connection: KafkaConnection, batch: Sequence[SentRecord]
    ) -> "asyncio.Future[ProduceResponse]":
        data = build_batch(
            [Record(value=record.value, timestamp_ms=1) for record in batch],
            codec=self._codec,
            producer_id=self.producer_id,
            producer_epoch=self.producer_epoch,
            base_sequence=batch[0].number - self._first_number if self._idempotent else -1,
        )
        if not self._idempotent:
            self._batch_count += 1
            if self._batch_count % SPOILT_EVERY == 0:
                data[-1] ^= 1
        partition = PartitionProduceData(self._partition, memoryview(data))
        request = ProduceRequest(
            None, self._acks, 2000, [TopicProduceData(self._client.topic, [partition])]
        )
        version = self._client.versions[ApiKey.PRODUCE]
        if self._acks != NOBODY:
            return connection.send(ApiKey.PRODUCE, version, request)
        connection.post(ApiKey.PRODUCE, version, request)
        silence: asyncio.Future[ProduceResponse] = asyncio.get_running_loop().create_future()
        silence.set_result(_SILENCE)
        return silence

    def _settle(self, answer: PartitionProduceResponse, *, node: str) -> None:
        """Take a node's answer to the oldest batch. Raises RetryError unless it was success."""
        history = self._client.history
        if answer.error_code == ErrorCode.NONE:
            self._note_success(answer.base_offset, node)
            now_s = asyncio.get_running_loop().time()
            for delta, record in enumerate(self._inflight.popleft()):
                record.outcome = Outcome.ACKED if self._is_promised else Outcome.UNKNOWN
                record.acked_s = now_s
                self.last = record
                record.offset = answer.base_offset + delta if answer.base_offset >= 0 else -1
            return
        if answer.error_code in _DEFINITE and not self._idempotent:
            self._give_up(Outcome.REFUSED)
        if answer.error_code in _NEVER and self._idempotent:
            name = ErrorCode(answer.error_code).name
            history.oddities.append(f"{self._client.name}: {name} to an idempotent producer")
        self._client.check(answer.error_code)

    def _note_success(self, base_offset: int, node: str) -> None:
        history = self._client.history
        if history.on_answer is not None and base_offset >= 0 and self._acks != NOBODY:
            last_offset = base_offset + len(self._inflight[0]) - 1
            history.on_answer(
                Answer(node, self._client.topic, self._partition, last_offset, self._acks)
            )

    def _give_up(self, outcome: Outcome) -> None:
        while self._inflight:
            for record in self._inflight.popleft():
                record.outcome = outcome


class Reading:
    """One reader's way through one partition: where it stands, and what it was given."""

    def __init__(
        self, client: KafkaClient, partition: int, *, into: list[ReadRecord], start: int = 0
    ) -> None:
        """Append what is read from offset `start` on to `into`."""
        self._client = client
        self._partition = partition
        self._into = into
        self._reader = client.history.note_reader(client.name, partition, start)
        self.position = start
        self.end: int | None = None
        """Where to stop; None reads on."""

    @property
    def is_at_end(self) -> bool:
        """Whether there is an end and all before it is read."""
        return self.end is not None and self.position >= self.end

    async def find_end(self) -> None:
        """Ask the leader where its log ends (linearizable) and stop there."""
        self.end = await find_latest(self._client, self._partition)

    def take(self, data: PartitionData, *, at_follower: bool = False) -> None:
        """Take in what an answer says. Raises RetryError if that is an error."""
        if data.error_code == ErrorCode.OFFSET_OUT_OF_RANGE:
            self._client.history.oddities.append(
                f"{self._client.name}: OFFSET_OUT_OF_RANGE at {self._partition}:{self.position}"
            )
        self._client.check(data.error_code)
        taken: list[ReadRecord] = []
        for batch in split_batches(b"".join(data.records)):
            for record in iterate_records(batch):
                if record.offset >= self.position:
                    assert record.value is not None
                    taken.append(ReadRecord(record.offset, record.value, data.high_watermark))
            self._move_to(parse_header(batch).last_offset + 1)
        self._into += taken
        self._client.history.note_poll(
            self._reader,
            self._partition,
            taken,
            high_watermark=data.high_watermark,
            now_s=asyncio.get_running_loop().time(),
            at_follower=at_follower,
        )

    def _move_to(self, next_offset: int) -> None:
        """Stand behind a batch, which holds something that was not read before."""
        if next_offset <= self.position:
            self._client.history.oddities.append(
                f"{self._client.name}: a batch up to {next_offset} where "
                f"{self._partition}:{self.position} was asked for"
            )
        self.position = max(self.position, next_offset)


class PartitionConsumer(Reading):
    """One reader of one partition, over a connection of its own to the leader."""

    def __init__(
        self, client: KafkaClient, partition: int, *, into: list[ReadRecord], start: int = 0
    ) -> None:
        """Append what is read from offset `start` on to `into`, until cancelled or stopped."""
        super().__init__(client, partition, into=into, start=start)
        self._version = client.versions[ApiKey.FETCH]
        self._stopping = False

    def stop(self) -> None:
        """End soon."""
        self._stopping = True

    async def run(self) -> None:
        """Read until stopped, or up to `end`."""
        await retrying(self._client, self._follow, stop_when=self._done)

    def _done(self) -> bool:
        return self._stopping or self.is_at_end

    async def _follow(self) -> None:
        if self._done():
            return
        connection = await self._client.connect_to_leader(self._partition)
        try:
            while not self._done():
                self._take(await self._fetch(connection))
        finally:
            connection.close()

    async def _fetch(
        self,
        connection: KafkaConnection,
        *,
        rack: str = "",
        wait_ms: int = FETCH_WAIT_MS,
        bytes_max: int = FETCH_BYTES,
    ) -> FetchResponse:
        """Ask once; `rack` is where the reader says that it is, empty: nowhere."""
        partition = FetchPartition(self._partition, self.position, bytes_max)
        topic = asked_topic(self._client, self._version, [partition])
        request = FetchRequest(wait_ms, 1, [topic], rack_id=rack)
        now = asyncio.get_running_loop().time
        asked_s = now()
        response: FetchResponse = await connection.ask(ApiKey.FETCH, self._version, request)
        self._note_wait(response, now() - asked_s)
        return response

    def _note_wait(self, response: FetchResponse, took_s: float) -> None:
        """Note whether an answer with records was late; none below the watermark is odd."""
        history = self._client.history
        for data in response.responses[0].partitions if response.responses else ():
            if data.error_code != ErrorCode.NONE or data.preferred_read_replica != NOWHERE:
                continue
            if any(data.records):
                history.note_fetch(is_late=is_late(took_s))
            elif data.high_watermark > self.position:
                history.oddities.append(
                    f"{self._client.name}: no records at {self._partition}:{self.position}, below "
                    f"the high watermark {data.high_watermark} of the same answer"
                )

    def _take(self, response: FetchResponse) -> None:
        self._client.check(response.error_code)
        self.take(response.responses[0].partitions[0])


def asked_topic(
    client: KafkaClient, version: int, partitions: Sequence[FetchPartition]
) -> FetchTopic:
    """Return `partitions` of the client's topic, which is named as Fetch `version` names it."""
    if version >= TOPIC_IDS_FROM:
        return FetchTopic(topic_id=TopicId(client.topic_id), partitions=partitions)
    return FetchTopic(client.topic, partitions=partitions)


def is_late(took_s: float) -> bool:
    """Whether a fetch was answered when its time to wait was over."""
    return took_s >= FETCH_WAIT_MS / 1000.0


def codecs_of(version: int) -> list[Codec]:
    """Return the codecs that Produce takes in this version."""
    return [codec for codec in Codec if codec is not Codec.ZSTD or version >= ZSTD_FROM]


def split_batches(data: bytes) -> Iterator[bytes]:
    """Yield whole batches; Kafka lets the last one be cut, we never send such."""
    position = 0
    while position < len(data):
        size = parse_header(data[position : position + 61]).size
        assert position + size <= len(data), "batches come whole"
        yield data[position : position + size]
        position += size


async def find_latest(client: KafkaClient, partition: int) -> int:
    """Return the high watermark as the leader says (linearizable), however long it takes."""
    found: list[int] = []

    async def ask() -> None:
        asked_s = asyncio.get_running_loop().time()
        connection = await client.connect_to_leader(partition)
        try:
            row = ListOffsetsPartition(partition_index=partition, timestamp=LATEST)
            topic = ListOffsetsTopic(name=client.topic, partitions=[row])
            version = client.versions[ApiKey.LIST_OFFSETS]
            response = await connection.ask(
                ApiKey.LIST_OFFSETS, version, ListOffsetsRequest(topics=[topic])
            )
        finally:
            connection.close()
        answer = response.topics[0].partitions[0]
        client.check(answer.error_code)
        now_s = asyncio.get_running_loop().time()
        client.history.note_end(client.name, partition, answer.offset, asked_s=asked_s, now_s=now_s)
        found.append(answer.offset)

    await retrying(client, ask, stop_when=lambda: bool(found))
    return found[0]


async def retrying(
    client: KafkaClient, attempt: Callable[[], Awaitable[None]], *, stop_when: Callable[[], bool]
) -> None:
    """Call `attempt` until it returns, with a back-off between failures."""
    while True:
        try:
            await attempt()
            return
        except (OSError, RetryError) as error:
            client.history.note_answer(type(error).__name__)
            if stop_when():
                return
        await asyncio.sleep(client.chance.uniform(*BACK_OFF_S))
