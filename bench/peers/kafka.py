"""Apache Kafka 4, three nodes in KRaft mode, each broker and controller.

Jars come from Maven with the names in `tests/clients/drivers/java/pom.xml`. Settings are those of
the distribution's `config/server.properties` and `bin/kafka-run-class.sh` (threads, buffers, heap
of 1 GB, G1), but for addresses, directories and the replication of its internal topics.
"""

import base64
import contextlib
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from bench.peers.peer import Peer
from bench.peers.processes import free_ports, listens, servers
from trimaran.bench.errors import BenchError
from trimaran.bench.target import Target

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "clients"
NODES = 3
START_S = 90.0
JVM = (
    "-Xmx1G", "-Xms1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15", "-Djava.awt.headless=true",
)  # fmt: skip
SETTINGS = """\
process.roles=broker,controller
node.id={number}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
controller.quorum.voters={voters}
log.dirs={directory}/data-{number}
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
num.recovery.threads.per.data.dir=1
offsets.topic.replication.factor=3
share.coordinator.state.topic.replication.factor=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
"""


def _missing() -> str | None:
    return next((f"install {one}" for one in ("java", "mvn") if shutil.which(one) is None), None)


@contextlib.contextmanager
def _open(base: Path) -> Iterator[Target]:
    script = ROOT / "tests/clients/drivers/build.sh"
    subprocess.run(["bash", str(script), "jars", str(BUILD)], check=True)
    classpath = f"{BUILD}/java/jars/*"
    ports = free_ports(2 * NODES)
    brokers, controllers = ports[:NODES], ports[NODES:]
    voters = ",".join(f"{at}@127.0.0.1:{port}" for at, port in enumerate(controllers, 1))
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    with servers("kafka", base) as own:
        for number in range(1, NODES + 1):
            settings = own.directory / f"server-{number}.properties"
            settings.write_text(
                SETTINGS.format(
                    number=number,
                    port=brokers[number - 1],
                    controller=controllers[number - 1],
                    voters=voters,
                    directory=own.directory,
                )
            )
            words = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(settings)]
            done = subprocess.run(
                ["java", "-cp", classpath, *words], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise BenchError(f"Kafka's storage was not formatted: {done.stderr or done.stdout}")
            own.start(["java", *JVM, "-cp", classpath, "kafka.Kafka", str(settings)])
        bootstrap = ",".join(f"127.0.0.1:{port}" for port in brokers)
        own.wait(lambda: all(map(listens, brokers)), START_S, "Kafka")
        own.wait(lambda: _count(bootstrap) == NODES, START_S, "Kafka's brokers")
        yield Target(
            name="Kafka",
            bootstrap=bootstrap,
            disk=own.directory,
            node_count=NODES,
            process_ids=own.pids(),
        )


def _count(bootstrap: str) -> int:
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        return len(admin.list_topics(timeout=5.0).brokers)
    except KafkaException:
        return 0


AS_SHIPPED = Peer(
    name="kafka",
    durability="acks=all, min.insync.replicas=2: every in-sync replica has it in memory (page "
    "cache); nothing is synced before the acknowledgement",
    missing=_missing,
    open=_open,
    topic_settings={"min.insync.replicas": "2"},
)
WITH_SYNC = Peer(
    name="kafka-fsync",
    durability="as above, and flush.messages=1: every replica syncs each batch before it answers",
    missing=_missing,
    open=_open,
    topic_settings={"min.insync.replicas": "2", "flush.messages": "1"},
)
