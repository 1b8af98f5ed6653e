"""The pages when nodes are gone, cut off or refuse: nothing old is called live, all comes back."""

import json
import re

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.cluster, pytest.mark.needs("chromium")]

STREAM = re.compile("/v1/stream$")
NOT_NOW = {
    "type": "/problems/unavailable",
    "title": "Not now",
    "status": 503,
    "detail": "no leader",
}
NOT_NOW |= {"instance": "/v1/stream", "served_by": 1, "errors": [], "retry_after_s": None}


class Wire:
    """What is between the page and its node: it can be cut, and say what no node said."""

    def __init__(self, page):
        self.routes = []
        self.asked = []
        self.is_cut = False
        self._refused = {}
        page.route_web_socket(STREAM, self._serve)

    def refuse(self, asked, status, times=1):
        """Refuse a feed by its name, or the one answer at a path."""
        self._refused[asked] = (status, times)

    def cut(self):
        self.is_cut = True
        for route in self.routes:
            route.close()
        self.routes.clear()

    def _serve(self, route):
        if self.is_cut:
            route.close()
            return
        node = route.connect_to_server()
        self.routes.append(route)
        route.on_message(lambda text: self._pass(route, node, text))

    def _pass(self, route, node, text):
        message = json.loads(text)
        self.asked.append(message)
        asked = message.get("path", message.get("feed"))
        status, times = self._refused.get(asked, (0, 0))
        if message["type"] == "subscribe" and times > 0:
            self._refused[asked] = (status, times - 1)
            problem = NOT_NOW | {"status": status}
            route.send(json.dumps({"type": "error", "id": message["id"], "problem": problem}))
        else:
            node.send(text)


@pytest.fixture
def wired(visit):
    """Open a page whose connection is in the test's hands."""

    def open_page(path):
        page = visit("/nowhere")
        wire = Wire(page)
        page.goto(page.url.replace("/nowhere", path))
        return page, wire

    return open_page


def note(page):
    return page.get_by_role("region", name="Events", exact=True).locator("header .note .chip")


def test_without_any_node_nothing_is_called_live_or_new(wired, keep):
    page, wire = wired("/topics/departures")
    page.wait_for_selector("[data-row]")
    expect(note(page)).to_have_text("live")
    wire.cut()
    expect(note(page)).to_have_text("waiting")
    expect(page.locator('[data-fact="as-of"]')).to_contain_text(re.compile(r"as of \d\d:\d\d:\d\d"))
    keep(page, "no-node-answers")
    wire.is_cut = False
    expect(page.locator('[data-fact="as-of"]')).to_have_count(0)
    expect(note(page)).to_have_text("live")


def test_a_feed_that_a_node_could_not_serve_for_a_moment_is_asked_for_again(wired):
    page, wire = wired("/topics")
    page.wait_for_selector('[data-topic="departures"]')
    wire.refuse("tail", 503)
    page.locator('[data-topic="departures"]').click()
    page.wait_for_selector("[data-row]")
    expect(note(page)).to_have_text("live")
    assert [one["type"] for one in wire.asked if one.get("feed") == "tail"] == ["subscribe"] * 2


def test_a_feed_that_ended_says_so_and_is_asked_for_by_hand(wired):
    page, wire = wired("/topics")
    page.wait_for_selector('[data-topic="departures"]')
    wire.refuse("tail", 500)
    page.locator('[data-topic="departures"]').click()
    expect(note(page)).to_have_text("stopped")
    page.get_by_role("button", name="Ask again").click()
    page.wait_for_selector("[data-row]")
    expect(note(page)).to_have_text("live")


def test_a_topic_that_no_node_could_look_for_is_not_said_not_to_be_there(wired):
    page, wire = wired("/topics")
    page.wait_for_selector('[data-topic="departures"]')
    wire.refuse("/v1/topics/no-such-topic", 500)
    page.goto(page.url.replace("/topics", "/log?topic=no-such-topic"))
    expect(page.get_by_text("Not now", exact=True)).to_be_visible()
    assert page.get_by_text("There is no topic").count() == 0
    page.get_by_role("button", name="Ask again").click()
    expect(page.get_by_text("There is no topic no-such-topic")).to_be_visible()


