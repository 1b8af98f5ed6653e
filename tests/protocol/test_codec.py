"""Frames: golden bytes, versions we do not know, and bytes that are no request."""

import random
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimaran.errors import ErrorCode, ProtocolError
from trimaran.protocol import messages
from trimaran.protocol.api import APIS, ApiKey
from trimaran.protocol.client_codec import decode_response, encode_request
from trimaran.protocol.codec import (
    Request,
    RequestHeader,
    UnsupportedVersionError,
    decode_request,
    encode_response,
)
from trimaran.protocol.codecs import api_versions
from trimaran.protocol.codecs.metadata import encode_topic, layout

ZERO_ID = messages.ZERO_TOPIC_ID
TOPIC_ID = bytes(range(16))


def a_frame(
    api_key: int, version: int, body: bytes, *, client: bytes = b"\x00\x02me"
) -> memoryview:
    head = api_key.to_bytes(2, "big") + version.to_bytes(2, "big") + b"\x00\x00\x00\x07"
    return memoryview(bytearray(head + client + body))


def produced(*, acks: int) -> messages.ProduceRequest:
    partition = messages.PartitionProduceData(2, memoryview(b"abc"))
    return messages.ProduceRequest(
        None, acks, 5000, [messages.TopicProduceData("fly", [partition])]
    )


def a_response(api_key: int, version: int, message: Any) -> bytes:
    return b"".join(encode_response(RequestHeader(api_key, version, 7), message))


GOLDEN_REQUESTS = [
    pytest.param(
        ApiKey.PRODUCE,
        7,
        "ffff ffff 00001388 00000001 0003666c79 00000001 00000002 00000003 616263",
        messages.ProduceRequest(
            None,
            -1,
            5000,
            [
                messages.TopicProduceData(
                    "fly", [messages.PartitionProduceData(2, memoryview(b"abc"))]
                )
            ],
        ),
        id="Produce-7",
    ),
    pytest.param(
        ApiKey.PRODUCE,
        9,
        "00 00 0001 00001388 02 04666c79 02 00000002 04616263 00 00 00",
        messages.ProduceRequest(
            None,
            1,
            5000,
            [
                messages.TopicProduceData(
                    "fly", [messages.PartitionProduceData(2, memoryview(b"abc"))]
                )
            ],
        ),
        id="Produce-9",
    ),
    pytest.param(
        ApiKey.FETCH,
        11,
        "ffffffff 000001f4 00000001 03200000 00 00000000 ffffffff 00000001 0003666c79 00000001 "
        "00000002 00000005 0000000000000064 ffffffffffffffff 00100000 00000000 0001 72",
        messages.FetchRequest(
            500,
            1,
            [messages.FetchTopic("fly", ZERO_ID, [messages.FetchPartition(2, 100, 1048576, 5)])],
            52428800,
            rack_id="r",
        ),
        id="Fetch-11",
    ),
    pytest.param(
        ApiKey.FETCH,
        17,
        "00 000001f4 00000001 03200000 01 00000000 ffffffff 02 000102030405060708090a0b0c0d0e0f 02 "
        "00000002 00000005 0000000000000064 00000004 ffffffffffffffff 00100000 "
        "01 00 10 0f0e0d0c0b0a09080706050403020100 00 01 01 01 01 0d 00000001 0000000000000002 00",
        messages.FetchRequest(
            500,
            1,
            [messages.FetchTopic("", TOPIC_ID, [messages.FetchPartition(2, 100, 1048576, 5, 4)])],
            52428800,
            1,
        ),
        id="Fetch-17-with-the-tags-of-a-replica",
    ),
    pytest.param(
        ApiKey.METADATA,
        0,
        "00000000",
        messages.MetadataRequest(topics=None),
        id="Metadata-0-empty-is-all",
    ),
    pytest.param(
        ApiKey.METADATA,
        1,
        "00000000",
        messages.MetadataRequest(topics=[]),
        id="Metadata-1-empty-is-none",
    ),
    pytest.param(
        ApiKey.METADATA,
        12,
        "00 02 000102030405060708090a0b0c0d0e0f 00 00 00 01 00",
        messages.MetadataRequest(
            topics=[messages.MetadataRequestTopic(topic_id=TOPIC_ID)],
            allow_auto_topic_creation=False,
            include_topic_authorized_operations=True,
        ),
        id="Metadata-12-by-id",
    ),
    pytest.param(
        ApiKey.API_VERSIONS,
        3,
        "00 0b6c696272646b61666b61 06322e312e30 00",
        messages.ApiVersionsRequest(
            client_software_name="librdkafka", client_software_version="2.1.0"
        ),
        id="ApiVersions-3",
    ),
]

