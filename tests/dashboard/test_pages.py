"""Every page against a real cluster: numbers, plots, accessibility, a phone, first paint."""

import json
import re
import time

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.cluster, pytest.mark.needs("chromium")]

PAGES = {
    "cluster": "/",
    "failovers": "/failovers",
    "log": "/log?topic=departures&partition=1",
    "topics": "/topics",
    "topic": "/topics/departures",
    "publish": "/topics/payments?tab=publish",
    "partitions": "/topics/departures?tab=partitions",
    "topic-groups": "/topics/departures?tab=groups",
    "configuration": "/topics/payments?tab=config",
    "groups": "/groups",
    "group": "/groups/readers",
    "dedup": "/dedup",
}
SAMPLED_EVENTS = 200
"""As many as come to a partition between a look of the page and one of the test, and more."""
LEADS_AGAIN_S = 60.0
SERIOUS = ("serious", "critical")
FIRST_PAINT_MS_MAX = 1_000
FIRST_PAINTED = "() => performance.getEntriesByName('first-contentful-paint').length > 0"
DRAWN = """(name) => {
    const plot = document.querySelector(`[data-plot="${name}"]`);
    const canvas = plot?.querySelector("canvas");
    if (!canvas || canvas.width === 0) return false;
    const probe = document.createElement("canvas").getContext("2d");
    const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const style = getComputedStyle(document.documentElement);
    return JSON.parse(plot.dataset.series).every((variable) => {
        probe.fillStyle = style.getPropertyValue(variable).trim();
        probe.fillRect(0, 0, 1, 1);
        const [red, green, blue] = probe.getImageData(0, 0, 1, 1).data;
        for (let at = 0; at < data.length; at += 4)
            if (data[at + 3] > 100 && Math.abs(data[at] - red) + Math.abs(data[at + 1] - green)
                + Math.abs(data[at + 2] - blue) < 60) return true;
        return false;
    });
}"""
PLOTS = {
    "cluster": ["events in by leader", "produce p99 by leader"],
    "log": ["log ends", "behind", "latency stages", "fsync", "batching"],
    "group": ["events behind", "time behind"],
    "dedup": ["duplicates"],
}


@pytest.fixture(scope="module")
def readers(shown_cluster):
    """A group that reads, and then stops."""
    from confluent_kafka import Consumer

    consumer = Consumer(
        {"bootstrap.servers": shown_cluster.bootstrap_servers, "group.id": "readers"}
        | {"auto.offset.reset": "earliest", "log_level": 0}
    )
    consumer.subscribe(["departures"])
    deadline = time.monotonic() + 20
    while not consumer.consume(10, 0.5):
        assert time.monotonic() < deadline, "the group read nothing"
    consumer.commit(asynchronous=False)
    yield "readers"
    consumer.close()


