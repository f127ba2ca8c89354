"""The report as GitHub Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from adapters_xitt.analysis import EVERY, Reading, Table, TableCell, TableRow
from adapters_xitt.analysis.calibration.summary import Calibration
from adapters_xitt.analysis.findings import Findings, tables_of
from adapters_xitt.data.exposure import ZERO_SHOT
from adapters_xitt.languages import language
from adapters_xitt.report import words
from adapters_xitt.report.answers import (
    EXPLAINED,
    HEADS,
    answer_lines,
    control_lines,
    failed_controls,
)
from adapters_xitt.report.calibration import calibration_sections
from adapters_xitt.report.further import further_sections
from adapters_xitt.report.reservations import encoder_lines
from adapters_xitt.report.sections import Section

SIDE_BY_SIDE = 12  # languages in one table


def markdown(grid: dict[str, Any], findings: Findings | None = None) -> str:
    """The whole report: answers, zero-shot, all languages, by language, marks, notes. Without
    `findings` nothing is tested."""
    reading = Reading(grid)
    tables, each = tables_of(reading, findings)
    metrics = {target: words.main_score(reading, target) for target in reading.targets}
    recipe, versions = words.title(grid)
    lines = [f"# {_safe(grid['name'])}", ""]
    if findings:
        lines += [f"**{_safe(line)}**  " for line in failed_controls(findings.controls)]
    methods = f"method{'s' if len(reading.methods) > 1 else ''} {', '.join(reading.methods)}"
    lines += [_safe(recipe) + "  ", _safe(methods) + "  ", _safe(versions)]
    lines += _questions(findings) if findings else []
    lines += ["", "## Zero-shot", "", "Mean over the languages that no part of a row has seen.", ""]
    for line in encoder_lines(grid, reading.targets):
        lines += [_safe(line), ""]
    lines += _table(tables[ZERO_SHOT], tables[ZERO_SHOT].columns, metrics)
    lines += [
        "",
        "## All languages",
        "",
        "XTREME's average: the language of training is included.",
        "",
    ]
    lines += _table(tables[EVERY], tables[EVERY].columns, metrics)
    lines += ["", "## By language", ""]
    for target, table in each.items():
        lines += [f"### {_safe(target)}, {metrics[target]}", ""]
        some, others = words.filled(table)
        for start in range(0, len(some.columns) if some.rows else 0, SIDE_BY_SIDE):
            lines += [*_table(some, some.columns[start : start + SIDE_BY_SIDE], {}, short=True), ""]
        lines += [_safe(others), ""] if others else []
    lines += [
        "## Marks",
        "",
        *(
            f"- {_safe(line)}"
            for line in words.legend(
                [*tables.values(), *each.values()],
                seeds=len(reading.seeds),
                tested=findings is not None,
            )
        ),
    ]
    for section in further_sections(findings) if findings else ():
        lines += _section(section)
    for heading, sentences in words.notes(reading):
        lines += ["", f"## {heading}", "", *(f"- {_safe(line)}" for line in sentences)]
    lines += ["", "## Languages", "", *_languages(reading)]
    return "\n".join(lines).rstrip() + "\n"


def calibration_page(grid: dict[str, Any], calibration: Calibration) -> str:
    """The calibration of a grid by target and by group of languages."""
    lines = [f"# {_safe(grid['name'])}: calibration"]
    for section in calibration_sections(calibration):
        lines += _section(section)
    return "\n".join(lines) + "\n"


def _section(section: Section) -> list[str]:
    """A heading, what it is about, its table and remarks."""
    marks = ["---" if number < section.left else "---:" for number in range(len(section.heads))]
    return [
        "",
        f"## {_safe(section.heading)}",
        "",
        _safe(section.about),
        "",
        _line(list(map(_safe, section.heads))),
        _line(marks),
        *(_line(list(map(_safe, line))) for line in section.rows),
        *([""] if section.remarks else []),
        *(f"- {_safe(remark)}" for remark in section.remarks),
    ]


def _questions(findings: Findings) -> list[str]:
    """The answers and the controls."""
    lines: list[str] = []
    answered = answer_lines(findings.answers)
    if answered:
        lines += [
            "",
            "## Questions",
            "",
            _line(HEADS),
            _line(["---", "---:", "---:", "---:", "---", "---:"]),
        ]
        lines += [_line(list(map(_safe, each.cells))) for each in answered]
        lines.append("")
        for each in answered:
            lines.append(f"- {_safe(each.cells[0])}: {_safe(each.about)}")
            lines += [f"  - {_safe(remark)}" for remark in each.remarks]
        lines += ["", *(f"- {_safe(line)}" for line in EXPLAINED)]
    if findings.controls:
        lines += ["", "## Controls", ""]
        for heading, shown in control_lines(findings.controls).items():
            lines += [f"- {_safe(heading)}", *(f"  - {_safe(line)}" for line in shown)]
    return lines


def _table(
    table: Table, columns: Sequence[str], second: dict[str, str], *, short: bool = False
) -> list[str]:
    """The rows over some columns; `short`: without spreads."""
    averaged = any(table_row.average for table_row in table.rows)
    several = len({table_row.method for table_row in table.rows}) > 1
    names = ["method", "intermediate", "mode"] if several else ["intermediate", "mode"]
    heads = [
        *names,
        *(
            _safe(name) + (f"<br>{_safe(second[name])}" if second.get(name) else "")
            for name in columns
        ),
        *(["average<br>of targets"] if averaged and not short else []),
    ]
    lines = [_line(heads), _line(["---"] * len(names) + ["---:"] * (len(heads) - len(names)))]
    for table_row in (*table.rows, *([table.majority] if table.majority else [])):
        cells = [_cell(table_row.cells[name], short=short) for name in columns]
        if averaged and not short:
            cells.append(_cell(table_row.average, short=False) if table_row.average else "")
        lines.append(_line([*map(_safe, _names(table_row, several)), *cells]))
    return lines


def _names(table_row: TableRow, several: bool) -> tuple[str, ...]:
    """What names a row: its method only where there are several."""
    names = table_row.method, table_row.title, table_row.mode
    if several:
        return names
    return names[1:] if table_row.mode else names[:2]  # the majority class has a name alone


def _cell(cell: TableCell, *, short: bool) -> str:
    """ "61.2 ±0.8 (+1.3 ±0.4)" """
    text = (
        _safe(words.score(cell))
        + words.seen(cell)
        + ("" if short else words.plus_minus(cell.spread))
    )
    if cell.difference is None:
        return text
    change = (
        words.signed(cell.difference)
        + ("" if short else words.plus_minus(cell.difference_spread))
        + words.significant(cell)
    )
    return f"{text} ({change})"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _languages(reading: Reading) -> list[str]:
    """A row for every tested language."""
    codes = dict.fromkeys(code for tested in reading.languages.values() for code in tested)
    records = sorted(map(language, codes), key=lambda record: (record.family, record.code))
    return [
        _line(["code", "language", "family", "script"]),
        _line(["---"] * 4),
        *(_line([record.code, record.name, record.family, record.script]) for record in records),
    ]


def _safe(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\|*<\[\]])", r"\\\1", " ".join(text.split()))
