"""The Cluster page against a real cluster: the picture, its numbers, and a leader that dies."""

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.cluster, pytest.mark.needs("chromium")]


def test_its_numbers_are_those_of_the_api(visit, api, fact):
    page = visit("/")
    page.wait_for_selector('[data-card="3"]')
    health = api.get("/v1/cluster/health")
    assert fact(page, "nodes-up") == str(health["nodes_up"]) == "3"
    assert fact(page, "without-leader") == str(health["partitions_without_leader"]) == "0"
    for node in api.get("/v1/nodes")["items"]:
        number = node["node_id"]
        assert fact(page, f"node-{number}-leaders") == str(node["leaders"])
        assert fact(page, f"node-{number}-term") == str(node["facts"]["terms_max"])
        assert fact(page, f"node-{number}-state") == "up"


def test_events_flow_along_the_edges(visit):
    page = visit("/")
    edges = page.locator('[data-edge][data-reachable="true"]')
    expect(edges).to_have_count(6)
    page.wait_for_function(
        "[...document.querySelectorAll('[data-edge]')].some((one) => Number(one.dataset.rate) > 0)"
    )
    assert page.locator(".edge-flow").count() > 0
