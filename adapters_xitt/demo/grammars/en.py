"""English: subject, verb, object, place, time; `do` in negations and in questions but those for the subject."""

from __future__ import annotations

from adapters_xitt.demo.grammars import adverbs, asked
from adapters_xitt.demo.scenes import FROM, PEOPLE, Scene, Thing
from adapters_xitt.demo.words import Token, Words, tokens

ASK = {"agent": "who/PRON", "object": "what/PRON", "place": "where/ADV", "time": "when/ADV"}
NUMBERS = {3: "three", 5: "five"}


def noun(w: Words, thing: Thing, slot: str, *, definite: bool) -> list[Token]:
    if w.is_name(thing.noun):
        return w.say("name", thing.noun, "sg", slot)
    body = w.say("adj", thing.adj, "form", slot) if thing.adj else []
    body += w.say("noun", thing.noun, "pl" if thing.count > 1 else "sg", slot)
    if definite:
        return tokens("the", "DET", slot) + body
    if thing.count > 1:
        return tokens(NUMBERS[thing.count], "NUM", slot) + body
    return tokens("an" if body[0].word[0] in "aeiou" else "a", "DET", slot) + body


def clause(w: Words, s: Scene, *, front: str, ask: str) -> list[Token]:
    first, place, time = adverbs(w, s, front, ask)
    agent = noun(w, s.agent, "agent", definite=True)
    plural = s.agent.count > 1 and ask != "agent"
    inverted = ask not in ("", "agent")
    do = tokens("do" if plural else "does", "AUX") if s.negated or inverted else []
    no = tokens("not", "PART") if s.negated else []
    verb = w.say("verb", s.verb, "pl" if plural or do else "sg", "verb")
    thing = noun(w, s.object, "object", definite=s.object.noun in (*PEOPLE, "person")) if s.object else []
    partner = []
    if s.partner:
        link = "from" if s.verb in FROM else "to"
        partner = tokens(link, "ADP") + noun(w, Thing(s.partner), "partner", definite=True)
    told = w.say("name", s.teller, "sg") + tokens("says/VERB that/SCONJ") if s.teller else []
    question = asked(ASK, ask)
    if ask == "agent":
        agent, question = question, []
    if ask == "object":
        thing = []
    head = do + agent + no if inverted else agent + do + no
    return told + first + question + head + verb + thing + partner + place + time
