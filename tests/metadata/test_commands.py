"""Commands: their bytes, and that nothing else decodes."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimaran.errors import ErrorCode, ProtocolError, RequestError
from trimaran.metadata.commands import (
    AllocateProducerIds,
    AlterNodeSettings,
    AlterTopicSettings,
    CommandId,
    CreatePartitions,
    CreateTopic,
    DeleteTopic,
    RegisterNode,
    decode_command,
    encode_command,
)
from trimaran.metadata.limits import COMMAND_BYTES_MAX

ID = bytes(range(16))

node_ids = st.integers(1, 2**31 - 1)
ids = st.binary(min_size=16, max_size=16)
hosts = st.text(min_size=1, max_size=20)
ports = st.integers(0, 65_535)
labels = st.none() | st.text(max_size=20)
names = st.text(max_size=20)
settings = st.dictionaries(names, st.text(max_size=20), max_size=4)
assignments = st.lists(st.lists(node_ids, max_size=7).map(tuple), max_size=5).map(tuple)
unset = st.lists(names, max_size=4).map(tuple)
numbers = st.integers(0, 2**64 - 1)
command_ids = st.none() | st.builds(CommandId, node_id=node_ids, boot_id=numbers, number=numbers)
commands = st.one_of(
    st.builds(
        RegisterNode,
        id=command_ids,
        node_id=node_ids,
        disk_id=ids,
        host=hosts,
        kafka_port=ports,
        http_port=ports,
        peer_host=hosts,
        peer_port=ports,
        rack=labels,
        host_label=labels,
        boot_id=st.integers(0, 2**64 - 1),
    ),
    st.builds(CreateTopic, name=names, topic_id=ids, assignments=assignments, settings=settings),
    st.builds(DeleteTopic, id=command_ids, topic_id=ids),
    st.builds(
        CreatePartitions,
        topic_id=ids,
        first_partition=st.integers(0, 2_000),
        assignments=assignments,
    ),
    st.builds(AlterTopicSettings, topic_id=ids, set=settings, unset=unset),
    st.builds(AlterNodeSettings, node_id=st.just(0) | node_ids, set=settings, unset=unset),
    st.builds(AllocateProducerIds, node_id=node_ids, count=st.integers(1, 1_000_000)),
)


@given(commands)
def test_decode_gives_back_what_was_encoded(command):
    payload = encode_command(command)

    assert decode_command(memoryview(payload)) == command
    assert encode_command(decode_command(payload)) == payload


def test_command_is_a_version_and_a_map_that_names_it():
    plain = encode_command(DeleteTopic(topic_id=ID))
    known = encode_command(DeleteTopic(id=CommandId(3, 2**64 - 1, 7), topic_id=ID))

    fields = {"command": "delete-topic", "topic_id": ID}
    assert plain[0] == known[0] == 2
    assert msgspec.msgpack.decode(plain[1:]) == fields
    assert msgspec.msgpack.decode(known[1:]) == {**fields, "id": [3, 2**64 - 1, 7]}


def test_command_of_format_1_has_no_id_and_is_read():
    fields = {"command": "create-topic", "name": "a", "topic_id": ID, "assignments": [[1]]}

    for settings in ({}, {"a": "b"}):
        payload = b"\x01" + msgspec.msgpack.encode({**fields, "settings": settings})

        assert decode_command(payload) == CreateTopic(
            name="a", topic_id=ID, assignments=((1,),), settings=settings
        )


def test_order_of_settings_does_not_change_the_bytes():
    one = CreateTopic(name="a", topic_id=ID, assignments=(), settings={"a": "1", "b": "2"})
    other = CreateTopic(name="a", topic_id=ID, assignments=(), settings={"b": "2", "a": "1"})

    assert encode_command(one) == encode_command(other)


def test_largest_topic_fits_into_a_command():
    replicas = tuple(2**31 - 1 - step for step in range(7))
    command = CreateTopic(name="a" * 249, topic_id=ID, assignments=(replicas,) * 2_000)

    assert len(encode_command(command)) < COMMAND_BYTES_MAX


@pytest.mark.parametrize(
    "command",
    [
        DeleteTopic(topic_id=b"short"),
        AllocateProducerIds(node_id=0, count=1),
        AllocateProducerIds(node_id=1, count=1_000_001),
        AllocateProducerIds(node_id=2**64, count=1),
        CreateTopic(name="n" * 301, topic_id=ID, assignments=()),
        CreateTopic(name="\ud800", topic_id=ID, assignments=()),
        CreateTopic(name="a", topic_id=ID, assignments=((1,),) * 2_001),
        CreateTopic(name="a", topic_id=ID, assignments=(tuple(range(1, 9)),)),
        AlterTopicSettings(topic_id=ID, set={"a": "v" * 4_097}),
        AlterTopicSettings(topic_id=ID, unset=tuple("abc" * 34)),
        CreatePartitions(topic_id=ID, first_partition=-1, assignments=()),
        DeleteTopic(id=CommandId(0, 1, 1), topic_id=ID),
        DeleteTopic(id=CommandId(1, -1, 1), topic_id=ID),
        DeleteTopic(id=CommandId(1, 1, 2**64), topic_id=ID),
    ],
)
def test_command_that_nobody_could_decode_is_not_encoded(command):
    with pytest.raises(RequestError) as raised:
        encode_command(command)

    assert raised.value.code is ErrorCode.INVALID_REQUEST


def test_every_cut_of_a_command_is_refused():
    payload = encode_command(
        CreateTopic(name="a", topic_id=ID, assignments=((1, 2),), settings={"a": "b"})
    )

    for length in range(len(payload)):
        with pytest.raises(ProtocolError):
            decode_command(payload[:length])
    with pytest.raises(ProtocolError):
        decode_command(payload + b"\0")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x00\x80",
        b"\x03\x80",
        b"\x01",
        b"\x01\x80",
        b"\x01" + msgspec.msgpack.encode({"command": "explode"}),
        b"\x01" + msgspec.msgpack.encode({"command": "delete-topic", "topic_id": ID, "more": 1}),
        b"\x01" + msgspec.msgpack.encode({"command": "delete-topic", "topic_id": 16 * "a"}),
        b"\x01" + msgspec.msgpack.encode({"command": "create-topic", "name": "a"}),
        b"\x01" + b"\x81\xa7command" + b"\x91" * 200_000,
        b"\x01" + b"\x81\xa7command\xa1\xff",
        b"\x01" + b"\xdf\xff\xff\xff\xff",
        b"\x01\x80" + bytes(COMMAND_BYTES_MAX),
    ],
)
def test_junk_is_refused(payload):
    with pytest.raises(ProtocolError, match="metadata command"):
        decode_command(payload)


@given(st.binary(max_size=100), commands, st.data())
def test_decode_of_any_bytes_gives_a_command_or_an_error(junk, command, data):
    damaged = bytearray(encode_command(command))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))

    for payload in (junk, b"\x02" + junk, bytes(damaged)):
        try:
            decoded = decode_command(payload)
        except ProtocolError:
            continue
        assert decode_command(encode_command(decoded)) == decoded
