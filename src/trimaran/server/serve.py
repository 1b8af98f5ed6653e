"""The broker on a real loop: start, tell who waits, run, stop. The only place with uvloop.

Does not: check settings or the data directory; that was done before.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import traceback
from pathlib import Path
from typing import Any

import uvloop

from trimaran.broker.node import Broker
from trimaran.broker.ports import Ports
from trimaran.config import NodeConfig
from trimaran.errors import TrimaranError
from trimaran.protocol.codec import preload, preload_older
from trimaran.server.clock import RealChance, RealClock
from trimaran.server.control_file import read_control
from trimaran.server.cutting import CuttableNetwork
from trimaran.server.descriptors import raise_descriptor_limit, within_descriptors
from trimaran.server.http.serving import HttpServer, bind_http
from trimaran.server.lag import LoopLag
from trimaran.server.launch import Launch, StartError
from trimaran.server.network import PortInUseError, RealNetwork
from trimaran.server.observing.observer import NodeObserver
from trimaran.server.running import RunningNode, write_running
from trimaran.server.workers import RealWorkers
from trimaran.storage.files import RealFiles
from trimaran.storage.identity import Identity
from trimaran.storage.journal import JournalSettings
from trimaran.storage.recovery import Store, StoreSettings, open_store

GC_THRESHOLDS = (20_000, 20, 50)
"""The way of an event makes no cycles; collections only look at what waits in memory."""
PRELOAD_PAUSE_S = 0.02
"""Between two steps of loading what only old clients' rare requests need."""
HTTP_MODULES = ("trimaran.server.http.", "uvicorn.", "starlette.", "h11.", "websockets.")
"""A mistake under these ends a request, not the node."""
HTTP_WAIT_S = 3.0
"""HTTP is loaded once the node is ready, not to hold that up; a node that waits longer, for others,
must be asked why, and must not be taken for dead."""
HTTP_STOP_TIMEOUT_S = 3.0
"""HTTP stops first, so that requests under way are answered by a whole node, but has no longer."""
STOP_TIMEOUT_S = 10.0
"""A stop that takes longer is given up; acknowledged events are durable without it."""

log = logging.getLogger(__name__)


def run_broker(config: NodeConfig, files: RealFiles, identity: Identity, launch: Launch) -> None:
    """Recover the data directory, then run the broker until it is asked to stop.

    Raises:
        StartError: a port is in use.
        TrimaranError, OSError: the node failed.
    """
    # Now, not with the first client: loading the codecs holds the interpreter for a good part of a
    # second, and a leader that is silent for that long loses its leaderships.
    preload()
    config = within_descriptors(config, raise_descriptor_limit())
    store = open_store(files, identity=identity, settings=store_settings(config))
    for line in store.notes:
        log.info("recovery: %s", line)
    for line in store.damage:
        log.error("damage: %s", line)
    try:
        uvloop.run(serve(config, store, files, launch))
    finally:
        store.close()


def store_settings(config: NodeConfig) -> StoreSettings:
    """Return what the settings say about the data directory."""
    return StoreSettings(
        journal=JournalSettings(
            file_bytes=config.journal.file_bytes, total_bytes_max=config.journal.bytes_max
        ),
        cached_bytes_max=config.storage.cached_bytes_max,
        open_files_max=config.storage.open_files_max,
    )


async def serve(config: NodeConfig, store: Store, files: RealFiles, launch: Launch) -> None:
    """Run until a signal, the owner's end, or a failure, which is raised."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    listen_for_stop(loop, ended, launch.owner_fd)
    loop.set_exception_handler(lambda _, context: end_by_callback(ended, context))
    workers = RealWorkers(loop)
    if not workers.is_native:
        log.info("no compiled code here: journal rounds take a Python thread, which is slower")
    listening = await listen_for_http(config)
    if listening is not None:
        config = with_http_port(config, listening)
    network = network_of(config)
    broker = Broker(
        config=config,
        store=store,
        ports=Ports(
            clock=RealClock(),
            chance=RealChance(),
            workers=workers,
            network=network,
            files=files,
        ),
    )
    lag = LoopLag()
    observer = NodeObserver(broker, lag=lag, wall_ms=RealClock().wall_ms)
    lag.stalled = observer.stalled
    http = None
    if listening is not None:
        http = HttpServer(
            broker=broker,
            config=config,
            listening=listening,
            observer=observer,
            network=network if isinstance(network, CuttableNetwork) else None,
            owner_fd=launch.owner_fd,
        )
    try:
        await start(broker, config)
        lag.start()
        tasks = [
            loop.create_task(broker.run_until_failed()),
            loop.create_task(announce(broker, config, launch.ready_fd)),
            loop.create_task(load_rest(broker, http)),
            loop.create_task(observer.run()),
        ]
        for task in tasks:
            task.add_done_callback(lambda done: end_by_task(ended, done))
        await ended
        for task in tasks:
            task.cancel()
        if http is not None:
            await stop_http(http)
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await broker.stop()
        late = lag.statistics()
        log.info("stopped; event loop late mean=%.2f ms max=%.1f ms", late.mean_ms, late.max_ms)
    finally:
        if http is not None:
            http.close()
        lag.stop()
        workers.close()


async def listen_for_http(config: NodeConfig) -> socket.socket | None:
    """Bind the HTTP port before anything starts. Raises StartError when it is in use."""
    try:
        return await bind_http(config)
    except PortInUseError as error:
        raise StartError(
            f"{error.strerror}: stop that process, or change http.port (TRIMARAN_HTTP_PORT)"
        ) from error


def with_http_port(config: NodeConfig, listening: socket.socket) -> NodeConfig:
    """Return the settings with the port that was picked, for others to find this node."""
    port = int(listening.getsockname()[1])
    return config.model_copy(update={"http": config.http.model_copy(update={"port": port})})


def network_of(config: NodeConfig) -> RealNetwork:
    """Return the network; one that can be cut where people may break nodes to watch."""
    may_be_cut = read_control(Path(config.node.data_directory).absolute().parent) is not None
    return CuttableNetwork() if may_be_cut else RealNetwork()


async def start_http(http: HttpServer) -> None:
    """Start it; a node whose HTTP side does not load serves Kafka clients all the same."""
    try:
        await http.start()
    except Exception:
        log.exception("HTTP does not answer: REST, metrics and dashboard are not there")


async def stop_http(http: HttpServer) -> None:
    """Stop it; whatever becomes of that, the node's leaderships are to be moved afterwards."""
    try:
        async with asyncio.timeout(HTTP_STOP_TIMEOUT_S):
            await http.stop()
    except Exception:
        log.exception("HTTP did not stop: its clients see closed connections")


