"""Apache Kafka 4, three nodes in KRaft mode, each broker and controller.

Jars come from Maven with the names in `kafka-pom.xml`. Settings are those of the distribution:
`config/server.properties`, `config/log4j2.yaml` (INFO, to standard output), the heap of 1 GB of
`bin/kafka-server-start.sh`, the options of `bin/kafka-run-class.sh`; but for addresses,
directories, the replication of its internal topics, and `min.insync.replicas=2` of the topic.
"""

import base64
import contextlib
import functools
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from bench.peers.peer import NODES, Peer
from bench.peers.processes import free_ports, listens, servers
from bench.peers.topics import BATCH_BYTES, with_proof
from trimaran.bench.errors import BenchError
from trimaran.bench.target import Target

JARS = Path(__file__).resolve().parents[2] / "build" / "peers" / "kafka"
NAMES = Path(__file__).with_name("kafka-pom.xml")
MAVEN_S = 540.0
START_S = 90.0
WARMING_S = 50.0
"""Its JVM compiles meanwhile: cold, it answers several times as slowly."""
JAVA_SINCE = 17
"""What brokers of version 4 need."""
JVM = (
    "-Xmx1G", "-Xms1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15", "-Djava.awt.headless=true", "-Dcom.sun.management.jmxremote",
    "-Dcom.sun.management.jmxremote.authenticate=false",
    "-Dcom.sun.management.jmxremote.ssl=false",
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
LOGGING = """\
rootLogger.level = INFO
rootLogger.appenderRef.stdout.ref = STDOUT
appender.stdout.type = Console
appender.stdout.name = STDOUT
appender.stdout.layout.type = PatternLayout
appender.stdout.layout.pattern = [%d] %p %m (%c)%n
"""


@functools.cache
def _missing() -> str | None:
    for one in ("java", "mvn"):
        if shutil.which(one) is None:
            return f"install {one}"
    java = _java()
    if int(java.partition(".")[0] or 0) < JAVA_SINCE:
        return f"Java {java} is too old: install {JAVA_SINCE} or newer"
    if (JARS / ".complete").exists():
        return None
    print("fetching Kafka's jars with Maven: once, about 100 MB", file=sys.stderr)
    words = ["-q", "-B", "-f", str(NAMES), "dependency:copy-dependencies"]
    try:
        subprocess.run(
            ["mvn", *words, f"-DoutputDirectory={JARS}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
            timeout=MAVEN_S,
        )
    except (subprocess.SubprocessError, OSError) as error:
        said = (getattr(error, "stdout", None) or str(error)).strip().splitlines()[:1]
        return f"its jars are not to be had: {' '.join(said)}"
    (JARS / ".complete").touch()
    return None


@functools.cache
def _java() -> str:
    """Return the version of the `java` that runs: `17.0.15`."""
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "([\d.]+)', said)
    return found[1] if found else ""


def _version() -> str:
    found = next(JARS.glob("kafka_2.13-*.jar")).stem.partition("-")[2]
    return f"Apache Kafka {found}, Java {_java()}"


@contextlib.contextmanager
def _open(base: Path) -> Iterator[Target]:
    classpath = f"{JARS}/*"
    ports = free_ports(2 * NODES)
    brokers, controllers = ports[:NODES], ports[NODES:]
    voters = ",".join(f"{at}@127.0.0.1:{port}" for at, port in enumerate(controllers, 1))
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    with servers("kafka", base) as own:
        logging = own.directory / "log4j2.properties"
        logging.write_text(LOGGING)
        for number, (port, controller) in enumerate(zip(brokers, controllers, strict=True), 1):
            settings = own.directory / f"server-{number}.properties"
            settings.write_text(
                SETTINGS.format(
                    number=number,
                    port=port,
                    controller=controller,
                    voters=voters,
                    directory=own.directory,
                )
            )
            _format(classpath, cluster, settings)
            collector = f"-Xlog:gc*:file={own.directory}/gc-{number}.log:time,tags"
            options = [*JVM, collector, f"-Dlog4j2.configurationFile={logging}"]
            own.start(["java", *options, "-cp", classpath, "kafka.Kafka", str(settings)])
        bootstrap = ",".join(f"127.0.0.1:{port}" for port in brokers)
        own.wait(lambda: all(map(listens, brokers)), START_S, "Kafka")
        own.wait(lambda: _count(bootstrap) == NODES, START_S, "Kafka's brokers")
        yield with_proof(
            Target(
                name="Kafka",
                bootstrap=bootstrap,
                disk=own.directory,
                node_count=NODES,
                process_ids=own.pids(),
            )
        )


def _format(classpath: str, cluster: str, settings: Path) -> None:
    words = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(settings)]
    done = subprocess.run(
        ["java", "-cp", classpath, *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchError(f"Kafka's storage was not formatted: {done.stderr or done.stdout}")


def _count(bootstrap: str) -> int:
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        return len(admin.list_topics(timeout=5.0).brokers)
    except KafkaException:
        return 0


AS_SHIPPED = Peer(
    name="kafka",
    durability="acks=all, min.insync.replicas=2: every replica that is in sync has it in its page "
    "cache; the operating system syncs when it likes",
    synced="no",
    missing=_missing,
    version=_version,
    open=_open,
    memory_gb=5.0,
    chunk_bytes=BATCH_BYTES,
    warming_s=WARMING_S,
    topic_settings={"min.insync.replicas": "2"},
)
WITH_SYNC = replace(
    AS_SHIPPED,
    name="kafka-fsync",
    durability="acks=all, min.insync.replicas=2, flush.messages=1: every replica that is in sync "
    "has synced it: the leader each batch, a follower what it fetched",
    synced="all in sync",
    topic_settings={"min.insync.replicas": "2", "flush.messages": "1"},
)
