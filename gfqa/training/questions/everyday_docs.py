"""Sentences of documentation that name a default, a version, a port, an environment variable or an error, and the
entries of settings ("Default: `x`" under a description), asked without the name; the rest is in `sentences`."""  # fmt: skip

from __future__ import annotations

import re

from gfqa.training.questions import everyday
from gfqa.training.questions.everyday_words import action, clean, is_clause
from gfqa.training.questions.facts import FileFacts

_CODE = r"`{1,2}(?P<name>[A-Z][A-Z\d_]{3,40})`{1,2}"
_ENVIRONMENT = (
    re.compile(rf"(?:[Ss]et|[Uu]se|[Ss]etting|with|via) (?:the )?{_CODE} (?:env(?:ironment)? )?(?:variable|"
               rf"var)? ?to (?P<does>[a-z]+ [^.`,;]{{6,70}})"),
    re.compile(rf"[Tt]he {_CODE} (?:env(?:ironment)?) (?:variable|var) (?:can be used to |is used to |"
               rf"allows you to )?(?P<does>[a-z]+ [^.`,;]{{6,70}})"),
)  # fmt: skip
_ERROR = re.compile(
    r"`{1,2}~?(?:[\w.]+\.)?(?P<name>[A-Z]\w+(?:Error|Exception|Warning))`{1,2}(?: exception| error)? (?:is|will be|gets) "
    r"(?:raised|thrown) (?:if|when(?:ever)?) (?P<clause>[^.`;(]{10,90})"
)
_BY_DEFAULT = re.compile(
    r"By default,? (?P<n>(?:the|its?|all|your) ?[a-z][\w -]{2,40}?) (?P<verb>is|are|will be|uses|listens on|runs on|"
    r"looks for|is set "
    r"to|waits) (?P<value>(?:`[^`\n]{1,40}`|[\w./:-]{2,30}(?: [\w./:-]{2,20})?))(?:[.,;]|$)"
)
_REQUIRES = re.compile(
    r"(?i:requires?|supports?|needs?|works with|tested (?:on|with)|runs on) (?:at least )?(?P<of>Python|Node(?:\.js)?|"
    r"Go|Java|JDK|Rust|Ruby|PHP|Django) "
    r"(?:version |v)?(?P<value>[<>=]*\s?\d+(?:\.\d+)*\+?(?: ?(?:or|and) (?:newer|later|higher|above|up))?)"
)
_PORT = re.compile(
    r"(?i:listen(?:s|ing)?|runs?|running|available|served?|start(?:s|"
    r"ed)?)\b[^.\n]{0,30}? (?:on )?port `{0,2}(?P<value>\d{2,5})\b"
)
_ENTRY = re.compile(
    r"(?:\.\. (?:py:|c:)?(?:data|setting|confval|envvar|attribute|option)::\s*|#{2,5} +(?=`[^`]+`\s*$|"
    r"\w+_\w+\s*$)`?)(?P<name>[A-Za-z][\w.-]{2,40})`?(?:\s|$)"
)
_DEFAULT = re.compile(
    r"\s*(?:[-*] )?\**:?[Dd]efault(?: value| is)?:?\**:?\s*(?P<value>``?[^`\n]{1,40}``?|[\w.\"'/-]{1,30})\.?\s*$"
)


def documented_words(file: FileFacts) -> None:
    """Add the everyday facts of a documentation file."""
    lines = file.text.split("\n")
    for i, line in enumerate(lines):
        _sentences(file, line, i + 1)
        entry = _ENTRY.match(line)
        # Under a heading or directive: what it is, then its default.
        if entry and line.startswith((".. ", "#")):
            _setting(file, lines, i, entry["name"])


def _sentences(file: FileFacts, line: str, number: int) -> None:
    for pattern in _ENVIRONMENT:
        for match in pattern.finditer(line):
            does = action(clean(match["does"]) or "x")
            if does:
                slots = {**does, "what": "environment variable"}
                everyday.add(file, "everyday_sets", slots, match["name"], number, back=True)
    for match in _ERROR.finditer(line):
        clause = clean(match["clause"])
        if clause and is_clause(clause):
            everyday.add(file, "everyday_error", {"c": clause}, match["name"], number, back=True)
    for match in _BY_DEFAULT.finditer(line):
        name = clean(match["n"])
        if name and match["verb"] in ("is", "are", "will be", "is set to") and re.match(r"`|.*\d", match["value"]):
            slots = {"n": name.removeprefix("the ")}
            everyday.add(file, "everyday_default", slots, match["value"].strip("`"), number, back=False)
        elif name and match["verb"] not in ("is", "are", "will be", "is set to"):
            verb, _, more = match["verb"].partition(" ")
            asked = f"what does {name} {verb.removesuffix('s')}{' ' + more if more else ''}"
            slots = {"q": asked}
            everyday.add(file, "everyday_quantity_default", slots, match["value"].strip("`"), number, back=False)
    if needed := _REQUIRES.search(line):
        slots = {"q": f"which {needed['of']} version does it need"}
        everyday.add(file, "everyday_quantity", slots, needed["value"], number, back=False)
    if port := _PORT.search(line):
        everyday.add(
            file, "everyday_quantity_default", {"q": "what port does it run on"}, port["value"], number, back=False
        )


def _setting(file: FileFacts, lines: list[str], at: int, name: str) -> None:
    said: list[str] = []
    ended = False
    value: tuple[str, int] | None = None
    for number, line in enumerate(lines[at + 1 : at + 14], at + 2):
        if _ENTRY.match(line) and line.startswith((".. ", "#")):
            break
        if match := _DEFAULT.match(line):
            value = (match["value"].strip("`"), number)
        elif line.strip() and not ended and not re.match(r"\s*(?:[:=~^#|<`*-]|\.\. |\S+: )", line):
            said.append(line.strip())
        ended |= bool(said) and not line.strip()
    text = " ".join(said[:4])
    if value or lines[at].startswith(".. ") or (name.isupper() and "_" in name):
        everyday.describe_setting(file, text, name, "setting", at + 1, back=True)
    if value:
        everyday.describe_value(file, text, value[0], value[1], back=False, default=True)
