"""Swahili: verbs agree with their subject, adjectives and numbers with the noun class; they follow the noun."""

from __future__ import annotations

from adapters_xitt.demo.grammars import adverbs, asked
from adapters_xitt.demo.scenes import FROM, Scene, Thing
from adapters_xitt.demo.words import Token, Words, tokens

ASK = {"agent": "nani/PRON", "object": "nini/PRON", "place": "wapi/ADV", "time": "lini/ADV"}
PLURAL = {"1": "2", "5": "6", "7": "8", "9": "10"}


def noun(w: Words, thing: Thing, slot: str) -> list[Token]:
    if w.is_name(thing.noun):
        return w.say("name", thing.noun, "sg", slot)
    group = w.form("noun", thing.noun, "cl")
    group = PLURAL[group] if thing.count > 1 else group
    body = w.say("noun", thing.noun, "pl" if thing.count > 1 else "sg", slot)
    body += w.say("num", str(thing.count), group, slot) if thing.count > 2 else []
    return body + (w.say("adj", thing.adj, group, slot) if thing.adj else [])


def clause(w: Words, s: Scene, *, front: str, ask: str) -> list[Token]:
    first, place, time = adverbs(w, s, front, ask)
    question = asked(ASK, ask)
    plural = s.agent.count > 1 and ask != "agent"
    form = ("n" if s.negated else "") + ("pl" if plural else "sg")
    # With a receiver the verb is applicative and marks them.
    key = "sell_to" if s.verb == "sell" and s.partner else s.verb
    verb = w.say("verb", key, form, "verb")
    agent = question if ask == "agent" else noun(w, s.agent, "agent")
    thing = question if ask == "object" else noun(w, s.object, "object") if s.object else []
    place = question if ask == "place" else place
    time = question if ask == "time" else time
    partner = noun(w, Thing(s.partner), "partner") if s.partner else []
    if s.verb in FROM and partner:
        thing = thing + tokens("kutoka/ADP kwa/ADP") + partner
    elif partner:
        thing = partner + thing
    told = w.say("name", s.teller, "sg") + tokens("anasema/VERB kwamba/SCONJ") if s.teller else []
    return told + first + agent + verb + thing + place + time
