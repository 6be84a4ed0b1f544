"""Questions for a page: what they are about. A place is what the search knows, not what a model says. Torch-free."""

from __future__ import annotations

import re

_PAGE = re.compile(
    r"\b(?:(?:on|at|in|to|from) )?(?:which|what)(?:'s| is)? (?:the )?page(?:s| numbers?)?(?: (?:number )?of)?\b"
    r"|^\s*(?:the )?page (?:number )?(?:of|for|where|with|about|on which)\b",
    re.IGNORECASE,
)

_SAID = re.compile(
    r"\b(?:describ|mention|discuss|explain|cover|introduc|list|show|treat|talk|speak|deal|find|found|say|said|tell|told|appear|stand)"
    r"\w{0,4}\b",
    re.IGNORECASE,
)
"""What a page does with its subject: no word of the subject."""


def beside_the_page(question: str) -> str | None:
    """The question without the words that ask for a page, None where it asks for something else.

    "On which page is the warranty described?" is about "is the warranty ?".
    """
    rest, count = _PAGE.subn(" ", question, count=1)
    if not count:
        return None
    subject = _SAID.sub(" ", rest)
    about = subject if re.search(r"\w{3,}", subject) else rest
    return " ".join(about.split()) if re.search(r"\w{2,}", about) else None
