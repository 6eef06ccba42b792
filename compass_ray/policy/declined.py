"""Whether a text is a refusal to answer, by the words it begins with. Pure.

Models refuse in their first sentence, and in few turns of phrase. A long text that begins like one
mostly answers after all, so only its opening is read, and only where little follows.
"""

import re

_OPENING = 240
"""Characters in which a refusal says what it is."""
_LONGEST = 1_200
"""A longer text answers something, however it begins."""

_UNABLE = r"(?:can(?:no|')t|can not|won't|will not|am (?:not able|unable) to)"
_PHRASES = (
    rf"\bi(?:'m| am) (?:very |really |so )?sorry\b.{{0,40}}\bi {_UNABLE}",
    rf"\b(?:sorry|unfortunately),? (?:but )?(?:i|this request|that request) {_UNABLE}",
    rf"\bi {_UNABLE} (?:help|assist|answer|provide|comply|fulfil|do (?:that|this)|create|write)",
    rf"\bi {_UNABLE} (?:generate|discuss|complete|continue|respond|give|share|support|access)",
    r"\bi'm (?:not able|unable) to\b",
    r"\bas an? (?:ai|artificial intelligence|(?:ai |large )?language model)(?: assistant)?,? i\b",
    r"\bi (?:do not|don't) have (?:access|the ability|the capability|(?:enough )?information)\b",
    r"\blo siento,? (?:pero )?no puedo\b",
    r"\bje (?:suis )?d[ée]sol[ée]e?,? (?:mais )?je ne (?:peux|puis)\b",
    r"\b(?:es )?tut mir leid,? (?:aber )?(?:ich|dabei|das) kann\b",
    r"\bdesculpe,? (?:mas )?n[ãa]o posso\b",
    r"\bmi dispiace,? (?:ma )?non posso\b",
    r"(?:抱歉|对不起|很遗憾).{0,8}(?:我)?(?:无法|不能|没有办法)",
    r"(?:申し訳|すみません).{0,24}(?:できません|お答えできません|いたしかねます)",
)
_REFUSAL = re.compile("|".join(_PHRASES), re.IGNORECASE | re.DOTALL)
_QUOTES = str.maketrans({"\u2019": "'", "\u02bc": "'"})


def declines(text: str) -> bool:
    """Return whether `text` refuses; linear in what it reads, which is bounded."""
    text = text.strip()
    if len(text) > _LONGEST:
        return False
    return _REFUSAL.search(text[:_OPENING].translate(_QUOTES)) is not None
