"""What the commands print of plans, tasks, stores and submissions. Tables of what is there need no
torch: what does is imported where it is used."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from adapters_xitt import tasks
from adapters_xitt.atomic import write_text
from adapters_xitt.cli import inspect
from adapters_xitt.data.hub_datasets import HUB_DATASETS
from adapters_xitt.errors import DataError, XittError
from adapters_xitt.languages import LANGUAGES
from adapters_xitt.modules import composition, serialization
from adapters_xitt.modules.composition import Composition
from adapters_xitt.progress import console
from adapters_xitt.study.store import Store, default_root

if TYPE_CHECKING:
    from adapters_xitt.api.compositions import Explained
    from adapters_xitt.report import submission
    from adapters_xitt.study.inputs import Inputs


def print_tasks(*, markdown: bool) -> None:
    """The table of tasks."""
    if markdown:
        print(tasks_table())
        return
    table = Table(title="tasks", title_justify="left")
    for column in ("name", "kind", "languages", "scored by", "trained on", "about"):
        table.add_column(column)
    for row in tasks.TASKS.values():
        trained = "nothing" if not row.trains else row.trained_on or "its own English data"
        table.add_row(
            row.name,
            row.kind,
            str(len(row.languages)),
            f"{row.metric}: {row.headline}",
            trained,
            row.about,
        )
    console().print(table)


def tasks_table() -> str:
    """The tasks as Markdown: languages, origin and hub, metric, convention."""
    from adapters_xitt.evaluation import conventions

    lines = ["| task | kind | languages | origin | hub | metric | convention |", "| --- " * 7 + "|"]
    for row in tasks.TASKS.values():
        if row.demo:
            continue
        hub = (
            [part.repo for parts in HUB_DATASETS[row.name].splits.values() for part in parts]
            if row.name in HUB_DATASETS
            else []
        )
        told = conventions.convention(row, 24)
        if row.readings[1:]:
            told += f" ({row.reading().name})" if row.reading().name not in told else ""
            told += "; also " + ", ".join(one.name for one in row.readings[1:])
        languages = " ".join(row.languages) + (
            f"; XTREME-R: {' '.join(row.more)}" if row.more else ""
        )
        cells = (
            f"`{row.name}`",
            row.kind,
            "any" if row.languages == tuple(LANGUAGES) else languages,
            row.source,
            ", ".join(dict.fromkeys(hub)),
            f"{row.metric}: {row.headline}",
            "" if told == "plain" else told,
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def print_ceiling(name: str, *, encoder: str | None, data: str | None, store: Path | None) -> None:
    """What gold spans score on a question answering task, in each language whose files are at
    hand."""
    from adapters_xitt.evaluation import upper_bound

    row, out = tasks.task(name), console()
    if row.kind != "qa":
        raise XittError(f"--ceiling is of question answering; {name} is of kind {row.kind}")
    inputs = _material(name, encoder=encoder, data=data, store=store)
    table = Table(
        title=f"{name}: gold spans, encoded by {inputs.files.name} and decoded again",
        title_justify="left",
    )
    for column in ("language", "questions", *upper_bound.REASONS, "exact match", "F1"):
        table.add_column(column, justify="left" if column == "language" else "right")
    missing = []
    for language in row.known:
        try:
            rows = inputs.test(name, language)
        except DataError as error:
            missing.append(str(error))
            continue
        found = upper_bound.upper_bound(
            row, language, rows.rows, inputs.features(rows), inputs.lengths(name)
        )
        table.add_row(
            language,
            f"{len(rows.rows):,}",
            *(f"{found.counts[reason]:,}" for reason in upper_bound.REASONS),
            f"{found.scores['exact_match']:.1f}",
            f"{found.scores['f1']:.1f}",
        )
    if not table.row_count:
        raise XittError(f"no file of {name} is at hand; the first that is missing: {missing[0]}")
    out.print(table)
    for line in missing:
        out.print(line)


def print_task(name: str, *, encoder: str | None, data: str | None, store: Path | None) -> None:
    """One task whole, with its first English example as the encoder sees it, where data and encoder
    are at hand."""
    row, out = tasks.task(name), console()
    table = Table(show_header=False, title=f"{row.name}: {row.about}", title_justify="left")
    trained = row.name if not row.trained_on else row.trained_on
    facts = {
        "kind": f"{row.kind}: {tasks.KINDS[row.kind].about}",
        "group": row.group,
        "languages": _codes(row, row.languages),
        "labels": " ".join(row.labels),
        "scored by": f"{row.metric}, headline {row.headline}",
        "trained on": f"{trained} {tasks.task(trained).train}" if row.trains else "nothing",
        "selected on": tasks.task(trained).selection if row.trains else "nothing",
        "items": row.origin,
        "derived from": " ".join(row.derived_from),
        "source": row.source,
        "files": "\n".join(
            f"{split}: {' | '.join(found)}" for split, found in row.files.items() if found
        ),
        "joins": " ".join(row.joins),
        "languages of XTREME-R": _codes(row, row.more),
        "files missing": row.hint,
        "labels apart": "\n".join(
            f"{split}: {' | '.join(found)}" for split, found in row.gold.items()
        ),
    }
    for what, text in facts.items():
        if text:
            table.add_row(what, text)
    out.print(table)
    if not encoder and not data and not row.demo:
        out.print("An example is shown with --encoder and --data.")
        return
    _print_example(out, _material(name, encoder=encoder, data=data, store=store), row)


def _material(name: str, *, encoder: str | None, data: str | None, store: Path | None) -> Inputs:
    """What a recipe of one target would read."""
    from adapters_xitt.api import common

    values = {
        "name": "tasks",
        "encoder": encoder or "demo",
        "methods": ["seq_bn"],
        "intermediates": [],
        "targets": [name],
    }
    return common.empty(
        common.recipe_of(values, (), data), Store(store or default_root())
    ).plan.inputs


def _codes(row: tasks.Task, codes: Sequence[str]) -> str:
    """Language codes, with what files call a language where that is something else."""
    return " ".join(
        code + (f" ({row.codes[code]})" if row.codes.get(code, code) != code else "")
        for code in codes
    )


def _print_example(out: Console, inputs: Inputs, row: tasks.Task) -> None:
    language = "en" if "en" in row.languages else row.languages[0]
    rows = inputs.test(row.name, language)
    features = inputs.features(rows)
    out.print(
        f"\nThe first of {len(rows.rows):,} {rows.split} examples in {language}, from {rows.file}:"
    )
    out.print_json(json.dumps(rows.rows[0], ensure_ascii=False))
    out.print("as the encoder sees it:")
    first = features.columns["ids"][features.of_examples()[0][0]]
    out.print(" ".join(inputs.tokenizer.convert_ids_to_tokens(first)), highlight=False)


def print_manifest(manifest: serialization.Manifest, *, name: str | None = None) -> None:
    """A manifest in lines, and in words what the module has seen."""
    out = console()
    out.print(inspect.manifest_table(manifest, title=name or manifest.role))
    out.print(Text(f"Exposure: {inspect.exposure_in_words(manifest)}"))


def print_expression(told: Explained) -> None:
    """An expression taken apart: its tree, then what it runs as and what it takes."""
    out = console()
    out.print(_tree(told, told.composition, Tree(told.found.text)))
    table = Table(show_header=False)
    files = told.work.plan.inputs.files
    facts = {
        "encoder": (
            f"{files.name} ({files.fingerprint[:12]}), {files.layers} layers of {files.width}"
        ),
        "runs as": "\n".join(told.runs),
        "head": "\n".join(told.heads) or "none",
        "to be made": "\n".join(told.open),
        "memory": "\n".join(told.memory),
        "note": "\n".join(told.warnings),
    }
    for what, text in facts.items():
        if text:
            table.add_row(what, text)
    out.print(table)


def _tree(told: Explained, node: Composition, tree: Tree) -> Tree:
    """The parts of an expression, one branch each."""
    match node:
        case composition.Part(name) if name != composition.LANG:
            manifest, word = told.found.manifests.get(name), told.found.called(node)
            job = told.work.plan.train[name]
            score = (
                f", {manifest.metrics['score']:.1f} {manifest.metrics['headline']} on its selection"
                " split"
                if (manifest and manifest.metrics["score"] is not None)
                else ""
            )
            branch = tree.add(f"{word}: {job.title}{score}")
            seen = dict.fromkeys(f"{one.task}@{one.language} {one.role}" for one in job.exposure)
            branch.add(f"key {name[:12]}; has seen {', '.join(seen) or 'nothing'}")
            return tree
        case composition.Merge(how, _, _):
            text = f"{how}: {composition.MERGES[how].about}"
            if errors := told.errors.get(told.found.called(node)):
                each = [value for at, value in errors.items() if at != "all"]
                text += (
                    f"; off the weighted sum by {errors['all']:.2g} of its norm ({min(each):.2g} to"
                    f" {max(each):.2g} over {len(each)} matrices)"
                )
            if lost := told.lost.get(told.found.called(node)):
                text += f"; cut to its rank it lost {lost['all']:.2g} of what the merge is" + (
                    " (rank=full loses nothing)" if lost["all"] > 1e-6 else ""
                )
            branch = tree.add(text)
        case composition.Stack():
            branch = tree.add("stack, bottom first")
        case composition.Sum():
            branch = tree.add("sum of updates: exact")
        case composition.Scaled(_, weight):
            branch = tree.add(f"times {weight:g}")
        case composition.Fuse(_, by):
            branch = tree.add(
                f"fusion {told.found.called(composition.Part(by))}"
                if by
                else "fusion, still to be trained"
            )
        case _:
            tree.add(
                f"{composition.LANG}: the module of the language under evaluation"
                if composition.names(node)
                else "none: the encoder as it is"
            )
            return tree
    for part in node.parts:
        _tree(told, part, branch)
    return tree


def print_store(root: Path | None, *, name: str | None, results: bool) -> None:
    """Modules or results, or one module whole."""
    store, out = Store(root or default_root()), console()
    if name:
        print_manifest(store.manifest(store.resolve(name)), name=name)
        return
    if results:
        table = Table(title=f"results in {store.root}", title_justify="left")
        for column in ("key", "task", "language", "composition", "seed", "score", "tag"):
            table.add_column(column)
        short = re.compile(r"[0-9a-f]{64}")
        for result in store.results():
            cell = result.cell
            table.add_row(
                cell.key[:12],
                cell.task,
                cell.language,
                short.sub(lambda found: found[0][:12], cell.composition),
                str(cell.seed or ""),
                f"{result.scores[result.headline]:.2f} {result.headline}",
                result.tag,
            )
        out.print(table)
        return
    named = {key: word for word, key in store.names().items()}
    table = Table(title=f"modules in {store.root}", title_justify="left")
    for column in ("key", "name", "module", "encoder", "selection score", "chance", "MiB"):
        table.add_column(column, justify="right" if column in ("chance", "MiB") else "left")
    for manifest in store.manifests():
        size = (store.module_folder(manifest.key) / serialization.TENSORS).stat().st_size / 2**20
        table.add_row(
            manifest.key[:12],
            named.get(manifest.key, ""),
            manifest.role,
            manifest.encoder_name,
            _selected(manifest),
            "" if manifest.chance is None else f"{manifest.chance:.2f}",
            f"{size:.2f}",
        )
    out.print(table)


def _selected(manifest: serialization.Manifest) -> str:
    """The score by which a module's step was picked; where it has none, why."""
    if manifest.metrics["score"] is not None:
        return f"{manifest.metrics['score']:.2f} {manifest.metrics['headline']}"
    if manifest.source:
        return "not known"
    return "merged" if manifest.merge else "random"


