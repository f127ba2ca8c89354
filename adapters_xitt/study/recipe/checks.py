"""What only the tables know of a recipe: names of tasks, languages, methods, modes and controls,
splits, files."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from adapters_xitt import hub, sizes
from adapters_xitt.data.dataset import READERS, in_language, parse_slice, reader_options
from adapters_xitt.data.mixture import portion, single
from adapters_xitt.errors import XittError, unknown
from adapters_xitt.languages import LANGUAGES
from adapters_xitt.modules import composition
from adapters_xitt.modules.methods import METHODS, MODES, choose
from adapters_xitt.study.recipe.document import CONTROLS, TARGET, Recipe, elsewhere
from adapters_xitt.tasks import SEEN, TASKS
from adapters_xitt.text_files import unreadable


def check_names(values: dict[str, Any], tell: Any) -> None:
    """Names that only the tables know: tasks, languages, methods, modes; and lists without
    repeats."""
    choices: tuple[tuple[str, Collection[str]], ...] = (
        ("targets", TASKS),
        ("modes", MODES),
        ("controls", CONTROLS),
    )
    for key, known in choices:
        for place, name in _strings(values.get(key), key, tell):
            if name not in known:
                tell(place, unknown(key.removesuffix("s"), name, known))
    for place, name in _strings(values.get("seen"), "seen", tell):
        if name not in SEEN:
            tell(place, unknown("kind of data", name, SEEN))
    _check_intermediates(values.get("intermediates"), tell)
    _check_compositions(values, tell)
    for place, name in _strings(values.get("languages"), "languages", tell):
        if name not in LANGUAGES:
            tell(place, unknown("language", name, LANGUAGES))
    _check_tasks(values.get("tasks"), tell)
    for key in ("seeds", "sweep"):
        _check_repeats(values.get(key), key, tell)
    _check_memory(values.get("memory"), tell)
    _check_language_modules(values.get("language_modules"), tell)
    _check_methods(values.get("methods"), tell)


def _check_methods(methods: Any, tell: Any) -> None:
    """Methods that there are, with options that they have, each once."""
    labels: list[str] = []
    for n, entry in enumerate(methods if isinstance(methods, list) else []):
        fields = entry if isinstance(entry, dict) else {"name": entry}
        name = fields.get("name")
        options = {key: fields[key] for key in fields if key not in ("name", "learning_rate")}
        if not isinstance(name, str):
            continue
        if name not in METHODS:
            tell(("methods", n), unknown("method", name, METHODS))
            continue
        known = METHODS[name].options
        for option in [option for option in options if option not in known]:
            tell(
                ("methods", n, option),
                f"method {name}: {unknown('option', option, [*known, 'learning_rate'])}",
            )
        try:
            label = choose(name, {key: options[key] for key in options if key in known}).label
            if label in labels:
                tell(
                    ("methods", n),
                    f"method {label} stands there twice; two learning rates are two recipes",
                )
            labels.append(label)
        except XittError as error:
            for line in str(error).splitlines()[1:]:
                tell(("methods", n), f"method {name}: {line.strip()}")


def _check_intermediates(entries: Any, tell: Any) -> None:
    """Portions that can be read, mixtures whose shares are of their own portions, names that are
    told apart."""

    def check(place: tuple, text: str) -> None:
        try:
            single(text)
        except XittError as error:
            tell(place, str(error))

    names: list[str] = []
    for n, entry in enumerate(entries if isinstance(entries, list) else []):
        name = entry.get("name") if isinstance(entry, dict) else entry
        if isinstance(name, str):
            if name in names:
                tell(("intermediates", n), f"intermediates: {name!r} stands there twice")
            names.append(name)
        if isinstance(entry, str):
            check(("intermediates", n), entry)
        elif isinstance(entry, dict):
            if name in TASKS:
                tell(
                    ("intermediates", n, "name"),
                    f"intermediates: {name!r} is the name of a task, and a mixture needs its own:"
                    f" {name}-mix, say",
                )
            texts = []
            for place, text in _strings(entry.get("tasks"), ("intermediates", n, "tasks"), tell):
                check(place, text)
                texts.append(text)
            shares = entry.get("shares")
            shares = shares if isinstance(shares, dict) else {}
            for text in shares:
                if text not in texts:
                    place = ("intermediates", n, "shares", text)
                    tell(place, unknown("portion", text, texts))
            numbers = [value for value in shares.values() if isinstance(value, float)]
            if sum(numbers) >= 1 or (shares and len(shares) == len(texts)):
                tell(
                    ("intermediates", n, "shares"),
                    "shares must leave something for a portion without one",
                )


def _check_compositions(values: dict[str, Any], tell: Any) -> None:
    """Expressions that can be read, over the recipe's own intermediates, `target` and `$lang`."""
    entries = values.get("intermediates")
    names = [
        entry.get("name") if isinstance(entry, dict) else entry
        for entry in (entries if isinstance(entries, list) else [])
    ]
    known = [*(name for name in names if isinstance(name, str)), TARGET, composition.LANG]
    for place, text in _strings(values.get("compositions"), "compositions", tell):
        try:
            words = composition.names(composition.parse(text))
        except XittError as error:
            tell(place, str(error).replace("\n", "\n      "))
            continue
        for word in words:
            if word.startswith(hub.PREFIX) and not hub.is_commit(word.partition("@")[2]):
                tell(
                    place,
                    f"{text}: {word}: in a recipe a commit is pinned, hub:owner/name@40 digits,"
                    " because a branch moves",
                )
            elif word not in known and not elsewhere(word):
                tell(place, f"{text}: {unknown('module', word, known)}")


