"""Contexts, formats and completion: what makes a command line pleasant to live with."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from trimaran.cli.contexts import path_of_contexts
from trimaran.cli.output import Format, show_document


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("TRIMARAN_CONTEXT", raising=False)


def test_the_first_context_is_used_until_another_is_chosen(run):
    run("context", "set", "home", "--bootstrap", "127.0.0.1:1")
    run("context", "set", "work", "--bootstrap", "127.0.0.1:2", "--http", "127.0.0.1:3")
    assert [row["current"] for row in listed(run)] == [True, False]

    run("context", "use", "work")
    assert [row["current"] for row in listed(run)] == [False, True]

    run("context", "delete", "work")
    assert [row["name"] for row in listed(run)] == ["home"]


def listed(run):
    code, out, _ = run("context", "list", "-o", "json")
    assert code == 0
    return json.loads(out)


def test_commands_talk_to_the_context_in_use_unless_told_otherwise(run, monkeypatch):
    run("context", "set", "home", "--bootstrap", "127.0.0.1:x", "--http", "127.0.0.1:y")

    assert "127.0.0.1:x" in run("cluster", "status")[2]
    assert "127.0.0.1:y" in run("cluster", "health")[2]
    assert "127.0.0.1:z" in run("cluster", "status", "--bootstrap", "127.0.0.1:z")[2]
    monkeypatch.setenv("TRIMARAN_BOOTSTRAP", "127.0.0.1:v")
    assert "127.0.0.1:v" in run("cluster", "status")[2]


def test_a_context_that_is_not_there_is_named_with_those_that_are(run, monkeypatch):
    run("context", "set", "home", "--bootstrap", "127.0.0.1:1")

    code, _, err = run("context", "use", "elsewhere")
    assert (code, "(home)" in err, "'elsewhere'" in err) == (2, True, True)
    monkeypatch.setenv("TRIMARAN_CONTEXT", "gone")
    assert run("cluster", "status")[0] == 2


@pytest.mark.parametrize("text", ["[", "current: 5", "contexts: {a: {boot: x}}", "- 1"])
def test_a_damaged_file_is_named_and_nothing_is_overwritten(run, text):
    path = path_of_contexts()
    path.parent.mkdir(parents=True)
    path.write_text(text)

    code, _, err = run("context", "set", "home", "--bootstrap", "127.0.0.1:1")

    assert code == 2
    assert str(path) in err
    assert path.read_text() == text


def test_yaml_says_what_json_says(capsys):
    value = {"name": "Grüße", "rows": [1, None, {"a": True}]}
    show_document(value, Format.JSON)
    show_document(value, Format.YAML)

    first, second = capsys.readouterr().out.split("---\n")

    assert json.loads(first) == yaml.safe_load(second) == value


def test_the_shell_can_complete_nouns_and_verbs():
    environment = {
        **os.environ,
        "_TRIMARAN_COMPLETE": "complete_bash",
        "COMP_WORDS": "trimaran context d",
        "COMP_CWORD": "2",
    }
    done = subprocess.run(
        [sys.executable, "-c", "from trimaran.cli.main import main; main([])"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.stdout.split() == ["delete"]
