"""The model card of a module: what it is, how it was made, what it scores, what it has seen, how to
load it.

A manifest may come from anywhere, so its values are data: in the text they stand in code spans, on
one line; of the metadata only what has the form of a code or of a repository's name is taken."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from adapters_xitt.data.exposure import UNKNOWN
from adapters_xitt.data.hub_datasets import HUB_DATASETS
from adapters_xitt.data.mixture import VARIANTS
from adapters_xitt.errors import XittError
from adapters_xitt.hub import Reference
from adapters_xitt.languages import LANGUAGES
from adapters_xitt.modules.manifest import Manifest
from adapters_xitt.modules.methods import METHODS
from adapters_xitt.study.results import DONE, Result
from adapters_xitt.tasks import TASKS
from adapters_xitt.text import printable

TAG = "adapters-xitt"  # what a search for modules asks for
PIPELINES = {
    "pair": "text-classification",
    "tagging": "token-classification",
    "qa": "question-answering",
    "choice": "multiple-choice",
    "mlm": "fill-mask",
}
_SIMILAR = "sentence-similarity"
# Kind of a head → the class of transformers over which peft puts it.
_CLASSES = {
    "pair": "AutoModelForSequenceClassification",
    "tagging": "AutoModelForTokenClassification",
    "qa": "AutoModelForQuestionAnswering",
    "choice": "AutoModelForMultipleChoice",
    "mlm": "AutoModelForMaskedLM",
}
_LABEL = re.compile(r"[\w.:+/$'-]{1,40}")  # of a label that may stand in a snippet that people run
_FOLDER = re.compile(r"[a-z0-9/_-]*")
_LANGUAGE, _LICENCE = re.compile(r"[a-z]{2,3}"), re.compile(r"[a-z0-9][a-z0-9.-]{0,60}")


@dataclass(frozen=True, kw_only=True)
class Form:
    """The same weights as another library keeps them, in the repository."""

    engine: str  # adapters | peft: the library that reads it
    # below the repository; empty: the repository itself, which the library loads by its name
    folder: str = ""
    # folders of the parts that go under it (adapters) or beside it (peft), bottom first
    below: tuple[str, ...] = ()
    head: str = ""  # the kind of the head that goes along: a key of PIPELINES
    labels: tuple[str, ...] = ()  # what its outputs mean, in order

    def __post_init__(self) -> None:
        if bad := [name for name in (self.folder, *self.below) if not _FOLDER.fullmatch(name)]:
            raise XittError(
                f"folder {bad[0]!r}: it stands in a snippet that people run; a-z, 0-9, '/', '_'"
                " and '-'"
            )


@dataclass(frozen=True, kw_only=True)
class Card:
    """All that a card is written from."""

    repo: str
    manifest: Manifest
    base: Reference | None = None  # the encoder on the hub; None: it is not there, or nobody said
    # key → the modules that it was trained above, beside or over
    parts: Mapping[str, Manifest] | None = None
    forms: Sequence[Form] = ()
    results: Sequence[Result] = ()  # its own, and those of the same row with other seeds
    # `none` and the controls: name → results, every seed
    beside: Mapping[str, Sequence[Result]] | None = None
    licence: str | None = None


# -- values that others wrote


def code(value: Any, most: int = 160) -> str:
    """A value as a code span: one line, nothing of it is markup."""
    words = printable(value, most=most)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", words)), default=0))
    pad = " " if "`" in words else ""
    return f"{fence}{pad}{words}{pad}{fence}" if words else "–"


def _cell(text: str) -> str:
    """Text in a table: a bar would end the cell, in a code span too."""
    return text.replace("|", "\\|")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(one) for one in line) + " |" for line in lines)


def _language(found: Any) -> str:
    known = LANGUAGES.get(found) if isinstance(found, str) else None
    return f"{known.name} ({known.code})" if known else code(found, 40)


def _number(value: Any, form: str = ".1f") -> str:
    return (
        format(value, form)
        if isinstance(value, int | float) and not isinstance(value, bool)
        else code(value, 40)
    )


def bare(name: str) -> str:
    """An encoder's name without the folders that it lay in."""
    return (
        name.rstrip("/").rpartition("/")[2]
        if name.startswith(("/", ".", "~")) or "\\" in name
        else name
    )


# -- the metadata