def _check_tasks(tasks: Any, tell: Any) -> None:
    for name, part in tasks.items() if isinstance(tasks, dict) else ():
        if name not in TASKS:
            tell(("tasks", name), unknown("task", str(name), TASKS))
            continue
        if not isinstance(part, dict):
            continue
        for place, code in _strings(part.get("languages"), ("tasks", name, "languages"), tell):
            if code not in TASKS[name].known:
                tell(place, f"task {name}: {unknown('language', code, TASKS[name].known)}")
        for place, code in _strings(part.get("trained_in"), ("tasks", name, "trained_in"), tell):
            if code not in LANGUAGES:
                tell(place, f"task {name}: {unknown('language', code, LANGUAGES)}")
        other = str(part.get("trained_on") or TASKS[name].trained_on or "").partition("@")[0]
        if other and not part.get("train"):
            for key in ("trained_in", "examples", "training", "selection"):
                if part.get(key):
                    tell(
                        ("tasks", name, key),
                        f"task {name} is trained on {other}: write {key} under tasks.{other}",
                    )
        if isinstance(part.get("trained_on"), str):
            _check_trained_on(name, part["trained_on"], tell)
        conventions = [convention.name for convention in TASKS[name].readings]
        if isinstance(part.get("convention"), str) and part["convention"] not in conventions:
            tell(
                ("tasks", name, "convention"),
                f"task {name}: {unknown('convention', part['convention'], conventions)}",
            )
        _check_reader_options(name, part, tell)
        _check_splits(name, part, tell)


def _check_reader_options(name: str, part: dict[str, Any], tell: Any) -> None:
    """Options that a reader of the task's files takes."""
    task, files = TASKS[name], part.get("files")
    if task.reader not in READERS:
        return
    patterns = files.values() if isinstance(files, dict) else ()
    names = [name for text in patterns if isinstance(text, str) for name in text.split(" + ")]
    used = dict.fromkeys((task.reader, *(task.format_of(file).reader for file in names)))
    taken = [option for reader in used for option in reader_options(reader)]
    for option in part.get("options") or {}:
        if option not in taken:
            tell(
                ("tasks", name, "options", option),
                f"task {name}: {unknown('reader option', option, taken)}",
            )


