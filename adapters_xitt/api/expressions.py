"""Expressions over stored modules: the modules that one names, and a plan that knows them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from adapters_xitt.api.common import Work, empty_work, encoder_of, recipe_of
from adapters_xitt.api.options import LANG, Settings
from adapters_xitt.errors import XittError, nearest
from adapters_xitt.modules import composition, methods
from adapters_xitt.modules.composition import Composition, Part
from adapters_xitt.modules.manifest import Manifest
from adapters_xitt.progress import notify
from adapters_xitt.sharing import bundle
from adapters_xitt.study.recipe import Reads
from adapters_xitt.study.store import Store, check_name
from adapters_xitt.study.stored_modules import add_stored_module


@dataclass(frozen=True)
class Expression:
    """An expression over the keys of stored modules, and who they are."""

    text: str
    composition: Composition  # `$lang` stays
    words: dict[str, str]  # as written → key
    manifests: dict[str, Manifest]
    names: dict[str, str]  # key → the store's name

    def _word(self, key: str) -> str:
        """A module as the expression has it, as the store has it, or by its first digits."""
        written = {known: word for word, known in self.words.items()}
        return written.get(key) or self.names.get(key) or key[:12]

    def shown(self, part: Composition) -> str:
        """An expression over keys as its user would write it."""
        return composition.show(composition.rename(part, lambda key: Part(self._word(key))))

    @contextmanager
    def pointing(self) -> Iterator[None]:
        """Tells a refusal in the words of the expression, and points at the part that it is
        about."""
        try:
            yield
        except XittError as error:
            message = re.sub("[0-9a-f]{64}", lambda key: self._word(key[0]), str(error))
            raise XittError(_pointed(self.text, message, message.partition(": ")[0])) from None


def _pointed(text: str, message: str, about: str) -> str:
    """An error with the expression below it and a caret where `about`, a part of it, begins."""
    first = about
    if _readable(about):
        first = next(iter(composition.names(composition.parse(about))), about)
    match = re.search(rf"(?<![\w.@/:-]){re.escape(first)}(?![\w.@/:-])", text)
    return f"{message}\n  {text}\n  {' ' * match.start()}^" if match else message


def _readable(text: str) -> bool:
    try:
        composition.parse(text)
    except XittError:
        return False
    return True


def parse_expression(text: str, store: Store) -> Expression:
    """The modules that an expression names. A module by itself brings the parts that it was trained
    above or over."""
    written = composition.parse(text)
    words: dict[str, str] = {}
    resolve = bundle.resolver(store, tell=notify)
    for word in composition.names(written):
        if word == composition.LANG:
            continue
        try:
            words[word] = resolve(word)
        except XittError as error:
            message = str(error)
            functions = [composition.FUSE, *composition.MERGES]
            near = nearest(word, functions) if composition.fusion_parts(written, word) else None
            if near:
                message += f" Did you mean {near}(…)?"
            raise XittError(_pointed(text, message, word)) from None
    manifests = {key: store.manifest(key) for key in words.values()}
    if isinstance(written, Part) and written.name in words:
        tree = composition.parse(manifests[words[written.name]].context)
    else:
        tree = composition.rename(written, lambda word: Part(words.get(word, word)))
    names = {key: name for name, key in store.names().items()}
    return Expression(text, tree, words, manifests, names)


def expression_work(
    expression: Expression,
    store: Store,
    targets: Mapping[str, str],
    settings: Settings,
    *,
    reads: Reads,
    seed: int = 1,
) -> Work:
    """A plan that knows the modules of an expression; `targets`: task → convention."""
    ours = [manifest for manifest in expression.manifests.values() if manifest.encoder_is_ours]
    first = next(iter(ours or expression.manifests.values()), None)
    conventions = {name: {"convention": name_of} for name, name_of in targets.items() if name_of}
    values = {
        "name": "compose",
        "encoder": encoder_of(first, settings.encoder),
        "methods": ["seq_bn"],
        "intermediates": [],
        "targets": list(targets),
        "modes": ["none"],
        "seeds": [seed],
        **({"languages": list(settings.languages)} if settings.languages else {}),
        "tasks": conventions,
    }
    work = empty_work(recipe_of(values, settings.assignments, settings.data, reads), store)
    with expression.pointing():
        for key in composition.names(expression.composition):
            if key != composition.LANG:
                add_stored_module(work.plan, key)
    return work


def head_of(work: Work, settings: Settings) -> str | None:
    """The key of the module whose head is to stand on top, which the plan knows from here on; None
    where it is the expression's own."""
    if not settings.head:
        return None
    key = bundle.resolver(work.store, tell=notify)(settings.head)
    add_stored_module(work.plan, key)
    return key


def language_modules(
    work: Work, tree: Composition, settings: Settings, *, languages: Sequence[str]
) -> dict[str, dict[str, str]] | None:
    """Language → the module of it that stands for `$lang`; None where an expression has no such
    place."""
    if composition.LANG not in composition.names(tree):
        return None
    if "{lang}" not in settings.lang:
        raise XittError(
            f"--lang {settings.lang!r}: a pattern of names with {{lang}} in it, as {LANG!r}"
        )
    first = settings.lang.replace("{lang}", languages[0])
    check_name(first)
    named = work.store.names()
    swaps = {}
    for language in languages:
        name = settings.lang.replace("{lang}", language)
        if name in named:
            swaps[language] = {composition.LANG: named[name]}
    if not swaps:
        raise XittError(
            f"{composition.LANG}: the store has no module called {first} or the like; train one in"
            f" each language, as in {_advice(work, tree, languages[0])} --name {first}, or name"
            " others: --lang PATTERN"
        )
    for swap in swaps.values():
        add_stored_module(work.plan, swap[composition.LANG])
    return swaps


def _advice(work: Work, tree: Composition, language: str) -> str:
    """The command that trains a module for a language, of the method and on the encoder of an
    expression's parts."""
    chosen = [
        work.plan.train[key].method.name
        for key in composition.names(tree)
        if key in work.plan.train
    ]
    other = (name for name in chosen if name in methods.METHODS and name != "seq_bn")
    method = next((f" --method {name}" for name in other), "")
    return f"xitt train text@{language}{method} --encoder {shlex.quote(work.plan.recipe.encoder)}"


def out_of_context(expression: Expression, work: Work) -> Iterator[str]:
    """Parts that stand elsewhere than where they were trained."""
    here = set(composition.names(expression.composition))
    jobs = {key: work.plan.train[key] for key in here - {composition.LANG}}
    for key, job in jobs.items():
        lost = [name for name in composition.names(job.context) if name not in here]
        if lost:
            titles = [work.plan.train[name].title for name in lost if name in work.plan.train]
            yield (
                f"{expression.shown(Part(key))} was trained together with {', '.join(titles)},"
                " which is not here"
            )
    for key, job in jobs.items():
        if any(not record.data for record in job.exposure):
            yield (
                f"{expression.shown(Part(key))}: nobody knows what else it has seen; its cells"
                " carry a star"
            )
