"""Apache Kafka itself, one node on this machine: formatted, started, stopped.

Its jars come from Maven through `drivers/build.sh jars`. Settings are chosen to be like a cluster
of one Trimaran node where Kafka's defaults have another purpose: four partitions, an initial
rebalance delay of 0, one partition for offsets, compaction that begins at once.
Does not: keep anything.
"""

import base64
import contextlib
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from pathlib import Path

from trimaran.server.ports import free_ports

HERE = Path(__file__).parent
BUILD = Path(__file__).parents[3] / "build" / "clients"
JARS = BUILD / "java" / "jars"
START_S = 60.0
STOP_S = 30.0
HEAP = "-Xmx512m"
SETTINGS = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller}
log.dirs={data}
num.partitions=4
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.backoff.ms=100
"""


def missing():
    """Return the program that is not installed here, or None."""
    return next((one for one in ("java", "mvn") if shutil.which(one) is None), None)


def java(*words, **options):
    command = ["java", HEAP, "-cp", f"{JARS}/*", *words]
    return subprocess.Popen(command, **options)


@contextlib.contextmanager
def apache_kafka():
    """Run a node; gives HOST:PORT."""
    subprocess.run(["bash", str(HERE.parent / "drivers/build.sh"), "jars", str(BUILD)], check=True)
    port, controller = free_ports(2)
    with tempfile.TemporaryDirectory(prefix="apache-kafka-") as directory:
        settings = Path(directory, "server.properties")
        text = SETTINGS.format(port=port, controller=controller, data=f"{directory}/data")
        settings.write_text(text)
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        with Path(directory, "log").open("wb") as log:
            format_words = ["format", "-t", cluster, "-c", str(settings)]
            formatted = java("kafka.tools.StorageTool", *format_words, stdout=log, stderr=log)
            assert formatted.wait(START_S) == 0, Path(directory, "log").read_text()
            node = java("kafka.Kafka", str(settings), stdout=log, stderr=log, cwd=directory)
            try:
                wait_listening(port, node, Path(directory, "log"))
                yield f"127.0.0.1:{port}"
            finally:
                node.terminate()
                try:
                    node.wait(STOP_S)
                except subprocess.TimeoutExpired:
                    node.kill()
                    node.wait()


def wait_listening(port, process, log):
    deadline, pause = time.monotonic() + START_S, threading.Event()
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        pause.wait(0.1)
    raise RuntimeError(f"Apache Kafka did not start:\n{log.read_text()[-3000:]}")
