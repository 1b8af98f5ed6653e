import asyncio
from random import Random

import pytest

from trimaran.sim.loop import START_S, SimLoop
from trimaran.sim.network import HostNetwork, LinkConditions, NetworkLimits, SimNetwork
from trimaran.sim.process import Death
from trimaran.sim.trace import EventLog

PORT = 9000


class Peer(asyncio.Protocol):
    """Remembers everything it is told, with the time."""

    def __init__(self, loop, *, greeting=b""):
        self.loop = loop
        self.greeting = greeting
        self.data = b""
        self.pieces = []
        self.events = []
        self.lost = False
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport
        if self.greeting:
            transport.write(self.greeting)

    def data_received(self, data):
        self.data += data
        self.pieces.append(len(data))

    def eof_received(self):
        self.events.append("eof")

    def connection_lost(self, exc):
        self.lost = True
        self.events.append("lost" if exc is None else type(exc).__name__)
        self.lost_s = self.loop.time()

    def pause_writing(self):
        self.events.append("pause")

    def resume_writing(self):
        self.events.append("resume")


class World:
    """Two machines, a listening server on one, and what it accepted."""

    def __init__(self, seed=1, *, limits=None, conditions=None):
        self.loop = SimLoop()
        self.log = EventLog(lambda: self.loop.now_s)
        self.network = SimNetwork(
            self.loop, Random(seed), self.log, limits=limits, conditions=conditions
        )
        self.server = self.loop.new_process("server", "s")
        self.client = self.loop.new_process("client", "c")
        self.accepted = []

    def run(self, seconds=0.0, *, until=lambda: False):
        end = self.loop.now_s + seconds
        step_s = 0.001 if seconds < 60 else 0.1
        while self.loop.now_s < end and not until():
            self.loop.run_until_complete(asyncio.sleep(step_s))

    def accept(self):
        self.accepted.append(Peer(self.loop))
        return self.accepted[-1]

    def listen(self, process=None, port=PORT, factory=None):
        process = process or self.server

        async def listening():
            network = HostNetwork(self.network, process)
            return await network.listen(process.host, port, factory or self.accept)

        return self.loop.run_until_complete(process.start(listening()))

    def dial(self, process=None, host="s", port=PORT):
        process = process or self.client
        peer = Peer(self.loop)
        network = HostNetwork(self.network, process)
        return peer, process.start(network.connect(host, port, lambda: peer))

    def pair(self):
        self.listen()
        peer, task = self.dial()
        self.loop.run_until_complete(task)
        self.run(0.1)
        return peer, self.accepted[0]


@pytest.fixture
def world():
    made = World()
    yield made
    made.loop.close()


@pytest.mark.parametrize("seed", range(20))
def test_bytes_arrive_whole_and_in_order_whatever_the_delays(seed):
    limits = NetworkLimits(window_bytes_min=1000, window_bytes_max=5000, split=0.5)
    conditions = LinkConditions(latency_mean_s=0.05, loss=0.2, bytes_per_s=1e6)
    world = World(seed, limits=limits, conditions=conditions)
    client, server = world.pair()
    sent = [Random(seed).randbytes(1 + 97 * number % 4000) for number in range(100)]

    for chunk in sent:
        world.client.run(client.transport.write, chunk)
        world.run(0.001)
    world.run(600, until=lambda: len(server.data) == sum(map(len, sent)))

    assert server.data == b"".join(sent)
    assert len(server.pieces) != len(sent), "pieces are not writes"
    world.loop.close()


def test_writelines_and_views_arrive_as_they_were_when_written(world):
    client, server = world.pair()
    buffer = bytearray(b"before")

    client.transport.writelines([memoryview(buffer), b"+"])
    buffer[:] = b"after!"
    world.run(0.1)

    assert server.data == b"before+"


def test_connecting_where_nothing_listens_is_refused(world):
    _, task = world.dial()
    with pytest.raises(ConnectionRefusedError):
        world.loop.run_until_complete(task)


