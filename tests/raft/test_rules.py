"""The table of rules: every rule has its tests, and docs/raft-rules.md says so."""

import ast
import tomllib
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RULES = tomllib.loads((HERE / "rules.toml").read_text())
PAGE = HERE.parents[1] / "docs" / "raft-rules.md"
STORED_BUG_COUNT = 15

ETCD_STORIES = {
    "async_storage_writes",
    "async_storage_writes_append_aba_race",
    "campaign",
    "campaign_learner_must_vote",
    "checkquorum",
    "confchange_*",
    "forget_leader",
    "forget_leader_prevote_checkquorum",
    "forget_leader_read_only_lease_based",
    "heartbeat_resp_recovers_from_probing",
    "lagging_commit",
    "prevote",
    "prevote_checkquorum",
    "probe_and_replicate",
    "replicate_pause",
    "single_node",
    "slow_follower_after_compaction",
    "snapshot_succeed_via_app_resp",
    "snapshot_succeed_via_app_resp_behind",
}

HEAD = """# Which test holds which rule of Raft

Generated from `tests/raft/rules.toml` by `pytest tests/raft --rewrite`; do not edit. Tests and
scripts are in `tests/raft`. *Paper*: Ongaro and Ousterhout, "In Search of an Understandable
Consensus Algorithm (Extended Version)". *Thesis*: Ongaro, "Consensus: Bridging Theory and
Practice".
"""


def functions_of(file: str) -> list[str]:
    tree = ast.parse((HERE / file).read_text())
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


def render_rows(rows: list[dict]) -> list[str]:
    lines = ["| rule | source | tests |", "|---|---|---|"]
    for row in rows:
        where = row["source"] + (f"; etcd {row['etcd']}" if row.get("etcd") else "")
        tests = "<br>".join(f"`{test}`" for test in row.get("tests", ()))
        lines.append(f"| {row['rule']} | {where} | {tests or 'waiting: ' + row['waiting']} |")
    return lines


def render_stories(rows: list[dict]) -> list[str]:
    lines = ["| script | etcd's name for the situation |", "|---|---|"]
    for row in rows:
        script = (
            f"`scripts/{row['script']}.txt`" if "script" in row else "waiting: " + row["waiting"]
        )
        lines.append(f"| {script} | {row['etcd'] or '(ours)'} |")
    return lines


def render() -> str:
    sections = [
        ("The paper's rules", render_rows(RULES["paper"])),
        ("What the thesis and our design add", render_rows(RULES["more"])),
        ("Bugs that others had", render_rows(RULES["bug"])),
        ("Stories", render_stories(RULES["story"])),
    ]
    parts = [HEAD]
    parts += ["\n".join([f"## {title}", "", *lines, ""]) for title, lines in sections]
    return "\n".join(parts)


@pytest.mark.parametrize(
    "row",
    [row for part in ("paper", "more", "bug") for row in RULES[part]],
    ids=lambda row: row["rule"],
)
def test_a_rule_has_tests_that_exist_or_says_what_it_waits_for(row: dict) -> None:
    assert bool(row.get("tests")) != bool(row.get("waiting"))

    for test in row.get("tests", ()):
        file, _, function = test.partition("::")
        assert function in functions_of(file), f"no such test: {test}"


def test_all_rules_of_the_paper_and_all_known_bugs_are_in_the_table() -> None:
    assert len({row["etcd"] for row in RULES["paper"]}) == 26
    assert len(RULES["bug"]) >= STORED_BUG_COUNT
    assert not any("waiting" in row for row in RULES["paper"])


def test_every_paper_test_and_every_regression_test_is_named_by_a_rule() -> None:
    named = {
        test
        for part in ("paper", "more", "bug")
        for row in RULES[part]
        for test in row.get("tests", ())
    }

    for file in ("test_paper.py", "test_known_bugs.py"):
        for function in functions_of(file):
            if function.startswith("test_"):
                assert f"{file}::{function}" in named


def test_every_script_is_in_the_table_of_stories() -> None:
    scripts = sorted(path.stem for path in (HERE / "scripts").glob("*.txt"))

    assert sorted(row["script"] for row in RULES["story"] if "script" in row) == scripts


def test_every_story_of_etcd_is_told_or_says_what_it_waits_for() -> None:
    told = [name for row in RULES["story"] for name in row["etcd"].split(", ") if name]

    assert sorted(told) == sorted(ETCD_STORIES)
    assert all(("script" in row) != ("waiting" in row) for row in RULES["story"])


def test_the_page_says_what_the_table_says(rewrite: bool) -> None:
    page = render()

    if rewrite:
        PAGE.write_text(page)
    else:
        assert PAGE.read_text() == page