def _check_splits(name: str, part: dict[str, Any], tell: Any) -> None:
    """Splits and slices that a task has, and none of a test to select by."""
    named = [split.partition("@")[0] for split in part.get("files") or {}]
    known = {*TASKS[name].files, *named}
    for key in ("train", "selection", "test"):
        reference = part.get(key)
        if not isinstance(reference, str):
            continue
        try:
            split, *_ = parse_slice(reference)
        except XittError as error:
            tell(("tasks", name, key), str(error))
            continue
        if split not in known:
            tell(("tasks", name, key), f"task {name}: {unknown('split', split, sorted(known))}")
        elif key == "selection" and split == "test":
            tell(
                ("tasks", name, key),
                f"task {name}: selection never reads a test; name another split or slice",
            )


def _check_trained_on(name: str, text: str, tell: Any) -> None:
    """What trains a target: a task of its kind and labels, in languages where wanted."""
    try:
        other = portion(text)
    except XittError as error:
        tell(("tasks", name, "trained_on"), f"task {name}: {error}")
        return
    if other.variant or (TASKS[other.task].kind, TASKS[other.task].labels) != (
        TASKS[name].kind,
        TASKS[name].labels,
    ):
        tell(("tasks", name, "trained_on"), f"task {name}: {text} has another kind or other labels")


def _check_language_modules(text: Any, tell: Any) -> None:
    """A portion, of which each language has a module."""
    try:
        if isinstance(text, str) and portion(text) and "@" in text:
            tell(
                ("language_modules",),
                f"language_modules: {text}: each language gets a module; write the task alone",
            )
    except XittError as error:
        tell(("language_modules",), f"language_modules: {error}")


def check_languages(recipe: Recipe, tell: Any) -> None:
    """`trained_in` is of what trains a target; an intermediate has its languages in its name."""
    sources = recipe.sources(None)
    training_tasks = {
        sources.training_task(TASKS[name]) for name in recipe.targets if name in TASKS
    }
    portions = {part.task: part for mixture in recipe.mixtures() for part in mixture.portions}
    for name, part in recipe.tasks.items():
        if part.trained_in and name not in training_tasks and name in portions:
            text = f"{name}@{'+'.join(part.trained_in)}"
            tell(
                ("tasks", name, "trained_in"),
                f"task {name}: trained_in is read for targets; as an intermediate it "
                f"is trained in {'+'.join(portions[name].languages)}: write {text}",
            )


def check_files(recipe: Recipe, tell: Any) -> None:
    """Files that the recipe itself names must be there; those that only the tables name may come
    later."""
    root = recipe.data.root or os.environ.get("XITT_DATA")
    for name, part in recipe.tasks.items():
        for key, files in (("files", part.files), ("gold", part.gold)):
            for split, pattern in files.items():
                place = ("tasks", name, key, split)
                _, _, language = split.partition("@")
                language = language or (
                    next(iter(recipe.test_languages(TASKS[name])), "en")
                    if split == "test"
                    else "en"
                )
                try:
                    filled = in_language(pattern, TASKS[name].codes.get(language, language))
                except XittError as error:
                    tell(place, str(error))
                    continue
                for path in map(Path, filled.split(" + ")):
                    whole = Path(root or "") / path
                    if root in (None, "demo") and not path.is_absolute():
                        tell(
                            place,
                            f"{pattern}: where? Set data.root in the recipe or the environment"
                            " variable XITT_DATA",
                        )
                    elif problem := unreadable(whole):
                        tell(place, f"{whole}: {problem}")


def _check_repeats(numbers: Any, key: str, tell: Any) -> None:
    """Numbers of a list that stand there twice."""
    seen: set[float] = set()
    for n, number in enumerate(numbers if isinstance(numbers, list) else []):
        if isinstance(number, int | float):
            if number in seen:
                tell((key, n), f"{key}: {number} stands there twice")
            seen.add(number)


def _check_memory(text: Any, tell: Any) -> None:
    """An amount of memory that can be read."""
    if isinstance(text, str):
        try:
            sizes.parse(text)
        except XittError as error:
            tell(("memory",), str(error))


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
