"""An application on each of three stream frameworks, with state that lives in a changelog topic.

It counts events by key, is killed, loses its disk, and has to go on from what it left in Kafka.
Each framework has a virtualenv of its own below `build`.
"""

import os
import shutil
import subprocess
import time
import uuid
import venv
from collections import Counter
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "frameworks"
VENVS = Path(__file__).parents[2] / "build" / "clients" / "venvs"
FRAMEWORKS = {"quixstreams": "Quix Streams", "faststream": "FastStream", "faust": "Faust"}
READY = {"faust": b"Worker ready"}
"""What a framework's log says before events may wait for it. Faust seeks its committed offsets
while it reads already; events that are there then are skipped or counted twice, whatever the broker
(faust-streaming/faust issue 596)."""
PARTITIONS = 2
KEYS = 5
WAIT_S = 30.0
LOOK_S = 0.3

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.clients,
    pytest.mark.skipif(
        not os.environ.get("TRIMARAN_ALL_CLIENTS"), reason="part of make test-clients only"
    ),
]


@pytest.fixture
def interpreter(framework):
    """The Python of the framework's virtualenv, made when it is not there."""
    wanted = HERE / f"{framework}.txt"
    folder = VENVS / framework
    installed = folder / "installed.txt"
    python = folder / "bin" / "python"
    if not installed.exists() or installed.read_text() != wanted.read_text():
        venv.create(folder, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "-r", str(wanted)]
        subprocess.run(command, check=True)
        shutil.copy(wanted, installed)
    return python


@pytest.fixture
def application(framework, interpreter, shared_cluster, tmp_path):
    """Start the application; every one that was started ends with the test."""
    started = []

    def start(name):
        state = tmp_path / f"state-{len(started)}"
        state.mkdir()
        words = [shared_cluster.bootstrap_servers, name, str(state)]
        with (tmp_path / f"log-{len(started)}").open("wb") as log:
            started.append(
                subprocess.Popen(
                    [str(interpreter), str(HERE / f"{framework}_app.py"), *words],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=state,
                )
            )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
    for path in sorted(tmp_path.glob("log-*")):
        print(f"{path.name}:\n{path.read_text(errors='replace')}")


def feed(admin, name, count):
    records = [{"key": f"key-{n % KEYS}", "value": "event"} for n in range(count)]
    admin.ask("produce", topic=name, records=records)


def wait_for(look, wanted, process):
    deadline, found = time.monotonic() + WAIT_S, look()
    while not wanted(found):
        assert time.monotonic() < deadline, found
        assert process.poll() is None, "the application ended"
        try:
            process.wait(LOOK_S)
        except subprocess.TimeoutExpired:
            found = look()
    return found


def counted(admin, name):
    """Return the highest count of each key in the application's output."""
    totals = Counter()
    for partition in range(PARTITIONS):
        place = {"topic": f"{name}-counted", "partition": partition}
        end = admin.ask("offset", at="latest", **place)
        for one in admin.ask("consume", count=end, **place):
            totals[one["key"]] = max(totals[one["key"]], int(one["value"]))
    return dict(totals)


@pytest.mark.parametrize("framework", sorted(FRAMEWORKS))
def test_state_comes_back_from_the_changelog(framework, admin, application, request, tmp_path):
    request.node.add_marker(pytest.mark.framework(FRAMEWORKS[framework]))
    name = f"{framework}-{uuid.uuid4().hex[:8]}"
    for topic in (name, f"{name}-counted"):
        admin.ask("create_topic", topic=topic, partitions=PARTITIONS)
    compacted = {"cleanup.policy": "compact"}
    if framework == "faststream":
        admin.ask(
            "create_topic", topic=f"{name}-changelog", partitions=PARTITIONS, configs=compacted
        )

    def is_committed():
        places = [{"topic": name, "partition": number} for number in range(PARTITIONS)]
        committed = [admin.ask("committed", group=f"{name}-group", **one) or 0 for one in places]
        return committed == [admin.ask("offset", at="latest", **one) for one in places]

    def is_ready():
        return READY.get(framework, b"") in (tmp_path / "log-1").read_bytes()

    feed(admin, name, 60)
    process = application(name)
    wait_for(lambda: counted(admin, name), lambda found: set(found.values()) == {12}, process)
    wait_for(is_committed, bool, process)
    process.kill()
    process.wait()
    if framework not in READY:
        feed(admin, name, 40)
    process = application(name)
    if framework in READY:
        wait_for(is_ready, bool, process)
        feed(admin, name, 40)
    wait_for(lambda: counted(admin, name), lambda found: set(found.values()) == {20}, process)

    assert counted(admin, name) == {f"key-{number}": 20 for number in range(KEYS)}
