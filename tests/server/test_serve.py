"""A node's life on the loop, with a stand-in for the broker: ready, stopped, failed, refused."""

import asyncio
import errno
import json
import os
import signal

import pytest

from trimaran.errors import StorageError
from trimaran.server import serve as serve_module
from trimaran.server.found import mint_cluster_id, write_settings
from trimaran.server.launch import Launch, StartError
from trimaran.server.network import PortInUseError
from trimaran.server.places import places
from trimaran.server.serve import serve
from trimaran.storage.files import RealFiles


class StandIn:
    start_error = None
    kafka_port = 9092
    peer_port = 19092
    last = None

    def __init__(self, *, config, store, ports):
        type(self).last = self
        self.ports = ports
        self.stopped = False
        self.failed = asyncio.get_running_loop().create_future()

    async def start(self):
        if self.start_error is not None:
            raise self.start_error

    async def wait_ready(self):
        pass

    async def run_until_failed(self):
        await self.failed

    async def stop(self):
        self.stopped = True


class StandInHttp:
    def __init__(self):
        self.started = asyncio.Event()

    def on(self, *, listening, **_):
        self.close = listening.close
        return self

    async def start(self):
        self.started.set()

    async def stop(self):
        pass


class StandInObserver:
    def __init__(self, broker, *, lag, wall_ms):
        pass

    def stalled(self, late_s):
        pass

    async def run(self):
        await asyncio.get_running_loop().create_future()


@pytest.fixture
def node(tmp_path, monkeypatch):
    class Broker(StandIn):
        pass

    monkeypatch.setattr(serve_module, "Broker", Broker)
    monkeypatch.setattr(serve_module, "NodeObserver", StandInObserver)
    (place,) = places(tmp_path, count=1, kafka_port=None, http_port=None)
    config = write_settings(place, [place], cluster_id=mint_cluster_id())
    place.data.mkdir()

    def run(launch=Launch()):  # noqa: B008
        return serve(config, None, RealFiles(str(place.data)), launch)

    run.broker = Broker
    run.config = config
    run.data = place.data
    return run


@pytest.fixture
def http(monkeypatch):
    side = StandInHttp()
    monkeypatch.setattr(serve_module, "HttpServer", side.on)
    return side


def pipe_of(request):
    read, write = os.pipe()
    request.addfinalizer(lambda: os.close(read))
    return read, write


async def first_line(descriptor):
    loop = asyncio.get_running_loop()
    readable = loop.create_future()
    loop.add_reader(descriptor, lambda: readable.done() or readable.set_result(None))
    await asyncio.wait_for(readable, 10)
    loop.remove_reader(descriptor)
    return os.read(descriptor, 4096)


@pytest.mark.asyncio
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_ready_node_says_so_and_a_signal_stops_it(node, request, number):
    read, write = pipe_of(request)
    running = asyncio.create_task(node(Launch(ready_fd=write)))
    said = json.loads(await first_line(read))
    assert said["state"] == "ready"
    assert (said["pid"], said["kafka_port"], said["peer_port"]) == (os.getpid(), 9092, 19092)
    assert json.loads((node.data / "running.json").read_text()) == said
    os.kill(os.getpid(), number)
    await asyncio.wait_for(running, 10)
    assert node.broker.last.stopped


@pytest.mark.asyncio
async def test_a_node_that_is_not_ready_answers_http_all_the_same(node, http, request, monkeypatch):
    is_ready = asyncio.Event()
    monkeypatch.setattr(serve_module, "HTTP_WAIT_S", 0.01)
    monkeypatch.setattr(node.broker, "wait_ready", lambda _: is_ready.wait())
    read, write = pipe_of(request)
    running = asyncio.create_task(node(Launch(ready_fd=write)))

    await asyncio.wait_for(http.started.wait(), 10)
    assert json.loads((node.data / "running.json").read_text())["state"] == "listening"
    is_ready.set()
    assert json.loads(await first_line(read))["state"] == "ready"
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(running, 10)


