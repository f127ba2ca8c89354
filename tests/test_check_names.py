"""scripts/check_names.py refuses names that say nothing or are not the field's, and no others."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "check_names.py"


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Runs the script over files with the given sources; gives its exit status."""
    spec = importlib.util.spec_from_file_location("check_names", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)

    def run(**sources: str) -> int:
        for name, source in sources.items():
            (tmp_path / name.replace("_py", ".py")).write_text(source)
        monkeypatch.setattr(sys, "argv", ["check_names.py", str(tmp_path)])
        return module.main()

    return run


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("def look(path): ...", "look"),
        ("def read(one): ...", "one"),
        ("sizes = [row.size for row in rows]", "row"),
        ("class ReadRig: ...", "ReadRig"),
        ("self.headline = 1", "headline"),
        ("for _own in names: ...", "_own"),
        ("import json as mirror", "mirror"),
        ("order = sorted(names, key=lambda at: -at)", "at"),
    ],
)
def test_a_name_that_is_dropped_is_refused_with_its_line(check, capsys, source, name) -> None:
    assert check(a_py="\n" + source) == 1
    assert capsys.readouterr().out.startswith(f"a.py:2: {name} (")


@pytest.mark.parametrize(
    "source",
    [
        "def read(path): ...",
        "trigger = 1",  # no part of it is a word, though it has one's letters
        "rows = [example.row_number for example in examples]",
        "KEYS = {'headline': 1, 'one': 2}",
        "'''What was found and told.'''",
        "print(other.headline)",  # it is named where it is written, not here
    ],
)
def test_other_names_strings_and_prose_are_not(check, capsys, source) -> None:
    assert check(a_py=source) == 0
    assert not capsys.readouterr().out


def test_scripts_without_a_suffix_are_read_where_they_are_python(check, capsys) -> None:
    assert check(tool="#!/usr/bin/env python3\nfound = 1\n", install="#!/bin/sh\nfound=1\n") == 1
    assert capsys.readouterr().out == "tool:2: found (found)\n"


def test_the_small_world_is_left_alone(check, tmp_path) -> None:
    folder = tmp_path / "adapters_xitt" / "demo"
    folder.mkdir(parents=True)
    (folder / "words.py").write_text("found = 1")
    assert check() == 0
