"""The tasks' items as scenes: inference, paraphrase pairs, paragraphs with questions, single sentences.

Inference reads premise and hypothesis as being about one event. What is weaker follows; negation, an opposite word or
another number contradicts; another place, time, agent or object, anything added, and anything only reported is neutral.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from adapters_xitt.demo.corpus import askable, generalise
from adapters_xitt.demo.edits import (
    against,
    converse,
    other,
    renamed,
    said,
    some,
    stronger,
    swapped,
    weaker,
    with_part,
)  # fmt: skip
from adapters_xitt.demo.scenes import (
    NAMES,
    PLACES,
    SAME,
    TIMES,
    Scene,
    Thing,
    adjectives,
    draw,
    fronts,
    share,
    valid,
)  # fmt: skip

INFERENCE = ("entailment", "neutral", "contradiction")
TRADE = ("buy", "sell", "get", "give")
SPEECH = ("speak", "talk", "whisper", "shout")


@dataclass(frozen=True)
class Said:
    """A scene and how it is said: what comes first, what is asked for."""

    scene: Scene
    front: str = ""
    ask: str = ""


@dataclass(frozen=True)
class Pair:
    """Two sentences and their label."""

    first: Said
    second: Said
    label: str


@dataclass(frozen=True)
class Paragraph:
    """Statements, and questions with the number of the statement that answers each."""

    statements: tuple[Said, ...]
    questions: tuple[tuple[Said, int], ...]


def plainly(rng: random.Random, scene: Scene) -> Said:
    """The scene said in a random order."""
    return Said(scene, rng.choice(fronts(scene)))


def balanced(
    make: Callable[[random.Random, str], Pair | None], labels: tuple[str, ...], count: int, seed: str, part: str
) -> list[Pair]:
    """`count` distinct pairs, the labels in equal numbers and shuffled, all scenes from one part of the world."""
    rng = random.Random(f"{seed} {part}")
    found: dict[Pair, None] = {}
    while len(found) < count:
        pair = make(rng, labels[len(found) % len(labels)])
        if pair and all(valid(s.scene) and share(s.scene) == part for s in (pair.first, pair.second)):
            found[pair] = None
    pairs = list(found)
    rng.shuffle(pairs)
    return pairs


def inference(count: int, *, seed: int, part: str) -> list[Pair]:
    """Premise and hypothesis."""
    return balanced(infer, INFERENCE, count, f"inference {seed}", part)


def infer(rng: random.Random, label: str) -> Pair | None:
    """A premise and a hypothesis that has this label; None where the draw gave none."""
    premise = generalise(rng, draw(rng, teller=None))
    if premise.negated:
        hypothesis = from_negated(rng, premise, label)
    else:
        hypothesis = {"entailment": follow, "neutral": leave_open, "contradiction": contradict}[label](rng, premise)
    if label == "neutral" and not premise.negated and rng.random() < 0.15:
        # Something only reported: the words of the hypothesis all stand in the premise.
        premise = replace(premise, teller=rng.choice(NAMES))
        hypothesis = some(rng, replace(premise, teller=None), weaker, rng.randint(0, 1), set())
    if hypothesis is None or hypothesis == premise:
        return None
    return Pair(plainly(rng, premise), plainly(rng, hypothesis), label)


def follow(rng: random.Random, premise: Scene) -> Scene | None:
    """A scene that the premise entails."""
    turned = converse(premise)
    if turned and rng.random() < 0.6:
        return some(rng, turned[0][1], weaker, rng.randint(0, 2), {"partner"})
    names = renamed(premise)
    if names and rng.random() < 0.5:
        part, scene = rng.choice(names)
        return some(rng, scene, weaker, rng.randint(0, 2), {part})
    return some(rng, premise, weaker, rng.randint(1, 3), set())


def contradict(rng: random.Random, premise: Scene) -> Scene | None:
    """A scene that the premise excludes."""
    choices = against(premise)
    if rng.random() < 0.4 or not choices:
        return replace(some(rng, premise, weaker, rng.randint(0, 2), set()), negated=True)
    part, scene = rng.choice(choices)
    return some(rng, scene, weaker, rng.randint(0, 2), {part, part.split(".")[0] + ".noun"})


def leave_open(rng: random.Random, premise: Scene) -> Scene | None:
    """A scene that the premise leaves open."""
    kind = rng.random()
    if kind < 0.12:  # a denial that says more than the premise
        choices = stronger(premise, rng)
        return replace(rng.choice(choices)[1], negated=True) if choices else None
    choices = swapped(premise) if kind < 0.4 else stronger(premise, rng) if kind < 0.55 else []
    choices = choices or other(premise, rng)
    if not choices:
        return None
    part, scene = rng.choice(choices)
    # Roles stay told apart: neither person may be dropped or get a broader name.
    keep = {part, part.split(".")[0] + ".noun"}
    if part == "roles":
        keep |= {"agent.noun", "object.noun", "partner"}
    return some(rng, scene, weaker, rng.randint(0, 2), keep)


def from_negated(rng: random.Random, premise: Scene, label: str) -> Scene | None:
    """Denials turn the order round: what says more follows from them, what says less doesn't."""
    def more(scene: Scene):
        return stronger(scene, rng)

    if label == "entailment":
        return some(rng, premise, more, rng.randint(1, 2), set())
    if label == "contradiction":
        return replace(some(rng, premise, more, rng.randint(0, 1), set()), negated=False)
    less = [slot for slot in ("place", "time") if getattr(premise, slot)]
    if less and rng.random() < 0.5:
        return replace(premise, **{rng.choice(less): None})
    return rng.choice(other(premise, rng) or [("", None)])[1]


