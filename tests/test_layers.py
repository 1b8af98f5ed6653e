"""The static checks as tests: layers, lint, format, types. Each fails with the tool's output."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOL_S_MAX = 300

CHECKS = {
    "import-linter": ["importlinter"],
    "ruff-check": ["ruff", "check", "src", "tests", "bench"],
    "ruff-format": ["ruff", "format", "--check", "src", "tests", "bench"],
    "mypy": ["mypy"],
}


def run_tool(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    if arguments == ["importlinter"]:
        # Its package has no __main__; this is what its console script calls.
        code = "from importlinter.cli import lint_imports_command as c; c()"
        command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=TOOL_S_MAX, check=False
    )


@pytest.mark.parametrize("name", CHECKS)
def test_static_check_finds_nothing(name: str) -> None:
    done = run_tool(CHECKS[name])

    assert done.returncode == 0, f"\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [("raft", "asyncio"), ("records", "os"), ("dedup", "time"), ("groups", "random")],
)
def test_contracts_name_every_pure_package(package: str, forbidden: str) -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    _, _, contract = text.partition('name = "sans-IO core')
    contract, _, _ = contract.partition("[[tool.importlinter")

    assert f'"trimaran.{package}"' in contract
    assert f'"{forbidden}"' in contract
