"""The record that describes a task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

# What a model does with an input. The encoding, the head and the decoding of a kind each have one
# row elsewhere.
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
    """A way to read and score a task, where sources disagree; each field counts for the kinds that
    it names."""

    name: str
    why: str  # who does it so, and what speaks for it
    # retrieval, mining, ranking: share of the encoder's layers; 14/24 is `hidden_states[14]` of
    # XLM-R Large
    layer: float = 14 / 24
    # the same: over the tokens, `<s>` and `</s>` among them; "first": the vector of `<s>`
    pooling: str = "mean"
    context: bool = False  # ranking: whether a candidate's paragraph follows it, in one sequence
    # tagging: the `</s>` at the end of a window, which holds as many pieces less
    separators: int = 1
    # tagging: whether a word longer than a window is read as `<unk>`, else its first pieces are
    unknown: bool = False
    # qa: the tokens of a window whose 20 best starts and ends are paired: all | context
    best_of: str = "all"


MEAN_14 = Convention(
    name="mean-14",
    layer=14 / 24,
    pooling="mean",
    why=(
        "jiant for both tasks, XTREME for Tatoeba (index 13 of the last 24): what both papers say,"
        " so the default"
    ),
)
XTREME_WINDOWS = Convention(
    name="xtreme-windows",
    separators=2,
    unknown=True,
    why="XTREME's utils_preprocess.py and utils_tag.py: 125 pieces of 128, `<s> … </s></s>`",
)
FULL_WINDOWS = Convention(
    name="full-windows", why="`<s> … </s>`, as a text alone is packed elsewhere: 126 pieces of 128"
)
BEST_OF_ALL = Convention(
    name="best-of-all",
    best_of="all",
    why=(
        "compute_predictions_logits of transformers, which XTREME calls: the 20 best starts and"
        " ends among all tokens of a window (padding, which depends on the batch, left out), then"
        " those outside the context dropped"
    ),
)
BEST_OF_CONTEXT = Convention(
    name="best-of-context",
    best_of="context",
    why=(
        "the 20 best among the tokens that an answer may start or end with: an answer is always"
        " found"
    ),
)
CONVENTIONS = {
    "retrieval": (MEAN_14,),
    "mining": (MEAN_14,),
    "ranking": (MEAN_14,),
    "tagging": (XTREME_WINDOWS, FULL_WINDOWS),
    "qa": (BEST_OF_ALL, BEST_OF_CONTEXT),
}
PLAIN = Convention(name="plain", why="sources agree")


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task. File patterns are relative to the data folder; `{lang}` stands for a language, and
    of several patterns the first one that exists is read. A pattern "one + two" is several files,
    of which all are read in order."""

    name: str
    kind: str  # a key of KINDS
    group: str  # classification | tagging | qa | retrieval | multi_choice | language_modelling
    about: str  # one line for people
    # tested languages, in the benchmark's order: what a recipe's "all" means
    languages: tuple[str, ...]
    # those that XTREME-R adds; a recipe names them, or says `languages: xtreme-r`
    more: tuple[str, ...] = ()
    # what `{lang}` stands for where it isn't our code
    codes: Mapping[str, str] = field(default_factory=dict)
    reader: str  # a key of sources.READERS
    files: Mapping[str, tuple[str, ...]]  # split -> patterns
    # split -> patterns of labels kept apart
    gold: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    options: Mapping[str, object] = field(default_factory=dict)  # passed to the reader
    labels: tuple[str, ...] = ()
    # only the data knows the labels: those of a file below, or of the training split
    open: bool = False
    label_files: tuple[str, ...] = ()
    joins: tuple[str, ...] = ()  # the tasks whose rows, one task after another, are this one's
    metric: str  # a key of metrics.METRICS
    headline: str  # the score that stands in the grid
    # the task whose English data trains this one; None: its own train split
    trained_on: str | None = None
    train: str = "train"  # what training reads: a split or a slice of one, "train[:90%]"
    # what picks the best step: a split or slice in the training language, never a test
    selection: str = "dev"
    # namespace of the item ids; tasks with one origin share items (XQuAD's are SQuAD dev's)
    origin: str
    derived_from: tuple[str, ...] = ()  # origins whose items these are translations or copies of
    # the ways it is read, the default first; none: those of its kind
    conventions: tuple[Convention, ...] = ()
    lengths: Mapping[str, int] = field(default_factory=dict)  # caps that aren't its kind's
    fitted: str = ""  # the split that a threshold is fitted on, in the language that is tested
    unanswerable: bool = False  # questions may have no answer in their context
    parallel: bool = False  # an id names the same item in every language
    source: str  # where the files come from
    hint: str = ""  # said where a file is missing

    @property
    def trains(self) -> bool:
        """Whether a module can be trained for this task; retrieval of any kind reads the encoder as
        it is."""
        return self.kind not in ("retrieval", "mining", "ranking")

    @property
    def readings(self) -> tuple[Convention, ...]:
        """The ways it can be read and scored, the default first."""
        return self.conventions or CONVENTIONS.get(self.kind, (PLAIN,))

    def reading(self, name: str | None = None) -> Convention:
        """A way to read it by its name, the default without one."""
        return next(one for one in self.readings if name in (None, one.name))

    @property
    def demo(self) -> bool:
        """Whether it is of the project's own small world, which nobody has to download."""
        return self.name.startswith("demo-")

    @property
    def known(self) -> tuple[str, ...]:
        """Every language in which it can be tested."""
        return self.languages + self.more

    def names(self, tags: Iterable[int]) -> list[str]:
        """The labels of tags by number; one that training has not is a name that no label has."""
        return [self.labels[tag] if tag >= 0 else "(unseen)" for tag in tags]