def test_connecting_through_a_partition_times_out(world):
    world.listen()
    world.network.cut(["c"], ["s"])
    _, task = world.dial()

    with pytest.raises(TimeoutError):
        world.loop.run_until_complete(task)
    assert world.loop.now_s == pytest.approx(START_S + 2, abs=0.01)


def test_connecting_succeeds_late_when_the_partition_heals(world):
    world.listen()
    world.network.cut(["c"], ["s"], both=False)
    peer, task = world.dial()
    world.run(0.5)
    world.network.mend_all()

    world.loop.run_until_complete(task)

    assert peer.transport is not None
    assert world.loop.now_s > START_S + 1, "the next try comes after a second"


def test_two_listeners_cannot_have_one_port_and_port_zero_picks_a_free_one(world):
    world.listen()
    with pytest.raises(OSError, match="in use"):
        world.listen()

    assert world.listen(port=0).port != world.listen(port=0).port


def test_a_closed_listener_frees_its_port_and_keeps_its_connections(world):
    listener = world.listen()
    client, task = world.dial()
    world.loop.run_until_complete(task)
    listener.close()
    client.transport.write(b"still here")
    world.run(0.1)

    assert world.accepted[0].data == b"still here"
    _, task = world.dial()
    with pytest.raises(ConnectionRefusedError):
        world.loop.run_until_complete(task)


def test_close_sends_what_was_written_then_ends_both_sides_in_order(world):
    client, server = world.pair()

    client.transport.write(b"x" * 3_000_000)
    client.transport.close()
    client.transport.write(b"never")
    assert client.transport.is_closing()
    world.run(5)

    assert server.data == b"x" * 3_000_000
    assert server.events == ["eof", "lost"]
    assert client.events[-1] == "lost"
    assert world.network.connection_count() == 0


def test_abort_ends_the_connection_at_once(world):
    client, server = world.pair()
    client.transport.abort()
    world.run(1)

    assert client.events == ["lost"]
    assert server.lost


def test_a_writer_is_paused_above_the_high_water_mark_and_resumed_below_the_low_one(world):
    client, server = world.pair()
    server.transport.pause_reading()
    client.transport.set_write_buffer_limits(high=100_000, low=10_000)

    for _ in range(50):
        client.transport.write(b"x" * 100_000)
        world.run(0.01)
    assert client.events == ["pause"]
    assert client.transport.get_write_buffer_size() > 100_000
    assert server.data == b"", "a paused reader gets nothing"
    assert not server.transport.is_reading()

    server.transport.resume_reading()
    world.run(5)
    assert client.events == ["pause", "resume"]
    assert len(server.data) == 5_000_000
    assert client.transport.get_write_buffer_size() == 0


@pytest.mark.parametrize("seed", range(10))
def test_a_killed_process_ends_its_connections_quickly(seed):
    world = World(seed)
    client, server = world.pair()

    killed_s = world.loop.now_s
    world.server.die(Death.KILLED)
    world.run(1)

    assert client.events in (["eof", "lost"], ["ConnectionResetError"])
    assert client.lost_s - killed_s < 0.05
    assert server.events == [], "the dead protocol hears nothing"
    _, task = world.dial()
    with pytest.raises(ConnectionRefusedError):
        world.loop.run_until_complete(task)
    world.loop.close()


def test_both_ways_a_killed_process_can_end_its_connections_occur():
    endings = set()
    for seed in range(20):
        world = World(seed)
        client, _ = world.pair()
        world.server.die(Death.KILLED)
        world.run(1)
        endings.add(client.events[0])
        world.loop.close()
    assert endings == {"eof", "ConnectionResetError"}


def test_what_a_killed_process_s_kernel_took_arrives_before_the_fin():
    world = World(limits=NetworkLimits(reset=0.0))
    client, server = world.pair()
    server.transport.write(b"last words")
    world.server.die(Death.KILLED)
    world.run(1)

    assert client.data == b"last words"
    assert client.events == ["eof", "lost"]
    world.loop.close()


