"""A recipe: the closed document that says what a grid asks. Validated whole; every problem is told at once, with its
line, the nearest match and the choices."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapters_xitt.errors import Problems, XittError, unknown
from adapters_xitt.languages import LANGUAGES
from adapters_xitt.methods import METHODS, MODES, Choice, choose
from adapters_xitt.sources import READERS, Override, Sources, in_language, parse_slice
from adapters_xitt.tasks import TASKS, Task

_BRANCHES = ("str", "MethodPart", "literal", "list[")  # steps that pydantic adds where a value may be of two types
_GIVEN = ("path", "split", "labels", "gold")  # what a reader is told by the task's row and the recipe's other keys

Whole = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0)]


class Closed(BaseModel):
    """A part of a recipe: frozen, no unknown key, no silent conversion of text to numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Training(Closed):
    """How modules are trained; an unset field leaves the value above it (the recipe's, then the default)."""

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


class LengthCaps(Closed):
    """Caps in sub-word tokens."""

    max_length: Whole | None = None
    stride: Whole | None = None
    question: Whole | None = None


class TaskPart(Closed):
    """What a recipe says of one task."""

    languages: list[str] | None = None  # tested
    files: dict[str, str] = {}  # split -> pattern with {lang}, under data.root or absolute
    gold: dict[str, str] = {}
    train: str | None = None  # a split or slice: "dev[:80%]"
    selection: str | None = None
    test: str | None = None
    examples: Whole | None = None  # training examples, at most
    options: dict[str, Any] = {}  # for the reader of its files
    layer: Whole | None = None  # that retrieval reads
    training: Training = Training()
    lengths: LengthCaps = LengthCaps()


class MethodPart(Closed):
    """A method with options; the options are checked against the method's row."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    name: str
    learning_rate: Rate | None = None


class Data(Closed):
    """Where the data lies: a folder, or `demo` for the project's own small world."""

    root: str | None = None  # default: XITT_DATA