GOLDEN_RESPONSES = [
    pytest.param(
        ApiKey.PRODUCE,
        9,
        messages.ProduceResponse(
            [messages.TopicProduceResponse("fly", [messages.PartitionProduceResponse(2, 0, 41)])]
        ),
        "00000007 00 02 04666c79 02 00000002 0000 0000000000000029 ffffffffffffffff "
        "ffffffffffffffff 01 00 00 00 00000000 00",
        id="Produce-9",
    ),
    pytest.param(
        ApiKey.PRODUCE,
        10,
        messages.ProduceResponse(
            [
                messages.TopicProduceResponse(
                    "fly",
                    [
                        messages.PartitionProduceResponse(
                            2,
                            ErrorCode.NOT_LEADER_OR_FOLLOWER,
                            current_leader=messages.LeaderIdAndEpoch(3, 8),
                        )
                    ],
                )
            ],
            node_endpoints=[messages.NodeEndpoint(3, "host", 9094)],
        ),
        "00000007 00 02 04666c79 02 00000002 0006 ffffffffffffffff ffffffffffffffff "
        "ffffffffffffffff 01 00 01 00 09 00000003 00000008 00 00 00000000 "
        "01 00 10 02 00000003 05686f7374 00002386 00 00",
        id="Produce-10-with-a-hint",
    ),
    pytest.param(
        ApiKey.FETCH,
        16,
        messages.FetchResponse(
            [
                messages.FetchableTopicResponse(
                    topic_id=TOPIC_ID,
                    partitions=[
                        messages.PartitionData(2, 0, 9, 9, 0, records=[b"ab", b"c"]),
                        messages.PartitionData(
                            3,
                            ErrorCode.NOT_LEADER_OR_FOLLOWER,
                            current_leader=messages.LeaderIdAndEpoch(3, 8),
                        ),
                    ],
                )
            ],
            node_endpoints=[messages.NodeEndpoint(3, "host", 9094, "r")],
        ),
        "00000007 00 00000000 0000 00000000 02 000102030405060708090a0b0c0d0e0f 03 "
        "00000002 0000 0000000000000009 0000000000000009 0000000000000000 00 ffffffff 04 616263 00 "
        "00000003 0006 ffffffffffffffff ffffffffffffffff ffffffffffffffff 00 ffffffff 01 "
        "01 01 09 00000003 00000008 00 00 01 00 11 02 00000003 05686f7374 00002386 0272 00",
        id="Fetch-16-with-a-hint",
    ),
    pytest.param(
        ApiKey.API_VERSIONS,
        3,
        messages.ApiVersionsResponse(
            api_keys=[messages.ApiVersion(api_key=18, min_version=0, max_version=4)]
        ),
        "00000007 0000 02 0012 0000 0004 00 00000000 00",
        id="ApiVersions-3-with-a-plain-header",
    ),
]


@pytest.mark.parametrize(("api_key", "asked", "body", "expected"), GOLDEN_REQUESTS)
def test_golden_requests_are_read(
    api_key: int, asked: int, body: str, expected: Any, as_plain: Callable[[Any], Any]
) -> None:
    request = decode_request(a_frame(api_key, asked, bytes.fromhex(body)))

    assert request.header == RequestHeader(api_key, asked, 7, "me")
    assert as_plain(request.body) == as_plain(expected)


