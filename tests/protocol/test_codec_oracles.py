"""Every message in every version against two foreign codecs, both ways."""

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimaran.protocol import codec, schema_codec
from trimaran.protocol.api import APIS, ApiKey
from trimaran.protocol.client_codec import decode_response, encode_request
from trimaran.protocol.codec import RequestHeader, decode_request, encode_response
from trimaran.protocol.wire import Reader, Writer

some = settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@some
@given(data=st.data())
def test_requests_are_read_as_foreigners_write_them(
    data: st.DataObject, api_key: int, version: int, oracle: Any, as_plain: Callable[[Any], Any]
) -> None:
    requests = oracle(api_key, version, "Request")
    message = data.draw(requests.made_up())
    header = RequestHeader(api_key, version, 77, data.draw(st.none() | st.text(max_size=5)))

    frame = encode_request(header, message)
    body = header_and_body(header, requests.foreign_bytes(message))
    request = decode_request(memoryview(bytearray(frame[4:])))

    assert frame[4:] == body
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    assert request.header == header
    expected = as_plain(message)
    if (api_key, version) == (ApiKey.METADATA, 0) and not message.topics:
        expected["topics"] = None
    assert as_plain(request.body) == expected


@some
@given(data=st.data())
def test_responses_are_written_as_foreigners_read_them(
    data: st.DataObject, api_key: int, version: int, oracle: Any, as_plain: Callable[[Any], Any]
) -> None:
    responses = oracle(api_key, version, "Response")
    message = data.draw(responses.made_up())
    header = RequestHeader(api_key, version, 2**31 - 1)

    frame = b"".join(encode_response(header, message))

    tagged_header = version >= APIS[api_key].flexible_from and api_key != ApiKey.API_VERSIONS
    body = frame[9:] if tagged_header else frame[8:]
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    responses.same(message, body)
    correlation_id, decoded = decode_response(api_key, version, frame[4:])
    assert correlation_id == 2**31 - 1
    assert as_plain(decoded) == as_plain(message)


@some
@given(data=st.data())
def test_straight_codecs_write_the_bytes_of_the_schemas(
    data: st.DataObject, api_key: int, version: int, oracle: Any
) -> None:
    message = data.draw(oracle(api_key, version, "Response").made_up())
    flexible = version >= APIS[api_key].flexible_from
    ours, theirs = Writer(flexible=flexible), Writer(flexible=flexible)

    codec.codec_of(api_key)[1](ours, version, message)
    schema_codec.response_encoder(api_key, version)(theirs, message)

    assert b"".join(ours.finish()) == b"".join(theirs.finish())


@some
@given(data=st.data())
def test_straight_codecs_read_what_the_schemas_read(
    data: st.DataObject, api_key: int, version: int, oracle: Any, as_plain: Callable[[Any], Any]
) -> None:
    requests = oracle(api_key, version, "Request")
    body = memoryview(requests.foreign_bytes(data.draw(requests.made_up())))
    flexible = version >= APIS[api_key].flexible_from
    ours, theirs = Reader(body, flexible=flexible), Reader(body, flexible=flexible)

    message = as_plain(codec.codec_of(api_key)[0](ours, version))
    expected = as_plain(schema_codec.request_decoder(api_key, version)(theirs))

    if (api_key, version) == (ApiKey.METADATA, 0):
        expected["topics"] = expected["topics"] or None
    assert message == expected
    assert ours.position == theirs.position == len(body)


@some
@given(data=st.data())
def test_unknown_tagged_fields_are_skipped_in_every_struct(
    data: st.DataObject,
    api_key: int,
    version: int,
    oracle: Any,
    tagging_writer: type[Writer],
    as_plain: Callable[[Any], Any],
) -> None:
    message = data.draw(oracle(api_key, version, "Request").made_up())
    header = RequestHeader(api_key, version, 1, "client")
    plain_frame = encode_request(header, message)[4:]
    writer = tagging_writer()
    writer.buffer += plain_frame[:16]
    writer.flexible = version >= APIS[api_key].flexible_from
    writer.end_struct()
    schema_codec.request_encoder(api_key, version)(writer, message)

    tagged_frame = memoryview(b"".join(writer.finish())[4:])

    assert as_plain(decode_request(tagged_frame)) == as_plain(
        decode_request(memoryview(plain_frame))
    )
    assert (len(tagged_frame) > len(plain_frame)) is writer.flexible


@some
@given(data=st.data())
def test_unknown_tagged_fields_are_skipped_in_every_answer(
    data: st.DataObject,
    api_key: int,
    version: int,
    oracle: Any,
    tagging_writer: type[Writer],
    as_plain: Callable[[Any], Any],
) -> None:
    message = data.draw(oracle(api_key, version, "Response").made_up())
    writer = tagging_writer(flexible=version >= APIS[api_key].flexible_from)
    schema_codec.response_encoder(api_key, version)(writer, message)

    body = memoryview(b"".join(writer.finish())[4:])
    reader = Reader(body, flexible=writer.flexible)

    assert as_plain(schema_codec.response_decoder(api_key, version)(reader)) == as_plain(message)
    assert reader.position == len(body)


def header_and_body(header: RequestHeader, body: bytes) -> bytes:
    """Return a request frame by hand, without size."""
    name = b"\xff\xff"
    if header.client_id is not None:
        encoded = header.client_id.encode()
        name = len(encoded).to_bytes(2, "big") + encoded
    tags = b"\0" if header.api_version >= APIS[header.api_key].flexible_from else b""
    return (
        header.api_key.to_bytes(2, "big")
        + header.api_version.to_bytes(2, "big")
        + header.correlation_id.to_bytes(4, "big")
        + name
        + tags
        + body
    )