def pairs(count: int, *, seed: int, part: str) -> list[Pair]:
    """Two sentences: the same event said otherwise (1), or a near miss (0)."""
    return balanced(match, ("1", "0"), count, f"pairs {seed}", part)


def match(rng: random.Random, label: str) -> Pair | None:
    """Two sentences of this label: "1" the same scene told otherwise, "0" a near miss."""
    # Both labels have as many pairs of the very same words as pairs with a new one: counting words doesn't help.
    fresh = rng.random() < 0.5
    suits = (lambda s: bool(renamed(s) or converse(s))) if label == "1" and fresh else None
    if label == "0" and not fresh:
        def suits(scene: Scene) -> bool:
            return bool(scene.object) and any(map(valid, same_words(scene)))

    first = second = draw(rng, accept=suits, teller=None)
    if label == "0":
        misses = near_misses(rng, first) if fresh else same_words(first)
        second = rng.choice(misses) if misses else None
    elif fresh:
        turned = converse(second)
        if turned and rng.random() < 0.5:
            second = turned[0][1]
        second = some(rng, second, renamed, 1, set())
    if second is None or (fresh and second == first):
        return None
    one = plainly(rng, first)
    orders = [front for front in fronts(second) if front != one.front]
    return Pair(one, Said(second, rng.choice(orders)), label) if orders else None


def same_words(scene: Scene) -> list[Scene]:
    """Near misses of the very same words: persons change places, or an adjective moves to the other noun."""
    found = [after for _, after in swapped(scene)]
    one, two = scene.agent, scene.object
    if two and one.adj != two.adj:
        found.append(replace(scene, agent=replace(one, adj=two.adj), object=replace(two, adj=one.adj)))
    return found


def near_misses(rng: random.Random, scene: Scene) -> list[Scene]:
    """Scenes that differ by one word: a verb, a modifier, a number, who, what, where, when, or denial."""
    found = [after for _, after in against(scene) + other(scene, rng)]
    for part, thing in said(scene):
        if thing.adj:
            choices = [word for word in adjectives(thing.noun) if word not in (thing.adj, SAME.get(thing.adj))]
            found.append(with_part(scene, part, adj=rng.choice(choices)))
    if scene.negated or rng.random() < 0.15:
        found.append(replace(scene, negated=not scene.negated))
    return found


