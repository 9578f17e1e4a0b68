"""No input may crash with a traceback, pass in silence, or write outside its folder."""

import re
from pathlib import Path

import pytest

from lemore.data.archives import members
from lemore.scenes.archives import pack_zip
from tests.hostile_inputs import CASES, Case, ade, attempt, last_error, output_input

DOCUMENT = Path(__file__).parents[2] / "docs/hostile_inputs.md"


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "case").mkdir()
    return tmp_path / "case"


@pytest.mark.parametrize("chosen", CASES, ids=lambda chosen: chosen.title)
def test_refused_by_name(chosen: Case, folder):
    code, lines, touched = attempt(chosen, folder)
    message = last_error(lines)
    assert code in (1, 2) and re.match(r"lemore (prepare|fetch|predict|train): error: ", message)
    assert chosen.words in message, message
    assert len(message) < 2000 and "Traceback" not in "".join(lines)
    assert touched is None
    left = [path.name for path in (folder / "out").rglob("digest.json")]
    assert not left and not (folder / "out/fetched.json").exists()
    assert len(list((folder / "out").rglob("*.png"))) == (chosen.make is output_input)


def test_too_many_members(folder, monkeypatch):
    monkeypatch.setattr(members, "MAX_MEMBERS", 10)
    content = pack_zip([(f"{i}.txt", b"") for i in range(11)])
    case = Case("many", lambda folder: ade(folder, content), "")
    code, lines, _ = attempt(case, folder)
    assert code == 2 and "more than 10 members" in lines[-1]


def test_the_documentation_lists_them_all():
    text = DOCUMENT.read_text()
    assert [case.title for case in CASES if f"| {case.title} |" not in text] == []
