"""The analysis against a second computation, and every form of the report over grids with holes."""

from __future__ import annotations

import csv
import io
import random
from copy import deepcopy

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from adapters_xitt import analysis, report
from adapters_xitt.analysis import EVERY, INCOMPLETE, NOT_ASKED
from adapters_xitt.errors import XittError
from adapters_xitt.languages import LANGUAGES
from adapters_xitt.study.results import BLOCKED, DONE, FAILED, NOT_APPLICABLE

NINE = ("en", "de", "es", "fi", "tr", "sw", "hi", "ar", "zh")
HEADLINES = {"xnli": "accuracy", "xquad": "mean", "tatoeba": "accuracy"}
HAS = {"seq_bn": ("none", "sequential", "stack"), "lora": ("none", "sequential", "sum")}


def make_grid(
    *,
    methods=("seq_bn",),
    intermediates=("mnli", "squad"),
    modes=("none", "sequential", "stack"),
    targets=("xnli", "xquad", "tatoeba"),
    languages=NINE,
    seeds=(1, 2, 3),
):
    """A grid with every cell done but those of modes that a method has not; scores depend on the
    cell only."""
    rows = [(name, mode) for mode in modes for name in ([""] if mode == "none" else intermediates)]
    entries = []
    for method in methods:
        for intermediate, mode in rows:
            for target in targets:
                for code in languages:
                    for seed in seeds:
                        score = random.Random(
                            f"{method} {intermediate} {mode} {target} {code} {seed}"
                        ).uniform(20, 90)
                        # the raw encoder: one number for every seed
                        if target == "tatoeba" and mode == "none":
                            score = random.Random(f"{target} {code}").uniform(20, 90)
                        entry = {
                            "method": method,
                            "intermediate": intermediate,
                            "mode": mode,
                            "target": target,
                            "language": code,
                            "seed": seed,
                            "status": DONE,
                            "reason": "",
                            "tag": "task+language-seen" if code == "en" else "zero-shot",
                            "overlap": 0.0,
                            "key": f"{method} {intermediate} {mode} {target} {code} {seed}",
                            "scores": {HEADLINES[target]: score, "loss": score / 7},
                            "score": score,
                            "examples": 500,
                        }
                        entries.append(entry)
                        if mode not in HAS[method]:
                            empty(entry, NOT_APPLICABLE, f"{method} has no mode {mode}", tag="")
    return {
        "name": "small",
        "protocol_notes": ["rows not used: 3 [odd] | label"],
        "precision": "32",
        "entries": entries,
        "recipe": {
            "name": "small",
            "methods": list(methods),
            "intermediates": list(intermediates),
            "targets": list(targets),
        },
        "encoder": {"name": "pico", "fingerprint": "0123456789abcdef" * 4},
        "made_with": [
            {"versions": {"python": "3.11.9", "torch": "2.6.0"}, "cells": 1, "modules": 1}
        ],
        "headlines": {target: HEADLINES[target] for target in targets},
        "majority": {"xnli": dict.fromkeys(languages, 33.25)} if "xnli" in targets else {},
        "weak": [
            "squad [seq_bn s1]: 12.0 on its own selection split, 14.0 by always saying the"
            " commonest label"
        ],
    }


def empty(entry, status, reason, *, tag=None):
    entry |= {"status": status, "reason": reason, "scores": {}, "score": None, "examples": 0}
    if tag is not None:
        entry["tag"] = tag


def where(grid, **fixed):
    return [
        entry
        for entry in grid["entries"]
        if all(entry[name] == value for name, value in fixed.items())
    ]


def holed():
    """Two methods; squad blocked on xquad, one failed cell, modes that do not apply."""
    grid = make_grid(methods=("seq_bn", "lora"), modes=("none", "sequential", "stack", "sum"))
    for entry in where(grid, target="xquad", intermediate="squad"):
        if entry["status"] == DONE:
            empty(entry, BLOCKED, "test items reached the row: 1190 in squad@en dev", tag="")
    for entry in where(
        grid, target="xnli", intermediate="squad", mode="sequential", language="sw", seed=2
    ):
        empty(entry, FAILED, "loss is not a number")
    return grid


def row_of(table, intermediate, mode, method="seq_bn"):
    return next(
        row
        for row in table.rows
        if (row.method, row.intermediate, row.mode) == (method, intermediate, mode)
    )


