"""Bytes that were damaged on purpose, given to everything that reads bytes.

    python -m trimaran.sim.fuzz --inputs 1000000
    python -m trimaran.sim.fuzz --target journal --first 4711 --inputs 1

Whatever a reader is given, it either takes it or raises its own error with a reason: no other
exception, no endless loop, no allocation beyond a multiple of the input. Inputs are made from what
the code itself wrote: bits flipped, bytes and numbers replaced, parts cut, repeated, moved in from
other samples; and often the checksum is made right again, so that the reader gets past it.

An input is determined by seed, target and number. A finding prints its input as hex.

Does not: know any format; the targets do (fuzz_targets).
"""

import argparse
import signal
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType

OK = 0
FAILED = 1
INPUTS = 2_000
ENDLESS_S = 5.0
"""A reader that takes longer for one input does not end."""
CHANGES_MAX = 4
REPAIRED = 0.6
"""Share of the inputs whose checksums are made right again."""
PART_MAX = 64

_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


class EndlessError(BaseException):
    """One input took too long; no reader may catch this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Something that reads bytes."""

    name: str
    samples: Mapping[str, bytes]
    """What the code wrote, by a name that tells `read` what it is."""
    read: Callable[[str, bytes], object]
    errors: tuple[type[Exception], ...]
    """What it may raise."""
    repair: Callable[[str, bytearray], None]
    """Make lengths and checksums right, as far as there are any."""
    bytes_base: int
    bytes_per_byte: int
    """One input may allocate bytes_base + bytes_per_byte for each of its bytes, at one time."""
    measured_every: int = 1
    """Allocations are measured for one input in so many: it makes slow readers slower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An input that a reader could not cope with."""

    target: str
    sample: str
    number: int
    what: str
    data: bytes

    @property
    def kind(self) -> str:
        """What findings of one cause have in common: the exception and where it was raised."""
        if " in " not in self.what:
            return self.what.lstrip("0123456789 ").partition(" for an input")[0]
        return f"{self.what.partition(':')[0]} in {self.what.rpartition(' in ')[2]}"

    @property
    def text(self) -> str:
        """The content of a regression file."""
        lines = [f"# {self.what}", f"target {self.target}", f"sample {self.sample}"]
        digits = self.data.hex()
        lines += [digits[at : at + 96] for at in range(0, len(digits), 96)]
        return "\n".join(lines) + "\n"


def parse_finding(text: str) -> tuple[str, str, bytes]:
    """Return target, sample and input of a regression file."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    target, sample = lines[0].removeprefix("target "), lines[1].removeprefix("sample ")
    return target, sample, bytes.fromhex("".join(lines[2:]))


def damaged(target: Target, seed: int, number: int) -> tuple[str, bytes]:
    """Return the name of a sample and what became of it."""
    chance = Random(f"{seed}/{target.name}/{number}")
    names = list(target.samples)
    name = chance.choice(names)
    data = bytearray(target.samples[name])
    for _ in range(chance.randint(1, CHANGES_MAX)):
        _change(data, target.samples[chance.choice(names)], chance)
    if chance.random() < REPAIRED:
        target.repair(name, data)
    return name, bytes(data)


def _change(data: bytearray, other: bytes, chance: Random) -> None:
    """Damage `data` in one place."""
    if not data:
        data += chance.randbytes(chance.randint(1, PART_MAX))
        return
    at = chance.randrange(len(data))
    end = min(len(data), at + chance.randint(1, PART_MAX))
    kind = chance.randrange(8)
    if kind == 0:
        data[at] ^= 1 << chance.randrange(8)
    elif kind == 1:
        data[at] = chance.randrange(256)
    elif kind == 2:
        _put_number(data, at, chance)
    elif kind == 3:
        del data[at:]
    elif kind == 4:
        del data[at:end]
    elif kind == 5:
        data[at:at] = data[at:end]
    elif kind == 6:
        data[at:end] = chance.randbytes(end - at)
    else:
        start = chance.randrange(len(other) + 1)
        data[at:end] = other[start : start + PART_MAX]


def _put_number(data: bytearray, at: int, chance: Random) -> None:
    """Replace a big-endian number by one at a limit, or by one next to itself."""
    width = chance.choice((1, 2, 4, 8))
    at = min(at, max(0, len(data) - width))
    before = int.from_bytes(data[at : at + width], "big")
    number = chance.choice((*_NUMBERS, before + 1, before - 1, len(data), 2**64 - 1))
    data[at : at + width] = (number % (1 << 8 * width)).to_bytes(width, "big")


def problem_with(target: Target, sample: str, data: bytes, *, measured: bool = True) -> str:
    """Let the target read `data`; return what is wrong with how it took it, empty if nothing.

    `measured`: look at allocations too. Only for the main thread, which takes the time limit.
    """
    if measured:
        tracemalloc.start()
    try:
        with _time_limit():
            target.read(sample, data)
    except target.errors as error:
        if not str(error):
            return f"{type(error).__name__} without a reason"
    except EndlessError:
        return f"does not end within {ENDLESS_S} s"
    except Exception as error:  # noqa: BLE001  (any other exception is what is looked for)
        return f"{type(error).__name__}: {error} in {_place(error)}"
    finally:
        allocated = tracemalloc.get_traced_memory()[1] if measured else 0
        tracemalloc.stop()
    limit = target.bytes_base + target.bytes_per_byte * len(data)
    if allocated > limit:
        return f"{allocated} bytes allocated for an input of {len(data)}; at most {limit}"
    return ""


@contextmanager
def _time_limit() -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        raise EndlessError

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, ENDLESS_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _place(error: Exception) -> str:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return "" if frame is None else frame.tb_frame.f_code.co_qualname


def fuzz(target: Target, *, seed: int, first: int, count: int) -> Iterator[Finding]:
    """Yield what inputs `first` to `first + count - 1` find, the first of each kind."""
    for sample, data in target.samples.items():
        target.read(sample, data)  # what is imported or prepared on the way is not measured
    seen: dict[str, None] = {}
    for number in range(first, first + count):
        sample, data = damaged(target, seed, number)
        measured = number % target.measured_every == 0
        what = problem_with(target, sample, data, measured=measured)
        finding = Finding(target=target.name, sample=sample, number=number, what=what, data=data)
        if what and finding.kind not in seen:
            seen[finding.kind] = None
            yield finding


def main(argv: Sequence[str] | None = None) -> int:
    """Run the targets that `argv` names; print findings; return the exit code."""
    from trimaran.sim.fuzz_targets import all_targets

    targets = {target.name: target for target in all_targets()}
    parser = argparse.ArgumentParser(prog="python -m trimaran.sim.fuzz")
    parser.add_argument("--target", choices=list(targets), help="only this one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--inputs", type=int, default=INPUTS, help="for each target")
    parser.add_argument("--save", type=Path, help="directory for a file for each finding")
    arguments = parser.parse_args(argv)
    code = OK
    for name in [arguments.target] if arguments.target else list(targets):
        count = 0
        for finding in fuzz(
            targets[name], seed=arguments.seed, first=arguments.first, count=arguments.inputs
        ):
            code = FAILED
            count += 1
            sys.stdout.write(f"input {finding.number} of seed {arguments.seed}\n{finding.text}\n")
            if arguments.save is not None:
                path = arguments.save / f"{name.replace(' ', '-')}-{finding.number}.hex"
                path.write_text(finding.text, encoding="utf-8")
        sys.stdout.write(f"{name}: {arguments.inputs} inputs, {count} findings\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
