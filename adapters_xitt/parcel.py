"""A module with its context as one folder, as it lies on a hub: written, checked, unpacked.

    module.safetensors, manifest.json    the module            parts/KEY/…    those it was trained above, beside or over
    results.json                         what it scores        data/….json    what it has seen, where that is small
    README.md                            the card              and the forms of other libraries"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from adapters_xitt import card, compose, formats
from adapters_xitt.card import Card, Form
from adapters_xitt.errors import XittError
from adapters_xitt.formats import Manifest, Module
from adapters_xitt.hub import Reference
from adapters_xitt.lineage import DataSet
from adapters_xitt.records import DONE, Result
from adapters_xitt.sources import parse_slice
from adapters_xitt.store import Store
from adapters_xitt.tasks import TASKS

RESULTS = "results.json"
OURS = ("README.md", formats.MANIFEST, formats.TENSORS, RESULTS, "data/*.json", f"parts/*/{formats.MANIFEST}",
        f"parts/*/{formats.TENSORS}")
FOREIGN = tuple(prefix + name for prefix in ("", "adapters/", "peft/", "parts/*/adapters/", "parts/*/peft/")
                for name in ("adapter_config.json", "head_config.json", "adapter.safetensors",
                             "adapter_model.safetensors", "model_head.safetensors"))  # written, never read
SMALL = 8_000_000  # bytes of a data set's ids and hashes that go along
_KEY = re.compile(r"[0-9a-f]{64}")

# Writes what other libraries need of the modules into the folder, and says what it wrote; the first module is the
# parcel's own, then come its parts.
Writer = Callable[[Path, Mapping[str, Module]], Sequence[Form]]


def no_forms(folder: Path, modules: Mapping[str, Module]) -> Sequence[Form]:
    """Our own form alone."""
    return ()


# -- written

def pack(store: Store, key: str, folder: Path, *, repo: str, base: Reference | None = None,
         results: Sequence[Result] = (), beside: Mapping[str, Sequence[Result]] | None = None,
         licence: str | None = None, forms: Writer = no_forms) -> list[str]:
    """Fills `folder` with a stored module and what belongs to it; notes on what does not go along.

    Nothing of this machine goes along: encoders are named by their repository, or without the folders they lie in."""
    modules = {one: _public(store.load_module(one), base) for one in context(store.module_folder, key)}
    notes = []
    for one, module in modules.items():
        formats.write_module(module, folder if one == key else folder / "parts" / one)
    (folder / "data").mkdir()
    for found in dict.fromkeys(one["data"] for one in modules[key].manifest.exposure if one["data"]):
        text = json.dumps(store.load_data_set(found).record(), ensure_ascii=False)
        if len(text.encode()) > SMALL:
            notes.append(f"data set {found[:12]}: {len(text.encode()):,} bytes of ids stay here; who pulls the module "
                         "can't tell which tests it must be kept from")
        else:
            (folder / "data" / f"{found}.json").write_text(text, encoding="utf-8")
    own = [replace(one, provenance={}, predictions="") for one in results
           if one.status == DONE and one.cell.composition == modules[key].manifest.context]
    (folder / RESULTS).write_text(json.dumps([one.record() for one in own], indent=1, ensure_ascii=False) + "\n",
                                  encoding="utf-8")
    whole = Card(repo=repo, manifest=modules[key].manifest, base=base, results=results, beside=beside, licence=licence,
                 forms=forms(folder, modules),
                 parts={one: module.manifest for one, module in modules.items() if one != key})
    (folder / "README.md").write_text(card.write(whole), encoding="utf-8")
    return notes


def _public(module: Module, base: Reference | None) -> Module:
    return replace(module, manifest=replace(
        module.manifest, encoder_name=str(base).removeprefix("hub:") if base else card.bare(
            module.manifest.encoder_name)))


def context(where: Callable[[str], Path], key: str) -> tuple[str, ...]:
    """A module's key and those of all that its context names, their contexts' included; `where` says where each is."""
    found: dict[str, None] = {}

    def take(one: str) -> None:
        if one not in found:
            found[one] = None
            for part in compose.names(compose.parse(formats.read_manifest(where(one)).context)):
                take(part)

    take(key)
    return tuple(found)


# -- checked and unpacked

def check(folder: Path) -> dict[str, Module]:
    """The modules of a parcel by key, its own first: whole, each what its manifest says, the context complete, over
    one encoder."""
    own = formats.read_module(folder)
    _key(own.manifest.key, folder)
    places = {own.manifest.key: folder}
    for path in sorted((folder / "parts").iterdir()) if (folder / "parts").is_dir() else ():
        _key(path.name, folder)
        places[path.name] = path
    modules: dict[str, Module] = {}

    def where(key: str) -> Path:
        if key not in places:
            raise XittError(f"{folder}: part {key[:20]!r} of the context is missing; what it means without it is not "
                            "known")
        return places[key]

    for key in context(where, own.manifest.key):
        module = modules[key] = formats.read_module(places[key])
        if module.manifest.key != key:
            raise XittError(f"{places[key]}: its manifest is that of {module.manifest.key[:12]!r}")
        if module.manifest.encoder != own.manifest.encoder:
            raise XittError(f"{places[key]}: it belongs to another encoder ({module.manifest.encoder[:12]}) than the "
                            f"module ({own.manifest.encoder[:12]})")
    if spare := [key for key in places if key not in modules]:
        raise XittError(f"{folder}: part {spare[0][:12]} belongs to nothing in the context")
    return modules


def _key(key: str, folder: Path) -> None:
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise XittError(f"{folder}: {key!r:.80} is no key of a module")


def unpack(folder: Path, store: Store) -> Manifest:
    """Copies a parcel's modules and data sets into a store, best an empty one: a key is what a manifest claims."""
    modules = check(folder)
    for module in modules.values():
        store.save_module(module)
    own = next(iter(modules.values())).manifest
    for found in dict.fromkeys(one.get("data", "") for module in modules.values() for one in module.manifest.exposure):
        path = folder / "data" / f"{found}.json"
        if not found:
            continue
        _key(found, folder)
        if not path.is_file():
            raise XittError(f"{path}: missing; what the module has seen is not known in full, so no test can be scored")
        store.save_data_set(_data_set(path, found))
    return own


def _data_set(path: Path, digest: str) -> DataSet:
    try:
        found = DataSet.from_record(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, AttributeError) as error:
        raise XittError(f"{path}: not a data set ({type(error).__name__}: {error})") from None
    if found.digest != digest:
        raise XittError(f"{path}: it is that of {str(found.digest)[:12]!r}")
    return found


def stated(folder: Path) -> list[Result]:
    """The results that a parcel states; refused where one is not a cell that could be scored again."""
    path = folder / RESULTS
    try:
        found = [Result.from_record(one) for one in json.loads(path.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError) as error:
        raise XittError(f"{path}: not results ({type(error).__name__}: {error})") from None
    for one in found:
        cell, known = one.cell, TASKS.get(one.cell.task)
        numbers = [one.scores.get(one.headline), *cell.lengths.values()] if isinstance(cell.lengths, dict) else [None]
        if known is None or cell.language not in known.known or not all(type(one) in (int, float) for one in numbers):
            raise XittError(f"{path}: a result on {str(cell.task)[:40]!r} in {str(cell.language)[:20]!r} is none that "
                            "could be scored again")
        parse_slice(str(cell.split))
    return found
