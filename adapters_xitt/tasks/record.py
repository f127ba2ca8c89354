"""The record that describes a task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from adapters_xitt.tasks.conventions import Convention
from adapters_xitt.tasks.kinds import KINDS


@dataclass(frozen=True, kw_only=True)
class Format:
    """How a file is read."""

    reader: str  # a key of sources.READERS
    options: Mapping[str, object] = field(default_factory=dict)  # passed to the reader
    # language -> options that are its own
    in_language: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


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
    # suffix -> how a recipe's file is read whose name, without .gz, ends in it; others as the above
    formats: Mapping[str, Format] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    # only the data knows the labels: those of a file below, or of the training split
    open: bool = False
    label_files: tuple[str, ...] = ()
    joins: tuple[str, ...] = ()  # the tasks whose rows, one task after another, are this one's
    metric: str  # a key of metrics.METRICS
    main_score: str  # the score that stands in the grid
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
    seen: tuple[str, ...] = ()  # keys of SEEN, where those of its kind aren't its own
    parallel: bool = False  # an id names the same item in every language
    source: str  # where the files come from
    hint: str = ""  # said where a file is missing

    @property
    def trains(self) -> bool:
        """Whether a module can be trained for this task; retrieval of any kind reads the encoder as
        it is."""
        return KINDS[self.kind].trains

    @property
    def readings(self) -> tuple[Convention, ...]:
        """The ways it can be read and scored, the default first."""
        return self.conventions or KINDS[self.kind].conventions

    @property
    def taught_by(self) -> tuple[str, ...]:
        """What an encoder has seen that was trained for tasks of this sort: keys of SEEN."""
        return self.seen or KINDS[self.kind].seen

    def reading(self, name: str | None = None) -> Convention:
        """A way to read it by its name, the default without one."""
        return next(reading for reading in self.readings if name in (None, reading.name))

    def format_of(self, file: str) -> Format:
        """How a file of this name is read."""
        name = file.removesuffix(".gz")
        default = Format(reader=self.reader, options=self.options)
        return next((form for end, form in self.formats.items() if name.endswith(end)), default)

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
