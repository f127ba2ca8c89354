"""Snippets of a card that load its module: they run as they stand."""

from __future__ import annotations

import re

from adapters_xitt.hub import Reference
from adapters_xitt.sharing.card_contents import Card, Form

# Kind of a head → the class of transformers over which peft puts it.
_CLASSES = {
    "pair": "AutoModelForSequenceClassification",
    "tagging": "AutoModelForTokenClassification",
    "qa": "AutoModelForQuestionAnswering",
    "choice": "AutoModelForMultipleChoice",
    "mlm": "AutoModelForMaskedLM",
}
_LABEL = re.compile(r"[\w.:+/$'-]{1,40}")  # of a label that may stand in a snippet that people run


def load_snippets(card: Card) -> str:
    """How to load a module: with xitt, and with the libraries that have a form of it."""
    texts = [
        "With xitt, which checks every file, and the encoder:\n\n```bash\nxitt pull"
        f" {Reference(card.repo)}\n```"
    ]
    for form in card.forms:
        snippet = {"adapters": _adapters, "peft": _peft}[form.engine]
        texts.append(f"With `{form.engine}` alone:\n\n```python\n{snippet(card, form)}\n```")
    if card.forms and not card.base:
        texts.append(
            "`encoder` is the folder of the encoder named above; this repository does not say where"
            " it lies."
        )
    return "\n\n".join(texts)


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
    subfolder = f', subfolder="{form.folder}"' if form.folder else ""
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
        f'model = PeftModel.from_pretrained(model, "{card.repo}"{subfolder})',
    ]
    for number, folder in enumerate(form.below):
        lines.append(
            f'model.load_adapter("{card.repo}", adapter_name="part{number}", subfolder="{folder}")'
        )
    if form.below:
        names = ", ".join(['"default"', *(f'"part{number}"' for number in range(len(form.below)))])
        lines.append(f"model.base_model.set_adapter([{names}])")
    return "\n".join(lines) + _outputs(form)


def _outputs(form: Form, *, choices: str = "") -> str:
    """What the head says, as the last lines of a snippet. `choices`: the name of the head whose
    number of choices `adapters` wants to know."""
    if not form.head:
        return ""
    outputs = {
        "qa": "start_logits and end_logits of every token",
        "mlm": "logits of every token",
    }.get(form.head, "logits")
    if form.labels and all(map(_LABEL.fullmatch, form.labels)):
        outputs += f", in this order: {', '.join(form.labels)}"
    lines = f"\n# model(...) gives its head's {outputs}"
    if form.head == "choice":
        lines += ", one for each choice"
        lines += (
            f'\nmodel.heads[{choices}].config["num_choices"] = 2  # as many as are asked'
            if choices
            else ""
        )
    return lines
