"""Compiles what is in C into the package: event ids' inner loops, and the journal's lane.

The package build does this by itself (`build_hook.py`); `python build_native.py` does it by hand.
Does not: compile again what is newer than its source.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).absolute().parent
PACKAGE = HERE / "src" / "trimaran"
LOOPS = PACKAGE / "dedup" / "_native.c"
LANE = PACKAGE / "server" / "_lane.c"
SOURCES = [LOOPS, LANE] if sys.platform == "linux" else [LOOPS]
LIMITED_API = "0x030B0000"
"""Of Python 3.11: the compiled file serves that version and all later ones."""
COMPILE_S = 120


class CompileError(Exception):
    """Something is not compiled; the package does the same without it, more slowly."""


def compile_all() -> None:
    """Compile what changed since. Raises CompileError; then nothing compiled is left behind."""
    try:
        for source in SOURCES:
            compile_one(source, compiled_path(source))
    except CompileError:
        for source in SOURCES:
            compiled_path(source).unlink(missing_ok=True)
        raise


def compiled_path(source: Path) -> Path:
    """Return where the extension module of a source goes."""
    return source.with_suffix(".abi3.so")


def compile_one(source: Path, compiled: Path) -> None:
    """Compile one extension module, if its source is newer. Raises CompileError."""
    if os.environ.get("TRIMARAN_PURE"):
        raise CompileError("TRIMARAN_PURE is set")
    if compiled.is_file() and compiled.stat().st_mtime > source.stat().st_mtime:
        return
    made = compiled.with_suffix(f".{os.getpid()}")
    command = [*compiler(), "-std=c11", "-O2", "-Wall", "-Wextra", "-fPIC", "-shared", "-pthread"]
    command += [f"-DPy_LIMITED_API={LIMITED_API}", f"-I{sysconfig.get_paths()['include']}"]
    command += [str(source), "-o", str(made)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMPILE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CompileError(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        made.unlink(missing_ok=True)
        raise CompileError(f"{command[0]} ended with {done.returncode}: {done.stderr[-2_000:]}")
    made.replace(compiled)


def compiler() -> list[str]:
    """Return the command that compiles C: CC, or what Python itself was compiled with, or cc."""
    if os.environ.get("CC"):
        return os.environ["CC"].split()
    own = (sysconfig.get_config_var("CC") or "cc").split()
    return [own[0]] if shutil.which(own[0]) else ["cc"]


def platform_tag() -> str:
    """Return the last part of a wheel's name, as linux_x86_64."""
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


def main() -> int:
    """Compile; say what happened."""
    try:
        compile_all()
    except CompileError as error:
        print(f"not compiled: {error}", file=sys.stderr)
        return 1
    print("compiled:", *(source.name for source in SOURCES))
    return 0


if __name__ == "__main__":
    sys.exit(main())
