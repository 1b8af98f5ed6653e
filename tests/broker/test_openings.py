"""Batches that are opened before they are appended: same records, same order, bounded."""

import asyncio
import zlib

import pytest

from trimaran.broker import openings
from trimaran.broker.openings import Opening, Openings
from trimaran.broker.pending import PendingAppend
from trimaran.broker.ports import Lane
from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import Index, Offset, Term
from trimaran.records.batch import HEADER_BYTES, Codec, parse_header, renew_crc, validate
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record, iterate_records

RECORDS = [Record(value=b"value %d" % number * 20, timestamp_ms=number) for number in range(9)]
NO_LIMIT = 1 << 30


def batch_of(codec=Codec.NONE, records=RECORDS, **fields):
    return memoryview(build_batch(records, codec=codec, **fields))


def packing(batch, codec, bytes_max=NO_LIMIT):
    return Opening(batch, codec, needs_keys=False, bytes_max=bytes_max)


def append(queue, batch, codec, *, acks=-1):
    return queue.append(batch, packing(batch, codec), acks=acks)


@pytest.mark.parametrize("source", list(Codec))
@pytest.mark.parametrize("target", list(Codec))
def test_the_records_stay_and_the_codec_changes(source, target):
    batch = batch_of(source, producer_id=7, producer_epoch=1, base_sequence=3)

    other = packing(batch, target).run()

    header = validate(other, max_bytes=NO_LIMIT)
    assert header.codec == target
    assert (header.producer_id, header.base_sequence, header.record_count) == (7, 3, 9)
    assert list(iterate_records(other)) == list(iterate_records(batch))


def bomb():
    """Return a small gzip batch whose records inflate to 100 MB."""
    deflater = zlib.compressobj(9, wbits=31)
    block = b"".join(deflater.compress(bytes(1 << 20)) for _ in range(100)) + deflater.flush()
    whole = bytearray(batch_of(Codec.GZIP)[:HEADER_BYTES]) + block
    whole[8:12] = (len(whole) - 12).to_bytes(4, "big")
    renew_crc(whole)
    return memoryview(whole)


def test_a_bomb_is_refused():
    with pytest.raises(RequestError) as refused:
        packing(bomb(), Codec.ZSTD).run()

    assert refused.value.code is ErrorCode.INVALID_RECORD


def test_a_batch_that_gets_too_large_is_refused():
    batch = batch_of(Codec.GZIP)

    with pytest.raises(RequestError) as refused:
        packing(batch, Codec.NONE, len(batch)).run()

    assert refused.value.code is ErrorCode.MESSAGE_TOO_LARGE


class HeldWorkers:
    def __init__(self):
        self.held = []

    def submit(self, lane, work):
        assert lane is Lane.CODECS
        future = asyncio.get_running_loop().create_future()
        self.held.append((work, future))
        return future

    def finish(self, number):
        work, future = self.held[number]
        try:
            future.set_result(work.run())
        except RequestError as error:
            future.set_exception(error)


class Appended:
    """What reached the partition."""

    def __init__(self):
        self.codecs = []
        self.pendings = []
        self.error = None

    def append(self, batch, acks):
        if self.error is not None:
            raise self.error
        self.codecs.append(parse_header(batch).codec)
        pending = PendingAppend(Offset(len(self.codecs)), Index(1), Term(1))
        self.pendings.append(pending)
        return pending


@pytest.fixture
def workers():
    return HeldWorkers()


@pytest.fixture
def appended():
    return Appended()


@pytest.fixture
def queue(workers, appended):
    return Openings(workers=workers, append=appended.append)


@pytest.mark.asyncio
async def test_nothing_passes_a_batch_that_is_being_compressed(queue, workers, appended):
    first = append(queue, batch_of(), Codec.GZIP)
    second = queue.append(batch_of(Codec.LZ4), None, acks=-1)
    third = append(queue, batch_of(), Codec.ZSTD)
    workers.finish(1)
    await asyncio.sleep(0)
    assert (appended.codecs, queue.is_busy) == ([], True)

    workers.finish(0)
    await asyncio.sleep(0)

    assert (appended.codecs, queue.is_busy) == ([Codec.GZIP, Codec.LZ4, Codec.ZSTD], False)
    told = []
    for pending in (first, second, third):
        pending.on_done(lambda p=pending: told.append((p.base_offset, p.error)))
    appended.pendings[0].finish(None)
    appended.pendings[2].finish(ErrorCode.NOT_LEADER_OR_FOLLOWER)
    assert told == [(1, None), (3, ErrorCode.NOT_LEADER_OR_FOLLOWER)]
    assert not second.done


@pytest.mark.asyncio
async def test_a_batch_that_cannot_be_inflated_fails_alone(queue, workers, appended):
    bad = append(queue, bomb(), Codec.ZSTD)
    good = append(queue, batch_of(), Codec.GZIP)
    workers.finish(1)
    workers.finish(0)
    await asyncio.sleep(0)

    assert bad.error is bad.refusal.code is ErrorCode.INVALID_RECORD
    assert (appended.codecs, good.done) == ([Codec.GZIP], False)


@pytest.mark.asyncio
async def test_what_the_partition_refuses_is_told(queue, workers, appended):
    appended.error = RequestError(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, "a gap")
    pending = append(queue, batch_of(), Codec.GZIP)
    workers.finish(0)
    await asyncio.sleep(0)

    assert pending.error is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert pending.refusal is appended.error


@pytest.mark.asyncio
async def test_what_waits_is_bounded(queue, workers, appended, monkeypatch):
    batch = batch_of()
    monkeypatch.setattr(openings, "WAITING_BYTES_MAX", 2 * len(batch))
    append(queue, batch, Codec.GZIP, acks=0)
    append(queue, batch, Codec.GZIP, acks=0)

    with pytest.raises(RequestError) as refused:
        append(queue, batch, Codec.GZIP, acks=0)

    assert refused.value.code is ErrorCode.NOT_ENOUGH_REPLICAS


@pytest.mark.asyncio
async def test_who_waits_is_told_of_a_mistake_of_ours_that_ends_the_node(queue, workers, appended):
    reported = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    appended.error = MemoryError("a mistake")
    pending = append(queue, batch_of(), Codec.GZIP)
    workers.finish(0)
    await asyncio.sleep(0)

    assert (pending.error, pending.refusal) == (ErrorCode.UNKNOWN_SERVER_ERROR, None)
    assert reported == [appended.error]