@pytest.mark.parametrize(("name", "path"), PAGES.items(), ids=PAGES)
def test_page_is_accessible_and_fits_a_phone_in_both_colours(visit, readers, keep, name, path):
    from axe_playwright_python.sync_playwright import Axe

    page = visit(path)
    settle(page)
    keep(page, f"{name}-light")
    assert serious(Axe(), page) == []
    page.get_by_role("button", name="Switch to dark colours").click()
    page.wait_for_function("() => document.documentElement.dataset.theme === 'dark'")
    keep(page, f"{name}-dark")
    assert serious(Axe(), page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function("() => document.scrollingElement.scrollWidth <= window.innerWidth")
    keep(page, f"{name}-phone")


def settle(page):
    """Wait until the page shows what the cluster told it."""
    page.wait_for_selector('[data-fact="connection"][data-value="open"]')
    page.wait_for_function(
        "() => !/…$/.test(document.querySelector('main strong')?.textContent ?? '')"
    )


def serious(axe, page):
    found = axe.run(page).response["violations"]
    return [
        (row["id"], [node["html"][:200] for node in row["nodes"]])
        for row in found
        if row["impact"] in SERIOUS
    ]


@pytest.mark.parametrize(("name", "plots"), PLOTS.items(), ids=PLOTS)
def test_each_plot_draws_every_series(visit, api, readers, name, plots):
    wait_until_every_node_leads(api)
    page = visit(PAGES[name])
    for plot in plots:
        page.wait_for_selector(f'[data-plot="{plot}"]')
        page.wait_for_function(DRAWN, arg=plot)
    assert page.locator("[data-plot]").count() == len(plots)


def wait_until_every_node_leads(api):
    """A node that an earlier test killed leads nothing for a while, and then has no line."""
    deadline = time.monotonic() + LEADS_AGAIN_S
    led_by = set()
    while led_by != {1, 2, 3}:
        assert time.monotonic() < deadline, f"only {led_by} lead"
        rows = api.get("/v1/topics/departures/partitions")["items"]
        led_by = {row["leader"] for row in rows}


def test_the_log_shows_each_replicas_end_and_the_distributions(visit, api):
    page = visit(PAGES["log"])
    state = api.get("/v1/topics/departures/partitions/1")
    for replica in state["replicas"]:
        number = replica["node_id"]
        expect(value_of(page, f"replica-{number}-state")).to_have_attribute(
            "data-value", replica["state"]
        )
        expect(value_of(page, f"replica-{number}-term")).to_have_attribute(
            "data-value", str(replica["term"])
        )
        shown = int(value_of(page, f"replica-{number}-end").get_attribute("data-value"))
        assert shown >= replica["log_end"] - SAMPLED_EVENTS
    page.wait_for_selector('[data-bars="fsync_ms"] li')
    for name in ("fsync_ms", "round_events", "round_bytes"):
        widths = page.locator(f'[data-bars="{name}"] i').evaluate_all(
            "(bars) => bars.map((bar) => bar.getBoundingClientRect().width)"
        )
        assert max(widths) > 20


def value_of(page, fact):
    found = page.locator(f'[data-fact="{fact}"]').first
    found.wait_for()
    return found


def test_topics_shows_what_the_api_says(visit, api):
    page = visit("/topics")
    page.wait_for_selector('[data-topic="departures"]')
    for topic in api.get("/v1/topics")["items"]:
        if not topic["is_internal"]:
            shown = value_of(page, f"topic-{topic['name']}-partitions").get_attribute("data-value")
            assert int(shown) == topic["partitions"]
            events = int(
                value_of(page, f"topic-{topic['name']}-events").get_attribute("data-value")
            )
            assert 0 < events <= api.get(f"/v1/topics/{topic['name']}")["events"]
    page.get_by_label("Find a topic").fill("pay")
    expect(page.locator('[data-topic="departures"]')).to_have_count(0)
    assert "search=pay" in page.url


def test_an_event_of_the_tail_is_shown_in_every_view(visit, api):
    page = visit("/topics/departures")
    page.wait_for_selector("[data-row]")
    page.get_by_role("button", name="Pause").click()
    place = page.locator("[data-row]").first.get_attribute("data-row")
    page.locator(f'[data-row="{place}"]').click()  # another may be the first by now
    partition, offset = place.split(":")
    event = api.get(f"/v1/topics/departures/partitions/{partition}/events/{offset}")
    shown = page.locator('[data-panel="event"]')
    expect(shown).to_contain_text(str(event["value"]["data"]["number"]))
    expect(shown.get_by_text("terminal")).to_be_visible()
    shown.get_by_role("button", name="Text").click()
    expect(shown).to_contain_text('"gate": {"terminal"')
    shown.get_by_role("button", name="Hex").click()
    expect(shown).to_contain_text("7b 22 6e 75 6d 62 65 72")
    shown.get_by_role("button", name="Headers").click()
    expect(shown).to_contain_text("source")
    assert f"event={partition}%3A{offset}" in page.url
    page.reload()
    expect(page.locator('[data-panel="event"]')).to_contain_text("source")


SAID = """() => {
    window.said = [];
    const note = () => window.said.push(...[...document.querySelectorAll("[data-empty] strong")]
        .map((one) => one.textContent));
    new MutationObserver(note).observe(document.body, {childList: true, subtree: true});
}"""
"""Keeps what was ever shown in place of rows."""


@pytest.mark.parametrize("query", ["", "?offset=0", "?filter=value.number%20%3E%200"])
def test_a_topic_is_not_called_empty_before_a_node_said_so(visit, query):
    page = visit("/topics")
    page.wait_for_selector('[data-topic="departures"]')
    page.evaluate(SAID)
    page.evaluate("(path) => { history.pushState(null, '', path); }", f"/topics/departures{query}")
    page.evaluate("dispatchEvent(new PopStateEvent('popstate'))")
    page.wait_for_selector("[data-row]")
    assert set(page.evaluate("window.said")) <= {"Looking for departures…", "Reading…"}


def test_an_answer_that_comes_late_does_not_replace_what_was_asked_since(visit, api):
    """The node's answer to the first question is held back until the second one is on the page."""
    api.post("/v1/topics", {"name": "browsed", "partitions": 1})
    api.post("/v1/topics/browsed/events", {"events": [{"value": number} for number in range(5)]})
    page = visit("/topics/browsed?offset=0")
    rows = page.locator("[data-row]")
    expect(rows).to_have_count(5)
    held = []
    page.route(re.compile(r"/events\?.*offset=1(&|$)"), lambda route: held.append(route))
    for offset in (1, 3):
        page.evaluate("(path) => { history.pushState(null, '', path); }", f"?offset={offset}")
        page.evaluate("dispatchEvent(new PopStateEvent('popstate'))")
    expect(rows).to_have_count(2)

    assert len(held) == 1
    with page.expect_response(lambda answer: "offset=1" in answer.url):
        held[0].continue_()
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert rows.count() == 2


def test_a_topic_without_events_is_called_empty_once_a_node_said_so(visit, api):
    api.post("/v1/topics", {"name": "silent", "partitions": 1})
    page = visit("/topics/silent")
    expect(page.get_by_text("No events yet")).to_be_visible()
    page.get_by_label("Filter").fill("value.number >")
    page.get_by_label("Filter").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("filter")
    assert page.locator("[data-empty]").count() == 0


def test_a_filter_is_applied_by_the_node_and_a_wrong_one_is_told(visit):
    page = visit("/topics/departures?filter=value.number%20%25%2010%20%3D%3D%200")
    page.wait_for_selector("[data-row]")
    texts = page.locator("[data-row] .mono").all_inner_texts()
    numbers = [json.loads(text)["number"] for text in texts if text.startswith("{")]
    assert numbers
    assert all(number % 10 == 0 for number in numbers)
    page.get_by_label("Filter").fill("value.number >")
    page.get_by_label("Filter").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("filter")


def test_dragging_over_the_timeline_reads_from_there(visit):
    page = visit("/topics/departures")
    page.wait_for_selector("[data-row]")
    page.wait_for_selector('[data-buckets="90"] rect')
    box = page.locator(".timeline").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.5, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, middle, steps=4)
    page.mouse.up()
    page.wait_for_url("**from=*")
    expect(page.get_by_role("button", name="Back to live")).to_be_visible()
    page.wait_for_selector("[data-row]")
    begin = int(page.url.partition("from=")[2].partition("&")[0])
    first = page.locator("[data-row]").first.get_attribute("data-row").split(":")
    path = "/v1/topics/departures/partitions/{}/events/{}".format(*first)
    event = page.evaluate("async (path) => (await fetch(path)).json()", path)
    assert event["timestamp_ms"] >= begin


