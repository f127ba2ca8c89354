"""A module with its context as one folder, as it lies on a hub: written, checked, unpacked.

module.safetensors, manifest.json    the module
parts/KEY/…                          those it was trained above, beside or over
results.json                         what it scores
data/….json                          what it has seen, where that is small
README.md                            the card
and the forms of other libraries"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from adapters_xitt import hashing, hub, integrity, safe_files
from adapters_xitt.data.dataset import parse_slice
from adapters_xitt.data.exposure import UNKNOWN, Exposure
from adapters_xitt.data.mixture import RANDOM
from adapters_xitt.errors import DataError, XittError
from adapters_xitt.hub import Pulled, Reference
from adapters_xitt.modules import composition, serialization
from adapters_xitt.modules.manifest import KEY, Manifest, Module
from adapters_xitt.sharing import card
from adapters_xitt.sharing.card import Card, Form
from adapters_xitt.study.results import DONE, Result
from adapters_xitt.study.store import Store
from adapters_xitt.study.store_files import read_data_set
from adapters_xitt.tasks import TASKS
from adapters_xitt.text_files import json_of

RESULTS, PARTS, DATA = "results.json", "parts", "data"
SELF = "self"  # stands for a module's own key where that is not yet known
OURS = (
    "README.md",
    serialization.MANIFEST,
    serialization.TENSORS,
    RESULTS,
    "data/*.json",
    f"parts/*/{serialization.MANIFEST}",
    f"parts/*/{serialization.TENSORS}",
)
FOREIGN = tuple(
    prefix + name
    for prefix in ("", "adapters/", "peft/", "parts/*/adapters/", "parts/*/peft/")
    for name in (
        "adapter_config.json",
        "head_config.json",
        "adapter.safetensors",
        # written, never read
        "adapter_model.safetensors",
        "model_head.safetensors",
    )
)
SMALL = 8_000_000  # bytes of a data set's ids and hashes that go along

# Writes what other libraries need of the modules into the folder, and says what it wrote; the first
# module is the bundle's own, then come its parts.
Writer = Callable[[Path, Mapping[str, Module]], Sequence[Form]]


def no_forms(folder: Path, modules: Mapping[str, Module]) -> Sequence[Form]:
    """Our own form alone."""
    return ()


# -- written


def give(
    store: Store,
    key: str,
    folder: Path,
    *,
    public: Callable[[Module], Module] = lambda module: module,
) -> tuple[dict[str, Module], list[str]]:
    """Writes a stored module into `folder`, those of its context below it, and what they have seen
    where that is small: the modules by key, its own first, and notes on what does not go along."""
    notes: list[str] = []
    keys = context(store.module_folder, key)
    modules = {each: public(store.load_module(each)) for each in keys}
    for each, module in modules.items():
        serialization.write_module(module, folder if each == key else folder / PARTS / each)
    records = (record for module in modules.values() for record in module.manifest.exposure)
    for digest in dict.fromkeys(record["data"] for record in records if record["data"]):
        text = integrity.json_text(store.load_data_set(digest).record())
        if len(text.encode()) > SMALL:
            notes.append(
                f"data set {digest[:12]}: {len(text.encode()):,} bytes of ids stay here; who takes"
                " the module in knows its task and language only, and its cells carry a star"
            )
            continue
        (folder / DATA).mkdir(exist_ok=True)
        (folder / DATA / f"{digest}.json").write_text(text, encoding="utf-8")
    return modules, notes


@dataclass(frozen=True, kw_only=True)
class Publication:
    """What a bundle says of its module beside the module itself."""

    base: Reference | None = None  # the encoder on the hub
    results: Sequence[Result] = ()  # its own, and those of the same row with other seeds
    # `none` and the controls: name → results, every seed
    beside: Mapping[str, Sequence[Result]] | None = None
    licence: str | None = None
    seen: Sequence[str] = ()  # what the encoder's own training had


def pack(
    store: Store,
    key: str,
    folder: Path,
    *,
    repo: str,
    publication: Publication = Publication(),
    forms: Writer = no_forms,
) -> list[str]:
    """Fills `folder` with a stored module and what belongs to it; notes on what does not go along.

    Nothing of this machine goes along: encoders are named by their repository, or without the
    folders they lie in."""
    base = publication.base
    modules, notes = give(store, key, folder, public=lambda module: _public(module, base))
    stated_results = [
        replace(result, provenance={}, predictions="")
        for result in publication.results
        if result.status == DONE
        and result.cell.composition == modules[key].manifest.context
        and not result.cell.head
    ]
    stated_records = [result.record() for result in stated_results]
    text = json.dumps(stated_records, indent=1, ensure_ascii=False)
    (folder / RESULTS).write_text(text + "\n", encoding="utf-8")
    whole = Card(
        repo=repo,
        manifest=modules[key].manifest,
        base=base,
        results=publication.results,
        beside=publication.beside,
        licence=publication.licence,
        seen=publication.seen,
        forms=forms(folder, modules),
        parts={each: module.manifest for each, module in modules.items() if each != key},
    )
    (folder / "README.md").write_text(card.write(whole), encoding="utf-8")
    return notes


def _public(module: Module, base: Reference | None) -> Module:
    return replace(
        module,
        manifest=replace(
            module.manifest,
            encoder_name=(
                str(base).removeprefix("hub:") if base else card.bare(module.manifest.encoder_name)
            ),
        ),
    )


def context(folder_of: Callable[[str], Path], key: str) -> tuple[str, ...]:
    """A module's key and those of all that its context names, their contexts' included;
    `folder_of` says where each is."""
    keys: dict[str, None] = {}

    def take(each: str) -> None:
        if each in keys:
            return
        keys[each] = None
        manifest = serialization.read_manifest(folder_of(each))
        for part in composition.names(composition.parse(manifest.context)):
            take(part)

    take(key)
    return tuple(keys)


# -- brought here


def fetch(text: str, store: Store, *, tell: Callable[[str], None]) -> Pulled:
    """The bundle of a repository, as a folder below the store, checked."""
    return hub.pull(
        hub.reference(text),
        store.root / "hub",
        hub.Selection(OURS, needed=(serialization.MANIFEST, serialization.TENSORS)),
        check=_check,
        tell=tell,
    )


def resolver(store: Store, *, tell: Callable[[str], None]) -> Callable[[str], str]:
    """What finds the key of a module that an expression names: in the store, in a folder of ours,
    or on a hub; the latter two are taken into the store."""

    def resolve(word: str) -> str:
        if word.startswith(hub.PREFIX):
            return unpack(fetch(word, store, tell=tell).folder, store)
        if "/" not in word:
            return store.resolve(word)
        folder = Path(word)
        if not folder.is_dir():
            raise XittError(
                f"{word}: no such folder; a module of the store is written by its name, one on a"
                f" hub as {hub.PREFIX}owner/name@revision"
            )
        if not (folder / serialization.MANIFEST).is_file():
            raise XittError(
                f"{word}: no module of ours, {serialization.MANIFEST} is missing; take a folder of"
                f" adapters or peft in first: xitt import {word} --name NAME --encoder ENCODER"
            )
        return unpack(folder, store)

    return resolve


# -- checked and unpacked


def check(folder: Path) -> dict[str, Module]:
    """The modules of a bundle by key, its own first: whole, each what its manifest says, the
    context complete, over one encoder."""
    first = serialization.read_module(folder).manifest
    folders = {first.key: folder}
    for path in sorted((folder / PARTS).iterdir()) if (folder / PARTS).is_dir() else ():
        _key(path.name, folder)
        folders[path.name] = safe_files.inside(safe_files.inside(folder, PARTS), path.name)
    modules: dict[str, Module] = {}

    def folder_of(key: str) -> Path:
        if key not in folders:
            raise XittError(
                f"{folder}: part {key[:20]!r} of the context is missing; what it means without it"
                " is not known"
            )
        return folders[key]

    for key in context(folder_of, first.key):
        module = modules[key] = serialization.read_module(folders[key])
        if module.manifest.key != key:
            raise XittError(f"{folders[key]}: its manifest is that of {module.manifest.key[:12]!r}")
        if module.manifest.encoder != first.encoder:
            raise XittError(
                f"{folders[key]}: it belongs to another encoder ({module.manifest.encoder[:12]})"
                f" than the module ({first.encoder[:12]})"
            )
    if spare := [key for key in folders if key not in modules]:
        raise XittError(f"{folder}: part {spare[0][:12]} belongs to nothing in the context")
    return modules


def _check(folder: Path) -> None:
    check(folder)


def _key(key: str, folder: Path) -> None:
    if not isinstance(key, str) or not KEY.fullmatch(key):
        raise XittError(f"{folder}: {key!r:.80} is no key of a module")


def unpack(folder: Path, store: Store) -> str:
    """Copies a bundle's modules and data sets into a store; the key of its own module there.

    A key says what was asked, and from elsewhere it is only a claim: a module that the store has
    already, tensors and all, keeps its key, any other is given one of its own. What a module has
    seen, and did not come along, is known by name only from here on."""
    modules = check(folder)
    settled: dict[str, str] = {}
    for path in sorted((folder / DATA).iterdir()) if (folder / DATA).is_dir() else ():
        safe_files.inside(safe_files.inside(folder, DATA), path.name)
        read_data_set(path)

    def settle(key: str, under: tuple[str, ...] = ()) -> str:
        if key in settled:
            return settled[key]
        manifest = modules[key].manifest
        if key in under:
            raise XittError(
                f"{folder}: {key[:12]} and {under[-1][:12]} each stand in the other's context; no"
                " module was trained so"
            )
        if store.has_module(key) and store.manifest(key).digest == manifest.digest:
            settled[key] = key
            return key
        written = composition.parse(manifest.context)
        parts = {
            part: settle(part, (*under, key)) for part in composition.names(written) if part != key
        }
        exposure = _brought(manifest, folder, store)
        known = composition.show(
            composition.rename(written, lambda part: composition.Part(parts.get(part, SELF)))
        )
        claims = {**asdict(manifest), "key": SELF, "context": known, "exposure": exposure}
        settled[key] = new_key = hashing.key("import", json.loads(json.dumps(claims)))
        names = {**parts, key: new_key}
        store.save_module(
            replace(
                modules[key],
                manifest=replace(
                    manifest,
                    key=new_key,
                    exposure=exposure,
                    source="xitt",
                    context=composition.show(
                        composition.rename(written, lambda part: composition.Part(names[part]))
                    ),
                    training={
                        **manifest.training,
                        "below": [names.get(part, part) for part in manifest.training["below"]],
                    },
                ),
            )
        )
        return new_key

    return settle(next(iter(modules)))


def _brought(manifest: Manifest, folder: Path, store: Store) -> list[dict[str, str]]:
    """What a module has seen, as the store knows it: data sets that came along get a digest of
    their own content, because the one that they claim is of rows that nobody has here; the others
    are known by name."""
    records = []
    for record in manifest.exposure:
        name, claimed = f"{record['data']}.json", record["data"]
        if claimed and (folder / DATA / name).is_file():
            data = read_data_set(safe_files.inside(safe_files.inside(folder, DATA), name))
            if not (store.has_data_set(claimed) and store.load_data_set(claimed) == data):
                data = replace(data, digest=hashing.digest({"taken in": data.record()}))
                store.save_data_set(data)
            records.append({**record, "data": data.digest})
        else:
            records.append({**record, "data": ""})
    # What it says that it was trained on must be among what it has seen; a random module was
    # trained on nothing.
    trained = {
        (record["task"], record["language"]) for record in records if record["role"] == "trained"
    }
    silent = any(
        (part["task"], code) not in trained
        for part in manifest.mixture["portions"]
        for code in part["languages"]
    ) or (not records and manifest.trained_on != RANDOM)
    if (silent or any(not record["data"] for record in records)) and not any(
        record["role"] == UNKNOWN for record in records
    ):
        records.append(Exposure("", "", UNKNOWN, "").record())
    return records


def stated(folder: Path) -> list[Result]:
    """The results that a bundle states; refused where one is not a cell that could be scored
    again."""
    path = folder / RESULTS
    if not path.is_file():
        return []
    safe_files.checked_size(path)
    try:
        results = [
            Result.from_record(record)
            for record in json_of(path.read_text(encoding="utf-8"), path, strict=True)
        ]
    except (DataError, UnicodeDecodeError, TypeError, KeyError) as error:
        raise XittError(f"{path}: not results ({type(error).__name__}: {error})") from None
    for result in results:
        cell = result.cell
        words = (
            result.headline,
            result.status,
            cell.task,
            cell.language,
            cell.split,
            cell.convention,
            cell.composition,
        )
        if not all(isinstance(word, str) for word in words) or not isinstance(result.scores, dict):
            raise XittError(
                f"{path}: not results: status, headline and a cell's names are words, scores an"
                " object"
            )
        known = TASKS.get(cell.task)
        numbers = (
            [result.scores.get(result.headline), *cell.lengths.values()]
            if isinstance(cell.lengths, dict)
            else [None]
        )
        if (
            known is None
            or cell.language not in known.known
            or not all(type(number) in (int, float) for number in numbers)
        ):
            raise XittError(
                f"{path}: a result on {str(cell.task)[:40]!r} in {str(cell.language)[:20]!r} is"
                " none that could be scored again"
            )
        parse_slice(str(cell.split))
    return results
