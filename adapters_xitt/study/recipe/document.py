"""The parts of a recipe: frozen, closed records, and what follows from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from adapters_xitt.data.dataset import Override, Sources
from adapters_xitt.data.exposure import OVERLAP
from adapters_xitt.data.mixture import ENGLISH, RANDOM, VARIANTS, Mixture, Portion, portion, single
from adapters_xitt.errors import XittError
from adapters_xitt.modules.methods import Choice, choose
from adapters_xitt.tasks import Task, task

CONTROLS = {
    "capacity": "a frozen random module in the intermediate's place (stack, sum, fuse)",
    "steps": "the target's module trained on for the intermediate's steps (beside none)",
    **VARIANTS,
}


Whole = Annotated[int, Field(gt=0, lt=2**31)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, le=1e6)]
# of files and folders
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=100)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]  # what generators and tables of results hold


TARGET = "target"  # in an expression of `compositions`: the module trained on each target alone


def elsewhere(word: str) -> bool:
    """Whether an expression of `compositions` names a module by its folder or on a hub."""
    return "/" in word


class Closed(BaseModel):
    """A part of a recipe: frozen, no unknown key, no silent conversion of text to numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Training(Closed):
    """How modules are trained; an unset field leaves the value above it (the recipe's, then the
    default)."""

    batch_size: Whole | None = None  # examples per optimiser step
    epochs: Rate | None = None
    max_steps: Whole | None = None
    warmup: Share | None = None
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    clip: Rate | None = None
    tokens: Whole | None = None  # tokens of a micro-batch, padding included
    evaluate_every: Whole | None = None  # steps
    patience: Whole | None = None  # looks
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    selection_examples: Whole | None = None
    learning_rate: Rate | None = None  # over the method's
    # AdamW's moments; 8bit rounds them (bitsandbytes)
    optimizer: Literal["32", "8bit"] | None = None


class LengthCaps(Closed):
    """Caps in sub-word tokens."""

    max_length: Whole | None = None
    stride: Whole | None = None
    question: Whole | None = None


class TaskPart(Closed):
    """What a recipe says of one task."""

    languages: list[str] | None = None  # tested
    # of a target: the task whose data trains it, with languages where wanted
    trained_on: str | None = None
    trained_in: list[str] | None = None  # of a target: the languages; default: English
    # split or split@language -> pattern with {lang}, under data.root or absolute
    files: dict[str, str] = {}
    gold: dict[str, str] = {}
    train: str | None = None  # a split or slice: "dev[:80%]"
    selection: str | None = None
    test: str | None = None
    examples: Whole | None = None  # training examples, at most
    options: dict[str, Any] = {}  # for the reader of its files
    layer: Whole | None = None  # that retrieval reads; default: as its convention says
    convention: str | None = None  # how a task is read and scored: one of its own
    training: Training = Training()
    lengths: LengthCaps = LengthCaps()


class MethodPart(Closed):
    """A method with options; the options are checked against the method's row."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)

    name: str
    learning_rate: Rate | None = None


class MixturePart(Closed):
    """Several portions trained as one intermediate module, one of them per optimiser step."""

    name: Name
    tasks: Annotated[list[str], Field(min_length=1)]  # portions: squad, squad@es, xnli@de+ru
    sampling: Literal["proportional", "even", "temperature"] = "proportional"
    temperature: Annotated[float, Field(ge=1)] = 1.0
    cap: Whole | None = None  # examples that a task counts as, at most
    # even: each language cut to the smallest
    languages: Literal["proportional", "even"] = "proportional"
    # portion -> its fixed share of the steps
    shares: dict[str, Annotated[float, Field(gt=0, lt=1)]] = {}
    training: Training = Training()


class Data(Closed):
    """Where the data lies: a folder, or `demo` for the project's own small world."""

    root: str | None = None  # default: XITT_DATA

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        """`data: demo` stands for `data: {root: demo}`."""
        return {"root": value} if isinstance(value, str) else value


