"""The pages when an answer is late, lost or odd: what is shown stays true."""

import re
import time

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.cluster, pytest.mark.needs("chromium")]


@pytest.fixture
def producer(shown_cluster):
    from confluent_kafka import Producer

    return Producer({"bootstrap.servers": shown_cluster.bootstrap_servers, "log_level": 0})


def test_a_time_in_nanoseconds_ends_no_page(visit, api, producer):
    api.post("/v1/topics", {"name": "nanos", "partitions": 1})
    page = visit("/topics/nanos")
    expect(page.get_by_text("No events yet")).to_be_visible()
    producer.produce("nanos", b'{"id": 12345678901234567891}', timestamp=time.time_ns())
    assert producer.flush(10) == 0
    row = page.locator('[data-row="0:0"]')
    expect(row).to_contain_text("out of range")
    expect(row).to_contain_text("12345678901234567891")
    row.click()
    expect(page.locator('[data-panel="event"]')).to_contain_text("out of range")
    expect(page.get_by_text("This page made a mistake")).to_have_count(0)


def test_offsets_are_set_to_the_plan_that_is_shown_and_to_no_other(visit, api, shown_cluster):
    from confluent_kafka import Consumer, TopicPartition

    api.post("/v1/topics", {"name": "planned", "partitions": 1})
    api.post("/v1/topics/planned/events", {"events": [{"value": number} for number in range(5)]})
    consumer = Consumer(
        {"bootstrap.servers": shown_cluster.bootstrap_servers, "group.id": "planners"}
        | {"log_level": 0}
    )
    consumer.commit(offsets=[TopicPartition("planned", 0, 3)], asynchronous=False)
    consumer.close()
    page = visit("/groups/planners")
    held = []
    page.route(re.compile("reset-offsets"), lambda route: held.append(route))
    with page.expect_request(re.compile("reset-offsets")):
        page.get_by_role("button", name="What would change?").click()
    page.get_by_role("combobox", name=re.compile(r"^To\b")).select_option("latest")
    with page.expect_response(re.compile("reset-offsets")):
        held[0].continue_()
    page.unroute(re.compile("reset-offsets"))

    expect(page.get_by_role("button", name="What would change?")).to_be_enabled()
    expect(page.locator(".reset-answer")).to_have_count(0)
    expect(page.get_by_role("button", name="Do it")).to_be_disabled()
    page.get_by_role("button", name="What would change?").click()
    expect(page.locator('[data-reset="0"]')).to_have_attribute("data-after", "5")
    page.get_by_role("button", name="Do it").click()
    expect(page.locator('[data-dry-run="false"] [data-after="5"]')).to_be_visible()
    (row,) = api.get("/v1/groups/planners")["partitions"]
    assert row["committed"] == 5


def test_an_event_is_not_shown_under_the_name_of_another(visit, api):
    page = visit("/topics/departures?partition=0&offset=0")
    shown = page.locator('[data-panel="event"]')
    page.locator('[data-row="0:0"]').click()
    expect(shown.locator("dl")).to_contain_text("0, 0")
    page.route(re.compile("/events/1[?]"), lambda _: None)  # no answer comes
    page.locator('[data-row="0:1"]').click()
    expect(shown.get_by_role("heading")).to_have_text("Event 0:1")
    expect(shown.locator("dl")).to_have_count(0)


def test_every_event_is_read_once_though_the_clocks_of_two_producers_differ(visit, api):
    api.post("/v1/topics", {"name": "two-clocks", "partitions": 2})
    page = visit("/topics")
    begin = page.evaluate("Date.now()") - 60_000
    times = [begin + at * 10 - at // 2 % 2 * 5_000 for at in range(800)]
    events = [
        {"value": at, "partition": at % 2, "timestamp_ms": time_ms}
        for at, time_ms in enumerate(times)
    ]
    api.post("/v1/topics/two-clocks/events", {"events": events})
    page.goto(page.url.replace("/topics", f"/topics/two-clocks?from={begin - 10_000}"))
    later = page.get_by_role("button", name="Later events")
    for read in (200, 400, 600):
        expect(page.locator(f'[data-rows="{read}"]')).to_be_visible()
        later.click()
    expect(page.get_by_text(re.compile("^800 events, .*; this is the end$"))).to_be_visible()


def test_later_events_are_not_those_of_what_was_asked_before(visit, api):
    api.post("/v1/topics", {"name": "long", "partitions": 1})
    api.post("/v1/topics/long/events", {"events": [{"value": at} for at in range(300)]})
    page = visit("/topics/long?offset=0")
    expect(page.locator('[data-rows="200"]')).to_be_visible()
    page.route(re.compile("offset=250"), lambda route: route.abort("connectionrefused"))
    page.get_by_label("From offset").fill("250")
    page.get_by_label("From offset").press("Enter")
    again = page.get_by_role("button", name="Ask again")
    expect(again).to_be_visible()
    page.unroute(re.compile("offset=250"))
    again.click()
    expect(page.locator('[data-rows="50"]')).to_be_visible()
    expect(page.locator("[data-row]").first).to_have_attribute("data-row", "0:250")


def test_events_with_old_times_are_seen_in_the_tail(visit, api):
    api.post("/v1/topics", {"name": "replayed", "partitions": 1})
    page = visit("/topics/replayed")
    expect(page.get_by_text("No events yet")).to_be_visible()
    api.post("/v1/topics/replayed/events", {"events": [{"value": "new"}]})
    expect(page.locator('[data-row="0:0"]')).to_be_visible()
    api.post("/v1/topics/replayed/events", {"events": [{"value": "old", "timestamp_ms": 1}]})
    expect(page.locator('[data-row="0:1"][aria-rowindex="2"]')).to_be_visible()


def test_an_event_whose_answer_was_lost_is_sent_again_by_the_same_id(visit):
    page = visit("/topics/payments?tab=publish")
    again = page.get_by_role("button", name="Send the same id again")
    expect(again).to_be_disabled()
    page.get_by_role("textbox", name="Event id").fill("order-4711")

    def lose(route):
        route.fetch()  # the node stores it
        route.abort("connectionreset")

    page.route(re.compile("/events$"), lose)
    page.get_by_role("button", name="Publish", exact=True).click()
    expect(page.get_by_text("The event may be stored")).to_be_visible()
    page.unroute(re.compile("/events$"))
    again.click()
    expect(page.locator('[data-outcome="duplicate"]')).to_contain_text("order-4711")
    page.get_by_role("button", name="Publish", exact=True).click()
    expect(page.locator('[data-outcome="stored"]')).not_to_contain_text("order-4711")


def test_a_line_that_is_no_header_is_refused(visit):
    page = visit("/topics/payments?tab=publish")
    headers = page.get_by_role("textbox", name="Headers")
    headers.fill("trace: 1\nsource test")
    expect(page.get_by_role("alert")).to_contain_text("source test")
    expect(page.get_by_role("button", name="Publish", exact=True)).to_be_disabled()
    headers.fill("trace: 1\n\nsource: test")
    expect(page.get_by_role("button", name="Publish", exact=True)).to_be_enabled()


def test_the_id_that_is_shown_is_the_one_that_is_sent(visit):
    page = visit("/topics/payments?tab=publish")
    shown = page.get_by_role("textbox", name="Event id of the next one").input_value()
    page.get_by_role("button", name="Publish", exact=True).click()
    expect(page.locator('[data-outcome="stored"]')).to_contain_text(shown)
    last = page.get_by_role("textbox", name="Event id of the last one sent")
    expect(last).to_have_value(shown)
