"""What the repository ships for Prometheus and Grafana uses what a node tells, and nothing else."""

import json
import re
from pathlib import Path

import pytest
import yaml

from trimaran.server.observing.catalogue import (
    BY_NAME,
    COUNTER,
    GAUGE,
    HISTOGRAM,
    METRICS,
    PROCESS_METRICS,
)
from trimaran.server.observing.document import main, text

ROOT = Path(__file__).parents[3]
DASHBOARD = json.loads((ROOT / "deploy/grafana/trimaran.json").read_text(encoding="utf-8"))
ALERTS = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8"))
NAME = re.compile(r"\b(?:trimaran|process|python)_[a-z0-9_]+")
SELECTOR = re.compile(r"\b((?:trimaran|process)_[a-z0-9_]+)\{([^}]*)\}")
LABEL = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"')
EVERYWHERE = ("job", "instance")


def known_names():
    names = {name for name, _, _ in PROCESS_METRICS}
    for metric in BY_NAME.values():
        names.add(metric.told_name)
        if metric.kind == HISTOGRAM:
            names |= {f"{metric.name}_{part}" for part in ("bucket", "sum", "count")}
    return names


def labels_of(name):
    for metric in BY_NAME.values():
        base = name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
        if name == metric.told_name or (metric.kind == HISTOGRAM and base == metric.name):
            return (*metric.labels, *EVERYWHERE, *(("le",) if metric.kind == HISTOGRAM else ()))
    return EVERYWHERE


def rules():
    return [rule for group in ALERTS["groups"] for rule in group["rules"]]


def expressions():
    found = [rule["expr"] for rule in rules()]
    for panel in DASHBOARD["panels"]:
        found += [target["expr"] for target in panel.get("targets", [])]
    found += [variable["query"] for variable in DASHBOARD["templating"]["list"]]
    found += [note["expr"] for note in DASHBOARD["annotations"]["list"]]
    return found


@pytest.mark.parametrize("expression", expressions())
def test_every_expression_uses_only_metrics_and_labels_that_there_are(expression):
    names = NAME.findall(expression)
    assert set(names) <= known_names(), expression
    for name, selector in SELECTOR.findall(expression):
        assert set(LABEL.findall(selector)) <= set(labels_of(name)), expression
    assert names or expression == "prometheus" or "up{" in expression
    assert expression.count("(") == expression.count(")")
    assert expression.count("{") == expression.count("}")


@pytest.mark.parametrize("expression", expressions())
def test_counters_are_only_used_as_rates(expression):
    for name in NAME.findall(expression):
        if name.endswith(("_total", "_bucket")):
            assert re.search(rf"(rate|increase)\({name}\b", expression), expression


def test_labels_that_legends_and_annotations_show_are_there():
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            names = NAME.findall(target["expr"])
            there = {label for name in names for label in labels_of(name)}
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert shown <= there | {"le"}, target
    for rule in rules():
        there = {label for name in NAME.findall(rule["expr"]) for label in labels_of(name)}
        shown = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        assert shown <= there | set(EVERYWHERE), rule


def test_panels_do_not_overlap_and_have_ids_of_their_own():
    taken = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["id"]) == panel["id"], panel["title"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_every_alert_has_a_severity_a_summary_and_something_to_do():
    names = [rule["alert"] for rule in rules()]
    assert len(dict.fromkeys(names)) == len(names) > 10
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


def test_names_keep_the_conventions():
    for metric in BY_NAME.values():
        assert re.fullmatch(r"trimaran_[a-z][a-z0-9_]*[a-z0-9]", metric.name)
        assert metric.kind in (COUNTER, GAUGE, HISTOGRAM)
        assert not metric.name.endswith("_total"), "prometheus-client adds it"
        assert "_ms" not in metric.name
        assert metric.help.endswith(".")
        if metric.kind == HISTOGRAM and "duration" in metric.name:
            assert metric.name.endswith("_seconds")
    assert len(BY_NAME) == sum(len(metrics) for metrics in METRICS.values())


def test_the_page_of_metrics_is_what_the_code_says():
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")

    assert page == text(), "run: python -m trimaran.server.observing.document docs/metrics.md"


def test_the_page_can_be_written_anew(tmp_path, capsys):
    assert main([str(tmp_path / "metrics.md")]) == 0
    assert (tmp_path / "metrics.md").read_text(encoding="utf-8") == text()
    assert main([]) == 0
    assert capsys.readouterr().out == text()
