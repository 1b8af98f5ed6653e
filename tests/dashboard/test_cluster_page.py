"""The Cluster page against a real cluster: the picture, its numbers, and a leader that dies."""

import re
import time

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.cluster, pytest.mark.needs("chromium")]

OTHERS = re.compile("^[23]$")
FLOWS = """() => [...document.querySelectorAll('[data-edge]')].some(
    (one) => Number(one.dataset.rate) > 0
)"""


def test_its_numbers_are_those_of_the_api(visit, api, fact):
    page = visit("/")
    page.wait_for_selector('[data-card="3"]')
    health = api.get("/v1/cluster/health")
    assert fact(page, "nodes-up") == str(health["nodes_up"]) == "3"
    assert fact(page, "without-leader") == str(health["partitions_without_leader"]) == "0"
    for node in api.get("/v1/nodes")["items"]:
        number = node["node_id"]
        assert_fact(page, f"node-{number}-leaders", node["leaders"])
        assert_fact(page, f"node-{number}-term", node["facts"]["terms_max"])
        assert_fact(page, f"node-{number}-state", "up")


def assert_fact(page, name, value):
    expect(page.locator(f'[data-fact="{name}"]').first).to_have_attribute("data-value", str(value))


def test_events_flow_along_the_edges(visit):
    page = visit("/")
    expect(page.locator('[data-edge][data-reachable="true"]')).to_have_count(6)
    page.wait_for_function(FLOWS)
    assert page.locator(".edge-flow").count() > 0


def test_a_leadership_is_handed_over_from_its_square(visit, api):
    page = visit("/")
    square = page.locator('[data-square="departures-1"]')
    before = int(square.get_attribute("data-leads"))
    square.click()
    page.get_by_role("button", name=f"Hand departures-1 to node {before % 3 + 1}").click()
    expect(square).to_have_attribute("data-leads", str(before % 3 + 1))
    assert api.get("/v1/topics/departures/partitions/1")["leader"] == before % 3 + 1


def test_all_squares_together_are_one_stop_of_the_tab_key(visit):
    page = visit("/")
    page.locator('[data-square="departures-5"]').wait_for()
    assert page.locator('.square:not([tabindex="-1"])').count() == 0
    page.get_by_role("group", name="Partitions").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    square = page.evaluate("document.activeElement.dataset.square")
    below = page.locator(".leader-map .cells").nth(1).locator(".square")
    assert square == below.nth(min(1, below.count() - 1)).get_attribute("data-square")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name=f"Hand {square} to node")).to_have_count(2)


def test_without_the_token_of_the_run_there_are_no_buttons_that_break_nodes(visit):
    page = visit("/", with_token=False)
    page.wait_for_selector('[data-card="1"]')
    expect(page.get_by_text("open the address that was printed")).to_be_visible()
    assert page.get_by_role("button", name="Kill node 1").count() == 0


def test_a_node_is_frozen_and_cut_off_and_healed_again(visit):
    page = visit("/")
    for action, state in (("Freeze", "frozen"), ("Cut off", "cut off")):
        page.get_by_role("button", name=f"{action} node 3").click()
        assert_fact(page, "node-3-state", state)
        expect(page.locator('[data-edge="edge-1-3"]')).to_have_attribute("data-reachable", "false")
        page.get_by_role("button", name="Heal node 3").click()
        assert_fact(page, "node-3-state", "up")
        expect(page.locator('[data-edge][data-reachable="true"]')).to_have_count(6)


def test_a_leader_that_is_killed_is_seen_to_be_replaced_and_to_come_back(visit, api, keep):
    page = visit("/")
    led = page.locator('[data-fact="node-1-leaders"]').first
    expect(led).not_to_have_attribute("data-value", "0")
    page.get_by_role("button", name="Kill node 1").click()

    # The node that served the page is the one that died: another one serves it from now on.
    assert_fact(page, "node-1-state", "dead")
    assert_fact(page, "node-1-leaders", 0)
    assert_fact(page, "without-leader", 0)
    expect(page.locator('[data-fact="served-by"]')).to_have_attribute("data-value", OTHERS)
    expect(page.locator('[data-happening="incident"]').first).to_be_visible()
    assert api.get("/v1/cluster/health", node=2)["nodes_up"] == 2
    keep(page, "a-leader-was-killed")

    page.get_by_role("link", name="Failovers").click()
    page.wait_for_selector("[data-incident]")
    newest, shown = equal_totals(page, api)
    assert newest["lost_node"] == 1
    assert shown == str(newest["total_ms"])
    strip = page.locator("[data-incident]").first
    assert strip.locator("[data-part]").count() == len(newest["phases"]) - 1
    (committed,) = [row["at_ms"] for row in newest["phases"] if row["name"] == "first_commit"]
    expect(strip.locator("[data-committed]")).to_have_attribute("data-committed", str(committed))
    assert_fact(page, "p50", api.get("/v1/incidents", node=2)["p50_ms"])
    keep(page, "failovers")

    page.get_by_role("link", name="Cluster").click()
    page.get_by_role("button", name="Heal node 1").click()
    assert_fact(page, "node-1-state", "up")
    expect(page.locator('[data-edge][data-reachable="true"]')).to_have_count(6)

    page = visit("/failovers?cause=transfer")
    rows = api.get("/v1/incidents", node=2)["items"]
    assert_fact(page, "incidents", sum(row["cause"] == "transfer" for row in rows))


def equal_totals(page, api):
    """Return the newest incident and what is shown of it, once all its groups are over."""
    deadline = time.monotonic() + 20
    while True:
        newest = api.get("/v1/incidents", node=2)["items"][0]
        shown = page.locator("[data-incident]").first.get_attribute("data-total")
        if shown == str(newest["total_ms"]) or time.monotonic() > deadline:
            return newest, shown
