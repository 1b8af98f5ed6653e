"""Whatever bytes a reader is given, it takes them or says with its own error why not.

A file in `known/` is an input that a reader once could not cope with. `TRIMARAN_FUZZ_INPUTS`
multiplies the inputs.
"""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from trimaran.errors import PeerError
from trimaran.sim import fuzz as engine
from trimaran.sim.fuzz import Finding, Target, damaged, fuzz, main, parse_finding, problem_with
from trimaran.sim.fuzz_targets import all_targets

SEED = 1
FACTOR = int(os.environ.get("TRIMARAN_FUZZ_INPUTS", "1"))
INPUTS = {"journal": 1_500, "segments": 1_500}
INPUTS_ELSEWHERE = 3_000
SAMPLES_MIN = 3

KNOWN = sorted(Path(__file__).parent.glob("known/*.hex"))
TARGETS = {target.name: target for target in all_targets()}


def readers(read):
    """A target of one reader, which does what the test says."""
    return replace(
        TARGETS["states"],
        samples={"mark": b"\0" * 30},
        read=read,
        errors=(ValueError,),
        bytes_base=50_000,
    )


@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_takes_what_the_code_itself_wrote(name):
    target = TARGETS[name]

    for sample, data in target.samples.items():
        target.read(sample, data)

    assert len(target.samples) >= SAMPLES_MIN


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_bytes_are_taken_or_refused_and_nothing_else(name):
    count = FACTOR * INPUTS.get(name, INPUTS_ELSEWHERE)

    found = list(fuzz(TARGETS[name], seed=SEED, first=0, count=count))

    assert "\n".join(finding.text for finding in found) == ""


@pytest.mark.parametrize("path", KNOWN, ids=[path.stem for path in KNOWN])
def test_a_known_input_is_refused(path, monkeypatch):
    monkeypatch.setattr(engine, "ENDLESS_S", 1.0)
    name, sample, data = parse_finding(path.read_text(encoding="utf-8"))

    assert problem_with(TARGETS[name], sample, data) == ""


def test_equal_seeds_give_equal_inputs():
    for target in TARGETS.values():
        inputs = [damaged(target, 7, number) for number in range(20)]

        assert inputs == [damaged(target, 7, number) for number in range(20)]
        assert inputs != [damaged(target, 8, number) for number in range(20)]


@pytest.mark.parametrize("name", ["peer frames", "requests", "batches", "journal", "segments"])
def test_a_repaired_input_gets_past_the_checksum(name):
    target = TARGETS[name]
    for sample, data in target.samples.items():
        repaired = bytearray(data)
        target.repair(sample, repaired)

        assert repaired == data


def test_another_exception_is_a_finding():
    def read(_, data):
        raise KeyError(data[0])

    problem = problem_with(readers(read), "mark", b"\7")

    assert problem == ("KeyError: 7 in test_another_exception_is_a_finding.<locals>.read")


def test_an_error_without_a_reason_is_a_finding():
    def read(_, data):
        raise ValueError

    assert problem_with(readers(read), "mark", b"\7") == "ValueError without a reason"


def test_a_refusal_with_a_reason_is_none():
    def read(_, data):
        raise ValueError("too short")

    assert problem_with(readers(read), "mark", b"\7") == ""


def test_an_endless_loop_is_a_finding(monkeypatch):
    monkeypatch.setattr(engine, "ENDLESS_S", 0.05)
    until = time.monotonic() + 30

    def read(_, data):
        while time.monotonic() < until:
            pass

    assert problem_with(readers(read), "mark", b"\7") == "does not end within 0.05 s"


def test_too_large_an_allocation_is_a_finding():
    kept = []

    def read(_, data):
        kept.append(bytes(1_000_000))

    problem = problem_with(readers(read), "mark", b"\7")

    assert "bytes allocated for an input of 1; at most 50200" in problem
    assert len(kept) == 1


def test_findings_of_one_cause_are_told_once():
    def read(_, data):
        if data != b"\0" * 30:
            raise KeyError(data)

    found = list(fuzz(readers(read), seed=1, first=0, count=50))

    assert len(found) == 1


def test_a_finding_reads_back_as_it_was_written():
    finding = Finding(target="a b", sample="c/d e", number=7, what="wrong", data=bytes(range(200)))

    assert parse_finding(finding.text) == ("a b", "c/d e", bytes(range(200)))


def test_the_command_prints_findings_as_hex_and_fails(monkeypatch, capsys, tmp_path):
    def read(sample, data):
        if data != TARGETS["peer bodies"].samples[sample]:
            raise PeerError("" if sample == "digest" else "why not")

    target = replace(TARGETS["peer bodies"], read=read)
    assert isinstance(target, Target)
    monkeypatch.setattr("trimaran.sim.fuzz_targets.all_targets", lambda: [target])

    code = main(["--target", "peer bodies", "--inputs", "30", "--save", str(tmp_path)])

    printed = capsys.readouterr().out
    saved = [path.read_text(encoding="utf-8") for path in tmp_path.glob("*.hex")]
    assert code == 1
    assert "# PeerError without a reason\ntarget peer bodies\nsample digest\n" in printed
    assert printed.endswith("peer bodies: 30 inputs, 1 findings\n")
    assert [parse_finding(text)[:2] for text in saved] == [("peer bodies", "digest")]


def test_the_command_ends_well_without_findings(capsys):
    assert main(["--target", "peer bodies", "--inputs", "20"]) == 0
    assert capsys.readouterr().out == "peer bodies: 20 inputs, 0 findings\n"
