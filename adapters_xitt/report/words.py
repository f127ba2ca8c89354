"""What every form of the report says in the same words: numbers, marks and their legend, notes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from adapters_xitt.analysis import (
    EVERY,
    INCOMPLETE,
    NOT_ASKED,
    Reading,
    Table,
    TableCell,
    TableRow,
    counts,
    fusions,
)
from adapters_xitt.data import truncation
from adapters_xitt.data.exposure import ZERO_SHOT
from adapters_xitt.languages import language
from adapters_xitt.modules.methods import COMPOSED
from adapters_xitt.report.reservations import (
    MEANING_UNLEARNED,
    UNLEARNED,
    encoder_lines,
    learned_lines,
    mark_of_target,
)
from adapters_xitt.study.results import BLOCKED, DONE, FAILED, NOT_APPLICABLE

MARKS = {
    BLOCKED: "blocked",
    NOT_APPLICABLE: "n/a",
    FAILED: "failed",
    NOT_ASKED: "–",
    INCOMPLETE: "*",
}
MEANINGS = {
    BLOCKED: "blocked: test items reached a part of the row, so no number is given",
    NOT_APPLICABLE: "n/a: the method has no such mode",
    FAILED: "failed: training or scoring broke off, or was not run yet",
    NOT_ASKED: "–: not asked there",
    INCOMPLETE: "*: incomplete; over what is there only, without a difference, never filled in",
}
SEEN_MARK = "°"
SIGNIFICANT_MARK = "•"
SIGNIFICANT = (
    f"{SIGNIFICANT_MARK}: a difference that a test finds at 5 %, over seeds and test items,"
    " corrected over its table (Holm)"
)


def number(value: float) -> str:
    """One decimal, no negative zero."""
    return f"{round(value, 1) + 0.0:.1f}"


def signed(value: float) -> str:
    """A difference with its sign and one decimal; never "-0.0"."""
    return f"{round(value, 1) + 0.0:+.1f}"


def plus_minus(value: float | None) -> str:
    """±0.8, or nothing for one seed."""
    return "" if value is None else f" ±{number(value)}"


def score(cell: TableCell) -> str:
    """The mean with its mark, or the word for its absence."""
    if cell.mean is None:
        return MARKS[cell.status]
    marks = (MARKS[INCOMPLETE] if cell.starred else "") + (UNLEARNED if cell.unlearned else "")
    return number(cell.mean) + marks


def seen(cell: TableCell) -> str:
    """The mark of a single language that some part of the row has seen."""
    return SEEN_MARK if cell.mean is not None and cell.tag not in ("", ZERO_SHOT) else ""


def significant(cell: TableCell) -> str:
    """The mark of a difference that a test finds."""
    return SIGNIFICANT_MARK if cell.significant else ""


def row_name(table_row: TableRow) -> str:
    """ "mnli sequential", "none" or "majority class"."""
    return " ".join(part for part in (table_row.title, table_row.mode) if part) or table_row.method


def _whole_name(table_row: TableRow, several: bool) -> str:
    """The name of a row, with its method where there are several."""
    return f"{table_row.method} {row_name(table_row)}" if several else row_name(table_row)


def filled(table: Table) -> tuple[Table, str]:
    """The table without the rows that have no number in it, and a sentence that names those; empty
    where none."""
    empty: dict[str, list[str]] = {}
    several = len({table_row.method for table_row in table.rows}) > 1
    kept = []
    for table_row in table.rows:
        if any(cell.mean is not None for cell in table_row.cells.values()):
            kept.append(table_row)
        else:
            states = dict.fromkeys(MARKS[cell.status] for cell in table_row.cells.values())
            empty.setdefault(", ".join(states), []).append(_whole_name(table_row, several))
    sentence = "; ".join(f"{', '.join(names)} ({marks})" for marks, names in empty.items())
    return replace(table, rows=tuple(kept)), f"No numbers: {sentence}." if sentence else ""


SPREAD = "± is the sample standard deviation over seeds: no interval, and no test of a difference"


def legend(tables: Iterable[Table], *, seeds: int, tested: bool = False) -> list[str]:
    """The marks that occur in `tables`, each in words; `tested`: whether differences were."""
    rows = [
        table_row
        for table in tables
        for table_row in (*table.rows, *([table.majority] if table.majority else []))
    ]
    cells = [
        cell
        for table_row in rows
        for cell in (*table_row.cells.values(), *([table_row.average] if table_row.average else []))
    ]
    lines = [
        f"mean over seeds; {SPREAD}" if seeds > 1 else "one seed, so no spread",
        (
            "in brackets the difference to `none` of the same method, paired by seed, over exactly"
            " the same languages"
        ),
    ]
    if tested:
        lines.append(SIGNIFICANT)
    there = {cell.status for cell in cells}
    lines += [MEANINGS[status] for status in MEANINGS if status in there]
    if any(seen(cell) for cell in cells):
        lines.append(f"{SEEN_MARK}: not zero-shot; some part of the row saw this language")
    alike = {table_row.title: ", ".join(table_row.alike) for table_row in rows if table_row.alike}
    lines += [f"{title}: the same modules as {others}" for title, others in alike.items()]
    if any(cell.unlearned and cell.mean is not None for cell in cells):
        lines.append(MEANING_UNLEARNED)
    return lines


def main_score(reading: Reading, target: str) -> str:
    """The score that stands for a target, with the mark of one that the encoder itself had seen."""
    return reading.grid["headlines"].get(target, "") + mark_of_target(reading.grid, target)


def title(grid: dict[str, Any]) -> list[str]:
    """Name, encoder and versions, a line each."""
    seeds = sorted({entry["seed"] for entry in grid["entries"]})
    encoder = grid["encoder"]
    return [
        (
            f"encoder {encoder['name']} ({encoder['fingerprint'][:12]}), precision"
            f" {grid['precision']}, seed{'s' if len(seeds) != 1 else ''}"
            f" {', '.join(map(str, seeds)) or 'none'}"
        ),
        _made_with(grid),
    ]


def _made_with(grid: dict[str, Any]) -> str:
    """The versions that made the cells, where they are one set."""
    sets = grid.get("made_with", [])
    if len(sets) > 1:
        return f"made with {len(sets)} different sets of versions: see Versions"
    return (
        ", ".join(f"{name} {version}" for name, version in sets[0]["versions"].items())
        if sets
        else ("versions are not known: no cell says them")
    )


def _mixed_versions(grid: dict[str, Any]) -> list[str]:
    """Where cells or modules were made with several sets of versions: what differs, and what to
    do."""
    sets = grid.get("made_with", [])
    if len(sets) < 2:
        return []
    names = dict.fromkeys(name for version_set in sets for name in version_set["versions"])
    differ = [
        name
        for name in names
        if len({version_set["versions"].get(name) for version_set in sets}) > 1
    ]
    lines = [
        ", ".join(f"{name} {version_set['versions'].get(name, 'unknown')}" for name in differ)
        + f": {version_set['cells']:,} cells scored, {version_set['modules']:,} modules made"
        for version_set in sets
    ]
    return [
        *lines,
        (
            "numbers of several versions stand side by side: xitt run RECIPE --fresh-versions"
            " scores again what other versions than the installed ones have scored; modules are"
            " made again in another store only"
        ),
    ]


def families(codes: Sequence[str]) -> str:
    """Languages by family: "IE: Germanic de en · Turkic tr"."""
    by_family: dict[str, list[str]] = {}
    for code in codes:
        by_family.setdefault(language(code).family, []).append(code)
    return " · ".join(f"{family} {' '.join(members)}" for family, members in by_family.items())


def notes(reading: Reading) -> list[tuple[str, list[str]]]:
    """Everything a reader must know beside the numbers: headings with their lines, empty ones left
    out."""
    grid = reading.grid
    sections = [
        (
            "Cells",
            [", ".join(f"{count:,} {status}" for status, count in counts(grid).items()) or "none"],
        ),
        ("Encoder", encoder_lines(grid, reading.targets)),
        ("Learned", learned_lines(reading)),
        ("Versions", _mixed_versions(grid)),
        ("Averages", _averages(reading)),
        ("Incomplete", _incomplete(reading)),
        ("Blocked", _reasons(reading, BLOCKED)),
        ("Failed", _reasons(reading, FAILED)),
        ("Not applicable", _reasons(reading, NOT_APPLICABLE)),
        ("Weak intermediates", list(dict.fromkeys(grid["weak"]))),
        ("Fusions", _fusions(reading)),
        ("Merges", _merges(reading)),
        ("Time to make a row's last module", _seconds(reading)),
        ("Overlap of text", _overlaps(reading)),
        ("Cut off", _truncated(reading)),
        ("Protocol", list(dict.fromkeys(grid["protocol_notes"]))),
    ]
    return [(heading, lines) for heading, lines in sections if lines]


def _averages(reading: Reading) -> list[str]:
    """Over how many languages each target is averaged, and which are left out of the zero-shot
    mean."""
    lines = []
    for target, codes in reading.languages.items():
        out: dict[str, list[str]] = {}
        for code in codes:
            tags = {reading.tag(name, target, code) for name in reading.rows}
            if tags != {ZERO_SHOT}:
                out.setdefault(
                    " or ".join(sorted(tag or "the language of training" for tag in tags)), []
                ).append(code)
        left = "; ".join(
            (
                f"{' '.join(members)} is {tag}"
                if len(members) == 1
                else f"{' '.join(members)} are {tag}"
            )
            for tag, members in out.items()
        )
        count = f"{len(codes)} language{'s' if len(codes) != 1 else ''}"
        lines.append(f"{target}: {count}" + (f"; {left}" if left else ", all zero-shot"))
    return lines


def _incomplete(reading: Reading) -> list[str]:
    """Which cells have a number over a part only, and what they lack."""
    lacking: dict[tuple[str, str], list[str]] = {}
    several = len(reading.methods) > 1
    for table_row in reading.table(EVERY).rows:
        for target, cell in table_row.cells.items():
            if cell.missing:
                name = _whole_name(table_row, several)
                lacking.setdefault((target, _few(cell.missing, 6)), []).append(name)
    return [f"{target}, {lack}: {_few(rows, 4)}" for (target, lack), rows in lacking.items()]


def _few(words: Sequence[str], most: int) -> str:
    """The first words, and how many more there are."""
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def _reasons(reading: Reading, status: str) -> list[str]:
    """Each reason once, with the number of its cells and where it applies."""
    rows = reading.frame[reading.frame["status"] == status]
    lines = []
    for reason, part in rows.groupby("reason", sort=False):
        pairs = [
            intermediate + " → " + target if intermediate else target
            for intermediate, target in zip(part["intermediate"], part["target"], strict=True)
        ]
        scope = dict.fromkeys(
            zip(part["method"], part["mode"], strict=True) if status == NOT_APPLICABLE else pairs
        )
        named = [label if isinstance(label, str) else " ".join(label) for label in scope]
        lines.append(
            f"{reason or 'no reason given'} ({len(part):,} cell{'s' if len(part) != 1 else ''}: "
            f"{_few(named, 6)})"
        )
    return lines


def _overlaps(reading: Reading) -> list[str]:
    """The largest share of test items of each target that share a text with training or
    selection."""
    lines, several = [], len(reading.methods) > 1
    for target, part in reading.frame[reading.frame["overlap"] > 0].groupby("target", sort=False):
        top = part.loc[part["overlap"].idxmax()]
        names = (top["method"] if several else "", top["intermediate"], top["mode"])
        label = " ".join(filter(None, names))
        lines.append(
            f"{target}: up to {top['overlap']:.1%} of the test items ({top['language']}, {label})"
            " share a text with training or selection"
        )
    return lines


def _truncated(reading: Reading) -> list[str]:
    """What the caps on lengths cut off from each target's tests."""
    lines = []
    for target in reading.languages:
        cells = {
            entry["language"]: entry
            for entry in reading.grid["entries"]
            if entry["target"] == target and entry["status"] == DONE
        }
        lines += truncation.lines(
            target,
            {code: entry.get("truncated", {}) for code, entry in cells.items()},
            {code: entry["examples"] for code, entry in cells.items()},
        )
    return lines