def scores(card: Card) -> list[tuple[Result, list[float]]]:
    """The module's own results, each with the headline of every seed of its row, its own among
    them."""
    rows: dict[tuple[str, ...], list[Result]] = {}
    for one in card.results:
        if one.status == DONE:
            rows.setdefault(_place(one), []).append(one)
    found = []
    for same in rows.values():
        own = next((one for one in same if one.cell.composition == card.manifest.context), None)
        if own:
            # one number a seed: the module's own for its own
            seeds = {one.cell.seed: one for one in [*same, own]}
            found.append((own, [one.scores[one.headline] for one in seeds.values()]))
    return found


def _place(one: Result) -> tuple[str, ...]:
    cell = one.cell
    return (
        cell.task,
        cell.language,
        cell.split,
        cell.convention,
        cell.precision,
        cell.data,
        str(cell.lengths),
    )


def metadata(card: Card) -> Any:
    """The card's header, as the hub's own library keeps it (`ModelCardData`)."""
    from huggingface_hub import EvalResult, ModelCardData

    manifest, rows = card.manifest, []
    for one, seeds in scores(card):
        cell = one.cell
        kind = TASKS[cell.task].kind if cell.task in TASKS else ""
        spread = {"mean": mean(seeds), "spread": stdev(seeds)} if len(seeds) > 1 else {}
        task, language, metric = (
            printable(cell.task, most=200),
            printable(cell.language, most=40),
            printable(one.headline, most=60),
        )
        rows.append(
            EvalResult(
                task_type=PIPELINES.get(kind, _SIMILAR),
                dataset_type=(_hub_datasets([task]) or [task])[0],
                dataset_name=task,
                dataset_config=f"{task}.{language}",
                dataset_split=printable(cell.split, most=60),
                dataset_args={
                    "language": language,
                    "rows": printable(cell.data, most=200),
                    "examples": one.examples,
                },
                metric_type=metric,
                metric_name=f"{task} {metric} in {language}",
                metric_value=one.scores[one.headline],
                metric_config=printable(cell.convention, most=60),
                metric_args={
                    "seed": card.manifest.seed if isinstance(card.manifest.seed, int) else None,
                    "seeds": len(seeds),
                    **spread,
                    "tag": printable(one.tag, most=60),
                    "precision": printable(cell.precision, most=20),
                },
            )
        )
    libraries = [form.engine for form in card.forms]
    tags = [TAG, "cross-lingual-transfer", "xlm-roberta"]
    tags += ["adapter-transformers"] if "adapters" in libraries else []
    tags += ["peft"] if "peft" in libraries else []
    tags += [method] if (method := manifest.method.get("name")) in METHODS else []
    languages = [
        found
        for found in dict.fromkeys(manifest.languages)
        if isinstance(found, str) and _LANGUAGE.fullmatch(found)
    ]
    kinds = [head.get("kind") for head in manifest.heads.values() if isinstance(head, dict)]
    own = {"base_model": card.base.repo, "base_model_relation": "adapter"} if card.base else {}
    return ModelCardData(
        **own,
        language=languages or None,
        library_name=(
            "adapters" if "adapters" in libraries else "peft" if "peft" in libraries else TAG
        ),
        tags=tags,
        datasets=_hub_datasets(_tasks(manifest)) or None,
        license=card.licence if card.licence and _LICENCE.fullmatch(card.licence) else None,
        pipeline_tag=next((PIPELINES[kind] for kind in kinds if kind in PIPELINES), None),
        model_name=card.repo,
        eval_results=rows or None,
    )


def _tasks(manifest: Manifest) -> list[str]:
    """The tasks that a module was trained on, its parents' included."""
    return list(
        dict.fromkeys(
            one.get("task", "") for one in manifest.exposure if one.get("role") == "trained"
        )
    )


def _hub_datasets(names: Iterable[str]) -> list[str]:
    """Where the rows of tasks lie on the hub, of those that are there."""
    return list(
        dict.fromkeys(
            part.repo
            for name in names
            if name in HUB_DATASETS
            for parts in HUB_DATASETS[name].splits.values()
            for part in parts
        )
    )


# -- the text


def write(card: Card) -> str:
    """The card as Markdown, its header included."""
    sections: Sequence[tuple[str, Callable[[Card], str]]] = (
        ("What it is", _what),
        ("How it was trained", _trained),
        ("Parts and context", _parts),
        ("Results", _results),
        ("What it has seen", _seen),
        ("How to load it", _load),
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
    return _table(
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
            ("languages it was trained in", ", ".join(map(_language, manifest.languages))),
            ("head", heads or "none"),
            ("seed", _number(manifest.seed, "d")),
            ("key", code(manifest.key)),
            ("digest of its tensors", code(manifest.digest)),
            *([("taken in from", code(manifest.source))] if manifest.source else []),
        ],
    )


