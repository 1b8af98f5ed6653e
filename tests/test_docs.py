"""The documents against the code: commands exist, links resolve, generated tables are up to date.

Run as a program (`python -m tests.test_docs`; `make fmt` does) it writes the file map of
docs/code-structure.md and the tables of docs/settings.md and docs/testing.md anew.
"""

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scenarios import Result, load_results, load_table, played_by
from trimaran.config.description import describe
from trimaran.metadata.settings import Table
from trimaran.metadata.topic_settings import TOPIC_SETTINGS
from trimaran.sim import mutation
from trimaran.sim.faults import KINDS

ROOT = Path(__file__).parent.parent
MAP_PAGE = ROOT / "docs" / "code-structure.md"
MAP_BEGIN, MAP_END = "<!-- map -->\n", "<!-- /map -->\n"
SETTINGS_PAGE = ROOT / "docs" / "settings.md"
SETTINGS_BEGIN, SETTINGS_END = "<!-- settings -->\n", "<!-- /settings -->\n"
TESTING_PAGE = ROOT / "docs" / "testing.md"
BUGS_BEGIN, BUGS_END = "<!-- planted bugs -->\n", "<!-- /planted bugs -->\n"
SCENARIOS_BEGIN, SCENARIOS_END = "<!-- scenarios -->\n", "<!-- /scenarios -->\n"
SCENARIOS = load_table()
SCENARIO_COUNT = 42
MAKEFILE_LINES_MAX = 40

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
MAKE_COMMAND = re.compile(r"\bmake ([a-z][a-z-]*)")
COMMAND = re.compile(r"`trimaran ([a-z]+)\b")
MENTION = re.compile(r"`((?:src|tests|docs|ci|changelog\.d)/[\w./-]*)(?:::\w+)?`")
TARGETS = re.compile(r"^([a-z][a-z -]*):", re.MULTILINE)


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]