@pytest.mark.parametrize(("api_key", "asked", "message", "expected"), GOLDEN_RESPONSES)
def test_golden_responses_are_written(
    api_key: int, asked: int, message: Any, expected: str
) -> None:
    frame = a_response(api_key, asked, message)

    assert frame[4:].hex() == expected.replace(" ", "")
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4


def test_records_are_a_writable_view_on_the_frame() -> None:
    message = produced(acks=1)
    frame = bytearray(encode_request(RequestHeader(ApiKey.PRODUCE, 9, 1, None), message)[4:])

    records = decode_request(memoryview(frame)).body.topic_data[0].partition_data[0].records
    records[0:3] = b"XYZ"

    assert b"XYZ" in frame


def test_fetched_payloads_are_the_very_objects() -> None:
    payloads = [b"a" * 100, memoryview(b"b" * 100)]
    partition = messages.PartitionData(0, records=payloads)
    topic = messages.FetchableTopicResponse("t", partitions=[partition])

    buffers = encode_response(RequestHeader(ApiKey.FETCH, 11, 1), messages.FetchResponse([topic]))

    assert [buffer for buffer in buffers if buffer in payloads] == payloads
    assert buffers[1] is payloads[0]
    assert buffers[2] is payloads[1]


@pytest.mark.parametrize("asked", range(13))
def test_a_topic_encoded_before_gives_the_same_answer(asked: int) -> None:
    topic = messages.MetadataResponseTopic(
        name="t",
        topic_id=TOPIC_ID,
        partitions=[
            messages.MetadataResponsePartition(
                partition_index=0, leader_id=1, leader_epoch=3, replica_nodes=[1, 2], isr_nodes=[1]
            )
        ],
    )
    broker = messages.MetadataResponseBroker(node_id=1, host="h", port=9092)
    kept = encode_topic(topic, layout(asked))

    fresh = messages.MetadataResponse(brokers=[broker], topics=[topic, topic])
    cached = messages.MetadataResponse(brokers=[broker], topics=[kept, kept])

    assert a_response(ApiKey.METADATA, asked, fresh) == a_response(ApiKey.METADATA, asked, cached)


def test_the_answer_to_api_versions_is_the_table() -> None:
    frame = a_response(ApiKey.API_VERSIONS, 4, api_versions.answer())

    _, answer = decode_response(ApiKey.API_VERSIONS, 4, frame[4:])

    assert [(row.api_key, row.min_version, row.max_version) for row in answer.api_keys] == [
        (api.key, api.min_version, api.max_version) for api in APIS.values()
    ]


@pytest.mark.parametrize("asked", [5, 99, -1, 32767])
def test_an_unknown_api_versions_version_is_answered_in_version_0(asked: int) -> None:
    frame = a_frame(ApiKey.API_VERSIONS, asked % 65536, b"\x00garbage")

    with pytest.raises(UnsupportedVersionError) as caught:
        decode_request(frame)

    assert caught.value.answer is not None
    answer = b"".join(caught.value.answer)
    assert answer.hex() == "0000001000000007002300000001001200000004"
    assert caught.value.header.correlation_id == 7


