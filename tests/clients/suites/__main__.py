"""Runs the suite that a client library keeps for its own development against a Trimaran node.

    python -m tests.clients.suites aiokafka CHECKOUT [pytest's arguments]
    python -m tests.clients.suites kafka-python CHECKOUT

CHECKOUT is a checkout of the library's repository; it is only read: its tests are copied to
`build/suites`, where they run in a virtualenv of their own. Instead of a broker in a container they
get a node of ours (`shims`). Tests that need what is not there (transactions, TLS, SASL, ACLs) are
skipped by name, as `skips.json` says. The outcome goes to `build/clients/suite-<name>.json`;
`tests.clients.page` makes the table of docs/clients.md from it.
Exit code 0: nothing failed, and nothing was skipped that is not listed.
Does not: change the tests, or fetch them.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

from trimaran.server.ports import free_ports

HERE = Path(__file__).parent
BUILD = Path("build").absolute()
SUITE_TIMEOUT_S = 1_800
KAFKA_VERSION = "4.2.0"
"""What kafka-python's tests take the broker for: the newest that they know."""
AIOKAFKA_IMAGE = "trimaran:2.13_2.8.1"
"""The newest version that aiokafka's tests run with; the name of no image."""


OWN_SKIPS = ("got empty parameter set", "Requires KAFKA_VERSION <")
"""Skips that the suites have for every broker of today: nothing to run, or for old ones only."""

INTERNAL = "tests/test_consumer.py::TestConsumerIntegration::test_exclude_internal_topics"
DIFFERENCES = {
    "aiokafka": {
        INTERNAL: "It wants `__consumer_offsets` among the topics when all are asked for. There "
        "are no events in ours: who subscribes to every topic is not to read it, so it is told "
        "only when asked for by name."
    },
    "kafka-python": {},
}
"""Tests that cannot pass because of something that is on purpose; each is told on the page."""


@dataclass(frozen=True)
class Suite:
    version_file: str
    """Where the checkout says which version it is."""
    copied: tuple[str, ...]
    arguments: tuple[str, ...]
    adapted: tuple[tuple[str, str, str], ...]
    """(file, words, words instead): their node is number 0, which no node of ours can be."""


SUITES = {
    "aiokafka": Suite(
        version_file="aiokafka/__init__.py",
        copied=("tests", "pyproject.toml"),
        arguments=(
            *("-o", "asyncio_default_fixture_loop_scope=function"),
            *("-W", "ignore::pytest.PytestRemovedIn10Warning"),
            *("--docker-image", AIOKAFKA_IMAGE, "--no-pull", "--timeout", "120", "tests"),
        ),
        adapted=(
            ("tests/test_sender.py", "mock_handler.do(node_id=0)", "mock_handler.do(node_id=1)"),
        ),
    ),
    "kafka-python": Suite(
        version_file="kafka/version.py",
        copied=("test", "kafka", "pyproject.toml"),
        arguments=("--tb=short", "test/integration"),
        adapted=(
            (
                "test/integration/test_admin_integration.py",
                "NewPartitions(new_total, [[0], [0]])",
                "NewPartitions(new_total, [[1], [1]])",
            ),
        ),
    ),
}


def environment_of(name):
    folder = BUILD / "suites"
    python = folder / "venv" / "bin" / "python"
    wanted = HERE / "requirements.txt"
    installed = folder / "requirements.txt"
    if not installed.exists() or installed.read_text() != wanted.read_text():
        venv.create(folder / "venv", with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "-r", str(wanted)]
        subprocess.run(command, check=True)
        shutil.copy(wanted, installed)
    return python, {
        **{key: text for key, text in os.environ.items() if not key.startswith("TRIMARAN_")},
        "PYTHONPATH": f"{HERE / 'shims'}{os.pathsep}.",
        "TRIMARAN_SUITE": name,
        "TRIMARAN_PYTHON": sys.executable,
        "TRIMARAN_START_NODE": str(HERE / "start_node.py"),
        "TRIMARAN_SKIPS": str(HERE / "skips.json"),
        "TRIMARAN_DIFFERENCES": json.dumps(DIFFERENCES[name]),
        "TRIMARAN_RESULTS": str(BUILD / "clients" / f"suite-{name}.json"),
    }


def version_of(suite, checkout):
    """Return the version that a checkout says it is."""
    text = (checkout / suite.version_file).read_text()
    return re.search(r"""__version__ = ["'](.+)["']""", text)[1]


def copy(suite, checkout, folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for one in suite.copied:
        source = checkout / one
        if source.is_dir():
            shutil.copytree(source, folder / one)
        else:
            shutil.copy(source, folder / one)
    for name, words, instead in suite.adapted:
        text = (folder / name).read_text()
        assert words in text, f"{name} does not say {words} any more"
        (folder / name).write_text(text.replace(words, instead))


def run(name, checkout, more):
    suite = SUITES[name]
    python, environment = environment_of(name)
    (BUILD / "clients").mkdir(parents=True, exist_ok=True)
    folder = BUILD / "suites" / name
    copy(suite, Path(checkout), folder)
    command = [str(python), "-m", "pytest", "-q", "-p", "trimaran_suite", "-p", "no:cacheprovider"]
    if name == "aiokafka":
        return pytest_in(folder, [*command, *suite.arguments, *more], environment)
    (folder / "servers" / KAFKA_VERSION / "kafka-bin").mkdir(parents=True)
    (port,) = free_ports(1)
    environment |= {"KAFKA_URI": f"kafka://127.0.0.1:{port}", "KAFKA_VERSION": KAFKA_VERSION}
    with tempfile.TemporaryDirectory(dir=folder) as directory:
        node = subprocess.Popen(
            [sys.executable, str(HERE / "start_node.py"), f"{directory}/cluster", str(port), "4"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert node.stdout.readline() == b"ready\n"
            return pytest_in(folder, [*command, *suite.arguments, *more], environment)
        finally:
            node.communicate()


def pytest_in(folder, command, environment):
    return subprocess.run(
        command, cwd=folder, env=environment, timeout=SUITE_TIMEOUT_S, check=False
    ).returncode


def judge(name, version):
    """Print what failed and what was skipped without being listed; return how many.

    The outcomes become {"version": of the checkout, "tests": {test id: [outcome, reason]}}.
    """
    path = BUILD / "clients" / f"suite-{name}.json"
    results = json.loads(path.read_text())
    path.write_text(json.dumps({"version": version, "tests": results}, indent=1) + "\n")
    listed = json.loads((HERE / "skips.json").read_text())[name]
    bad = 0
    for test, (outcome, reason) in results.items():
        is_known = test in listed or test in DIFFERENCES[name] or reason.startswith(OWN_SKIPS)
        if outcome == "failed" or (outcome == "skipped" and not is_known):
            bad += 1
            print(f"{outcome}: {test}: {reason}")
    print(f"{name} {version}: {len(results)} tests, {bad} neither passed nor skipped by the list")
    return bad


def main(name, checkout, *more):
    version = version_of(SUITES[name], Path(checkout))
    run(name, checkout, more)
    return 1 if judge(name, version) else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
