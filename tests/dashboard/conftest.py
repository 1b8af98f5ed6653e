"""A real cluster with something going on, and a real browser that looks at its dashboard.

Every page that a test opens is watched: a console error or an exception in it fails the test.
Screenshots are kept in `build/screenshots`.
"""

import importlib.util
import json
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from trimaran.testing import Cluster

ROOT = Path(__file__).parent.parent.parent
SCREENSHOTS = ROOT / "build" / "screenshots"
DESK, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
WAIT_MS = 15_000
TOPICS = {"departures": 6, "payments": 2}
EVERY_S = 0.02
NAMES_OF_ALL = "--host-resolver-rules=MAP *.example 127.0.0.1"
"""Of this machine: what a stranger's name server may say, or a proxy's owner."""


def dashboard_build():
    """Return the module that builds the page."""
    spec = importlib.util.spec_from_file_location("dashboard_build", ROOT / "dashboard/build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Load(threading.Thread):
    """Events for every topic, until told to stop."""

    def __init__(self, bootstrap):
        super().__init__(daemon=True)
        self._servers = bootstrap
        self._stopping = threading.Event()

    def run(self):
        from confluent_kafka import Producer

        producer = Producer(
            {"bootstrap.servers": self._servers, "enable.idempotence": True, "log_level": 0}
        )
        number = 0
        while not self._stopping.wait(EVERY_S):
            number += 1
            for topic in TOPICS:
                value = json.dumps({"number": number, "gate": {"terminal": number % 8}}).encode()
                producer.produce(topic, value, f"k{number % 50}", headers={"source": b"test"})
            producer.poll(0)
        producer.flush(10)

    def finish(self):
        self._stopping.set()
        self.join(20)


class Api:
    """The numbers that the page must show."""

    def __init__(self, cluster):
        self._cluster = cluster

    def get(self, path, node=1):
        address = f"http://{self._cluster.http_address(node)}{path}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            return json.load(answer)

    def post(self, path, body, node=1):
        request = urllib.request.Request(
            f"http://{self._cluster.http_address(node)}{path}",
            data=json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)


@pytest.fixture
def root():
    return ROOT


@pytest.fixture
def builder():
    return dashboard_build()


@pytest.fixture(scope="package")
def built():
    """The page as it is served, made of the sources at hand."""
    found = dashboard_build()
    if not found.is_fresh():
        found.build()
    return found.STATIC


@pytest.fixture(scope="package")
def shown_cluster(built):
    with Cluster(nodes=3, control=True) as cluster:
        api = Api(cluster)
        deadline = time.monotonic() + 20
        for node in cluster.nodes:
            while not is_ready(api, node):
                assert time.monotonic() < deadline, f"node {node} is not ready"
        for name, partitions in TOPICS.items():
            config = {"event.dedup.enable": "true"} if name == "payments" else {}
            api.post("/v1/topics", {"name": name, "partitions": partitions, "config": config})
        load = Load(cluster.bootstrap_servers)
        load.start()
        yield cluster
        load.finish()


def is_ready(api, node):
    try:
        return api.get("/health/ready", node)["status"] == "ready"
    except OSError:
        return False


@pytest.fixture
def api(shown_cluster):
    return Api(shown_cluster)


@pytest.fixture(scope="package")
def api_of():
    return Api


@pytest.fixture(scope="package")
def browser():
    """A browser; gone with these tests, as its driver keeps an event loop running meanwhile."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", NAMES_OF_ALL]
        )
        yield found
        found.close()


@pytest.fixture
def visit(browser, shown_cluster):
    """Open a page of the dashboard as somebody who was given its address."""
    contexts, complaints = [], []

    def open_page(path, *, size=DESK, colours="light", with_token=True):
        context = browser.new_context(viewport=size, color_scheme=colours)
        context.set_default_timeout(WAIT_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if is_bad(said) else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        token = shown_cluster.dashboard.partition("#")[2] if with_token else ""
        page.goto(f"http://{shown_cluster.http_address(1)}{path}#{token}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def is_bad(said):
    """A warning or an error; neither a killed node's silence nor that tests read pixels is one."""
    is_ours = any(words in said.text for words in ("ERR_CONNECTION", "Canvas2D"))
    return said.type in ("error", "warning") and not is_ours


@pytest.fixture
def fact():
    """Return the exact value behind a number on the page."""

    def read(page, name):
        found = page.locator(f'[data-fact="{name}"]').first
        found.wait_for()
        return found.get_attribute("data-value")

    return read


@pytest.fixture
def keep():
    """Keep a picture of a page."""

    def shoot(page, name):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)

    return shoot