def shuffled(grid, seed):
    found = deepcopy(grid)
    random.Random(seed).shuffle(found["entries"])
    return found


def printed(grid, width):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    report.terminal(grid, console)
    return console.file.getvalue()


# -- arithmetic


@pytest.mark.parametrize("tags", ["zero-shot", EVERY])
@pytest.mark.parametrize("target", ["xnli", "tatoeba"])
def test_differences_are_paired_by_seed(tags, target):
    grid = make_grid()
    codes = [code for code in NINE if tags == EVERY or code != "en"]

    def cube(intermediate, mode):  # seeds × languages
        return np.array(
            [
                [
                    next(
                        e["score"]
                        for e in where(
                            grid,
                            target=target,
                            intermediate=intermediate,
                            mode=mode,
                            language=code,
                            seed=seed,
                        )
                    )
                    for code in codes
                ]
                for seed in (1, 2, 3)
            ]
        )

    none, stack = cube("", "none").mean(axis=1), cube("mnli", "stack").mean(axis=1)
    place = row_of(analysis.table(grid, tags), "mnli", "stack").cells[target]
    assert (
        place.status == DONE
        and place.seeds == (1, 2, 3)
        and sorted(place.languages) == sorted(codes)
    )
    assert place.mean == pytest.approx(stack.mean(), abs=1e-12)
    assert place.spread == pytest.approx(stack.std(ddof=1), abs=1e-12)
    assert place.difference == pytest.approx(np.mean(stack - none), abs=1e-12)
    assert place.difference_spread == pytest.approx(
        np.sqrt(np.sum((stack - none - np.mean(stack - none)) ** 2) / 2)
    )
    base = row_of(analysis.table(grid, tags), "", "none").cells[target]
    assert base.difference is None and base.mean == pytest.approx(none.mean(), abs=1e-12)


def test_average_over_targets_is_paired_too():
    grid = make_grid()
    table = analysis.table(grid)
    row, none = row_of(table, "mnli", "stack"), row_of(table, "", "none")
    assert row.average.mean == pytest.approx(np.mean([place.mean for place in row.cells.values()]))
    assert row.average.difference == pytest.approx(row.average.mean - none.average.mean)
    assert none.average.difference is None


def test_a_language_that_one_row_has_seen_leaves_both_sides_of_the_difference():
    grid = make_grid()
    for entry in where(grid, target="xnli", intermediate="mnli", mode="stack", language="de"):
        entry["tag"] = "language-seen"
    place = row_of(analysis.table(grid), "mnli", "stack").cells["xnli"]
    codes = [code for code in NINE if code not in ("en", "de")]
    assert sorted(place.languages) == sorted(codes)
    xnli = {
        (e["intermediate"], e["mode"], e["language"], e["seed"]): e["score"]
        for e in where(grid, target="xnli")
    }
    changes = [
        np.mean(
            [xnli["mnli", "stack", code, seed] - xnli["", "none", code, seed] for code in codes]
        )
        for seed in (1, 2, 3)
    ]
    assert place.difference == pytest.approx(np.mean(changes))
    assert place.difference_spread == pytest.approx(np.std(changes, ddof=1))


def test_by_language():
    grid = make_grid()
    table = analysis.by_language(grid, "xnli")
    assert list(table.columns) == sorted(NINE, key=lambda code: (LANGUAGES[code].family, code))
    place = row_of(table, "squad", "sequential").cells["fi"]
    own = [
        e["score"]
        for e in where(grid, target="xnli", intermediate="squad", mode="sequential", language="fi")
    ]
    none = [e["score"] for e in where(grid, target="xnli", mode="none", language="fi")]
    assert place.mean == pytest.approx(np.mean(own)) and place.tag == "zero-shot"
    assert place.difference == pytest.approx(np.mean(np.subtract(own, none)))
    assert row_of(table, "squad", "sequential").cells["en"].tag == "task+language-seen"
    assert table.majority.cells["fi"].mean == 33.25
    with pytest.raises(XittError, match="Did you mean 'xnli'"):
        analysis.by_language(grid, "xnly")