def test_a_killed_process_s_unsent_bytes_are_lost():
    limits = NetworkLimits(reset=0.0, window_bytes_min=1000, window_bytes_max=1000)
    world = World(limits=limits)
    client, server = world.pair()
    server.transport.write(b"x" * 100_000)
    world.server.die(Death.KILLED)
    world.run(1)

    assert 0 < len(client.data) <= 1000
    world.loop.close()


def test_a_power_cut_is_silent_and_the_rebooted_machine_answers_with_reset(world):
    client, _ = world.pair()
    world.network.power_off("s")
    world.server.die(Death.POWER_CUT)
    client.transport.write(b"anybody?")
    world.run(5)
    assert client.events == []

    world.network.power_on("s")
    world.run(5)
    assert client.events == ["ConnectionResetError"]


def test_a_connection_stays_half_open_as_long_as_nobody_sends(world):
    client, _ = world.pair()
    world.network.power_off("s")
    world.server.die(Death.POWER_CUT)
    world.network.power_on("s")
    world.run(100)
    assert client.events == []

    client.transport.write(b"x")
    world.run(1)
    assert client.events == ["ConnectionResetError"]


def test_a_paused_process_is_silent_but_its_kernel_accepts(world):
    client, server = world.pair()
    world.server.pause()
    late, task = world.dial()
    world.loop.run_until_complete(task)
    client.transport.write(b"to the paused")
    late.transport.write(b"late")
    world.run(5)
    assert server.data == b""
    assert len(world.accepted) == 1
    assert client.events == late.events == []

    world.server.resume()
    world.run(0.1)
    assert server.data == b"to the paused"
    assert world.accepted[1].data == b"late"


def test_a_partition_holds_bytes_and_a_heal_delivers_them(world):
    client, server = world.pair()
    world.network.cut(["s"], ["c"])
    client.transport.write(b"to server")
    server.transport.write(b"to client")
    world.run(3)
    assert (client.data, server.data) == (b"", b"")

    world.network.mend(["s"], ["c"])
    world.run(1)
    assert (client.data, server.data) == (b"to client", b"to server")
    assert client.events == server.events == []


def test_a_one_way_partition_lets_the_other_way_pass_up_to_the_window():
    limits = NetworkLimits(window_bytes_min=5000, window_bytes_max=5000)
    world = World(limits=limits)
    client, server = world.pair()
    world.network.cut(["s"], ["c"], both=False)

    server.transport.write(b"never")
    client.transport.write(b"x" * 20_000)
    world.run(5)
    assert client.data == b""
    assert len(server.data) == 5000, "acknowledgements do not come back"

    world.network.mend_all()
    world.run(5)
    assert client.data == b"never"
    assert len(server.data) == 20_000
    world.loop.close()


def _dialled_twice(world):
    """Return clients and accepted ends of two connections between the same machines."""
    first = world.pair()
    peer, task = world.dial()
    world.loop.run_until_complete(task)
    world.run(0.1)
    return [first, (peer, world.accepted[1])]


@pytest.mark.parametrize("seed", range(8))
def test_of_two_connections_one_may_be_stuck_until_it_is_let_go(seed):
    world = World(seed)
    pairs = _dialled_twice(world)
    stuck = world.network.stick("c", "s")
    for client, server in pairs:
        client.transport.write(b"ping")
        server.transport.write(b"pong")
    world.run(3)
    arrived = [peer.data for pair in pairs for peer in pair]
    assert arrived.count(b"") == len(stuck) in (1, 2), "the directions that are stuck"
    assert any((client.data, server.data) == (b"pong", b"ping") for client, server in pairs)

    world.network.unstick(stuck)
    world.run(1)
    assert all((client.data, server.data) == (b"pong", b"ping") for client, server in pairs)
    world.loop.close()


@pytest.mark.parametrize("among", [None, ["s", "c"]])
def test_a_heal_lets_stuck_connections_go_too(world, among):
    client, server = world.pair()
    assert world.network.stick("c", "s")
    world.network.cut(["s"], ["c"])
    client.transport.write(b"ping")
    server.transport.write(b"pong")
    world.network.mend_all(among=["c", "other"])
    world.run(1)
    assert b"" in (client.data, server.data)

    world.network.mend_all(among=among)
    world.run(1)
    assert (client.data, server.data) == (b"pong", b"ping")