def shown(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def anchors(text: str) -> set[str]:
    """Return the anchors that a page's headings make."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


def file_map() -> str:
    """Return the map: one table for each package, the modules with their first lines."""
    tables: dict[str, list[str]] = {}
    for path in sorted(ROOT.glob("src/trimaran/**/*.py")):
        folder = path.parent.relative_to(ROOT / "src").as_posix()
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        first = docstring.partition("\n")[0].replace("|", "\\|")
        if path.name == "__init__.py":
            tables.setdefault(folder, []).insert(0, f"\n### {folder}\n\n{first}\n\n")
        else:
            tables.setdefault(folder, []).append(f"| `{path.name}` | {first} |\n")
    text = ""
    for folder in sorted(tables):
        heading, *rows = tables[folder]
        text += heading + ("| file | idea |\n|---|---|\n" + "".join(rows) if rows else "")
    return text.lstrip("\n")


def with_block(page: str, begin: str, block: str, end: str) -> str:
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{block}\n{end}{after}"


def with_map(page: str) -> str:
    return with_block(page, MAP_BEGIN, file_map(), MAP_END)


def table(heading: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [f"### {heading}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for row in rows:
        cells = [cell.replace("|", "\\|") for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def node_tables() -> list[str]:
    """Return a table for each section of a node's configuration."""
    sections: dict[str, list[tuple[str, ...]]] = {}
    for field in describe():
        default = "" if field.default == "None" else f"`{field.default}`"
        row = (f"`{field.path}`", default, f"`{field.bounds}`", field.doc)
        sections.setdefault(field.path.partition(".")[0], []).append(row)
    columns = ("setting", "default", "allowed", "meaning")
    return [table(f"Node: {name}", columns, rows) for name, rows in sections.items()]


def topic_table(settings: Table) -> str:
    """Return the table of what can be set on a topic."""
    rows = [
        (f"`{row.name}`", f"`{row.default}`", row.allowed, row.effect.value, row.doc)
        for row in settings.values()
    ]
    return table("Topic", ("setting", "default", "allowed", "effect", "meaning"), rows)


def with_settings(page: str) -> str:
    block = "\n".join([*node_tables(), topic_table(TOPIC_SETTINGS)])
    return with_block(page, SETTINGS_BEGIN, block, SETTINGS_END)


def scenario_table() -> str:
    """Return the table of scenarios: played by which tests and faults, and what became of each."""
    lines = [
        "| | scenario | tests | last run | faults of the seeds |",
        "|---|---|---|---|---|",
    ]
    results = load_results()
    for row in SCENARIOS:
        names = row.get("tests", ())
        tests = "<br>".join(f"`{name.replace('::', '` `')}`" for name in names)
        last = "<br>".join(shown_result(results.get(name)) for name in names)
        faults = ", ".join(row.get("faults", ()))
        tests = tests or f"waits for {row['waits']}"
        lines.append(f"| {row['id']} | {row['what']} | {tests} | {last} | {faults} |")
    return "\n".join(lines) + "\n"


def shown_result(result: Result | None) -> str:
    return "**not run**" if result is None else f"{result.outcome} {result.date}"


def bug_table() -> str:
    """Return the table of planted bugs as they are on record."""
    bugs = mutation.load_bugs(ROOT / mutation.BUGS)
    return mutation.markdown(bugs, mutation.load_record(ROOT / mutation.RECORD))


def with_proofs(page: str) -> str:
    page = with_block(page, SCENARIOS_BEGIN, scenario_table(), SCENARIOS_END)
    return with_block(page, BUGS_BEGIN, bug_table(), BUGS_END)


def test_file_map_names_every_module_by_its_first_line() -> None:
    page = MAP_PAGE.read_text(encoding="utf-8")

    assert MAP_BEGIN in page
    assert page == with_map(page), "the file map is out of date: `make fmt` renews it"


def test_settings_page_names_every_setting_with_default_and_bounds() -> None:
    page = SETTINGS_PAGE.read_text(encoding="utf-8")

    assert SETTINGS_BEGIN in page
    assert page == with_settings(page), "the settings are out of date: `make fmt` renews them"


def test_testing_page_has_every_scenario_and_every_planted_bug() -> None:
    page = TESTING_PAGE.read_text(encoding="utf-8")

    assert SCENARIOS_BEGIN in page
    assert BUGS_BEGIN in page
    assert page == with_proofs(page), "the tables are out of date: `make fmt` renews them"


def test_every_scenario_has_a_test_that_exists_or_says_what_it_waits_for() -> None:
    wanted = played_by([])
    defined = {
        f"{file}::{node.name}"
        for file in {name.partition("::")[0] for name in wanted}
        for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert [row["id"] for row in SCENARIOS] == [f"S{n}" for n in range(1, SCENARIO_COUNT + 1)]
    assert [name for name in wanted if name not in defined] == []
    assert all(("tests" in row) != ("waits" in row) for row in SCENARIOS)
    assert [kind for row in SCENARIOS for kind in row.get("faults", ()) if kind not in KINDS] == []


@pytest.mark.parametrize("page", pages(), ids=shown)
def test_every_link_resolves(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    broken = []
    for target in LINK.findall(text):
        path, _, anchor = target.partition("#")
        if path.startswith(("http://", "https://", "mailto:")):
            continue
        found = page.parent / path if path else page
        text_found = found.read_text(encoding="utf-8") if found.is_file() else ""
        if not found.exists() or (anchor and anchor not in anchors(text_found)):
            broken.append(target)

    assert not broken


@pytest.mark.parametrize("page", pages(), ids=shown)
def test_every_file_that_is_mentioned_exists(page: Path) -> None:
    mentioned = MENTION.findall(page.read_text(encoding="utf-8"))

    assert [path for path in mentioned if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", pages(), ids=shown)
def test_every_make_command_is_a_target(page: Path) -> None:
    rules = TARGETS.findall((ROOT / "Makefile").read_text(encoding="utf-8"))
    targets = {target for rule in rules for target in rule.split()}
    code = re.findall(r"`([^`\n]+)`|^    (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    wanted = {name for line in code for name in MAKE_COMMAND.findall(" ".join(line))}

    assert wanted <= targets


@pytest.mark.parametrize("page", pages(), ids=shown)
def test_every_trimaran_command_is_a_noun_of_the_command_line(page: Path) -> None:
    nouns = set(COMMAND.findall(page.read_text(encoding="utf-8")))
    known = {path.stem for path in ROOT.glob("src/trimaran/cli/*.py")} | {"node"}

    assert nouns <= known


def test_readme_tells_to_type_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert "make demo" in readme
    assert "make test" in readme


def test_every_test_folder_has_its_row() -> None:
    page = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    folders = [path for path in ROOT.glob("tests/*/") if list(path.glob("**/test_*.py"))]
    small = {"metadata", "server"}  # ordinary unit tests, no kind of their own

    missing = [one.name for one in folders if f"tests/{one.name}/" not in page]
    assert set(missing) <= small


def test_makefile_is_short() -> None:
    assert len((ROOT / "Makefile").read_text(encoding="utf-8").splitlines()) <= MAKEFILE_LINES_MAX


def test_index_names_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    names = [path.name for path in ROOT.glob("docs/*.md") if path.name != "README.md"]

    assert [name for name in names if f"({name})" not in index] == []


def test_constraints_are_names_and_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]

    assert len(pins) > 20
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)] == []


def _renew(path: Path, renewed: Callable[[str], str]) -> None:
    path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    _renew(MAP_PAGE, with_map)
    _renew(SETTINGS_PAGE, with_settings)
    _renew(TESTING_PAGE, with_proofs)