def test_the_same_id_sent_again_is_a_duplicate_of_the_first(visit, api):
    page = visit("/topics/payments?tab=publish")
    before = api.get("/v1/topics/payments/dedup")["hits"]
    page.get_by_role("textbox", name="Key").fill("by hand")
    page.get_by_role("button", name="Publish").click()
    expect(page.locator('[data-outcome="stored"]')).to_have_count(1)
    place = page.locator('[data-outcome="stored"] a').inner_text()
    page.get_by_role("button", name="Send the same id again").click()
    duplicate = page.locator('[data-outcome="duplicate"]')
    expect(duplicate).to_have_count(1)
    assert duplicate.locator("a").inner_text() == place
    page.get_by_role("link", name="Dedup").click()
    page.wait_for_function(
        "(before) => Number(document.querySelector('[data-fact=hits]')?.dataset.value) > before",
        arg=before,
    )
    assert api.get("/v1/topics/payments/dedup")["hits"] > before
    last = page.locator("[data-duplicate]").first
    expect(last).to_contain_text(place)


def test_a_setting_is_changed_and_goes_back_to_its_default(visit, api):
    page = visit("/topics/departures?tab=config")
    row = page.locator('[data-setting="retention.ms"]')
    row.wait_for()
    field = page.get_by_role("textbox", name="retention.ms", exact=True)
    field.fill("86400000")
    row.get_by_role("button", name="Set").click()
    expect(row).to_have_attribute("data-source", "topic")
    settings = {one["name"]: one for one in api.get("/v1/topics/departures/config")["items"]}
    assert settings["retention.ms"]["value"] == row.get_attribute("data-value") == "86400000"
    row.get_by_role("button", name="Default").click()
    expect(row).to_have_attribute("data-source", "default")


