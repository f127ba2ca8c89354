"""What sentences are about: language-neutral scenes, what follows from them, and how to draw them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

PEOPLE = ("teacher", "doctor", "physician", "farmer", "girl", "boy", "woman", "man", "singer", "cook", "student")
NAMES = ("anna", "maria", "sara", "lena", "omar", "david", "leo", "emil")
ANIMALS = ("dog", "cat", "bird", "horse", "cow", "goat")
FRUITS = ("apple", "orange", "banana")
READING = ("book", "letter", "newspaper")
GARMENTS = ("shirt", "hat")
VEHICLES = ("car", "automobile", "bicycle")
FURNITURE = ("chair", "table")
SMALL = FRUITS + READING + GARMENTS + FURNITURE + ("cup", "flower")
THINGS = SMALL + VEHICLES
PLACES = ("garden", "market", "school", "house", "kitchen", "village", "city", "hospital")
TIMES = ("today", "everyday", "daily", "morning", "evening", "noon", "monday", "friday", "sunday", "summer", "winter")
COLOURS = ("red", "blue", "green", "white", "black")

ALONE = ("run", "walk", "sing", "sleep", "laugh", "cry", "speak", "talk", "whisper", "shout", "work", "rest")
ON_PEOPLE = ("watch", "hear", "call", "help")
FROM = ("buy", "get")  # take a partner who hands the thing over
TO = ("sell", "give")  # take a partner who receives it; `give` always has one
# What a verb can be done to.
OBJECTS = {
    "buy": THINGS, "sell": THINGS, "get": THINGS, "give": THINGS,
    "see": THINGS + ANIMALS, "find": THINGS + ANIMALS, "lose": THINGS, "carry": SMALL, "hide": SMALL,
    "wash": FRUITS + GARMENTS + VEHICLES + FURNITURE + ("cup",),
    "read": READING, "write": ("book", "letter"), "eat": FRUITS,
    **{verb: PEOPLE + NAMES for verb in ON_PEOPLE},
}  # fmt: skip
BY_ANIMALS = ("run", "walk", "sleep", "rest", "see", "eat")

ABOVE = {
    **{noun: "person" for noun in PEOPLE + NAMES},
    **{noun: "animal" for noun in ANIMALS},
    **{noun: "fruit" for noun in FRUITS},
    **{noun: "garment" for noun in GARMENTS},
    "whisper": "speak", "shout": "speak", "buy": "get",
}  # fmt: skip
SAME = {"doctor": "physician", "happy": "glad", "speak": "talk", "car": "automobile", "everyday": "daily"}
SAME |= {other: word for word, other in SAME.items()}
OPPOSITE = {"young": "aged", "happy": "sad", "tall": "short", "big": "small", "new": "old", "clean": "dirty"}
OPPOSITE |= {"laugh": "cry", "whisper": "shout", "work": "rest", "buy": "sell", "find": "lose", "sleep": "walk"}
OPPOSITE |= {other: word for word, other in OPPOSITE.items()} | {"glad": "sad"}
CONVERSE = {"buy": "sell", "sell": "buy", "get": "give", "give": "get"}

SHARES = {"train": 60, "dev": 10, "test": 30}  # percent of all scenes


@dataclass(frozen=True)
class Thing:
    """Who or what: a noun or name, perhaps with an adjective; `count` 2 is a definite plural, 3 and 5 are said."""

    noun: str
    adj: str | None = None
    count: int = 1


@dataclass(frozen=True)
class Scene:
    """One event. Agents, people as objects and partners are definite, other objects indefinite."""

    agent: Thing
    verb: str
    object: Thing | None = None
    partner: str | None = None
    place: str | None = None
    time: str | None = None
    negated: bool = False
    teller: str | None = None  # "Anna says that …"


def adjectives(noun: str) -> tuple[str, ...]:
    """The adjectives that are said of a noun in every language."""
    if noun in NAMES:
        return ()
    if noun in PEOPLE or noun == "person":
        return ("young", "aged", "happy", "glad", "sad", "tall", "short")
    if noun in ANIMALS or noun == "animal":
        return ("big", "small", "white", "black")
    if noun in FRUITS or noun == "fruit":
        return ("big", "small", "clean", "dirty", "red", "green")
    if noun in READING:
        return ("big", "small", "new", "old")
    if noun == "flower":
        return ("big", "small", *COLOURS)
    return ("big", "small", "new", "old", "clean", "dirty", *COLOURS)


def opposites(word: str) -> tuple[str, ...]:
    """The words that can't be true together with `word`."""
    if word in COLOURS:
        return tuple(colour for colour in COLOURS if colour != word)
    return (OPPOSITE[word],) if word in OPPOSITE else ()