async def start(broker: Broker, config: NodeConfig) -> None:
    """Start the broker. Raises StartError that names the option when a port is in use."""
    try:
        await broker.start()
    except PortInUseError as error:
        options = {
            config.kafka.port: "kafka.port (TRIMARAN_KAFKA_PORT)",
            config.member.peer_port: "this node's peer_port in cluster.nodes, on every node",
        }
        option = options.get(error.port, "the port in the settings")
        raise StartError(f"{error.strerror}: stop that process, or change {option}") from error
    log.info(
        "node %d listens: Kafka %s:%d, peers %d",
        config.node.id,
        config.kafka.host,
        broker.kafka_port,
        broker.peer_port,
    )


async def announce(broker: Broker, config: NodeConfig, ready_fd: int | None) -> None:
    """Say `listening` in the data directory, and `ready` there and to whoever waits for it."""
    data = Path(config.node.data_directory)
    running = RunningNode(
        pid=os.getpid(),
        node_id=config.node.id,
        state="listening",
        kafka_port=broker.kafka_port,
        peer_port=broker.peer_port,
    )
    write_running(data, running)
    await broker.wait_ready()
    # What lives now lives long: later collections need not look at it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    running = RunningNode(
        pid=running.pid,
        node_id=running.node_id,
        state="ready",
        kafka_port=running.kafka_port,
        peer_port=running.peer_port,
    )
    write_running(data, running)
    log.info("node %d is ready", config.node.id)
    if ready_fd is not None:
        os.write(ready_fd, running.to_json().encode() + b"\n")
        os.close(ready_fd)


async def load_rest(broker: Broker, http: HttpServer | None) -> None:
    """Load what need not be there at the start, HTTP first."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(HTTP_WAIT_S):
            await broker.wait_ready()
    if http is not None:
        await start_http(http)
    await broker.wait_ready()
    await load_older()


async def load_older() -> None:
    """Prepare what only old clients ask for; what is not there yet, their requests prepare."""
    try:
        for _ in preload_older():
            await asyncio.sleep(PRELOAD_PAUSE_S)
    except Exception:
        log.exception("older versions of requests are not prepared: the first of each is slow")


def listen_for_stop(
    loop: asyncio.AbstractEventLoop, ended: "asyncio.Future[None]", owner_fd: int | None
) -> None:
    """Let SIGTERM, SIGINT and the owner's end stop the node; a second signal ends it at once."""

    def stop(reason: str) -> None:
        if ended.done():
            log.warning("stopping at once: %s again", reason)
            os._exit(1)
        log.info("stopping: %s", reason)
        ended.set_result(None)

    def owner_gone(descriptor: int) -> None:
        loop.remove_reader(descriptor)
        if not ended.done():
            stop("the process that started this node is gone")

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number.name)
    if owner_fd is not None:
        loop.add_reader(owner_fd, owner_gone, owner_fd)


def end_by_callback(ended: "asyncio.Future[None]", context: dict[str, Any]) -> None:
    """Let a mistake in a callback end the node, as in a task; what the world did is logged."""
    error = context.get("exception")
    if error is None or isinstance(error, OSError | TrimaranError):
        log.warning("%s: %s", context["message"], error)
    elif comes_from_http(error):
        log.error("HTTP: %s", context["message"], exc_info=error)
    elif not ended.done():
        ended.set_exception(error)


def comes_from_http(error: BaseException) -> bool:
    """Whether it was raised under the HTTP side, which the node does not need."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(str(frame.f_globals.get("__name__")).startswith(HTTP_MODULES) for frame in frames)


def end_by_task(ended: "asyncio.Future[None]", task: "asyncio.Task[None]") -> None:
    """Let the failure of a task end the node; its normal end does not."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not ended.done():
        ended.set_exception(error)
