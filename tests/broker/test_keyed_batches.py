"""Batches of compacted topics have keys: small ones are looked through at once, others later."""

from random import Random

import pytest

from trimaran.broker import keyed_batches
from trimaran.broker.keyed_batches import INFLATED_AT_ONCE, RECORDS_AT_ONCE
from trimaran.broker.openings import opening_of
from trimaran.dedup.id_scan import RecordError
from trimaran.errors import ErrorCode, RequestError
from trimaran.metadata.topic_settings import effective_settings
from trimaran.records.batch import Codec, parse_header, renew_crc
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record, iterate_records

COMPACTED = effective_settings({"cleanup.policy": "compact"})
KEYED = Record(value=None, key=b"k")
KEYLESS = Record(value=b"v")
MANY = [KEYED] * (RECORDS_AT_ONCE + 1)


def batch_of(records, codec=Codec.NONE):
    return memoryview(build_batch(records, codec=codec))


def opening(batch, settings=COMPACTED):
    return opening_of(batch, parse_header(batch), settings)


def refusal_of(call):
    with pytest.raises(RequestError) as raised:
        call()
    return raised.value


@pytest.mark.parametrize("codec", list(Codec))
def test_a_small_batch_is_looked_through_at_once(codec):
    assert opening(batch_of([KEYED] * RECORDS_AT_ONCE, codec)) is None

    refused = refusal_of(lambda: opening(batch_of([KEYED, KEYLESS], codec)))
    assert isinstance(refused, RecordError)
    assert (refused.code, refused.number) == (ErrorCode.INVALID_RECORD, 1)


@pytest.mark.parametrize(
    ("count", "value"),
    [
        (len(MANY), b""),
        (2, Random(3).randbytes(INFLATED_AT_ONCE)),
        (2, bytes(INFLATED_AT_ONCE)),
    ],
)
def test_a_large_batch_is_opened_in_a_thread_and_stays_what_it_is(count, value):
    batch = batch_of([Record(value=value, key=b"k")] * count, Codec.ZSTD)

    assert opening(batch).run() is batch


def test_the_record_without_a_key_is_named_by_the_thread_too():
    refused = refusal_of(opening(batch_of([*MANY, KEYLESS, KEYED])).run)

    assert isinstance(refused, RecordError)
    assert (refused.code, refused.number) == (ErrorCode.INVALID_RECORD, len(MANY))


def test_a_batch_that_cannot_be_inflated_is_refused_by_the_thread():
    damaged = bytearray(batch_of([KEYED] * 9, Codec.GZIP))
    damaged[-6] ^= 0xFF
    renew_crc(damaged)

    refused = refusal_of(opening(memoryview(damaged)).run)

    assert (refused.code, str(refused)[:5]) == (ErrorCode.INVALID_RECORD, "gzip:")


def test_a_batch_of_more_events_than_any_client_sends_is_refused(monkeypatch):
    monkeypatch.setattr(keyed_batches, "RECORDS_MAX", len(MANY) - 1)

    refused = refusal_of(opening(batch_of(MANY)).run)

    assert refused.code is ErrorCode.RECORD_LIST_TOO_LARGE
    assert "batch.num.messages" in str(refused)


def test_a_batch_that_is_packed_again_is_opened_once_for_both():
    packed = effective_settings({"cleanup.policy": "compact", "compression.type": "lz4"})

    again = opening(batch_of([KEYED, KEYED]), packed).run()

    assert parse_header(again).codec == Codec.LZ4
    assert [record.key for record in iterate_records(again)] == [b"k", b"k"]
    assert refusal_of(opening(batch_of([KEYED, KEYLESS]), packed).run).number == 1
    assert opening(batch_of([KEYED], Codec.LZ4), packed) is None


def test_nothing_is_opened_where_nobody_asks():
    assert opening(batch_of([KEYLESS] * 2), effective_settings({})) is None