def test_rows_of_the_very_same_cells_are_one():
    """As many steps of a target are the same whatever intermediate took as many."""
    grid = make_grid(intermediates=("mnli", "mnli's steps", "squad's steps", "squad"))
    for entry in where(grid, intermediate="squad's steps"):
        (other,) = where(
            grid,
            **{name: entry[name] for name in ("method", "mode", "target", "language", "seed")},
            intermediate="mnli's steps",
        )
        entry |= {name: other[name] for name in ("key", "score", "scores")}
    table = analysis.table(grid)
    assert row_of(table, "mnli's steps", "sequential").alike == ("squad's steps",)
    assert "squad's steps" not in {row.intermediate for row in table.rows}
    assert {row.alike for row in table.rows} == {(), ("squad's steps",)}
    text = report.markdown(grid)
    assert "| mnli's steps (+1 alike) | sequential |" in text
    assert "- mnli's steps (+1 alike): the same modules as squad's steps" in text
    assert "squad's steps" in report.csv_text(grid)


def test_one_seed_has_no_spread():
    grid = make_grid(seeds=(4,))
    for row in analysis.table(grid).rows:
        for place in row.cells.values():
            assert place.spread is None and place.difference_spread is None
            assert (place.difference is None) == (row.mode == "none")
    assert "±" not in report.markdown(grid).split("## Marks")[0]


# -- what is missing stays missing


def test_a_failed_cell_takes_the_difference_and_the_average_away():
    grid = holed()
    row = row_of(analysis.table(grid), "squad", "sequential")
    place = row.cells["xnli"]
    assert place.status == INCOMPLETE and place.starred and place.difference is None
    assert (
        place.missing == ("sw failed (seed 2)",)
        and "sw" not in place.languages
        and place.seeds == (1, 2, 3)
    )
    left = [
        np.mean(
            [
                e["score"]
                for e in where(
                    grid,
                    method="seq_bn",
                    target="xnli",
                    intermediate="squad",
                    mode="sequential",
                    seed=seed,
                )
                if e["language"] not in ("en", "sw")
            ]
        )
        for seed in (1, 2, 3)
    ]
    assert place.mean == pytest.approx(np.mean(left)) and place.spread == pytest.approx(
        np.std(left, ddof=1)
    )
    assert row.average.status == INCOMPLETE and row.average.mean is None
    assert row.average.missing == ("xnli incomplete", "xquad blocked")


def test_a_seed_that_is_missing_everywhere():
    grid = make_grid()
    for entry in where(grid, target="xnli", intermediate="mnli", mode="stack", seed=3):
        empty(entry, FAILED, "not run yet")
    place = row_of(analysis.table(grid), "mnli", "stack").cells["xnli"]
    assert place.status == INCOMPLETE and place.seeds == (1, 2) and len(place.languages) == 8
    assert place.difference is None and "de failed (seed 3)" in place.missing


def test_an_incomplete_none_row_leaves_no_difference():
    grid = make_grid()
    empty(where(grid, target="xnli", mode="none", language="de", seed=1)[0], FAILED, "not run yet")
    table = analysis.table(grid)
    place = row_of(table, "mnli", "stack").cells["xnli"]
    assert place.status == DONE and place.difference is None
    assert row_of(table, "mnli", "stack").average.difference is None
    assert row_of(table, "mnli", "stack").cells["xquad"].difference is not None


def test_whole_places_without_numbers():
    table = analysis.table(holed())
    assert row_of(table, "squad", "stack").cells["xquad"] == analysis.TableCell(status=BLOCKED)
    row = row_of(table, "squad", "stack", "lora")
    assert (
        {place.status for place in row.cells.values()} == {NOT_APPLICABLE} == {row.average.status}
    )
    grid = make_grid()
    grid["entries"] = [
        e for e in grid["entries"] if not (e["target"] == "xquad" and e["mode"] == "stack")
    ]
    assert row_of(analysis.table(grid), "mnli", "stack").cells["xquad"].status == NOT_ASKED
    assert analysis.counts(holed()) == {DONE: 700, BLOCKED: 108, NOT_APPLICABLE: 324, FAILED: 2}