def print_scores(grids: Sequence[dict[str, Any]]) -> None:
    """Every score of every cell, a line each."""
    table = Table()
    for column in ("task", "language", "scores", "examples", "tag", "convention"):
        table.add_column(column)
    for entry in (entry for grid in grids for entry in grid["entries"]):
        scores = "  ".join(f"{name} {value:.2f}" for name, value in entry["scores"].items())
        table.add_row(
            entry["target"],
            entry["language"],
            scores or f"{entry['status']}: {entry['reason']}",
            str(entry["examples"] or ""),
            entry["tag"],
            entry.get("convention", ""),
        )
    console().print(table)


def print_standing(
    predictions: Path, labels: Path, *, benchmark: str, out: Path | None, lenient: bool = False
) -> None:
    """Prints what a submission folder scores."""
    from adapters_xitt.report import submission

    found = submission.score(predictions, labels, submission.benchmark(benchmark), lenient=lenient)
    table = Table(title=f"{found.benchmark.about}\n{predictions}", title_justify="left")
    for column in ("", "score", "over", "scores", "missing"):
        table.add_column(column, justify="right" if column == "score" else "left")
    for row in found.benchmark.rows:
        languages = found.scores.get(row.name, {})
        means = {
            name: sum(one[name] for one in languages.values()) / len(languages)
            for name in next(iter(languages.values()), {})
            if all(name in scores for scores in languages.values())
        }
        asked = len(found.benchmark.languages[row.name])
        table.add_row(
            row.name,
            _average(found.tasks[row.name]),
            f"{len(languages)} of {asked} languages",
            ", ".join(f"{name} {value:.2f}" for name, value in means.items()),
            _missing(found.tasks[row.name]),
        )
    table.add_section()
    for name, one in {**found.groups, "all tasks": found.whole}.items():
        table.add_row(name, _average(one), "tasks", "", _missing(one))
    console().print(table)
    each = Table(title="by language, over the tasks that ask for it", title_justify="left")
    for column in ("language", "score", "missing"):
        each.add_column(column, justify="right" if column == "score" else "left")
    for code, one in found.languages.items():
        if one.value is not None:
            each.add_row(code, _average(one), _missing(one))
    console().print(each)
    _print_remarks(found)
    if out:
        write_text(out, json.dumps(found.record(), indent=1, ensure_ascii=False) + "\n")


def _print_remarks(found: submission.Standing) -> None:
    """The lines that a lenient reading forgave, by file and kind; or how many it would."""
    if not found.remarks:
        return
    if not found.lenient:
        files = {one.path for one in found.remarks}
        print(
            f"{len(found.remarks):,} lines of {len(files)} files, as"
            f" {found.remarks[0].path}:{found.remarks[0].line}: {found.remarks[0].what}, are taken"
            " literally, as evaluate.py takes them; --lenient reads them as people do, and says"
            " which"
        )
        return
    by_kind: dict[tuple[Path, str], list[int]] = {}
    for one in found.remarks:
        by_kind.setdefault((one.path, one.what), []).append(one.line)
    for (path, what), lines in by_kind.items():
        print(
            f"forgiven: {path}:{_runs(lines)}: {what}"
            if lines != [0]
            else f"forgiven: {path}: {what}"
        )


def _runs(numbers: Sequence[int]) -> str:
    """`1-3,7` for 1, 2, 3 and 7."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


def _average(one: submission.Average) -> str:
    return "–" if one.value is None else f"{one.value:.2f}" + ("*" if one.missing else "")


def _missing(one: submission.Average) -> str:
    return " ".join(one.missing)
