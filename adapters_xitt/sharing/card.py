"""The model card of a module: what it is, how it was made, what it scores, what it has seen, how to
load it.

A manifest may come from anywhere, so its values are data: in the text they stand in code spans, on
one line; of the metadata only what has the form of a code or of a repository's name is taken."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from adapters_xitt.data.exposure import UNKNOWN
from adapters_xitt.data.mixture import VARIANTS
from adapters_xitt.modules.manifest import Manifest
from adapters_xitt.modules.methods import METHODS
from adapters_xitt.sharing.card_contents import (
    TAG,
    Card,
    Form,
    bare,
    code,
    language_name,
    number_text,
    place_of,
    scores,
    table,
)
from adapters_xitt.sharing.card_metadata import metadata
from adapters_xitt.sharing.snippets import load_snippets
from adapters_xitt.study.results import DONE, Result

__all__ = ["TAG", "Card", "Form", "bare", "metadata", "scores", "write"]

# Of a training, what a card says.
SETTINGS = (
    "learning_rate",
    "batch_size",
    "epochs",
    "max_steps",
    "warmup",
    "weight_decay",
    "precision",
)
SAME = ("split", "convention")  # of a cell, columns where they differ
ROLES = {"trained": "trained on", "selected": "its best step selected on"}


def write(card: Card) -> str:
    """The card as Markdown, its header included."""
    sections: Sequence[tuple[str, Callable[[Card], str]]] = (
        ("What it is", _what),
        ("How it was trained", _trained),
        ("Parts and context", _parts),
        ("Results", _results),
        ("What it has seen", _seen),
        ("How to load it", load_snippets),
        ("Versions", _versions),
    )
    body = [f"## {title}\n\n{text}" for title, tell in sections if (text := tell(card))]
    return (
        "\n\n".join(
            [f"---\n{metadata(card).to_yaml()}\n---\n\n# {card.repo}", _opening(card), *body]
        )
        + "\n"
    )


def _opening(card: Card) -> str:
    manifest = card.manifest
    method = METHODS.get(manifest.method.get("name", ""))
    about = f": {method.about}" if method else ""
    base = f"`{card.base.repo}`" if card.base else code(bare(manifest.encoder_name))
    return (
        f"A {code(manifest.method.get('name'))} module{about}. It goes into the frozen encoder"
        f" {base}, and was trained on {code(manifest.trained_on)}."
    )


def _what(card: Card) -> str:
    manifest = card.manifest
    base = (
        f"`{card.base.repo}`" + (f" at `{card.base.revision}`" if card.base.revision else "")
        if card.base
        else code(bare(manifest.encoder_name))
    )
    options = ", ".join(
        f"{name} {value}" for name, value in manifest.method.items() if name != "name"
    )
    heads = "; ".join(
        f"{code(head.get('kind'), 40)}"
        + (f" over {code(', '.join(map(str, head['labels'])), 300)}" if head.get("labels") else "")
        for head in manifest.heads.values()
    )
    return table(
        ["", ""],
        [
            (
                "method",
                f"{code(manifest.method.get('name'))}"
                + (f" with {code(options)}" if options else ""),
            ),
            ("encoder", base),
            ("fingerprint of the encoder's tensors", code(manifest.encoder)),
            ("row", code(manifest.role)),
            ("languages it was trained in", ", ".join(map(language_name, manifest.languages))),
            ("head", heads or "none"),
            ("seed", number_text(manifest.seed, "d")),
            ("key", code(manifest.key)),
            ("digest of its tensors", code(manifest.digest)),
            *([("taken in from", code(manifest.source))] if manifest.source else []),
        ],
    )


def _trained(card: Card) -> str:
    manifest = card.manifest
    lines = [_portion(part) for part in manifest.mixture.get("portions", [])]
    if manifest.merge:
        lines.append(f"- merged without training: {code(manifest.merge)}")
    settings = [
        f"{name.replace('_', ' ')} {code(manifest.training[name], 40)}"
        for name in SETTINGS
        if manifest.training.get(name) is not None
    ]
    if settings:
        lines.append(f"- {', '.join(settings)}")
    metrics = manifest.metrics
    if "step" in metrics:
        lines.append(
            f"- {number_text(metrics.get('steps'), 'd')} steps; the weights are those after step"
            f" {number_text(metrics['step'], 'd')}, the best by"
            f" {code(metrics.get('headline'), 60)} on the selection split of the training task:"
            f" {number_text(metrics.get('score'))}"
        )
    if _weak(manifest):
        lines.append(
            f"- **It did not beat chance** ({number_text(manifest.chance)}) on its own selection"
            " split."
        )
    return "\n".join(lines)


def _portion(part: Mapping[str, Any]) -> str:
    """A line for a task that a module was trained on."""
    languages = ", ".join(map(language_name, part.get("languages", [])))
    line = f"- {code(part.get('task'))} in {languages}"
    if part.get("variant") in VARIANTS:
        line += f", {VARIANTS[part['variant']]}"
    if part.get("examples"):
        line += f", at most {number_text(part['examples'], ',d')} examples"
    return line


def _weak(manifest: Manifest) -> bool:
    score = manifest.metrics.get("score")
    return (
        manifest.chance is not None and isinstance(score, int | float) and score <= manifest.chance
    )


def _parts(card: Card) -> str:
    manifest = card.manifest
    if manifest.context == manifest.key:
        return "It stands alone: nothing was below, beside or over it when it was trained."
    rows = [
        (code(key[:12]), code(part.role), code(part.method.get("name")))
        for key, part in (card.parts or {}).items()
    ]
    written = re.sub("[0-9a-f]{64}", lambda key: key[0][:12], str(manifest.context))
    return (
        f"It was trained in the composition {code(written, 600)} and means what it says only there;"
        " the parts come with it, each under `parts/` in a folder called by its whole key.\n\n"
        + table(["part", "row", "method"], rows)
    )


def _results(card: Card) -> str:
    rows = scores(card)
    if not rows:
        return "None are stated."
    beside = {name: _by_place(results) for name, results in (card.beside or {}).items()}
    several = any(len(seeds) > 1 for _, seeds in rows)
    # What is the same in every row is said once: a page is 730 pixels wide.
    columns = {name: {getattr(result.cell, name) for result, _ in rows} for name in SAME}
    same = {name: next(iter(values)) for name, values in columns.items() if len(values) == 1}
    apart = [name for name in SAME if name not in same]
    seeds_column = ["seeds"] if several else []
    head = ["task", "language", *apart, "metric", "score", *seeds_column, *beside]
    lines = [
        (
            code(result.cell.task),
            language_name(result.cell.language),
            *(code(getattr(result.cell, name), 40) for name in apart),
            code(result.headline, 40),
            f"{result.scores[result.headline]:.1f}",
            *([_spread(seeds)] if several else []),
            *(_spread(places.get(place_of(result), [])) for places in beside.values()),
            f"{result.examples:,}",
            code(result.tag, 60),
        )
        for result, seeds in rows
    ]
    seed = number_text(card.manifest.seed, "d")
    notes = [f"Scores are percent, of this module, seed {seed}."]
    if same:
        values = ", ".join(f"{name} {code(value, 80)}" for name, value in same.items())
        notes.append(f"Every row: {values}.")
    if several:
        notes.append("`seeds`: mean ± standard deviation over the seeds of its row, and how many.")
    if beside:
        names = ", ".join(f"`{name}`" for name in beside)
        notes.append(
            f"Beside it stand {names}, over their seeds: what the same target scores without this"
            " knowledge."
        )
    notes.append(
        "`zero-shot`: no part saw the language; a star: of one part nobody knows what it has seen."
    )
    if card.seen:
        notes.append(
            f"The encoder itself has been trained on {', '.join(map(code, card.seen))} data: on"
            " tasks of that sort `zero-shot` means only that no module saw the language."
        )
    return " ".join(notes) + "\n\n" + table([*head, "examples", "tag"], lines)


def _by_place(results: Sequence[Result]) -> dict[tuple[str, ...], list[float]]:
    """Task, language and so on → the scores of all seeds."""
    places: dict[tuple[str, ...], list[float]] = {}
    for result in results:
        if result.status == DONE:
            places.setdefault(place_of(result), []).append(result.scores[result.headline])
    return places


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "–"
    if len(values) == 1:
        return f"{values[0]:.1f} (1)"
    return f"{mean(values):.1f} ± {stdev(values):.1f} ({len(values)})"


def _seen(card: Card) -> str:
    lines = [_exposure_line(record) for record in card.manifest.exposure]
    if not lines:
        is_random = not card.manifest.mixture.get("portions")
        return "Nothing: it is random." if is_random else "Not known."
    return (
        "Parents included. A test whose items are among these rows is blocked, not scored.\n\n"
        + "\n".join(dict.fromkeys(lines))
    )


def _exposure_line(record: Mapping[str, Any]) -> str:
    """What one data set was for."""
    role = record.get("role", UNKNOWN)
    if role == UNKNOWN:
        return (
            f"- **unknown**: nobody knows what {code(record.get('task') or 'it')} was trained on;"
            " results with it carry a star"
        )
    data = record.get("data")
    rows = f" (rows {code(data[:12])})" if data else ", which rows is not known"
    return (
        f"- {ROLES.get(role, 'role unknown:')} {code(record.get('task'))} in"
        f" {language_name(record.get('language'))}{rows}"
    )


def _versions(card: Card) -> str:
    return ", ".join(
        f"{code(name, 40)} {code(version, 40)}" for name, version in card.manifest.versions.items()
    )
