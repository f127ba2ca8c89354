"""What others wrote is data on a terminal: no markup, no control characters, no turned lines."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
import test_store as values
from click.testing import CliRunner
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from adapters_xitt import progress
from adapters_xitt.cli.main import main
from adapters_xitt.cli.render import sharing
from adapters_xitt.hub import Repository
from adapters_xitt.study.store import Store
from adapters_xitt.text import printable

HOSTILE = (
    "[/]",
    "[/x]",
    "[link=a://b]c[/link]",
    ":smile:",
    "[bold",
    "a\x1b[2Jb",
    "x\u202egnp",
    "\x9b31m\x7f",
)


def test_printable_leaves_words_and_escapes_what_acts() -> None:
    plain = "xnli → 0.5 中文 عربي ñ\nnext"
    assert printable(plain) == plain
    assert printable("a\x1b[2Jb\u202ec\ud800") == "a\\x1b[2Jb\\u202ec\\ud800"


@pytest.mark.parametrize("word", HOSTILE)
@pytest.mark.parametrize("form", ["line", "text", "cell", "title", "branch"])
def test_nothing_printed_acts(word: str, form: str) -> None:
    out = progress.console(
        file=io.StringIO(), force_terminal=True, color_system="truecolor", highlight=False
    )
    table = Table("column", title=word if form == "title" else None)
    table.add_row(Text(word) if form == "text" else word)
    out.print({"line": word, "branch": Tree(word)}.get(form, table))
    printed = out.file.getvalue()
    assert (
        "\x1b]8" not in printed
        and "\u202e" not in printed
        and "\x9b" not in printed
        and "\x1b[2J" not in printed
    )
    if form != "text":  # measured by rich before it is made printable, so that it may be folded
        assert printable(word) in "".join(printed.split("\n"))


@pytest.mark.parametrize("word", [word for word in HOSTILE if word.isprintable()])
def test_a_module_of_any_role_is_shown(word: str, tmp_path: Path) -> None:
    store, module = Store(tmp_path), values.module()
    manifest = replace(module.manifest, role=word, trained_on=word, encoder_name=word)
    store.save_module(replace(module, manifest=manifest))
    store.give_name("it", values.KEY)
    for words in ([], ["it"]):
        found = CliRunner().invoke(main, ["show", *words, "--store", str(tmp_path)])
        assert found.exit_code == 0 and word in found.output, found.output
    found = CliRunner().invoke(main, ["inspect", "it", "--store", str(tmp_path)])
    assert found.exit_code == 0 and word in found.output


# colons are the hub's own tags
@pytest.mark.parametrize("word", [word for word in HOSTILE if ":" not in word])
def test_a_repository_of_any_tag_is_listed(word: str, capsys: pytest.CaptureFixture) -> None:
    found = Repository("ana/m", "c" * 40, ("xitt", word), 7, "2026-01-01")
    sharing.print_repositories([found])
    assert printable(word) in capsys.readouterr().out


def test_an_error_and_a_told_line_are_printable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    with progress.watched():
        progress.notify("a\x1b[2Jb")
    assert capsys.readouterr().err == "a\\x1b[2Jb\n"
    found = CliRunner().invoke(main, ["show", "a\x1b[2J\u202e", "--store", "nowhere"])
    assert found.exit_code == 2 and "\x1b" not in found.output and "\u202e" not in found.output


@pytest.mark.parametrize("kind", ["lines", "bars"])
def test_no_more_than_all_of_it_is_done(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan counts with mean lengths; what is read is more or less."""
    from rich.console import Console

    said: list[str] = []
    monkeypatch.setattr(progress, "EVERY", -1.0)
    callback = (
        progress.Lines(said.append) if kind == "lines" else progress.Bars(Console(quiet=True))
    )
    callback.begin("grid", 100)
    for planned, read in ((40, 55), (60, 58)):
        callback.stage("part", planned)
        for _ in range(read):
            callback.tick(1)
            if kind == "bars":
                assert all(task.percentage <= 100 for task in callback.bars.tasks)
        callback.stage_done()
    if kind == "lines":
        shares = [int(line.partition("%")[0].split()[-1]) for line in said if "%" in line]
        assert max(shares) == 100 and len(shares) == 113
    else:
        assert callback.bars.tasks[0].percentage == 100
    callback.end()