def _merges(reading: Reading) -> list[str]:
    """How far each merge is from the weighted sum that it stands for: mean and range over seeds and
    targets."""
    rows, lines = reading.frame, []
    for (method, text), part in rows[rows["merge_error"].notna()].groupby(
        ["method", "intermediate"], sort=False
    ):
        each = part["merge_error"]
        lost = part["merge_lost"].dropna()
        cut = (
            f"; cut to its rank it lost {lost.mean():.2g} of what the merge is ({lost.max():.2g} at"
            " most)"
        )
        lines.append(
            f"{method}, {text}: off the weighted sum by {each.mean():.2g} of its norm "
            f"({each.min():.2g} to {each.max():.2g})" + (cut if len(lost) else "")
        )
    return lines


def _seconds(reading: Reading) -> list[str]:
    """Mean seconds for the module that a row needs beyond those of other rows, by method."""
    rows, lines = reading.frame, []
    for method, part in rows[rows["seconds"].notna()].groupby("method", sort=False):
        names = part["mode"].where(part["mode"] != COMPOSED, part["intermediate"])
        times = [
            f"{name} {mean:.1f} s"
            for name, mean in part.groupby(names, sort=False)["seconds"].mean().items()
        ]
        lines.append(f"{method}: {', '.join(times)}")
    return lines


def _fusions(reading: Reading) -> list[str]:
    """The mean weight of each part of a fusion over languages and positions, the heaviest first."""
    lines = []
    for fusion in fusions(reading.grid):
        parts = sorted(fusion.by_part, key=lambda part: -part[1])
        shares = ", ".join(
            f"{name} {round(mean, 2) + 0.0:.2f}" + ("" if spread is None else f" ±{spread:.2f}")
            for name, mean, spread in parts
        )
        lines.append(f"{fusion.target}, {fusion.method}, {fusion.intermediate}: {shares}")
    return lines