@pytest.mark.parametrize(
    ("api_key", "asked"), [(0, 2), (0, 12), (1, 3), (1, 18), (3, 13), (4, 0), (999, 0), (26, 5)]
)
def test_other_unknown_versions_have_no_answer(api_key: int, asked: int) -> None:
    with pytest.raises(UnsupportedVersionError) as caught:
        decode_request(a_frame(api_key, asked, b""))

    assert caught.value.answer is None
    assert str(asked) in str(caught.value)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00\x12\x00\x00\x00\x00\x00\x01",
        b"\x00\x12\x00\x00\x00\x00\x00\x01\x00\x05ab",
        b"\x00\x12\x00\x00\x00\x00\x00\x01\x00\x02\xff\xfe",
        b"\x00\x12\x00\x03\x00\x00\x00\x01\xff\xff\x05",
    ],
)
def test_what_is_no_request_is_a_protocol_error(frame: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_request(memoryview(frame))


@given(noise=st.binary(max_size=60))
@settings(max_examples=20, deadline=None)
def test_any_body_is_a_request_or_a_protocol_error(
    noise: bytes, api_key: int, version: int
) -> None:
    assert outcome(a_frame(api_key, version, noise)) in {"request", "refused"}


def test_a_damaged_request_is_a_request_or_a_protocol_error(
    api_key: int, version: int, oracle: Any
) -> None:
    chance = random.Random(1000 * api_key + version)
    message = fullest(oracle(api_key, version, "Request"))
    good = encode_request(RequestHeader(api_key, version, 1, "client"), message)[4:]
    assert outcome(memoryview(good)) == "request"

    outcomes = [outcome(memoryview(frame)) for _ in range(60) for frame in damaged(good, chance)]

    assert len(outcomes) == 300
    assert set(outcomes) <= {"request", "refused"}


def damaged(good: bytes, chance: random.Random) -> list[bytes]:
    """Return `good` with a bit flipped, a byte one off, cut, spliced, and with bytes put in."""
    place = chance.randrange(8, len(good))
    flipped = bytearray(good)
    flipped[place] ^= 1 << chance.randrange(8)
    one_off = bytearray(good)
    one_off[place] = (one_off[place] + chance.choice([-1, 1])) % 256
    return [
        bytes(flipped),
        bytes(one_off),
        good[:place],
        good[:place] + good[place // 2 :],
        good[:place] + b"\xff" * 9 + good[place:],
    ]


def fullest(requests: Any) -> Any:
    """Return a made-up request in which arrays are filled."""
    found: list[Any] = []

    @settings(max_examples=30, deadline=None, database=None, derandomize=True)
    @given(requests.made_up())
    def collect(message: Any) -> None:
        found.append(message)

    collect()
    return max(found, key=lambda message: len(repr(message)))


def outcome(frame: memoryview) -> str:
    try:
        request = decode_request(frame)
    except ProtocolError:
        return "refused"
    assert isinstance(request, Request)
    return "request"


def test_announced_counts_take_no_memory(api_key: int, version: int) -> None:
    flexible = version >= APIS[api_key].flexible_from
    huge = b"\xff\xff\xff\xff\x0f" if flexible else b"\x7f\xff\xff\xff"
    outcome(a_frame(api_key, version, b"\x00" * 40))

    tracemalloc.start()
    for zeros in range(30):
        outcome(a_frame(api_key, version, bytes(zeros) + huge * 4))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 200_000


@pytest.mark.parametrize(
    "frame", [b"", b"\x00\x00\x00\x01", b"\x00\x00\x00\x01\x00\xff", bytes(16)]
)
def test_what_is_no_answer_is_a_protocol_error(frame: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_response(ApiKey.FETCH, 12, frame)


def test_the_frequent_apis_do_without_kio() -> None:
    program = """
import sys
from trimaran.protocol import codec
from trimaran.protocol.api import APIS, ApiKey
for api_key in codec.STRAIGHT:
    codec.codec_of(api_key)
assert "kio" not in sys.modules
codec.preload()
assert "kio" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_preloading_prepares_every_rare_version_the_newest_at_once() -> None:
    program = """
from trimaran.protocol import codec, schema_codec
from trimaran.protocol.api import APIS
rare = [api for api in APIS.values() if api.key not in codec.STRAIGHT]
assert len(rare) >= 6
prepared = schema_codec.request_decoder.cache_info
codec.preload()
assert prepared().currsize == len(rare)
step_count = sum(1 for _ in codec.preload_older())
assert prepared().currsize == sum(api.max_version - api.lowest + 1 for api in rare)
assert step_count == 2 * (prepared().currsize - len(rare))
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