def test_blocked_english_is_outside_the_zero_shot_mean():
    """A blocked cell has no tag of its own; English is never zero-shot, even where every row of it
    is blocked."""
    grid = make_grid()
    for entry in where(grid, target="xnli", language="en"):
        empty(entry, BLOCKED, "12% of the test items share a text with training, over 10%", tag="")
    zero, every = analysis.table(grid), analysis.table(grid, EVERY)
    assert row_of(zero, "mnli", "stack").cells["xnli"].status == DONE
    assert row_of(every, "mnli", "stack").cells["xnli"].status == INCOMPLETE
    for entry in where(grid, target="xnli", language="de", mode="stack", intermediate="mnli"):
        empty(entry, BLOCKED, "", tag="")
    assert row_of(analysis.table(grid), "mnli", "stack").cells["xnli"].missing == ("de blocked",)


def test_majority_row():
    grid = make_grid()
    majority = analysis.table(grid).majority
    assert (
        majority.cells["xnli"].mean == pytest.approx(33.25)
        and majority.cells["xquad"].status == NOT_ASKED
    )
    del grid["majority"]["xnli"]["de"]
    assert analysis.table(grid).majority.cells["xnli"].status == INCOMPLETE
    assert analysis.table(make_grid(targets=("xquad",))).majority is None


def test_two_entries_for_one_place_are_refused():
    grid = make_grid()
    grid["entries"].append(deepcopy(grid["entries"][0]))
    with pytest.raises(XittError, match=r"two entries for one place: method 'seq_bn'.*seed 1"):
        analysis.frame(grid)


# -- properties


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_the_order_of_entries_changes_nothing(seed):
    grid = holed()
    other = shuffled(grid, seed)
    assert analysis.table(grid) == analysis.table(other)
    assert analysis.by_language(grid, "xnli") == analysis.by_language(other, "xnli")
    assert report.csv_text(grid) == report.csv_text(other)


def test_the_order_of_entries_changes_no_page():
    grid = holed()
    assert report.markdown(grid) == report.markdown(shuffled(grid, 1))
    assert printed(grid, 100) == printed(shuffled(grid, 2), 100)


@settings(max_examples=15, deadline=None)
@given(st.floats(-50, 50, allow_nan=False))
def test_a_constant_on_every_score_leaves_the_differences(constant):
    grid, moved = holed(), holed()
    for entry in moved["entries"]:
        if entry["status"] == DONE:
            entry["score"] += constant
    for one, other in zip(analysis.table(grid).rows, analysis.table(moved).rows, strict=True):
        for target in one.cells:
            before, after = one.cells[target], other.cells[target]
            assert (before.status, before.missing) == (after.status, after.missing)
            if before.mean is not None:
                assert after.mean == pytest.approx(before.mean + constant, abs=1e-9)
            for field in ("spread", "difference", "difference_spread"):
                assert getattr(after, field) == pytest.approx(getattr(before, field), abs=1e-9), (
                    field
                )


# -- the forms


def test_csv_reads_back_to_the_same_bits():
    grid = holed()
    rows = list(csv.DictReader(io.StringIO(report.csv_text(grid))))
    assert len(rows) == len(grid["entries"])
    assert {"family", "script", "score.accuracy", "score.mean", "score.loss"} <= set(rows[0])
    place = ("method", "intermediate", "mode", "target", "language", "seed")
    by_place = {tuple(str(entry[name]) for name in place): entry for entry in grid["entries"]}
    for row in rows:
        entry = by_place[tuple(row[name] for name in place)]
        assert (float(row["score"]) if row["score"] else None) == entry["score"]
        assert {
            name[6:]: float(value)
            for name, value in row.items()
            if name.startswith("score.") and value
        } == entry["scores"]
        assert (row["status"], row["reason"], row["tag"]) == (
            entry["status"],
            entry["reason"],
            entry["tag"],
        )
        assert row["family"] == LANGUAGES[entry["language"]].family


