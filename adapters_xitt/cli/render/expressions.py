"""An expression taken apart, and what one scores."""

from __future__ import annotations

from rich.table import Table
from rich.tree import Tree

from adapters_xitt.api.explain import Explanation
from adapters_xitt.api.grids import Evaluation
from adapters_xitt.modules import composition
from adapters_xitt.modules.composition import Composition
from adapters_xitt.progress import console
from adapters_xitt.report.reservations import encoder_lines


def print_explanation(explanation: Explanation) -> None:
    """An expression taken apart: its tree, then what it runs as and what it takes."""
    out = console()
    expression = explanation.expression
    out.print(_tree(explanation, expression.composition, Tree(expression.text)))
    table = Table(show_header=False)
    files = explanation.work.plan.inputs.files
    facts = {
        "encoder": (
            f"{files.name} ({files.fingerprint[:12]}), {files.layers} layers of {files.width}"
        ),
        "runs as": "\n".join(explanation.runs),
        "head": "\n".join(explanation.heads) or "none",
        "to be made": "\n".join(explanation.open),
        "memory": "\n".join(explanation.memory),
        "note": "\n".join(explanation.warnings),
    }
    for name, text in facts.items():
        if text:
            table.add_row(name, text)
    out.print(table)


def _tree(explanation: Explanation, node: Composition, tree: Tree) -> Tree:
    """The parts of an expression, one branch each."""
    match node:
        case composition.Part(name) if name != composition.LANG:
            title, seen = _module_lines(explanation, node)
            tree.add(title).add(seen)
            return tree
        case composition.Merge():
            branch = tree.add(_merge_line(explanation, node))
        case composition.Stack():
            branch = tree.add("stack, bottom first")
        case composition.Sum():
            branch = tree.add("sum of updates: exact")
        case composition.Scaled(_, weight):
            branch = tree.add(f"times {weight:g}")
        case composition.Fuse(_, by):
            fusion = explanation.expression.shown(composition.Part(by)) if by else ""
            branch = tree.add(f"fusion {fusion}" if by else "fusion, still to be trained")
        case _:
            tree.add(
                f"{composition.LANG}: the module of the language under evaluation"
                if composition.names(node)
                else "none: the encoder as it is"
            )
            return tree
    for part in node.parts:
        _tree(explanation, part, branch)
    return tree


def _module_lines(explanation: Explanation, part: composition.Part) -> tuple[str, str]:
    """A module: what it is, and what it has seen."""
    manifest = explanation.expression.manifests.get(part.name)
    job = explanation.work.plan.train[part.name]
    title = f"{explanation.expression.shown(part)}: {job.title}"
    if manifest and manifest.metrics["score"] is not None:
        metrics = manifest.metrics
        title += f", {metrics['score']:.1f} {metrics['headline']} on its selection split"
    records = (f"{record.task}@{record.language} {record.role}" for record in job.exposure)
    seen = ", ".join(dict.fromkeys(records)) or "nothing"
    return title, f"key {part.name[:12]}; has seen {seen}"


def _merge_line(explanation: Explanation, node: composition.Merge) -> str:
    """A merge: what it does, and how far it is from the sum it stands for."""
    shown = explanation.expression.shown(node)
    text = f"{node.how}: {composition.MERGES[node.how].about}"
    if errors := explanation.errors.get(shown):
        each = [error for place, error in errors.items() if place != "all"]
        text += (
            f"; off the weighted sum by {errors['all']:.2g} of its norm ({min(each):.2g} to"
            f" {max(each):.2g} over {len(each)} matrices)"
        )
    if lost := explanation.lost.get(shown):
        text += f"; cut to its rank it lost {lost['all']:.2g} of what the merge is"
        if lost["all"] > 1e-6:
            text += " (rank=full loses nothing)"
    return text


def print_scores(evaluation: Evaluation) -> None:
    """Every score of every cell, a line each."""
    table = Table()
    for column in ("task", "language", "scores", "examples", "tag", "convention"):
        table.add_column(column)
    for entry in evaluation.entries:
        scores = "  ".join(f"{name} {value:.2f}" for name, value in entry["scores"].items())
        table.add_row(
            entry["target"],
            entry["language"],
            scores or f"{entry['status']}: {entry['reason']}",
            str(entry["examples"] or ""),
            entry["tag"],
            entry.get("convention", ""),
        )
    out = console()
    out.print(table)
    targets = list(dict.fromkeys(entry["target"] for entry in evaluation.entries))
    for line in encoder_lines(evaluation.grids[0], targets):
        out.print(line, markup=False)
