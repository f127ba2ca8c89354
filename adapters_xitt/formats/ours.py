"""Our own form: `module.safetensors` and `manifest.json`, nothing else.

Reading is strict: another format version, a tensor missing or too many, another digest are refused by name."""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from adapters_xitt.digests import tensors_digest
from adapters_xitt.errors import XittError

FORMAT = 2
TENSORS, MANIFEST = "module.safetensors", "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a module says of itself."""

    key: str  # the job that made it
    digest: str  # of its tensors
    encoder: str  # fingerprint of the encoder it belongs to
    encoder_name: str
    method: dict[str, Any]
    trained_on: str  # people's word for the mixture: "squad@es", or the name that a recipe gave it
    mixture: dict[str, Any]
    heads: dict[str, dict[str, Any]]  # label space → kind, labels
    languages: list[str]  # trained in
    seed: int
    context: str  # the composition it was trained in, its own key being one of the parts
    role: str  # people's word for the row: "xnli above mnli"
    exposure: list[dict[str, str]]  # task, language, role, data: the data set's digest; its parents' included
    metrics: dict[str, Any]
    training: dict[str, Any]
    versions: dict[str, str]
    chance: float | None = None  # the selection score of the majority class, where the kind has one
    merge: dict[str, Any] | None = None  # of a merged module: how, options, parts, and the error in every layer
    source: str = ""  # the form of the folder that it was taken in from: adapters, peft, xitt; empty: made here
    format: int = FORMAT


@dataclass(frozen=True)
class Module:
    """A trained value: the tensors of the module and of its head, and the manifest."""

    manifest: Manifest
    tensors: dict[str, Any] = field(repr=False)  # "encoder." names and "head.SPACE." names

    def part(self, prefix: str) -> dict[str, Any]:
        """The tensors under `prefix` ("encoder" or "head.SPACE"), without it."""
        dotted = prefix + "."
        return {name.removeprefix(dotted): value for name, value in self.tensors.items() if name.startswith(dotted)}


def write_module(module: Module, folder: Path) -> None:
    """Writes the two files into `folder`, which the caller gives its final name once they are whole."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in module.tensors.items()}
    save_file(tensors, folder / TENSORS, metadata={"digest": module.manifest.digest, "format": str(FORMAT)})
    (folder / MANIFEST).write_text(json.dumps(asdict(module.manifest), indent=1, ensure_ascii=False) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a module's folder."""
    path = folder / MANIFEST
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise XittError(f"{folder}: not a module, {MANIFEST} is missing") from None
    except json.JSONDecodeError as error:
        raise XittError(f"{path}:{error.lineno}: not JSON ({error.msg})") from None
    if values.get("format") != FORMAT:
        raise XittError(f"{path}: format {values.get('format')!r}; this version reads format {FORMAT}")
    known = {row.name: row.default is MISSING for row in fields(Manifest)}
    if wrong := sorted({*(set(values) - set(known)), *(name for name in known if known[name] and name not in values)}):
        raise XittError(f"{path}: keys missing or too many: {', '.join(wrong)}")
    return Manifest(**values)


def read_module(folder: Path) -> Module:
    """The module in `folder`, its tensors checked against its digest."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    manifest = read_manifest(folder)
    try:
        tensors = load_file(folder / TENSORS)
    except (FileNotFoundError, SafetensorError) as error:
        raise XittError(f"{folder / TENSORS}: can't be read ({error})") from None
    found = tensors_digest(tensors)
    if found != manifest.digest:
        raise XittError(f"{folder / TENSORS}: its tensors have digest {found[:12]}, the manifest says "
                        f"{manifest.digest[:12]}: the file was changed or damaged; delete the folder and run again")
    return Module(manifest, tensors)