def test_markdown_has_every_row_and_note():
    grid = holed()
    text = report.markdown(grid)
    main = text.split("## Zero-shot")[1].split("## All languages")[0]
    for row in analysis.table(grid).rows:
        assert f"| {row.method} | {row.intermediate} | {row.mode} |" in main
    place = row_of(analysis.table(grid), "mnli", "stack").cells["xnli"]
    assert f"{place.mean:.1f}† ±{place.spread:.1f}" in main and f"{place.difference:+.1f}" in main
    for part in (
        "# small",
        "encoder pico (0123456789ab), precision 32, seeds 1, 2, 3",
        "torch 2.6.0",
        "majority class",
        "blocked",
        "n/a",
        r"rows not used: 3 \[odd\] \| label",
        "squad \\[seq_bn s1\\]: 12.0",
        "1190 in squad@en dev (108 cells: squad → xquad)",
        "loss is not a number (2 cells",
        "xnli, sw failed (seed 2)",
        "700 done, 108 blocked, 324 not applicable, 2 failed",
        "| fi | Finnish | Uralic | Latn |",
    ):
        assert part in text, part
    widths = [
        line.replace(r"\|", "").count("|") for line in main.splitlines() if line.startswith("|")
    ]
    assert len(set(widths)) == 1


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("colour", [None, "truecolor"])
def test_terminal_keeps_to_its_width(width, colour):
    grid = (
        make_grid(methods=("seq_bn", "lora"), languages=tuple(LANGUAGES)[:40])
        if width == 100
        else holed()
    )
    console = Console(
        file=io.StringIO(), width=width, force_terminal=colour is not None, color_system=colour
    )
    report.terminal(grid, console)
    text = console.file.getvalue()
    assert ("\x1b[1m" in text) == (colour is not None)
    plain = (
        printed(grid, width).replace("\x1b[1m", "").replace("\x1b[2m", "").replace("\x1b[0m", "")
    )
    assert max(map(cell_len, plain.splitlines())) <= width
    assert "…" not in plain  # nothing is cut off
    place = row_of(analysis.table(grid), "mnli", "stack").cells["xnli"]
    assert f"{place.mean:.1f}† ±{place.spread:.1f} ({place.difference:+.1f})" in plain
    assert "by always saying the commonest label" in " ".join(plain.split())


def test_no_difference_is_marked_and_the_spread_is_named():
    """A difference larger than its standard deviation over three seeds comes up by chance in 22.6 %
    of places."""
    grid = make_grid(intermediates=("mnli",), modes=("none", "sequential"), targets=("xnli",))
    for entry in grid["entries"]:
        entry["score"] = 50.0 + entry["seed"] - 10.0 * (entry["mode"] == "sequential")
    text = report.markdown(grid)
    assert "(-10.0 ±0.0)" in text and "**" not in text and "bold" not in text.lower()
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system="truecolor")
    report.terminal(grid, console)
    shown = console.file.getvalue()
    assert " (-10.0)" in shown and "\x1b[31m" not in shown and "\x1b[32m" not in shown
    for form in (text, " ".join(shown.split())):
        assert (
            "± is the sample standard deviation over seeds: no interval, and no test of a"
            " difference" in form
        )


def test_picture_grows_with_the_grid(tmp_path):
    report.heat_map(holed(), tmp_path / "small.png")
    report.heat_map(
        make_grid(intermediates=("mnli", "squad", "pawsx"), languages=tuple(LANGUAGES)[:40]),
        tmp_path / "large.png",
    )
    small, large = (
        matplotlib.image.imread(tmp_path / f"{name}.png") for name in ("small", "large")
    )
    for picture in (small, large):
        assert 800 < min(picture.shape[:2]) and max(picture.shape[:2]) <= 12_000
        assert 0.02 < (picture[..., :3].min(axis=2) < 0.9).mean() < 0.9  # neither blank nor black
        # nothing runs off the edge
        assert (picture[:20] == 1).all() and (picture[:, -20:] == 1).all()
    assert large.shape[1] > small.shape[1]


@pytest.mark.parametrize(
    "change",
    [
        {"modes": ("none",)},
        {"modes": ("sequential",)},
        {"seeds": (1,)},
        {"languages": ("en",)},
        {"targets": ("xquad",)},
        {"intermediates": (), "modes": ("stack",)},
    ],
)
def test_lean_grids_have_every_form(tmp_path, change):
    grid = make_grid(**change)
    assert printed(grid, 80)
    found = report.write(grid, tmp_path / "deep" / "folder")
    names = sorted(path.name for path in (tmp_path / "deep" / "folder").iterdir())
    assert names == ["grid.csv", "grid.png", "report.md"]
    assert found[0].read_text(encoding="utf-8") == report.markdown(grid)
    assert found[1].read_text(encoding="utf-8") == report.csv_text(grid)


def test_write_leaves_the_old_file_where_it_fails(tmp_path, monkeypatch):
    report.write(make_grid(seeds=(1,)), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def broken(grid, path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(report, "heat_map", broken)
    with pytest.raises(OSError, match="disk full"):
        report.write(make_grid(seeds=(1,)), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
