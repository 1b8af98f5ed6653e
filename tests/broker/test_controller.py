"""A metadata command is applied once, however often it had to be proposed, and answered once."""

import asyncio
from types import SimpleNamespace

import pytest

from trimaran.broker.controller import ATTEMPT_S, Controller
from trimaran.broker.peer_frames import FrameBuffer, PeerLane, Propose, ProposeAnswer, read_frame
from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import METADATA_GROUP, BootId, DiskId, Index, NodeId, Offset, Term, TopicId
from trimaran.metadata.commands import (
    CreateTopic,
    DeleteTopic,
    RegisterNode,
    decode_command,
    encode_command,
)
from trimaran.metadata.image import Image
from trimaran.metadata.results import TopicCreated
from trimaran.raft.ready import Role, RoleChange
from trimaran.records.entry import Entry, EntryKind

NODE = NodeId(1)
LEADER = NodeId(2)
A = TopicId(b"A" * 16)
TERM = Term(3)


class FakePeer:
    """The leader as this node reaches it; keeps the commands it is sent."""

    def __init__(self):
        self.sessions = {PeerLane.CONTROL: object()}
        self.sent = []
        self.has_sent = asyncio.Event()

    def send(self, lane, buffers):
        assert lane is PeerLane.CONTROL
        for body in FrameBuffer().feed(b"".join(map(bytes, buffers))):
            self.sent.append(read_frame(body))
            self.has_sent.set()


class Bench:
    """Node 1, a follower; the test is the leader and decides what is committed."""

    def __init__(self):
        self.peer = FakePeer()
        self.changes = []
        owner = SimpleNamespace(
            node_id=NODE,
            log_time_ms=lambda: 0,
            proposed=lambda replica, events: None,
            peer=lambda node: self.peer,
            image_changed=self.changes.extend,
        )
        self.controller = Controller(owner=owner, boot_id=BootId(7))
        self.replica = SimpleNamespace(
            applied=Index(0), raft=SimpleNamespace(leader=LEADER), group=METADATA_GROUP
        )
        self.controller.bind(self.replica)
        self.index = 0
        self.commit(register())

    @property
    def image(self):
        return self.controller.image

    def commit(self, *payloads, term=TERM):
        """Commit entries; return the index of the last."""
        entries = []
        for payload in payloads:
            self.index += 1
            entries.append(
                Entry(Index(self.index), term, EntryKind.COMMAND, Offset(0), 0, 0, payload)
            )
        self.replica.applied = Index(self.index)
        self.controller.committed(entries)
        return self.index

    def follow(self, leader):
        self.replica.raft.leader = leader
        change = RoleChange(term=Term(TERM + 1), role=Role.FOLLOWER, leader=leader)
        self.controller.role_changed(change)

    def answer(self, sent, *, index=0, error=ErrorCode.NONE):
        self.controller.receive_answer(ProposeAnswer(sent.request, error, Index(index), TERM))

    def start_over(self, *payloads):
        """Go on with another node's image, which has applied these entries too."""
        image = Image.decode(self.image.encode())
        for payload in payloads:
            self.index += 1
            image.apply(decode_command(payload), Index(self.index))
        self.replica.applied = Index(self.index)
        self.controller.majority_lost()
        self.controller.image = image
        self.controller.started_over()

    async def sent(self, count):
        """Wait until `count` commands were forwarded; return the last."""
        async with asyncio.timeout(10):
            while len(self.peer.sent) < count:
                self.peer.has_sent.clear()
                await self.peer.has_sent.wait()
        return self.peer.sent[count - 1]


def register():
    return encode_command(
        RegisterNode(
            node_id=NODE,
            disk_id=DiskId(b"d" * 16),
            host="h",
            kafka_port=1,
            http_port=0,
            peer_host="p",
            peer_port=2,
            rack=None,
            host_label=None,
            boot_id=7,
        )
    )


def create(name="t", topic_id=A):
    return CreateTopic(name=name, topic_id=topic_id, assignments=((NODE,),))


@pytest.mark.asyncio
async def test_a_command_is_answered_when_it_is_applied_here():
    bench = Bench()
    asked = asyncio.ensure_future(bench.controller.execute(create(), timeout_s=10))
    sent = await bench.sent(1)

    bench.answer(sent, index=bench.index + 1)
    await asyncio.sleep(0)
    assert not asked.done()
    bench.commit(sent.payload)

    result = await asked
    assert isinstance(result, TopicCreated)
    assert result.topic == bench.image.topic("t")