def test_where_no_connection_is_none_can_be_stuck(world):
    assert world.network.stick("c", "s") == []


def test_bytes_held_for_too_long_end_the_connection_of_who_sent_them():
    world = World(limits=NetworkLimits(stall_timeout_s=10))
    client, server = world.pair()
    world.network.cut(["s"], ["c"])
    client.transport.write(b"x")
    world.run(100, until=lambda: client.lost)

    assert client.events == ["TimeoutError"]
    assert 10 <= client.lost_s - START_S < 11
    assert server.events == []
    world.network.mend_all()
    server.transport.write(b"anybody?")
    world.run(1)
    assert server.events == ["ConnectionResetError"]
    world.loop.close()


def test_writing_to_a_side_that_closed_is_answered_with_reset(world):
    client, server = world.pair()
    server.transport.write(b"x" * 1000)
    client.transport.close()
    world.run(0.0001)
    server.transport.write(b"too late")
    world.run(1)

    assert server.events[-1] in ("lost", "ConnectionResetError")
    assert server.lost


def test_an_exception_in_a_protocol_closes_its_connection_and_is_kept(world):
    class Broken(Peer):
        def data_received(self, data):
            raise ValueError(data)

    def accept():
        world.accepted.append(Broken(world.loop))
        return world.accepted[-1]

    world.listen(factory=accept)
    client, task = world.dial()
    world.loop.run_until_complete(task)
    client.transport.write(b"boom")
    world.run(1)

    assert client.lost
    assert world.accepted[0].events == ["ValueError"]
    assert [type(f.exception) for f in world.loop.failures] == [ValueError]


@pytest.mark.parametrize("step", range(1, 40))
def test_a_connect_cancelled_at_any_moment_leaves_no_connection(world, step):
    world.listen()
    _, task = world.dial()
    for _ in range(step):
        world.loop.call_soon(world.loop.stop)
        world.loop.run_forever()
    task.cancel()
    world.run(1)

    if task.cancelled():
        assert world.network.connection_count() == 0
    else:
        assert world.network.connection_count() == 2


def test_transports_name_their_addresses_and_have_no_socket(world):
    client, server = world.pair()

    assert client.transport.get_extra_info("peername") == ("s", PORT)
    assert server.transport.get_extra_info("sockname") == ("s", PORT)
    assert server.transport.get_extra_info("peername") == client.transport.get_extra_info(
        "sockname"
    )
    assert client.transport.get_extra_info("socket") is None


def test_a_machine_reaches_itself_through_a_partition(world):
    world.listen()
    world.network.cut(["s"], ["c", "s"])
    peer, task = world.dial(process=world.server, host="127.0.0.1")
    world.loop.run_until_complete(task)
    peer.transport.write(b"me")
    world.run(0.1)

    assert world.accepted[0].data == b"me"


def chatter(seed):
    world = World(seed, conditions=LinkConditions(loss=0.1))
    client, server = world.pair()
    for _ in range(30):
        client.transport.write(b"x" * 1000)
        server.transport.write(b"y" * 300)
        world.run(0.01)
    world.server.die(Death.KILLED)
    world.run(1)
    world.loop.close()
    return world.log.digest()


def test_equal_seeds_give_equal_traffic():
    assert chatter(5) == chatter(5)
    assert chatter(5) != chatter(6)


def test_a_reset_on_the_way_ends_both_sides_or_leaves_one_half_open_until_it_sends():
    told = set()
    for seed in range(30):
        world = World(seed=seed)
        client, server = world.pair()
        count = world.network.reset("c", "s")
        world.run(1)
        told.add((count, client.lost, server.lost))
        if count and not server.lost:
            server.transport.write(b"anybody?")
            world.run(1)
            assert server.lost
        world.loop.close()

    assert told == {(0, False, False), (1, True, True), (1, True, False), (1, False, True)}
