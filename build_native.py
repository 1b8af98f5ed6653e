"""Compiles the inner loops of event ids (`src/trimaran/dedup/_native.c`) into the package.

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
SOURCE = HERE / "src" / "trimaran" / "dedup" / "_native.c"
COMPILED = SOURCE.with_suffix(".abi3.so")
LIMITED_API = "0x030B0000"
"""Of Python 3.11: the compiled file serves that version and all later ones."""
COMPILE_S = 120


class CompileError(Exception):
    """There is no compiled code; the package does the same without it, more slowly."""


def compile_loops() -> None:
    """Compile, if the source changed since. Raises CompileError; then nothing is left behind."""
    if os.environ.get("TRIMARAN_PURE"):
        COMPILED.unlink(missing_ok=True)
        raise CompileError("TRIMARAN_PURE is set")
    if COMPILED.is_file() and COMPILED.stat().st_mtime > SOURCE.stat().st_mtime:
        return
    COMPILED.unlink(missing_ok=True)
    made = COMPILED.with_suffix(f".{os.getpid()}")
    command = [*compiler(), "-std=c11", "-O2", "-Wall", "-Wextra", "-fPIC", "-shared"]
    command += [f"-DPy_LIMITED_API={LIMITED_API}", f"-I{sysconfig.get_paths()['include']}"]
    command += [str(SOURCE), "-o", str(made)]
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
    made.replace(COMPILED)


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
        compile_loops()
    except CompileError as error:
        print(f"not compiled: {error}", file=sys.stderr)
        return 1
    print(f"compiled: {COMPILED}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