class Question(Closed):
    """What a recipe asks of its grid."""

    contrast: str  # "ROW - ROW": rows by intermediate, with [mode] where there are several
    on: str | list[str]  # targets; of several, their mean
    # tested ones, or a condition on the table of languages; default: the zero-shot ones
    languages: list[str] | dict[str, Any] | None = None
    against: str = "zero"  # or another contrast: a difference of differences
    measure: str = "score"
    method: str | None = None  # default: one question for each method
    matters: Rate | None = None  # the recipe's, for this question
    # whether the languages are a sample of languages in general, which others could stand for
    general: bool = False

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets that it is asked on."""
        return (self.on,) if isinstance(self.on, str) else tuple(self.on)


class Recipe(Closed):
    """The whole document."""

    name: Name
    encoder: str  # demo, a folder, a name below XITT_ENCODERS, or owner/name@revision
    # what the encoder's own training had, keys of tasks.SEEN; default: as seen.json beside it says
    seen: list[str] | None = None
    methods: Annotated[list[str | MethodPart], Field(min_length=1)]
    intermediates: list[str | MixturePart]  # portions or mixtures of them
    targets: Annotated[list[str], Field(min_length=1)]
    modes: Annotated[list[str], Field(min_length=1)] = ["none", "sequential"]
    # expressions over intermediates and `target`: "ties(squad, target, density=0.3)"
    compositions: list[str] = []
    controls: list[str] = []  # CONTROLS, each for every intermediate
    # cuts every intermediate to this many training examples: the control of size
    examples: Whole | None = None
    # learning rate of fusions and their heads; default: each kind of fusion's own
    fusion_rate: Rate | None = None
    # factors of the learning rate; the best is kept
    sweep: Annotated[list[Rate], Field(min_length=2)] | None = None
    language_modules: str = "text"  # the portion whose modules in each language mode `lang` swaps
    # all: XTREME's; xtreme-r: those that it adds too
    languages: Literal["all", "xtreme-r"] | list[str] = "all"
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=1000)] = [1]
    # Of the frozen encoder; modules and moments stay fp32. 8bit and 4bit need bitsandbytes.
    precision: Literal["32", "bf16", "16", "8bit", "4bit"] = "32"
    # "4GiB": the cheapest means below are chosen with which training fits
    memory: str | None = None
    # every n-th layer runs again in the backward pass; the same numbers
    checkpointing: Whole | None = None
    # kept: the layers below every method's modules run once for each text, without dropout, and are
    # kept in memory while it trains; the step is cheaper, the numbers differ by rounding
    trunk: Literal["kept"] | None = None
    # Of the word table: all of it, the rows of the data, or on the host; the same numbers. Default:
    # what is cheap.
    embeddings: Literal["whole", "cut", "host"] | None = None
    # fresh modules of one seed and method start alike, so that bottlenecks have a mean
    shared_start: bool = False
    # sequential modules start from the intermediate's pooler, as the paper's models did
    carry_pooler: bool = False
    # share of test items with a text seen in training above which a cell is blocked
    block_overlap: Share = OVERLAP
    # every row is scored on its target's selection split too, on which its temperature is fitted
    calibration: bool = False
    training: Training = Training()
    lengths: LengthCaps = LengthCaps()
    tasks: dict[str, TaskPart] = {}
    data: Data = Data()
    # what the report answers, each a sentence with its contrast
    questions: list[Annotated[dict[str, Question], Field(min_length=1, max_length=1)]] = []
    matters: Rate | None = None  # points; a difference surely smaller than that is as good as none

    def part(self, task: str) -> TaskPart:
        return self.tasks.get(task, TaskPart())

    def choices(self) -> list[tuple[Choice, float]]:
        """The methods with their options, and the learning rate of each."""
        choices = []
        for entry in self.methods:
            part = MethodPart(name=entry) if isinstance(entry, str) else entry
            choice = choose(part.name, part.model_extra or {})
            choices.append((choice, part.learning_rate or choice.spec.learning_rate))
        return choices

    def kept_depth(self, layers: int) -> int | None:
        """The depth up to which the trunk of an encoder of so many layers is kept; None where it
        isn't. A `XittError` where a method adapts the lowest layer."""
        if self.trunk is None:
            return None
        depths = []
        for choice, _ in self.choices():
            depths.append(min(choice.adapted(layers), default=layers))
            if depths[-1] == 0 or choice.spec.trains_encoder:
                raise XittError(
                    f"trunk: kept: method {choice.label} trains the lowest layer, so that nothing"
                    " lies below it; leave_out names the layers to leave as they are"
                )
        return min(depths)

    def mixtures(self) -> list[Mixture]:
        """The intermediates in order, then those that the controls ask for."""
        mixtures = []
        for entry in self.intermediates:
            if isinstance(entry, str):
                mixtures.append(single(entry, examples=self.examples))
            else:
                mixtures.append(
                    Mixture(
                        entry.name,
                        tuple(
                            replace(portion(text), examples=self.examples) for text in entry.tasks
                        ),
                        entry.sampling,
                        entry.temperature,
                        entry.cap,
                        entry.languages,
                        tuple(entry.shares.items()),
                    )
                )
        plain = [mixture.portions[0] for mixture in mixtures if len(mixture.portions) == 1]
        names = [
            f"{part.text}:{variant}"
            for variant in VARIANTS
            if variant in self.controls
            for part in plain
            if not part.variant
        ]
        names += [RANDOM] if "capacity" in self.controls else []
        known = [mixture.name for mixture in mixtures]
        return [
            *mixtures,
            *(single(name, examples=self.examples) for name in names if name not in known),
        ]

    def own_training(self, mixture: Mixture) -> Training:
        """The training part of a mixture that the recipe spells out."""
        for entry in self.intermediates:
            if isinstance(entry, MixturePart) and entry.name == mixture.name:
                return entry.training
        return Training()

    def training_portion(self, target: Task) -> Portion:
        """What trains a target by itself: the data of the task that trains it, in the languages of
        its `trained_on` or the other's `trained_in`, in English where the recipe says nothing."""
        name, trained_on = (
            self.sources(None).training_task(target),
            self.part(target.name).trained_on or "",
        )
        languages = (
            portion(trained_on).languages
            if "@" in trained_on
            else self.part(name).trained_in or (ENGLISH,)
        )
        return Portion(name, tuple(languages), "", self.part(name).examples)

    def named_portion(self, text: str) -> Portion:
        """A portion as a command names it: in the languages that its text or `trained_in` says."""
        part = portion(text)
        training = self.training_portion(task(part.task))
        return replace(
            part,
            languages=part.languages if "@" in text else training.languages,
            examples=training.examples,
        )

    def language_portion(self, language: str) -> Portion:
        """What the language module of a language is trained on."""
        return replace(
            portion(self.language_modules), languages=(language,), examples=self.examples
        )

    def test_languages(self, task: Task) -> tuple[str, ...]:
        """The languages in which a target is tested."""
        whole = {"all": task.languages, "xtreme-r": task.known}
        chosen = self.part(task.name).languages or (
            whole[self.languages] if isinstance(self.languages, str) else self.languages
        )
        return tuple(code for code in task.known if code in chosen)

    def sources(self, root: Path | None) -> Sources:
        overrides = {
            name: Override(
                part.files,
                part.gold,
                part.train,
                part.selection,
                part.test,
                part.trained_on and portion(part.trained_on).task,
                part.options,
            )
            for name, part in self.tasks.items()
        }
        return Sources(root, overrides)
