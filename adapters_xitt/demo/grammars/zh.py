"""Chinese: time and place before the verb, a classifier behind each number, no inflection and no spaces."""

from __future__ import annotations

from adapters_xitt.demo.grammars import adverbs, asked
from adapters_xitt.demo.scenes import FROM, PEOPLE, Scene, Thing
from adapters_xitt.demo.words import Token, Words, tokens

ASK = {"agent": "谁/PRON", "object": "什么/PRON", "place": "在/ADP 哪里/PRON", "time": "什么/DET 时候/NOUN"}
NUMBERS = {1: "一", 3: "三", 5: "五"}


def noun(w: Words, thing: Thing, slot: str) -> list[Token]:
    if w.is_name(thing.noun):
        return w.say("name", thing.noun, "sg", slot)
    adj = w.say("adj", thing.adj, "form", slot) + tokens("的", "PART", slot) if thing.adj else []
    if thing.count != 2:
        return adj + w.say("noun", thing.noun, "sg", slot)
    if w.has("noun", thing.noun, "pl"):
        return adj + w.say("noun", thing.noun, "pl", slot)
    return tokens("那些", "DET", slot) + adj + w.say("noun", thing.noun, "sg", slot)


def patient(w: Words, s: Scene) -> list[Token]:
    thing = s.object
    if w.is_name(thing.noun) or thing.noun in (*PEOPLE, "person") or s.negated:
        return noun(w, thing, "object")
    number = tokens(NUMBERS[thing.count], "NUM", "object") + tokens(w.form("noun", thing.noun, "cl"), "NOUN", "object")
    return number + noun(w, thing, "object")


def clause(w: Words, s: Scene, *, front: str, ask: str) -> list[Token]:
    first, place, time = adverbs(w, s, front, ask)
    question = asked(ASK, ask)
    agent = question if ask == "agent" else noun(w, s.agent, "agent")
    thing = question if ask == "object" else patient(w, s) if s.object else []
    place = question if ask == "place" else place
    time = question if ask == "time" else time
    no = tokens(w.form("verb", s.verb, "neg"), "ADV") if s.negated else []
    before, after = [], []
    if s.partner:
        partner = noun(w, Thing(s.partner), "partner")
        if s.verb in FROM:
            before = tokens("从", "ADP") + partner + tokens("那里", "PRON")
        else:
            after = (tokens("给", "ADP") if s.verb == "sell" else []) + partner
    verb = w.say("verb", s.verb, "form", "verb")
    told = w.say("name", s.teller, "sg") + tokens("说", "VERB") if s.teller else []
    return told + first + agent + time + no + place + before + verb + after + thing