def test_a_groups_offsets_are_set_anew_after_a_look_at_what_would_change(visit, api, shown_cluster):
    commit_once(shown_cluster, "stopped")
    page = visit("/groups/stopped")
    expect(value_of(page, "members")).to_have_attribute("data-value", "0")
    group = api.get("/v1/groups/stopped")
    committed = next(row for row in group["partitions"] if row["committed"])
    name = f"committed-departures-{committed['partition']}"
    expect(value_of(page, name)).to_have_attribute("data-value", str(committed["committed"]))
    page.get_by_role("button", name="What would change?").click()
    expect(page.locator('[data-dry-run="true"]')).to_be_visible()
    assert committed_of(api.get("/v1/groups/stopped")) == committed_of(group)
    page.get_by_role("button", name="Do it").click()
    expect(page.locator('[data-dry-run="false"]')).to_be_visible()
    expect(value_of(page, name)).to_have_attribute("data-value", "0")
    assert set(committed_of(api.get("/v1/groups/stopped")).values()) == {0}


def committed_of(group):
    return {row["partition"]: row["committed"] for row in group["partitions"]}


def commit_once(cluster, group):
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer(
        {"bootstrap.servers": cluster.bootstrap_servers, "group.id": group, "log_level": 0}
    )
    consumer.commit(offsets=[TopicPartition("departures", 0, 5)], asynchronous=False)
    consumer.close()