def _trained(card: Card) -> str:
    manifest, told = card.manifest, []
    for part in manifest.mixture.get("portions", []):
        words = (
            f"- {code(part.get('task'))} in {', '.join(map(_language, part.get('languages', [])))}"
        )
        words += f", {VARIANTS[part['variant']]}" if part.get("variant") in VARIANTS else ""
        told.append(
            words
            + (
                f", at most {_number(part['examples'], ',d')} examples"
                if part.get("examples")
                else ""
            )
        )
    if manifest.merge:
        told.append(f"- merged without training: {code(manifest.merge)}")
    own, metrics = manifest.training, manifest.metrics
    shown = {
        name: own[name]
        for name in (
            "learning_rate",
            "batch_size",
            "epochs",
            "max_steps",
            "warmup",
            "weight_decay",
            "precision",
        )
        if own.get(name) is not None
    }
    if shown:
        told.append(
            "- "
            + ", ".join(
                f"{name.replace('_', ' ')} {code(value, 40)}" for name, value in shown.items()
            )
        )
    if "step" in metrics:
        told.append(
            f"- {_number(metrics.get('steps'), 'd')} steps; the weights are those after step"
            f" {_number(metrics['step'], 'd')}, the best by {code(metrics.get('headline'), 60)} on"
            f" the selection split of the training task: {_number(metrics.get('score'))}"
        )
    if _weak(manifest):
        told.append(
            f"- **It did not beat chance** ({_number(manifest.chance)}) on its own selection split."
        )
    return "\n".join(told)


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
        + _table(["part", "row", "method"], rows)
    )


def _results(card: Card) -> str:
    rows = scores(card)
    if not rows:
        return "None are stated."
    beside = {
        name: {_place(one): one for one in found if one.status == DONE}
        for name, found in (card.beside or {}).items()
    }
    everyone = {
        name: {
            place: [
                one.scores[one.headline]
                for one in found
                if one.status == DONE and _place(one) == place
            ]
            for place in beside[name]
        }
        for name, found in (card.beside or {}).items()
    }
    several = any(len(seeds) > 1 for _, seeds in rows)
    # What is the same in every row is said once: a page is 730 pixels wide.
    same = {
        name: next(iter(found))
        for name, read in (
            ("split", lambda one: one.cell.split),
            ("convention", lambda one: one.cell.convention),
        )
        if len(found := {read(one) for one, _ in rows}) == 1
    }
    apart = [name for name in ("split", "convention") if name not in same]
    head = [
        "task",
        "language",
        *apart,
        "metric",
        "score",
        *(["seeds"] if several else []),
        *beside,
        "examples",
        "tag",
    ]
    lines = [
        (
            code(one.cell.task),
            _language(one.cell.language),
            *(code(getattr(one.cell, name), 40) for name in apart),
            code(one.headline, 40),
            f"{one.scores[one.headline]:.1f}",
            *([_spread(seeds)] if several else []),
            *(_spread(everyone[name].get(_place(one), [])) for name in beside),
            f"{one.examples:,}",
            code(one.tag, 60),
        )
        for one, seeds in rows
    ]
    notes = ["Scores are percent, of this module, seed " + _number(card.manifest.seed, "d") + "."]
    notes += (
        [f"Every row: {', '.join(f'{name} {code(value, 80)}' for name, value in same.items())}."]
        if same
        else []
    )
    notes += (
        ["`seeds`: mean ± standard deviation over the seeds of its row, and how many."]
        if several
        else []
    )
    notes += (
        [
            f"Beside it stand {', '.join(f'`{name}`' for name in beside)}, over their seeds: what"
            " the same target scores without this knowledge."
        ]
        if beside
        else []
    )
    notes += [
        "`zero-shot`: no part saw the language; a star: of one part nobody knows what it has seen."
    ]
    return " ".join(notes) + "\n\n" + _table(head, lines)


def _spread(found: Sequence[float]) -> str:
    if not found:
        return "–"
    return (
        f"{mean(found):.1f} ± {stdev(found):.1f} ({len(found)})"
        if len(found) > 1
        else f"{found[0]:.1f} (1)"
    )


