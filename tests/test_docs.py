"""The documents name tests and files that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = {path.stem: path for path in (ROOT / "tests").rglob("test_*.py")}


def test_every_fault_has_tests_that_exist_and_name_it():
    text = (ROOT / "docs/faults.md").read_text()
    rows = {int(n): tests for n, tests in re.findall(r"^\| (\d+) \|.*\|([^|]+)\|$", text, re.M)}
    assert sorted(rows) == list(range(1, 22))
    for number, tests in rows.items():
        named = re.findall(r"`(test_\w+)`", tests)
        assert named, f"fault {number} has no test"
        for name in named:
            assert name in TESTS, f"fault {number} names {name}, which does not exist"


def test_files_that_documents_name_exist():
    """Those of add_model.md are the reader's own."""
    for path in {ROOT / "README.md", *(ROOT / "docs").glob("*.md")} - {ROOT / "docs/add_model.md"}:
        for name in re.findall(
            r"`((?:lemore|tests|benchmarks|workflow|examples)/[\w/.]+)`", path.read_text()
        ):
            assert (ROOT / name).exists(), f"{path.name} names {name}, which does not exist"
