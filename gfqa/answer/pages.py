"""Questions for a page: what they are about. A place is what the search knows, not what a model says. Torch-free."""

from __future__ import annotations

import re

_PAGE = re.compile(
    r"\b(?:(?:on|at|in|to|from) )?(?:which|what)(?:'s| is)? (?:the )?page(?:s| numbers?)?(?: (?:number )?of)?\b"
    r"|^\s*(?:the )?page (?:number )?(?:of|for|where|with|about|on which)\b",
    re.IGNORECASE,
)

_SAID = re.compile(
    r"\b(?:described?|describes|mention(?:ed|s)?|discuss(?:ed|es)?|explain(?:ed|s)?|covered|introduce[ds]|listed|shown|talked|talks|"
    r"dealt|found|said|says|told|tells|appears?)\b",
    re.IGNORECASE,
)
"""What a page does with its subject: no word of the subject. Forms spelled out, so that a treatment stays one."""
_LITTLE_WORDS = "a about an and are at do does for how in is it of on the there this that to was we were with you"
_LITTLE = frozenset(_LITTLE_WORDS.split())


def beside_the_page(question: str) -> str | None:
    """The question without the words that ask for a page, None where it asks for something else.

    "On which page is the warranty described?" is about "is the warranty ?".
    """
    rest, count = _PAGE.subn(" ", question, count=1)
    if not count:
        return None
    subject = _SAID.sub(" ", rest)
    about = subject if _has_content(subject) else rest
    return " ".join(about.split()) if _has_content(about) else None


def _has_content(text: str) -> bool:
    return any(word not in _LITTLE for word in re.findall(r"\w{2,}", text.lower()))