@pytest.mark.asyncio
async def test_http_does_not_hold_up_a_node_that_is_ready_soon(node, http):
    states = []

    async def start():
        states.append(json.loads((node.data / "running.json").read_text())["state"])
        http.started.set()

    http.start = start
    running = asyncio.create_task(node())
    await asyncio.wait_for(http.started.wait(), 10)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(running, 10)

    assert states == ["ready"]


async def never_stops():
    await asyncio.get_running_loop().create_future()


async def fails():
    raise RuntimeError("no such connection")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("stop", "told"), [(never_stops, "TimeoutError"), (fails, "no such connection")]
)
async def test_leaderships_are_moved_although_http_does_not_stop(
    node, http, request, monkeypatch, caplog, stop, told
):
    http.stop = stop
    monkeypatch.setattr(serve_module, "HTTP_STOP_TIMEOUT_S", 0.05)
    read, write = pipe_of(request)
    running = asyncio.create_task(node(Launch(ready_fd=write)))
    await first_line(read)

    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(running, 10)

    assert node.broker.last.stopped
    assert told in caplog.text


@pytest.mark.asyncio
async def test_codecs_that_do_not_load_leave_the_node_running(node, request, monkeypatch, caplog):
    tried = asyncio.Event()

    def broken():
        yield
        tried.set()
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(serve_module, "preload_older", broken)
    monkeypatch.setattr(serve_module, "PRELOAD_PAUSE_S", 0)
    read, write = pipe_of(request)
    running = asyncio.create_task(node(Launch(ready_fd=write)))
    await first_line(read)

    await asyncio.wait_for(tried.wait(), 10)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(running, 10)

    assert node.broker.last.stopped
    assert "Too many open files" in caplog.text


@pytest.mark.asyncio
async def test_a_node_stops_when_its_owner_is_gone(node, request):
    read, write = pipe_of(request)
    running = asyncio.create_task(node(Launch(owner_fd=read)))
    os.close(write)
    await asyncio.wait_for(running, 10)
    assert node.broker.last.stopped


@pytest.mark.asyncio
async def test_what_must_end_the_node_ends_it(node, request):
    read, write = pipe_of(request)
    running = asyncio.create_task(node(Launch(ready_fd=write)))
    await first_line(read)
    node.broker.last.failed.set_exception(StorageError("journal: sync failed"))
    with pytest.raises(StorageError, match="sync failed"):
        await asyncio.wait_for(running, 10)
    assert not node.broker.last.stopped


@pytest.mark.asyncio
async def test_a_port_in_use_names_the_setting_to_change(node):
    node.broker.start_error = PortInUseError("127.0.0.1", node.config.kafka.port)
    with pytest.raises(StartError, match=r"change kafka\.port \(TRIMARAN_KAFKA_PORT\)"):
        await node()
    peer_port = node.config.cluster.nodes[0].peer_port
    node.broker.start_error = PortInUseError("127.0.0.1", peer_port)
    with pytest.raises(StartError, match=rf"port {peer_port} .* change .*peer_port"):
        await node()


@pytest.mark.asyncio
async def test_a_broken_invariant_in_a_callback_ends_the_node(node, request):
    def broken():
        raise AssertionError("commit index went back")

    read, write = pipe_of(request)
    running = asyncio.create_task(node(Launch(ready_fd=write)))
    await first_line(read)
    asyncio.get_running_loop().call_soon(broken)
    with pytest.raises(AssertionError, match="went back"):
        await asyncio.wait_for(running, 10)


@pytest.mark.asyncio
async def test_a_broken_connection_in_a_callback_does_not_end_the_node(node, request, caplog):
    def broken():
        raise ConnectionResetError("peer went away")

    read, write = pipe_of(request)
    running = asyncio.create_task(node(Launch(ready_fd=write)))
    await first_line(read)
    loop = asyncio.get_running_loop()
    loop.call_soon(broken)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(running, 10)
    assert "peer went away" in caplog.text
