"""The house style as a test: what a machine can check of docs/style.md.

Every rule is a function from one file to its breaches, each as "line: what"; a rule is checked on
small examples of itself below, so that a rule that finds nothing anywhere is not a dead rule.
"""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

MODULE_LINES_MAX = 600
HANDLER_LINES_MAX = 200
FUNCTION_LINES_MAX = 70
PUBLIC_METHODS_MAX = 20

PURE_PACKAGES = ("raft", "records", "protocol", "storage", "metadata", "groups", "dedup", "broker")
"""Where the order of everything must be the same next time."""

TEXT_SUFFIXES = (".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".json", ".cfg")

# Put together here, so that this file does not name what it forbids.
MACHINE_PATHS = [re.compile("/" + name + "/") for name in ("home", "root", "work", "Users")]
UNFINISHED = re.compile(
    r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b"
)
PACKAGE_HOSTS = [
    re.compile(name, re.IGNORECASE) for name in ("pypi" + r"\.org", "python" + r"hosted\.")
]

LOCKS = ("Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "Barrier")
SLEEPS = ("time.sleep", "asyncio.sleep")


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file."""

    path: str
    """Relative to the checkout."""
    text: str

    @property
    def tree(self) -> ast.Module:
        return _parsed(self.text)

    @property
    def nodes(self) -> Iterator[ast.AST]:
        return ast.walk(self.tree)


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


Rule = Callable[[Source], Iterator[str]]


def rule_module_is_short(source: Source) -> Iterator[str]:
    limit = MODULE_LINES_MAX
    if "/broker/handlers/" in source.path and source.path.startswith("src/"):
        limit = HANDLER_LINES_MAX
    count = source.text.count("\n")
    if count > limit:
        yield f"1: {count} lines, at most {limit}: split it by idea"


def rule_module_has_docstring(source: Source) -> Iterator[str]:
    if source.path.startswith("src/") and not ast.get_docstring(source.tree):
        yield "1: no module docstring"


def rule_module_says_what_it_does_not(source: Source) -> Iterator[str]:
    if not source.path.startswith("src/") or source.path.endswith("__init__.py"):
        return
    # A handler says what it does like Kafka, a checker what it holds; a docstring of one line
    # belongs to a module whose name says it all.
    if "/handlers/" in source.path or "/checkers/" in source.path:
        return
    docstring = ast.get_docstring(source.tree) or ""
    if "\n" in docstring and "Does not:" not in docstring:
        yield '1: the module docstring has no line "Does not: ..."'


def rule_function_is_short(source: Source) -> Iterator[str]:
    for node in source.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count = (node.end_lineno or node.lineno) - node.lineno + 1
            if count > FUNCTION_LINES_MAX:
                yield f"{node.lineno}: {node.name} has {count} lines, at most {FUNCTION_LINES_MAX}"


def rule_class_is_small(source: Source) -> Iterator[str]:
    for node in source.nodes:
        if isinstance(node, ast.ClassDef) and not source.path.startswith("tests/"):
            public = [
                part.name
                for part in node.body
                if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)
                and not part.name.startswith("_")
                and not _is_property(part)
            ]
            if len(public) > PUBLIC_METHODS_MAX:
                yield f"{node.lineno}: {node.name} has {len(public)} public methods"


def rule_no_set_is_iterated(source: Source) -> Iterator[str]:
    if not source.path.startswith(tuple(f"src/trimaran/{name}/" for name in PURE_PACKAGES)):
        return
    for node in source.nodes:
        iterated: list[ast.expr] = []
        if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            iterated = [node.iter]
        elif isinstance(node, ast.Call) and _name(node.func) in ("list", "tuple", "enumerate"):
            iterated = node.args
        for expression in iterated:
            if _is_set(expression):
                yield f"{expression.lineno}: iterates a set: the order depends on the hash seed"


def rule_nothing_is_unfinished(source: Source) -> Iterator[str]:
    for number, comment in _comments(source.text):
        if UNFINISHED.search(comment):
            yield f"{number}: unfinished: {comment.strip()}"


def rule_no_code_in_comments(source: Source) -> Iterator[str]:
    for number, comment in _comments(source.text):
        text = comment.lstrip("#: ").strip()
        if _looks_like_code(text):
            yield f"{number}: code in a comment: {text}"


def rule_tests_do_not_sleep(source: Source) -> Iterator[str]:
    if not source.path.startswith("tests/"):
        return
    # On the simulator's loop time is virtual, and a sleep takes none.
    calls = SLEEPS[:1] if source.path.startswith("tests/sim/") else SLEEPS
    for node in source.nodes:
        if isinstance(node, ast.Call) and _name(node.func) in calls and not _is_zero(node.args):
            yield f"{node.lineno}: sleeps: wait for a condition, with a bound"


def rule_tests_assert(source: Source) -> Iterator[str]:
    if not Path(source.path).name.startswith("test_"):
        return
    for node in source.nodes:
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if is_function and node.name.startswith("test_") and not _asserts_within(node):
            yield f"{node.lineno}: {node.name} asserts nothing"


def rule_locks_only_in_server(source: Source) -> Iterator[str]:
    if not source.path.startswith("src/") or source.path.startswith("src/trimaran/server/"):
        return
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and _name(node) in {
            f"threading.{name}" for name in LOCKS
        }:
            yield f"{node.lineno}: a lock: one event loop owns all state"


def rule_no_machine_path(source: Source) -> Iterator[str]:
    yield from _named(source.text, MACHINE_PATHS, "a path of one machine")
    yield from _named(source.text, PACKAGE_HOSTS, "a package host")


RULES: list[Rule] = [
    rule_module_is_short,
    rule_module_has_docstring,
    rule_module_says_what_it_does_not,
    rule_function_is_short,
    rule_class_is_small,
    rule_no_set_is_iterated,
    rule_nothing_is_unfinished,
    rule_no_code_in_comments,
    rule_tests_do_not_sleep,
    rule_tests_assert,
    rule_locks_only_in_server,
    rule_no_machine_path,
]


@cache
def python_sources() -> tuple[Source, ...]:
    paths = sorted([*ROOT.glob("src/**/*.py"), *ROOT.glob("tests/**/*.py")])
    return tuple(
        Source(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
        for path in paths
    )


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__.removeprefix("rule_"))
def test_every_file_keeps_the_rule(rule: Rule) -> None:
    breaches = [f"{source.path}:{breach}" for source in python_sources() for breach in rule(source)]

    assert not breaches, "\n" + "\n".join(breaches)


def test_no_other_text_names_a_machine_path_or_a_package_host() -> None:
    folders = ("docs", "changelog.d", "ci", ".ci", "tests", "src")
    paths = [path for folder in folders for path in ROOT.glob(f"{folder}/**/*") if path.is_file()]
    paths += [path for path in ROOT.iterdir() if path.is_file()]
    texts = [
        Source(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
        for path in sorted(paths)
        if path.suffix in TEXT_SUFFIXES and path.suffix != ".py"
    ]

    breaches = [f"{text.path}:{breach}" for text in texts for breach in rule_no_machine_path(text)]

    assert len(texts) > 5
    assert not breaches, "\n" + "\n".join(breaches)


def test_every_test_folder_mirrors_a_package() -> None:
    packages = {path.name for path in ROOT.glob("src/trimaran/*/") if path.is_dir()}
    folders = {path.name for path in ROOT.glob("tests/*/") if list(path.glob("**/test_*.py"))}

    assert folders <= packages | {"cluster", "clients", "crash", "dashboard", "deploy", "golden"}


def _example(text: str, path: str = "src/trimaran/raft/example.py") -> Source:
    return Source(path, text)


_LONG_FUNCTION = "def f():\n" + "    x = 1\n" * 70

EXAMPLES: list[tuple[Rule, Source, bool]] = [
    (rule_module_is_short, _example("x = 1\n" * 600), True),
    (rule_module_is_short, _example("x = 1\n" * 601), False),
    (rule_module_is_short, _example("x = 1\n" * 201, "src/trimaran/broker/handlers/x.py"), False),
    (rule_module_has_docstring, _example('"""Says."""\n'), True),
    (rule_module_has_docstring, _example("x = 1\n"), False),
    (rule_module_says_what_it_does_not, _example('"""Says.\n\nDoes not: sing.\n"""\n'), True),
    (rule_module_says_what_it_does_not, _example('"""Says.\n\nMuch.\n"""\n'), False),
    (rule_function_is_short, _example(_LONG_FUNCTION), False),
    (rule_class_is_small, _example("class A:\n" + "  def m(self): ...\n" * 21), False),
    (rule_class_is_small, _example("class A:\n" + "  def _m(self): ...\n" * 21), True),
    (rule_no_set_is_iterated, _example("for x in {1, 2}:\n    f(x)\n"), False),
    (rule_no_set_is_iterated, _example("y = [x for x in set(z)]\n"), False),
    (rule_no_set_is_iterated, _example("y = list(set(z))\n"), False),
    (rule_no_set_is_iterated, _example("y = sorted(set(z))\n"), True),
    (rule_nothing_is_unfinished, _example("x = 1  # TO" + "DO: more\n"), False),
    (rule_no_code_in_comments, _example("# x = compute(y)\n"), False),
    (rule_no_code_in_comments, _example("# return self._log\n"), False),
    (
        rule_no_code_in_comments,
        _example("# It returns the log (all of it), and x = 1 holds.\n"),
        True,
    ),
    (rule_tests_do_not_sleep, _example("time.sleep(1)\n", "tests/raft/test_x.py"), False),
    (rule_tests_do_not_sleep, _example("await asyncio.sleep(0)\n", "tests/raft/test_x.py"), True),
    (rule_tests_assert, _example("def test_a():\n    f()\n", "tests/raft/test_x.py"), False),
    (rule_tests_assert, _example("def test_a():\n    assert f()\n", "tests/raft/test_x.py"), True),
    (rule_locks_only_in_server, _example("x = threading.Lock()\n"), False),
    (rule_no_machine_path, _example('x = "/ro' + 'ot/x"\n'), False),
]


@pytest.mark.parametrize(("rule", "source", "good"), EXAMPLES)
def test_rule_tells_good_from_bad(rule: Rule, source: Source, good: bool) -> None:
    assert (list(rule(source)) == []) is good


def _named(text: str, patterns: list[re.Pattern[str]], what: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        if any(pattern.search(line) for pattern in patterns):
            yield f"{number}: names {what}: {line.strip()}"


def _comments(text: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


_CODE = re.compile(
    r"^(return\b.*[\w)\]]|(from \S+ )?import [\w., ]+|[\w.\[\]]+ ?[+-]?= ?\S.*|@\w+.*|"
    r"(if|for|while|elif|with|def|class|async def) .*:|[\w.]+\(.*\))$"
)


def _looks_like_code(text: str) -> bool:
    """Return whether a comment parses as a statement that does something."""
    if not _CODE.match(text):
        return False
    try:
        (statement,) = ast.parse(text.rstrip(":") if text.endswith(":") else text).body or [None]
    except (SyntaxError, ValueError):
        return text.endswith(":") and bool(
            re.match(r"^(if|for|while|with|def|class)\b.*\(.*:$", text)
        )
    return isinstance(
        statement, ast.Assign | ast.AugAssign | ast.Return | ast.Import | ast.ImportFrom
    ) or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call))


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return ""


def _is_set(node: ast.expr) -> bool:
    return isinstance(node, ast.Set | ast.SetComp) or (
        isinstance(node, ast.Call) and _name(node.func) in ("set", "frozenset")
    )


def _is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(_name(one) in ("property", "cached_property") for one in node.decorator_list)


def _is_zero(arguments: list[ast.expr]) -> bool:
    """Return whether a sleep only gives the loop a turn."""
    return bool(arguments) and isinstance(arguments[0], ast.Constant) and not arguments[0].value


def _is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def _asserts_within(function: ast.AST) -> bool:
    return any(_asserts(node) for node in ast.walk(function))


def _asserts(node: ast.AST) -> bool:
    if isinstance(node, ast.Assert):
        return True
    if not isinstance(node, ast.Call):
        return False
    if any(keyword.arg == "check" and _is_true(keyword.value) for keyword in node.keywords):
        return True  # a program that must succeed
    within = node.func.value if isinstance(node.func, ast.Attribute) else None
    if isinstance(within, ast.Call) and _name(within.func) == "expect":
        return True  # Playwright's: waits until the page shows it, or fails
    called = _name(node.func).rpartition(".")[2]
    if called in ("raises", "fail", "warns", "run_state_machine_as_test"):
        return True
    return "assert" in called or "check" in called