def paragraphs(count: int, *, seed: int, part: str, questions: int = 4) -> list[Paragraph]:
    """Paragraphs of 3 to 5 statements with `questions` questions each."""
    rng = random.Random(f"paragraphs {seed} {part}")
    found: dict[Paragraph, None] = {}
    while len(found) < count:
        scenes = statements(rng, rng.randint(3, 5), part)
        asked: dict[tuple[Said, int], None] = {}
        for _ in range(40):
            number = rng.randrange(len(scenes))
            question = question_for(rng, scenes, number, part)
            # Each part of each statement is asked for once.
            if question and all((q.ask, n) != (question.ask, number) for q, n in asked):
                asked[question, number] = None
            if len(asked) == questions:
                found[Paragraph(tuple(plainly(rng, scene) for scene in scenes), tuple(asked))] = None
                break
    return list(found)


def statements(rng: random.Random, count: int, part: str) -> list[Scene]:
    """Scenes for one paragraph; later ones often repeat a verb or an agent: one word doesn't find the answer."""
    found: list[Scene] = []
    while len(found) < count:
        fixed: dict = {"teller": None, "negated": False}
        for slot, choices in (("place", PLACES), ("time", TIMES)):
            if rng.random() < 0.6:
                fixed[slot] = rng.choice(choices)
        if found and rng.random() < 0.5:
            before = rng.choice(found)
            fixed |= {"agent": before.agent} if rng.random() < 0.5 else {"verb": before.verb, "object": before.object}
            fixed["partner"] = None
            if fixed.get("verb") == "give":
                continue
            if "agent" in fixed:
                model = draw(rng)
                fixed |= {"verb": model.verb, "object": model.object, "partner": model.partner}
        scene = replace(draw(rng), **fixed)
        if valid(scene) and share(scene) == part and scene not in found:
            found.append(scene)
    return found


def question_for(rng: random.Random, scenes: list[Scene], number: int, part: str) -> Said | None:
    """A question that only one of the scenes answers, or none if the draw was unlucky."""
    asks = askable(scenes[number])
    if not asks:
        return None
    ask = rng.choice(asks)
    scene = scenes[number]
    for slot in ("place", "time"):
        if slot != ask and rng.random() < 0.5:
            scene = replace(scene, **{slot: None})
    if share(scene, ask) != part:
        return None
    if any(alike(scene, one, ask) for i, one in enumerate(scenes) if i != number):
        return None
    return Said(scene, ask=ask)


def alike(one: Scene, two: Scene, ask: str) -> bool:
    """Whether the second scene might answer a question about the first, whatever its place and time."""
    def kind(scene: Scene) -> str:
        return "trade" if scene.verb in TRADE else "speech" if scene.verb in SPEECH else scene.verb

    def persons(scene: Scene) -> set[str | None]:
        names = {scene.agent.noun} | ({scene.partner} if kind(scene) == "trade" else set())
        return {"doctor" if name == "physician" else name for name in names if name}

    def noun(thing: Thing | None) -> str | None:
        return thing and {"automobile": "car", "physician": "doctor"}.get(thing.noun, thing.noun)

    return (
        kind(one) == kind(two)
        and (ask == "agent" or bool(persons(one) & persons(two)))
        and (ask == "object" or noun(one.object) == noun(two.object))
    )


def sentences(count: int, *, task: str, seed: int, part: str) -> list[Said]:
    """Single statements, all of different scenes."""
    rng = random.Random(f"{task} {seed} {part}")
    found: dict[Scene, Said] = {}
    while len(found) < count:
        scene = generalise(rng, draw(rng))
        if valid(scene) and share(scene) == part:
            found.setdefault(scene, plainly(rng, scene))
    return list(found.values())