def test_a_thousand_partitions_stay_usable(visit, api):
    api.post("/v1/topics", {"name": "wide", "partitions": 1_000, "replication_factor": 1})
    page = visit("/topics/wide?tab=partitions")
    table = page.locator('[data-rows="1000"]')
    table.wait_for()
    assert page.locator("[data-row]").count() < 60
    begin = time.perf_counter()
    table.locator(".rows-body").evaluate("(body) => body.scrollTo(0, body.scrollHeight)")
    page.wait_for_selector('[data-row="999"]')
    assert time.perf_counter() - begin < 2
    page.goto(page.url.partition("?")[0] + "?from=1000")
    expect(page.get_by_text("Choose a partition")).to_be_visible()
    page.route(re.compile("/events[?]"), lambda route: route.abort("connectionrefused"))
    page.get_by_label("Partition").select_option("7")
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Partition").select_option("all")
    expect(page.get_by_text("Choose a partition")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
    page.goto(page.url.partition("/topics")[0] + "/")
    expect(page.locator('[data-square^="wide-"]')).to_have_count(256)


def test_the_first_paint_comes_within_a_second(visit):
    page = visit("/")
    page.wait_for_function(FIRST_PAINTED)
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    print(f"first contentful paint after {paint:.0f} ms")
    assert paint < FIRST_PAINT_MS_MAX


def test_everything_is_reached_with_the_keyboard(visit):
    page = visit("/")
    page.wait_for_selector('[data-card="1"]')
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the page"
    for name in ("Cluster", "Failovers", "Log", "Topics"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == name
    page.keyboard.press("Enter")
    page.wait_for_url("**/topics")
    page.wait_for_selector('[data-topic="departures"]')


def test_an_unknown_page_and_an_unknown_topic_say_so(visit):
    page = visit("/nowhere")
    page.get_by_text("There is no such page").wait_for()
    assert page.get_by_role("link", name="Go to the cluster").is_visible()
    page = visit("/topics/nowhere")
    expect(page.get_by_text("trimaran topic create nowhere")).to_be_visible()


def test_json_is_published_as_it_was_typed_though_its_numbers_are_large(visit, api):
    page = visit("/topics/departures?tab=publish")
    typed = '{"number": 12345678901234567891, "rate": 1.10}'
    page.get_by_role("textbox", name="Value", exact=True).fill(f"  {typed}\n")
    page.get_by_role("button", name="Publish").click()
    place = page.locator('[data-outcome="stored"] a').inner_text()
    partition, offset = place.split(":")
    path = f"/v1/topics/departures/partitions/{partition}/events/{offset}?view=text"
    assert api.get(path)["value"]["data"] == typed
    page.locator('[data-outcome="stored"] a').click()
    shown = page.locator('[data-panel="event"]')
    expect(shown.get_by_text("12345678901234567891", exact=True)).to_be_visible()
    row = page.locator(f'[data-row="{place}"]')
    expect(row).to_contain_text('"number":12345678901234567891')


def test_a_page_that_came_over_plain_http_from_elsewhere_publishes_too(visit):
    page = visit("/topics/payments")
    page.add_init_script("delete Crypto.prototype.randomUUID")  # as browsers do there
    page.goto(page.url + "?tab=publish")
    assert page.evaluate("typeof crypto.randomUUID") == "undefined"
    page.get_by_role("button", name="Publish").click()
    expect(page.locator('[data-outcome="stored"]')).to_have_count(1)


def test_a_topic_of_many_partitions_has_its_events_over_time(visit, api):
    api.post("/v1/topics", {"name": "broad", "partitions": 100, "replication_factor": 1})
    api.post("/v1/topics/broad/events", {"events": [{"value": 1, "partition": 99}]})
    page = visit("/topics/broad")
    page.wait_for_selector('.timeline rect[data-events="1"]')
    assert page.get_by_role("alert").count() == 0


def test_a_page_by_a_name_that_no_node_knows_tells_the_setting(visit):
    page = visit("/topics")
    page.goto(page.url.replace("127.0.0.1", "stranger.example"))
    told = page.get_by_role("alert").first
    expect(told).to_contain_text("stranger.example")
    assert "http.allowed_origins" in told.inner_text()


def test_an_address_that_is_none_is_told_in_its_place(visit):
    page = visit("/topics/%25zz")
    expect(page.get_by_text("trimaran topic create")).to_be_visible()
    page.goto(page.url.partition("/topics")[0] + "/groups/%zz")
    page.wait_for_selector('[data-fact="connection"][data-value="open"]')
    assert page.get_by_role("link", name="Failovers").is_visible()
