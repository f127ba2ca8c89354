"""The record that describes a task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

# What a model does with an input. The encoding, the head and the decoding of a kind each have one row elsewhere.
KINDS = {
    "pair": "one label for two texts",
    "tagging": "one label per word",
    "qa": "a span of a context that answers a question",
    "retrieval": "the translation of a sentence among many; nothing is trained",
    "mining": "translations hidden in two collections; nothing is trained",
    "ranking": "the right ones among many candidates, best first; nothing is trained",
    "choice": "one of several answers to a prompt",
    "mlm": "masked words of plain text",
}


@dataclass(frozen=True, kw_only=True)
class Convention:
    """What a sentence's vector is, where sources disagree: after which share of the layers, pooled how."""

    name: str
    layer: float  # share of the encoder's layers; 14/24 is `hidden_states[14]` of XLM-R Large
    pooling: str  # mean: over the tokens, `<s>` and `</s>` among them; first: `<s>`
    why: str  # who reads it so, and what speaks for it


MEAN_14 = Convention(
    name="mean-14", layer=14 / 24, pooling="mean",
    why="jiant for both tasks, XTREME for Tatoeba (index 13 of the last 24): what both papers say, so the default")


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task. File patterns are relative to the data folder; `{lang}` stands for a language, and of several patterns
    the first one that exists is read. A pattern "one + two" is several files, of which all are read in order."""

    name: str
    kind: str  # a key of KINDS
    group: str  # classification | tagging | qa | retrieval | multi_choice | language_modelling
    about: str  # one line for people
    languages: tuple[str, ...]  # tested languages, in the benchmark's order: what a recipe's "all" means
    more: tuple[str, ...] = ()  # those that XTREME-R adds; a recipe names them, or says `languages: xtreme-r`
    codes: Mapping[str, str] = field(default_factory=dict)  # what `{lang}` stands for where it isn't our code
    reader: str  # a key of sources.READERS
    files: Mapping[str, tuple[str, ...]]  # split -> patterns
    gold: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # split -> patterns of labels kept apart
    options: Mapping[str, object] = field(default_factory=dict)  # passed to the reader
    labels: tuple[str, ...] = ()
    open: bool = False  # only the data knows the labels: those of a file below, or of the training split
    label_files: tuple[str, ...] = ()
    joins: tuple[str, ...] = ()  # the tasks whose rows, one task after another, are this one's
    metric: str  # a key of metrics.METRICS
    headline: str  # the score that stands in the grid
    trained_on: str | None = None  # the task whose English data trains this one; None: its own train split
    train: str = "train"  # what training reads: a split or a slice of one, "train[:90%]"
    selection: str = "dev"  # what picks the best step: a split or slice in the training language, never a test
    origin: str  # namespace of the item ids; tasks with one origin share items (XQuAD's are SQuAD dev's)
    derived_from: tuple[str, ...] = ()  # origins whose items these are translations or copies of
    conventions: tuple[Convention, ...] = ()  # of retrieval: the ways it is read, the default first; none: MEAN_14
    fitted: str = ""  # the split that a threshold is fitted on, in the language that is tested
    unanswerable: bool = False  # questions may have no answer in their context
    parallel: bool = False  # an id names the same item in every language
    source: str  # where the files come from
    hint: str = ""  # said where a file is missing

    @property
    def trains(self) -> bool:
        """Whether a module can be trained for this task; retrieval of any kind reads the encoder as it is."""
        return self.kind not in ("retrieval", "mining", "ranking")

    @property
    def known(self) -> tuple[str, ...]:
        """Every language in which it can be tested."""
        return self.languages + self.more

    def names(self, tags: Iterable[int]) -> list[str]:
        """The labels of tags by number; one that training has not is a name that no label has."""
        return [self.labels[tag] if tag >= 0 else "(unseen)" for tag in tags]
