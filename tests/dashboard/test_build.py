"""The page as a package's file: small, from this host alone, of types that the API really has."""

import importlib.util
import re
import sys

KIB = 1024
PAGE_BYTES_MAX = 300 * KIB


def test_types_are_those_of_the_api(root):
    spec = importlib.util.spec_from_file_location("api_types", root / "dashboard/api_types.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.TARGET.read_text() == module.types(), "make fmt renews them"


def test_all_of_it_together_is_small(built):
    files = [path for path in built.rglob("*") if path.suffix not in (".gz", ".br", ".sha256")]
    total = sum(smallest(path) for path in files)
    assert 50 * KIB < total < PAGE_BYTES_MAX


def smallest(path):
    """Return what a browser loads of a file."""
    packed = path.with_name(path.name + ".br")
    return (packed if packed.is_file() else path).stat().st_size


def test_it_names_no_other_host(built):
    loaded = re.compile(r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:)?//""")
    for path in built.rglob("*"):
        if path.suffix in (".html", ".css", ".js"):
            assert not loaded.search(path.read_text()), path


def test_the_lock_file_names_no_place_to_download_from(root):
    assert '"resolved"' not in (root / "dashboard/package-lock.json").read_text()


def test_without_a_package_registry_it_says_why_and_keeps_what_was_built(
    built, builder, monkeypatch, tmp_path
):
    before = (built / builder.STAMP).read_text()
    monkeypatch.setattr(builder, "NPM_OPTIONS", ("--no-save", f"--registry=http://{NOWHERE}"))
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    monkeypatch.setattr(builder, "HERE", copy_of(builder, tmp_path / "dashboard"))
    error = failure(builder)
    assert NOWHERE.partition(":")[0] in error or "ECONNREFUSED" in error
    assert (built / builder.STAMP).read_text() == before


NOWHERE = "127.0.0.1:9"
"""Nobody listens there."""


def copy_of(builder, target):
    for path in builder.sources():
        copied = target / path.relative_to(builder.HERE)
        copied.parent.mkdir(parents=True, exist_ok=True)
        copied.write_bytes(path.read_bytes())
    return target


def failure(builder):
    try:
        builder.build()
    except builder.BuildError as error:
        return str(error)
    return ""


def test_node_is_that_of_the_wheel(builder):
    assert builder.node_home().is_relative_to(sys.prefix)