def _seen(card: Card) -> str:
    lines, roles = (
        [],
        {
            "trained": "trained on",
            "selected": "its best step selected on",
            UNKNOWN: "unknown",
        },
    )
    for one in card.manifest.exposure:
        role = one.get("role", UNKNOWN)
        if role == UNKNOWN:
            lines.append(
                f"- **unknown**: nobody knows what {code(one.get('task') or 'it')} was trained on;"
                " results with it carry a star"
            )
        else:
            rows = (
                f" (rows {code(one['data'][:12])})"
                if one.get("data")
                else ", which rows is not known"
            )
            lines.append(
                f"- {roles.get(role, 'role unknown:')} {code(one.get('task'))} in "
                f"{_language(one.get('language'))}{rows}"
            )
    if not lines:
        return (
            "Nothing: it is random." if not card.manifest.mixture.get("portions") else "Not known."
        )
    return (
        "Parents included. A test whose items are among these rows is blocked, not scored.\n\n"
        + "\n".join(dict.fromkeys(lines))
    )


def _versions(card: Card) -> str:
    return ", ".join(
        f"{code(name, 40)} {code(found, 40)}" for name, found in card.manifest.versions.items()
    )


# -- snippets that run as they stand


def _load(card: Card) -> str:
    told = [
        "With xitt, which checks every file, and the encoder:\n\n```bash\nxitt pull"
        f" {Reference(card.repo)}\n```"
    ]
    for form in card.forms:
        write_one = {"adapters": _adapters, "peft": _peft}[form.engine]
        told.append(f"With `{form.engine}` alone:\n\n```python\n{write_one(card, form)}\n```")
    if card.forms and not card.base:
        told.append(
            "`encoder` is the folder of the encoder named above; this repository does not say where"
            " it lies."
        )
    return "\n\n".join(told)


def _encoder(card: Card, of: str, more: str = "") -> str:
    if not card.base:
        return f'encoder = "encoder"\nmodel = {of}.from_pretrained(encoder{more})'
    pinned = f', revision="{card.base.revision}"' if card.base.revision else ""
    return f'model = {of}.from_pretrained("{card.base.repo}"{pinned}{more})'


def _adapters(card: Card, form: Form) -> str:
    imports = "from adapters import AutoAdapterModel\n"
    if not (form.folder or form.below):
        return (
            f"{imports}\n{_encoder(card, 'AutoAdapterModel')}\n"
            f'name = model.load_adapter("{card.repo}",'
            " use_safetensors=True)\nmodel.set_active_adapters(name)"
            + _outputs(form, choices="name")
        )
    imports += "from adapters.composition import Stack\n" if form.below else ""
    folders = ", ".join(f'"{folder}"' for folder in (*form.below, form.folder or "."))
    active = "Stack(*names)" if form.below else "names[0]"
    return (
        f"{imports}from huggingface_hub import snapshot_download\n\n"
        f'folder = snapshot_download("{card.repo}")\n{_encoder(card, "AutoAdapterModel")}\n'
        'names = [model.load_adapter(f"{folder}/{part}", use_safetensors=True) for part in'
        f" ({folders},)]\n"
        f"model.set_active_adapters({active})" + _outputs(form, choices="names[-1]")
    )


def _peft(card: Card, form: Form) -> str:
    where = f', subfolder="{form.folder}"' if form.folder else ""
    model, more = (
        _CLASSES.get(form.head, "AutoModel"),
        ("" if form.head else ", add_pooling_layer=False"),
    )
    more += f", num_labels={len(form.labels)}" if form.labels else ""
    lines = [
        "from peft import PeftModel",
        f"from transformers import {model}",
        "",
        _encoder(card, model, more),
        f'model = PeftModel.from_pretrained(model, "{card.repo}"{where})',
    ]
    for at, folder in enumerate(form.below):
        lines.append(
            f'model.load_adapter("{card.repo}", adapter_name="part{at}", subfolder="{folder}")'
        )
    if form.below:
        names = ", ".join(['"default"', *(f'"part{at}"' for at in range(len(form.below)))])
        lines.append(f"model.base_model.set_adapter([{names}])")
    return "\n".join(lines) + _outputs(form)


def _outputs(form: Form, *, choices: str = "") -> str:
    """What the head says, as the last lines of a snippet. `choices`: the name of the head whose
    number of choices `adapters` wants to know."""
    if not form.head:
        return ""
    said = {"qa": "start_logits and end_logits of every token", "mlm": "logits of every token"}.get(
        form.head, "logits"
    )
    if form.labels and all(map(_LABEL.fullmatch, form.labels)):
        said += f", in this order: {', '.join(form.labels)}"
    told = f"\n# model(...) gives its head's {said}"
    if form.head == "choice":
        told += ", one for each choice"
        told += (
            f'\nmodel.heads[{choices}].config["num_choices"] = 2  # as many as are asked'
            if choices
            else ""
        )
    return told