@pytest.mark.asyncio
async def test_both_copies_of_a_command_committed_around_a_deletion_create_one_topic():
    bench = Bench()
    asked = asyncio.ensure_future(bench.controller.execute(create(), timeout_s=10))
    first = await bench.sent(1)
    bench.answer(first, error=ErrorCode.NOT_CONTROLLER)
    second = await bench.sent(2)

    bench.commit(first.payload, encode_command(DeleteTopic(topic_id=A)), second.payload)

    assert isinstance(await asked, TopicCreated)
    assert bench.image.topics == ()
    assert [type(change).__name__ for change in bench.changes] == [
        "NodeRegistered",
        "TopicCreated",
        "TopicDeleted",
    ]


@pytest.mark.asyncio
async def test_the_answer_is_that_of_the_copy_that_was_applied_while_the_other_was_on_its_way():
    bench = Bench()
    asked = asyncio.ensure_future(bench.controller.execute(create(), timeout_s=10))
    first = await bench.sent(1)
    bench.answer(first, error=ErrorCode.NOT_CONTROLLER)
    second = await bench.sent(2)
    bench.commit(first.payload)

    result = await asked
    index = bench.commit(second.payload)
    bench.answer(second, index=index)

    assert isinstance(result, TopicCreated)
    assert len(bench.image.topics) == 1


@pytest.mark.asyncio
async def test_a_command_whose_entry_was_replaced_is_proposed_again():
    bench = Bench()
    asked = asyncio.ensure_future(bench.controller.execute(create(), timeout_s=10))
    first = await bench.sent(1)
    bench.answer(first, index=bench.index + 1)
    bench.commit(register(), term=Term(TERM + 1))

    second = await bench.sent(2)
    index = bench.commit(second.payload)
    bench.answer(second, index=index)

    assert isinstance(await asked, TopicCreated)
    assert first.payload == second.payload


@pytest.mark.asyncio
async def test_a_command_sent_to_a_leader_that_is_lost_goes_to_the_next_at_once():
    bench = Bench()
    asked = asyncio.ensure_future(bench.controller.execute(create(), timeout_s=10))
    await bench.sent(1)
    began_s = asyncio.get_running_loop().time()

    bench.follow(NodeId(3))
    second = await bench.sent(2)
    waited_s = asyncio.get_running_loop().time() - began_s
    bench.commit(second.payload)

    assert isinstance(await asked, TopicCreated)
    assert waited_s < ATTEMPT_S


@pytest.mark.asyncio
async def test_a_command_that_was_applied_in_files_from_another_node_ends_as_unknown_at_once():
    bench = Bench()
    asked = asyncio.ensure_future(bench.controller.execute(create(), timeout_s=10))
    first = await bench.sent(1)
    bench.start_over(first.payload)
    bench.answer(first, index=bench.index)

    second = await bench.sent(2)
    bench.answer(second, index=bench.commit(second.payload))
    async with asyncio.timeout(ATTEMPT_S):
        with pytest.raises(RequestError, match="applied, but its result is not known here") as told:
            await asked

    assert told.value.code is ErrorCode.REQUEST_TIMED_OUT
    assert bench.image.topic("t") is not None
    assert len(bench.peer.sent) == 2


@pytest.mark.asyncio
async def test_each_command_of_a_node_has_an_id_of_its_own():
    bench = Bench()
    both = [
        asyncio.ensure_future(bench.controller.execute(create(), timeout_s=10)) for _ in range(2)
    ]
    sent = [await bench.sent(1), await bench.sent(2)]

    ids = [decode_command(each.payload).id for each in sent]
    bench.commit(sent[0].payload, sent[1].payload)

    assert [(each.node_id, each.boot_id) for each in ids] == [(1, 7), (1, 7)]
    assert ids[0].number != ids[1].number
    assert isinstance(await both[0], TopicCreated)
    assert (await both[1]).code is ErrorCode.TOPIC_ALREADY_EXISTS


@pytest.mark.asyncio
async def test_a_command_that_nobody_commits_ends_as_unknown():
    bench = Bench()
    bench.replica.raft.leader = None

    with pytest.raises(RequestError) as raised:
        await bench.controller.execute(create(), timeout_s=0.02)

    assert raised.value.code is ErrorCode.REQUEST_TIMED_OUT


@pytest.mark.asyncio
@pytest.mark.parametrize("payload", [b"", b"\x01junk", b"\x09\x80"])
async def test_bytes_that_are_no_command_are_never_proposed(payload):
    bench = Bench()

    bench.controller.receive_propose(bench.peer, Propose(5, METADATA_GROUP, payload))

    (answer,) = bench.peer.sent
    assert (answer.request, answer.error) == (5, ErrorCode.INVALID_REQUEST)