class Recipe(Closed):
    """The whole document."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    encoder: str  # demo, a folder, a name below XITT_ENCODERS, or owner/name@revision
    methods: Annotated[list[str | MethodPart], Field(min_length=1)]
    intermediates: list[str]
    targets: Annotated[list[str], Field(min_length=1)]
    modes: Annotated[list[str], Field(min_length=1)] = ["none", "sequential"]
    languages: Literal["all"] | list[str] = "all"
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [1]
    precision: Literal["32", "bf16"] = "32"
    carry_pooler: bool = False  # sequential modules start from the intermediate's pooler, as the paper's models did
    block_overlap: Share | None = None  # share of test items with a text seen in training above which a cell is blocked
    training: Training = Training()
    lengths: LengthCaps = LengthCaps()
    tasks: dict[str, TaskPart] = {}
    data: Data = Data()

    def part(self, task: str) -> TaskPart:
        return self.tasks.get(task, TaskPart())

    def choices(self) -> list[tuple[Choice, float]]:
        """The methods with their options, and the learning rate of each."""
        found = []
        for entry in self.methods:
            part = MethodPart(name=entry) if isinstance(entry, str) else entry
            choice = choose(part.name, part.model_extra or {})
            found.append((choice, part.learning_rate or choice.row.learning_rate))
        return found

    def tested(self, task: Task) -> tuple[str, ...]:
        """The languages in which a target is tested."""
        own = self.part(task.name).languages or (task.languages if self.languages == "all" else self.languages)
        return tuple(code for code in task.languages if code in own)

    def sources(self, root: Path | None) -> Sources:
        overrides = {name: Override(part.files, part.gold, part.train, part.selection, part.test, part.examples,
                                    part.options)
                     for name, part in self.tasks.items()}
        return Sources(root, overrides)


def load(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a YAML file with `key=value` overrides; a `XittError` that lists every problem."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        beside = sorted(found.name for found in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise XittError(f"{path}: {unknown('recipe', path.name, beside)}") from None
    except (IsADirectoryError, UnicodeDecodeError) as error:
        raise XittError(f"{path}: not a recipe ({error})") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        raise XittError(f"{path}{where}: not YAML ({getattr(error, 'problem', None) or error})") from None
    if not isinstance(values, dict):
        raise XittError(f"{path}: a recipe is a mapping of keys; its keys are {', '.join(Recipe.model_fields)}")
    lines = _lines(root)
    for text in overrides:
        override(values, lines, text)
    values.setdefault("name", re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).strip("-._"))
    return parse(values, where=str(path), lines=lines)


def parse(values: dict[str, Any], *, where: str, lines: dict[tuple, str] | None = None) -> Recipe:
    """The recipe with these values; `lines` says where each key stands."""
    problems, lines = Problems(where), lines or {}

    def tell(at: tuple, problem: str) -> None:
        place = next((lines[at[:n]] for n in range(len(at), 0, -1) if at[:n] in lines), "")
        problems.add(f"{place}{': ' if place else ''}{problem}")

    values = _expanded(values, (), tell)
    recipe = None
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        for found in error.errors():
            at = tuple(step for step in found["loc"] if not str(step).startswith(_BRANCHES))
            if "methods" in at[:1] and found["loc"][-1] == "str":
                continue  # a mapping is as good as a name; the other branch tells what is wrong
            tell(at, _message(at, found))
    _check_names(values, tell)
    if recipe is not None:
        _check_files(recipe, tell)
    problems.raise_if_any()
    assert recipe is not None
    return recipe


def _message(at: tuple, found: dict[str, Any]) -> str:
    path = ".".join(str(step) for step in at)
    if found["type"] == "extra_forbidden":
        return unknown(f"key{' in ' + '.'.join(map(str, at[:-1])) if at[:-1] else ''}", str(at[-1]), _keys(at[:-1]))
    if found["type"] == "missing":
        return f"{path}: this key is missing"
    return f"{path}: {found['msg'][0].lower()}{found['msg'][1:]}, not {found['input']!r}"


def _keys(at: tuple) -> list[str]:
    """The keys a recipe has at a place."""
    model: Any = Recipe
    for step in at:
        if get_origin(model) is dict:
            model = get_args(model)[1]
        elif step in getattr(model, "model_fields", {}):
            model = model.model_fields[step].annotation
        else:
            return []
    return list(getattr(model, "model_fields", {}))


def _check_names(values: dict[str, Any], tell: Any) -> None:
    """Names that only the tables know: tasks, languages, methods, modes; and lists without repeats."""
    for key in ("intermediates", "targets"):
        for at, name in _strings(values.get(key), key, tell):
            if name not in TASKS:
                tell(at, unknown("task", name, TASKS))
            elif key == "intermediates" and not TASKS[name].trains:
                tell(at, f"{name} trains nothing; an intermediate needs training data")
    for at, name in _strings(values.get("modes"), "modes", tell):
        if name not in MODES:
            tell(at, unknown("mode", name, MODES))
    for at, name in _strings(values.get("languages"), "languages", tell):
        if name not in LANGUAGES:
            tell(at, unknown("language", name, LANGUAGES))
    _check_tasks(values.get("tasks"), tell)
    methods, labels = values.get("methods"), []
    for n, entry in enumerate(methods if isinstance(methods, list) else []):
        name, options = (entry, {}) if isinstance(entry, str) else (
            (entry.get("name"), {k: v for k, v in entry.items() if k not in ("name", "learning_rate")})
            if isinstance(entry, dict) else (None, {}))
        if not isinstance(name, str):
            continue
        if name not in METHODS:
            tell(("methods", n), unknown("method", name, METHODS))
            continue
        try:
            label = choose(name, options).label
            if label in labels:
                tell(("methods", n), f"method {label} stands there twice; two learning rates are two recipes")
            labels.append(label)
        except XittError as error:
            for line in str(error).splitlines()[1:]:
                tell(("methods", n), f"method {name}: {line.strip()}")


def _check_tasks(tasks: Any, tell: Any) -> None:
    for name, part in (tasks.items() if isinstance(tasks, dict) else ()):
        if name not in TASKS:
            tell(("tasks", name), unknown("task", str(name), TASKS))
            continue
        if not isinstance(part, dict):
            continue
        for at, code in _strings(part.get("languages"), ("tasks", name, "languages"), tell):
            if code not in TASKS[name].languages:
                tell(at, f"task {name}: {unknown('language', code, TASKS[name].languages)}")
        reader = READERS.get(TASKS[name].reader)
        for option in part.get("options") or {} if reader else ():
            taken = [word for word in inspect.signature(reader).parameters if word not in _GIVEN]
            if option not in taken:
                tell(("tasks", name, "options", option), f"task {name}: {unknown('reader option', option, taken)}")
        for key in ("train", "selection", "test"):
            reference = part.get(key)
            if not isinstance(reference, str):
                continue
            try:
                split, *_ = parse_slice(reference)
            except XittError as error:
                tell(("tasks", name, key), str(error))
                continue
            known = {*TASKS[name].files, *(part.get("files") or {})}
            if split not in known:
                tell(("tasks", name, key), f"task {name}: {unknown('split', split, sorted(known))}")
            elif key == "selection" and split == "test":
                tell(("tasks", name, key), f"task {name}: selection never reads a test; name another split or slice")


def _check_files(recipe: Recipe, tell: Any) -> None:
    """Files that the recipe itself names must be there; those that only the tables name may come later."""
    root = recipe.data.root or os.environ.get("XITT_DATA")
    for name, part in recipe.tasks.items():
        for key, files in (("files", part.files), ("gold", part.gold)):
            for split, pattern in files.items():
                at = ("tasks", name, key, split)
                language = next(iter(recipe.tested(TASKS[name])), "en") if split == "test" else "en"
                try:
                    path = Path(in_language(pattern, language))
                except XittError as error:
                    tell(at, str(error))
                    continue
                if root == "demo" or (root is None and not path.is_absolute()):
                    tell(at, f"{pattern}: where? Set data.root in the recipe or the environment variable XITT_DATA")
                elif not (Path(root or "") / path).exists():
                    tell(at, f"{Path(root or '') / path}: no such file")


def _strings(value: Any, key: Any, tell: Any) -> Iterator[tuple[tuple, str]]:
    """The strings of a list with their places; a repeat is a problem."""
    base = key if isinstance(key, tuple) else (key,)
    seen: list[str] = []
    for n, item in enumerate(value if isinstance(value, list) else []):
        if isinstance(item, str):
            if item in seen:
                tell((*base, n), f"{'.'.join(map(str, base))}: {item!r} stands there twice")
            seen.append(item)
            yield (*base, n), item


def _expanded(value: Any, at: tuple, tell: Any) -> Any:
    """`${NAME}` replaced by the environment's value in every text."""
    if isinstance(value, dict):
        return {name: _expanded(item, (*at, name), tell) for name, item in value.items()}
    if isinstance(value, list):
        return [_expanded(item, (*at, n), tell) for n, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    for name in re.findall(r"\$\{(\w+)\}", value):
        if name not in os.environ:
            tell(at, f"{'.'.join(map(str, at))}: the environment variable {name} is not set; "
                     f"set it, or write the folder itself")
        value = value.replace("${" + name + "}", os.environ.get(name, ""))
    return value


def _lines(node: Any, at: tuple = ()) -> dict[tuple, str]:
    """Where every key and item stands: "line 12"."""
    found: dict[tuple, str] = {}
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            place = (*at, name.value)
            found[place] = f"line {name.start_mark.line + 1}"
            found |= _lines(value, place)
    elif isinstance(node, yaml.SequenceNode):
        for n, item in enumerate(node.value):
            found[*at, n] = f"line {item.start_mark.line + 1}"
            found |= _lines(item, (*at, n))
    return found


def override(values: dict[str, Any], lines: dict[tuple, str], text: str) -> None:
    """Sets one `key=value`, the value in YAML, and says in `lines` that it comes from the command line."""
    name, equals, written = text.partition("=")
    path = tuple(name.split("."))
    if not equals or not all(path):
        raise XittError(f"{text!r}: an override is key=value, as in training.epochs=1 or seeds=[1,2]")
    try:
        value = yaml.safe_load(written)
    except yaml.YAMLError as error:
        raise XittError(f"{text!r}: the value is not YAML ({getattr(error, 'problem', error)})") from None
    inner = values
    for step in path[:-1]:
        if not isinstance(inner.setdefault(step, {}), dict):
            raise XittError(f"{text!r}: {step} holds a value, not keys")
        inner = inner[step]
    inner[path[-1]] = value
    for known in [place for place in lines if place[: len(path)] == path]:
        del lines[known]
    lines[path] = f"command line, {text}"
