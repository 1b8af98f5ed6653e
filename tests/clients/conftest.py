"""Client libraries as drivers (`drivers/driver.py`), a cluster for all of them, and the table.

The drivers of Python libraries and kcat always run; those in other languages run where
TRIMARAN_ALL_CLIENTS is set and their runtime is installed (`make test-clients`).
What each test found goes, as client x feature, to `build/clients/features.json`, from which
`python -m tests.clients.page` makes docs/clients.md.
Does not: know what a driver's library can do; drivers say so.
"""

import json
import os
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pytest

from trimaran.testing import Cluster

HERE = Path(__file__).parent
BUILD = Path(__file__).parents[2] / "build" / "clients"
ANSWER_S = 100.0
STOP_S = 30.0
FOUND = pytest.StashKey[dict]()

JARS = BUILD / "java" / "jars"


def python_driver(name):
    return [sys.executable, str(HERE / "drivers" / f"{name}_driver.py")]


CLIENTS = {
    "confluent-kafka": (python_driver("confluent"), ()),
    "aiokafka": (python_driver("aiokafka"), ()),
    "kafka-python": (python_driver("kafka_python"), ()),
    "kcat": (python_driver("kcat"), ("kcat",)),
}
OTHERS = {
    "Java": (
        ["java", "-Xmx256m", "-cp", f"{BUILD}/java/classes:{JARS}/*", "Driver"],
        ("java", "mvn"),
    ),
    "franz-go": ([str(BUILD / "go" / "driver")], ("go",)),
    "kafkajs": (["node", str(BUILD / "js" / "driver.js")], ("node", "npm")),
}
if os.environ.get("TRIMARAN_ALL_CLIENTS"):
    CLIENTS |= OTHERS


class Refused(Exception):  # noqa: N818  an answer
    """What the broker said, by Kafka's name."""

    def __init__(self, name, text):
        super().__init__(name, text)
        self.name = name


class Driver:
    """A client library in a process of its own."""

    def __init__(self, name, bootstrap):
        BUILD.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.log = (BUILD / f"driver-{name}.log").open("ab")
        self.process = subprocess.Popen(
            [*CLIENTS[name][0], bootstrap],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )

    def ask(self, operation, **arguments):
        """Return the library's answer; skips the test if it has no such thing."""
        self.process.stdin.write(json.dumps({"op": operation, **arguments}) + "\n")
        self.process.stdin.flush()
        watchdog = threading.Timer(ANSWER_S, self.process.kill)
        watchdog.start()
        line = self.process.stdout.readline()
        watchdog.cancel()
        assert line, f"{self.name} ended, or said nothing to {operation} for {ANSWER_S:g} s"
        answer = json.loads(line)
        if "unsupported" in answer:
            pytest.skip(f"{self.name}: {answer['unsupported']}")
        if "error" in answer:
            raise Refused(answer["error"], answer["text"])
        return answer["ok"]

    def kill(self):
        self.process.kill()
        self.stop()

    def stop(self):
        try:
            self.process.communicate(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        self.log.close()


def pytest_generate_tests(metafunc):
    if "client_name" in metafunc.fixturenames:
        names = [
            pytest.param(name, marks=pytest.mark.needs(*programs)) if programs else name
            for name, (_, programs) in CLIENTS.items()
        ]
        metafunc.parametrize("client_name", names, scope="session")


@pytest.fixture(scope="package")
def shared_cluster():
    with Cluster(nodes=3) as running:
        yield running


@pytest.fixture
def cluster(shared_cluster):
    """The shared cluster, with every node running before and after."""
    yield shared_cluster
    for node in shared_cluster.nodes:
        if not shared_cluster.is_running(node):
            shared_cluster.start(node)


@pytest.fixture(scope="session")
def built(request):
    """Build drivers in other languages once, when first asked for."""
    done = {}

    def build(name):
        if (name in OTHERS or name == "jars") and name not in done:
            script = HERE / "drivers" / "build.sh"
            told = subprocess.run(
                ["bash", str(script), name, str(BUILD)],
                capture_output=True,
                text=True,
                check=False,
            )
            done[name] = told.returncode
            assert told.returncode == 0, told.stdout[-3000:] + told.stderr[-3000:]
        assert done.get(name, 0) == 0, f"{name} was not built"

    return build


@pytest.fixture(scope="session")
def jars():
    """Where `built("jars")` puts Apache Kafka's."""
    return JARS


@pytest.fixture(scope="package")
def running_drivers(shared_cluster, built, request):
    drivers = {}

    def get(name):
        if name not in drivers or drivers[name].process.poll() is not None:
            if name in drivers:
                drivers[name].stop()
            built(name)
            drivers[name] = Driver(name, shared_cluster.bootstrap_servers)
            versions = request.config.stash.setdefault(FOUND, {}).setdefault("versions", {})
            versions[name] = drivers[name].ask("version")
        return drivers[name]

    yield get
    for driver in drivers.values():
        driver.stop()


@pytest.fixture
def client(client_name, running_drivers):
    """The library under test."""
    return running_drivers(client_name)


@pytest.fixture
def admin(running_drivers):
    """Whoever prepares what a library without administration needs."""
    return running_drivers("confluent-kafka")


@pytest.fixture
def another(client_name, shared_cluster, running_drivers):
    """Start further processes of the library under test."""
    running_drivers(client_name)
    started = []

    def start():
        started.append(Driver(client_name, shared_cluster.bootstrap_servers))
        return started[-1]

    yield start
    for driver in started:
        if not driver.log.closed:
            driver.kill()


@pytest.fixture
def refused():
    """The exception of an answer that is an error."""
    return Refused


@pytest.fixture
def topic(admin, client_name):
    """Create a topic with a fresh name."""

    def create(partitions=1, **configs):
        name = f"{client_name}-{uuid.uuid4().hex[:12]}"
        named = {key.replace("_", "."): value for key, value in configs.items()}
        admin.ask("create_topic", topic=name, partitions=partitions, configs=named)
        return name

    return create


# The table.


def pytest_configure(config):
    config.addinivalue_line("markers", "feature(name): the row of docs/clients.md that it proves")
    config.addinivalue_line("markers", "tool(names): the tools of docs/clients.md that it uses")
    config.addinivalue_line("markers", "framework(name): the framework of docs/clients.md")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when != "call" and report.outcome == "passed":
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    entry = [report.outcome, reason.removeprefix("Skipped: ")]
    found = item.config.stash.setdefault(FOUND, {})
    feature, tool = item.get_closest_marker("feature"), item.get_closest_marker("tool")
    framework = item.get_closest_marker("framework")
    if tool is not None:
        found.setdefault("tools", {})[tool.args[0]] = entry
    if framework is not None:
        found.setdefault("frameworks", {})[framework.args[0]] = entry
    if feature is not None:
        row = feature.args[0].format(**item.callspec.params)
        name = item.callspec.params["client_name"]
        found.setdefault("features", {}).setdefault(name, {})[row] = entry


def pytest_sessionfinish(session):
    found = session.config.stash.get(FOUND, {})
    path = BUILD / "features.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    for kind in ("versions", "tools", "frameworks"):
        known[kind] = known.get(kind, {}) | found.get(kind, {})
    known.setdefault("features", {})
    for name, rows in found.get("features", {}).items():
        known["features"].setdefault(name, {}).update(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
