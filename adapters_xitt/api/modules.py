"""Modules of a store as values: found, listed, given away. Nothing here needs torch until a model
is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters_xitt.api.options import store_root
from adapters_xitt.modules import serialization
from adapters_xitt.modules.manifest import Manifest
from adapters_xitt.progress import notify
from adapters_xitt.study.store import Store

if TYPE_CHECKING:
    import pandas as pd

    from adapters_xitt.api.grids import Evaluation
    from adapters_xitt.api.hub import Push


@dataclass(frozen=True)
class Module:
    """A module of a store. In an expression, `str(module)` stands for it: its name, or its key."""

    key: str  # 64 hex digits, of all that decides it
    store: Path
    name: str | None = None
    whole: str = ""  # the expression that stands for it with the parts it was trained with, if any

    def __str__(self) -> str:
        return self.name or self.key

    @property
    def manifest(self) -> Manifest:
        """What the module says of itself: method, data, heads, exposure, training, versions."""
        return Store(self.store).manifest(self.key)

    @property
    def metrics(self) -> dict[str, Any]:
        """Of its training: `score`, percent of its `headline` metric on the selection split, or
        None where it was not trained; the `step` whose weights it has, all `steps`, `seconds`."""
        return self.manifest.metrics

    @property
    def exposure(self) -> list[dict[str, str]]:
        """The data that it and its parents have seen: task, language, role (trained, selected,
        unknown), and the digest of the examples."""
        return self.manifest.exposure

    def to_peft(self, *, encoder: str | None = None, task: str | None = None) -> tuple[Any, Any]:
        """(model, tokenizer): see `to_peft`."""
        from adapters_xitt.api.exchange import to_peft

        return to_peft(self.key, encoder=encoder, task=task, store=self.store)

    def to_adapters(
        self, *, encoder: str | None = None, task: str | None = None, choices: int = 2
    ) -> tuple[Any, Any]:
        """(model, tokenizer): see `to_adapters`."""
        from adapters_xitt.api.exchange import to_adapters

        return to_adapters(self.key, encoder=encoder, task=task, choices=choices, store=self.store)

    def evaluate(self, tasks: str | Sequence[str], **options: Any) -> Evaluation:
        """Its scores on tasks: see `evaluate`."""
        from adapters_xitt.api.compositions import evaluate

        return evaluate(self.key, tasks, **{"store": self.store, **options})

    def export(self, folder: str | Path, **options: Any) -> list[str]:
        """Writes it into a new folder: see `export`."""
        from adapters_xitt.api.exchange import export

        return export(self.key, folder, **{"store": self.store, **options})

    def push(self, repository: str, **options: Any) -> Push:
        """Puts it on a hub: see `push`."""
        from adapters_xitt.api.hub import push

        return push(self.key, repository, **{"store": self.store, **options})


def load(module: str | Module, *, store: str | Path | None = None) -> Module:
    """The module of a store that a name or the first digits of a key stand for; a folder
    (`./module`) or a module on a hub (`hub:owner/name@commit`) is taken into the store first. A
    `XittError` with the nearest name where there is none.

    >>> load("a", store="docs").manifest.method["name"]
    'lora'
    """
    if isinstance(module, Module):
        return module
    from adapters_xitt.sharing import bundle

    stored = Store(store_root(store))
    key = bundle.resolver(stored, tell=notify)(module)
    return _named(stored, key)


def _named(store: Store, key: str) -> Module:
    names = {named: name for name, named in store.names().items()}
    return Module(key, store.root, names.get(key))


def list_modules(*, store: str | Path | None = None) -> pd.DataFrame:
    """One row for each module of a store: key, name (empty where it has none), module (what it is),
    method, encoder, score (percent of `headline` on its selection split; NaN where it has none),
    headline, chance (what always saying the commonest label scores), mib (of its tensors).

    >>> list_modules(store="docs").set_index("name").loc["a", "method"]
    'lora'
    """
    import pandas as pd

    stored = Store(store_root(store))
    names = {key: name for name, key in stored.names().items()}
    records = []
    for manifest in stored.manifests():
        records.append(
            {
                "key": manifest.key,
                "name": names.get(manifest.key, ""),
                "module": manifest.role,
                "method": manifest.method["name"],
                "encoder": manifest.encoder_name,
                "score": manifest.metrics["score"],
                "headline": manifest.metrics["headline"],
                "chance": manifest.chance,
                "mib": _size(stored, manifest.key) / 2**20,
            }
        )
    columns = "key name module method encoder score headline chance mib".split()
    frame = pd.DataFrame(records, columns=columns)
    return frame.astype(dict.fromkeys(["score", "chance", "mib"], "float64"))


def list_results(*, store: str | Path | None = None) -> pd.DataFrame:
    """One row for each scored cell of a store: key, task, language, composition (over keys), seed,
    score (percent of `headline`), headline, examples, tag, and `score.NAME` for every score.

    >>> set(list_results(store="docs").task) <= {"demo-pairs", "demo-retrieval"}
    True
    """
    import pandas as pd

    records = []
    for result in Store(store_root(store)).results():
        cell = result.cell
        records.append(
            {
                "key": cell.key,
                "task": cell.task,
                "language": cell.language,
                "composition": cell.composition,
                "seed": cell.seed,
                "score": result.scores[result.headline],
                "headline": result.headline,
                "examples": result.examples,
                "tag": result.tag,
                **{f"score.{name}": value for name, value in result.scores.items()},
            }
        )
    columns = "key task language composition seed score headline examples tag".split()
    more = dict.fromkeys(name for record in records for name in record if name not in columns)
    return pd.DataFrame(records, columns=[*columns, *more])


def _size(store: Store, key: str) -> int:
    """Bytes of a module's tensors."""
    return (store.module_folder(key) / serialization.TENSORS).stat().st_size
