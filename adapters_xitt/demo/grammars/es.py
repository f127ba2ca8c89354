"""Spanish: articles and adjectives agree in gender and number; adjectives follow; people as objects take `a`."""

from __future__ import annotations

from adapters_xitt.demo.grammars import adverbs, asked
from adapters_xitt.demo.scenes import FROM, PEOPLE, Scene, Thing
from adapters_xitt.demo.words import Token, Words, tokens

ASK = {"agent": "quién/PRON", "object": "qué/PRON", "place": "dónde/ADV", "time": "cuándo/ADV"}
NUMBERS = {3: "tres", 5: "cinco"}
THE = {"m": "el", "f": "la", "mpl": "los", "fpl": "las"}
A = {"m": "un", "f": "una"}


def noun(w: Words, thing: Thing, slot: str, *, definite: bool) -> list[Token]:
    if w.is_name(thing.noun):
        return w.say("name", thing.noun, "sg", slot)
    agreement = w.form("noun", thing.noun, "g") + ("pl" if thing.count > 1 else "")
    body = w.say("noun", thing.noun, "pl" if thing.count > 1 else "sg", slot)
    body += w.say("adj", thing.adj, agreement, slot) if thing.adj else []
    if definite:
        return tokens(THE[agreement], "DET", slot) + body
    if thing.count > 1:
        return tokens(NUMBERS[thing.count], "NUM", slot) + body
    return tokens(A[agreement], "DET", slot) + body


def after(link: str, body: list[Token]) -> list[Token]:
    """A preposition before a nominal: a + el is al, de + el is del."""
    if body[0].word == "el":
        return [body[0]._replace(word=link + ("l" if link.endswith(("a", "e")) else ""), upos="ADP"), *body[1:]]
    return tokens(link, "ADP", body[0].slot) + body


def clause(w: Words, s: Scene, *, front: str, ask: str) -> list[Token]:
    first, place, time = adverbs(w, s, front, ask)
    agent = noun(w, s.agent, "agent", definite=True)
    no = tokens("no", "ADV") if s.negated else []
    verb = no + w.say("verb", s.verb, "pl" if s.agent.count > 1 and ask != "agent" else "sg", "verb")
    thing, partner = [], []
    if s.object and ask != "object":
        person = s.object.noun in (*PEOPLE, "person") or w.is_name(s.object.noun)
        thing = noun(w, s.object, "object", definite=person)
        thing = after("a", thing) if person else thing
    if s.partner:
        partner = after("de" if s.verb in FROM else "a", noun(w, Thing(s.partner), "partner", definite=True))
    told = w.say("name", s.teller, "sg") + tokens("dice/VERB que/SCONJ") if s.teller else []
    question = asked(ASK, ask)
    if ask == "agent":
        head = question + verb
    elif ask:
        head = question + verb + agent
    else:
        head = agent + verb
    return told + first + head + thing + partner + place + time