def share(scene: Scene, ask: str = "") -> str:
    """The share of the world a scene (or a question about it) belongs to: train, dev or test.

    Synonyms share a scene; a question hashes what it says, without the part it asks for.
    """
    if ask:
        scene = replace(scene, **{ask: None})
    text = repr(scene)
    for word in ("doctor", "happy", "speak", "car", "everyday"):
        text = text.replace(f"'{SAME[word]}'", f"'{word}'")
    bucket = int.from_bytes(hashlib.blake2s(f"{ask} {text}".encode(), digest_size=4).digest()) % 100
    for name, width in SHARES.items():
        if bucket < width:
            return name
        bucket -= width
    raise AssertionError("shares sum to 100")


def valid(scene: Scene) -> bool:
    """Whether every grammar can say the scene: negation stands without numbers and partners, and so on."""
    thing, partner = scene.object, scene.partner
    others = [name for name in (scene.agent.noun, thing and thing.noun, partner, scene.teller) if name]
    if len(set(others)) < len(others) or "person" in (partner, scene.teller):
        return False
    if scene.negated and (partner or (thing and thing.count > 1)):
        return False
    if scene.teller and scene.agent.count > 1:
        return False  # Arabic would need the accusative plural of the agent
    if partner and scene.agent.noun not in (*PEOPLE, *NAMES, "person"):
        return False
    if partner and not thing:
        return False
    if (scene.verb == "give") and (not partner):
        return False
    return all(t.adj is None or t.adj in adjectives(t.noun) for t in (scene.agent, thing) if t)


def draw(rng: random.Random, *, accept: Callable[[Scene], bool] | None = None, **fixed) -> Scene:
    """A random valid scene; `fixed` sets fields, and `accept` may turn scenes down."""
    while True:
        scene = replace(_draw(rng), **fixed) if fixed else _draw(rng)
        if valid(scene) and (accept is None or accept(scene)):
            return scene


def _draw(rng: random.Random) -> Scene:
    verb = rng.choice(ALONE) if rng.random() < 0.3 else rng.choice(tuple(OBJECTS))
    noun = rng.choice(ANIMALS) if verb in BY_ANIMALS and rng.random() < 0.5 else rng.choice(rng.choice((PEOPLE, NAMES)))
    count = 2 if noun not in NAMES and rng.random() < 0.25 else 1
    agent = Thing(noun, adjective(rng, noun), count)
    thing = partner = None
    if verb in OBJECTS:
        what = rng.choice(OBJECTS[verb])
        count = rng.choice((3, 5)) if what in THINGS + ANIMALS and rng.random() < 0.3 else 1
        thing = Thing(what, adjective(rng, what), count)
        if verb == "give" or (verb in FROM + TO and rng.random() < 0.5):
            partner = rng.choice(rng.choice((PEOPLE, NAMES)))
    return Scene(
        agent, verb, thing, partner,
        place=rng.choice(PLACES) if rng.random() < 0.6 else None,
        time=rng.choice(TIMES) if rng.random() < 0.6 else None,
        negated=rng.random() < 0.12,
        teller=rng.choice(NAMES) if rng.random() < 0.08 else None,
    )  # fmt: skip


def adjective(rng: random.Random, noun: str, *, chance: float = 0.5) -> str | None:
    """An adjective that suits the noun, or none."""
    choices = adjectives(noun)
    return rng.choice(choices) if choices and rng.random() < chance else None


def fronts(scene: Scene) -> tuple[str, ...]:
    """What may be said first: nothing special, the place or the time; reported clauses keep their order."""
    return ("",) if scene.teller else ("", *(slot for slot in ("place", "time") if getattr(scene, slot)))


def broader(thing: Thing) -> Thing:
    """The thing under its more general name, without an adjective that wouldn't suit it."""
    noun = ABOVE.get(thing.noun, thing.noun)
    return replace(thing, noun=noun, adj=thing.adj if thing.adj in adjectives(noun) else None)