def test_a_pause_outlives_the_connection(wired):
    page, wire = wired("/topics/departures")
    page.wait_for_selector("[data-row]")
    page.get_by_role("button", name="Pause").click()
    expect(note(page)).to_have_text("paused")
    first = page.locator("[data-row]").first.get_attribute("data-row")
    tails = len([one for one in wire.asked if one.get("feed") == "tail"])
    wire.cut()
    expect(page.locator('[data-fact="connection"]')).to_have_attribute("data-value", "lost")
    wire.is_cut = False
    expect(page.locator('[data-fact="connection"]')).to_have_attribute("data-value", "open")
    expect(note(page)).to_have_text("paused")
    assert page.locator("[data-row]").first.get_attribute("data-row") == first
    assert len([one for one in wire.asked if one.get("feed") == "tail"]) == tails
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(f'[data-row="{first}"][aria-rowindex="2"]')).to_have_count(0)
    expect(note(page)).to_have_text("live")


def test_plots_of_what_is_new_begin_at_once(visit):
    page = visit("/nowhere")
    begin_ms = page.evaluate("Date.now()") - 300_000
    nothing = {"begin_ms": begin_ms, "step_ms": 1000, "nodes": {"1": {}}, "served_by": 1}
    page.route(re.compile("/v1/metrics/history"), lambda route: route.fulfill(json=nothing))
    page.goto(page.url.replace("/nowhere", "/"))
    plot = page.locator('[data-plot="events in by leader"]')
    expect(plot).to_have_attribute("data-points", "300")


PROXY = "https://proxy.example"


def test_a_page_behind_a_tls_proxy_comes_back_when_the_proxy_does(visit, api, shown_cluster):
    """The proxy is the test: it serves what node 1 does, and nodes by names of their own."""
    page = visit("/nowhere")
    own = f"http://{shown_cluster.http_address(1)}"
    page.route(
        f"{PROXY}/**",
        lambda route: route.fulfill(
            response=route.fetch(url=route.request.url.replace(PROXY, own))
        ),
    )
    nodes = [row | {"host": "n.example"} for row in api.get("/v1/nodes")["items"]]
    news = {"type": "cluster", "at_ms": 0, "nodes": nodes, "edges": []}
    news["health"] = api.get("/v1/cluster/health")
    opened = []

    def serve(route):
        opened.append(route)
        route.on_message(lambda text: route.send(json.dumps(news | {"id": json.loads(text)["id"]})))
        if len(opened) != 2:  # the second finds the proxy still gone
            route.send('{"type": "hello", "served_by": 1}')
        else:
            route.close()

    page.route_web_socket(STREAM, serve)
    page.goto(f"{PROXY}/")
    page.wait_for_selector('[data-card="3"]')
    opened[0].close()
    expect(page.locator('[data-fact="connection"]')).to_have_attribute("data-value", "lost")
    expect(page.locator('[data-fact="connection"]')).to_have_attribute("data-value", "open")
    assert [route.url for route in opened] == ["wss://proxy.example/v1/stream"] * 3


def test_the_page_leaves_a_node_that_is_cut_off(visit, api, shown_cluster):
    page = visit("/")
    expect(page.locator('[data-fact="served-by"]')).to_have_attribute("data-value", "1")
    page.get_by_role("button", name="Cut off node 1").click()
    served_by = page.locator('[data-fact="served-by"]')
    expect(served_by).to_have_attribute("data-value", re.compile("^[23]$"))
    expect(page.locator('[data-fact="nodes-up"]')).to_have_attribute("data-value", "2")
    page.get_by_role("button", name="Heal node 1").click()
    expect(page.locator('[data-fact="node-1-state"]').first).to_have_attribute("data-value", "up")
