"""Turkish: the verb is last; indefinite objects are bare, definite ones marked; numbers take the singular."""

from __future__ import annotations

from adapters_xitt.demo.grammars import adverbs, asked
from adapters_xitt.demo.scenes import FROM, PEOPLE, Scene, Thing
from adapters_xitt.demo.words import Token, Words, tokens

ASK = {"agent": "kim/PRON", "object": "ne/PRON", "place": "nerede/ADV", "time": "ne/ADJ zaman/NOUN"}
NUMBERS = {3: "üç", 5: "beş"}


def noun(w: Words, thing: Thing, case: str, slot: str) -> list[Token]:
    if w.is_name(thing.noun):
        return w.say("name", thing.noun, case, slot)
    return adjective(w, thing, slot) + w.say("noun", thing.noun, case, slot)


def adjective(w: Words, thing: Thing, slot: str) -> list[Token]:
    return w.say("adj", thing.adj, "form", slot) if thing.adj else []


def indefinite(w: Words, thing: Thing, *, negated: bool) -> list[Token]:
    adj, body = adjective(w, thing, "object"), w.say("noun", thing.noun, "nom", "object")
    if thing.count > 1:
        return tokens(NUMBERS[thing.count], "NUM", "object") + adj + body
    return adj + ([] if negated else tokens("bir", "DET", "object")) + body


def clause(w: Words, s: Scene, *, front: str, ask: str) -> list[Token]:
    first, place, time = adverbs(w, s, front, ask)
    question = asked(ASK, ask)
    agent = noun(w, s.agent, "pl" if s.agent.count > 1 else "nom", "agent")
    verb = w.say("verb", s.verb, "neg" if s.negated else "pos", "verb")
    thing, partner = [], []
    if (s.object and s.object.noun in (*PEOPLE, "person")) or (s.object and w.is_name(s.object.noun)):
        thing = noun(w, s.object, w.form("verb", s.verb, "case"), "object")
    elif s.object:
        thing = indefinite(w, s.object, negated=s.negated)
    if s.partner:
        partner = noun(w, Thing(s.partner), "abl" if s.verb in FROM else "dat", "partner")
    # Questions leave the word order alone: the question word stands where its answer would.
    agent = question if ask == "agent" else agent
    thing = question if ask == "object" else thing
    place = question if ask == "place" else place
    time = question if ask == "time" else time
    told = w.say("name", s.teller, "nom") + tokens("diyor/VERB ki/SCONJ") if s.teller else []
    return told + first + agent + time + place + partner + thing + verb
