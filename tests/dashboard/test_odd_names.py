"""Names as people give them, what is not there, and values that a node refuses."""

from urllib.parse import quote

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.cluster, pytest.mark.needs("chromium")]

DESK, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
TOPIC = "orders.v1." + "x" * 190
GROUP = "team/readers.v1-" + "y" * 184
GROUPS, NAMED = 7, 5
"""So many, and how many of them a topic names in the list of all."""
SIDEWAYS = "() => document.scrollingElement.scrollWidth - window.innerWidth"


@pytest.fixture(scope="module")
def named(shown_cluster, api_of):
    """A topic and groups with long names of every kind of character."""
    api = api_of(shown_cluster)
    api.post("/v1/topics", {"name": TOPIC, "partitions": 2})
    api.post(f"/v1/topics/{TOPIC}/events", {"events": [{"value": 1}]})
    for group in (GROUP, *(f"reader-{number}" for number in range(GROUPS - 1))):
        body = {"topic": TOPIC, "to": {"kind": "earliest"}, "dry_run": False}
        api.post(f"/v1/groups/{quote(group, safe='')}/reset-offsets", body)


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_a_page_of_a_long_name_is_opened_by_its_address_and_fits(visit, named, size):
    page = visit(f"/topics/{TOPIC}?tab=groups", size=size)
    expect(page.locator('[data-fact="groups"]')).to_have_attribute("data-value", str(GROUPS))
    expect(page.locator("main table tbody tr")).to_have_count(GROUPS)
    assert page.title() == f"{TOPIC} · Topics · Trimaran"
    assert page.evaluate(SIDEWAYS) <= 0
    page.get_by_role("link", name=GROUP).click()
    page.reload()
    expect(page.get_by_role("heading", name=GROUP)).to_be_visible()
    expect(page.locator("[data-row]")).to_have_count(2)
    assert page.evaluate(SIDEWAYS) <= 0
    page.goto(page.url.partition("/groups")[0] + f"/log?topic={TOPIC}")
    page.wait_for_selector('[data-replica="1"]')
    assert page.evaluate(SIDEWAYS) <= 0


def test_how_many_groups_are_not_named_is_in_sight_beside_long_names(visit, named):
    page = visit("/topics")
    expect(page.get_by_text(f"{GROUPS - NAMED} more", exact=True)).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("topic=no-such-topic", "There is no topic no-such-topic"),
        ("topic=departures&partition=-1", "There is no partition -1"),
        ("topic=departures&partition=6", "There is no partition 6"),
    ],
)
def test_the_log_of_what_is_not_there_is_not_that_of_something_else(visit, query, told):
    page = visit(f"/log?{query}")
    expect(page.get_by_text(told)).to_be_visible()
    assert page.locator("[data-replica]").count() == 0


def test_a_setting_that_was_not_taken_stays_as_it_was_typed(visit):
    page = visit("/topics/departures?tab=config")
    row = page.locator('[data-setting="segment.ms"]')
    field = page.get_by_role("textbox", name="segment.ms", exact=True)
    page.route("**/v1/topics/departures", lambda route: route.abort("connectionrefused"))
    field.fill("seven days")
    row.get_by_role("button", name="Set").click()
    expect(row.get_by_role("alert")).to_contain_text("No answer came")
    assert field.input_value() == "seven days"


def test_an_event_that_was_chosen_on_a_phone_comes_into_sight(visit):
    page = visit("/topics/departures", size=PHONE)
    page.get_by_role("button", name="Pause").click()
    page.locator("[data-row]").first.click()
    expect(page.locator('[data-panel="event"]')).to_be_in_viewport(ratio=0.5)
    assert page.evaluate("window.scrollY") > 0
