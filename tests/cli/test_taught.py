"""Commands that the dashboard teaches are commands that there are."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
import typer

DASHBOARD = Path(__file__).parents[2] / "dashboard/src"
COMMAND = re.compile(r"""command=(?:"([^"]+)"|\{`([^`]+)`\})""")
FILLED_IN = re.compile(r"\$\{[^}]*\}")


def taught():
    found = set()
    for path in sorted(DASHBOARD.rglob("*.tsx")):
        for plain, template in COMMAND.findall(path.read_text()):
            text = FILLED_IN.sub("x", plain or template)
            before, name, rest = text.partition("trimaran ")
            if name and not before.startswith("curl"):
                found.add(re.split(r"[<>|]", rest)[0].strip())
    return sorted(found)


@pytest.mark.parametrize("text", taught())
def test_a_taught_command_is_understood(text, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    words = shlex.split(text)
    app = typer.Typer()
    app.callback()(lambda: None)
    import_module(f"trimaran.cli.{words[0]}").register(app)
    command = typer.main.get_command(app)
    context = command.make_context("trimaran", words)
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        context = command.make_context(name, rest, parent=context)
    assert context.params


def test_pages_do_teach():
    assert len(taught()) >= 6
