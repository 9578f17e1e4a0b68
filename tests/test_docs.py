"""What documents say of tests: every fault has some, and they exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_fault_has_tests_that_exist():
    text = (ROOT / "docs/faults.md").read_text()
    rows = {int(n): tests for n, tests in re.findall(r"^\| (\d+) \|.*\|([^|]+)\|$", text, re.M)}
    assert sorted(rows) == list(range(1, 22))
    for number, tests in rows.items():
        named = re.findall(r"`(test_\w+)`(?:[^`]*(\*slow\*))?", tests)
        assert named, f"fault {number} has no test"
        for name, slow in named:
            code = (ROOT / f"tests/{name}.py").read_text()
            if slow:
                assert "mark.slow" in code, f"{name} has nothing slow"
                assert name in (ROOT / ".ci/run").read_text(), f"CI does not run {name}"


def test_what_tests_say_of_faults_stands_in_the_table():
    text = (ROOT / "docs/faults.md").read_text()
    for path in ROOT.glob("tests/test_faults_*.py"):
        told = re.search(r'"""Faults? ([\d, and]+) of docs/faults.md', path.read_text())
        assert told, f"{path.name} does not say which faults it tests"
        for number in re.findall(r"\d+", told[1]):
            row = re.search(rf"^\| {number} \|.*`{path.stem}`", text, re.M)
            assert row, f"fault {number} does not name {path.stem}"
