"""File contents to training text: Markdown, TEI novels, CNXML text books, code.

Every function takes and returns `str` with "\\n" line ends. They remove what teaches nothing (front matter, HTML wrappers,
table padding) and keep the wording, so that questions with verbatim answers can be made from the same text.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

_FRONT_MATTER = re.compile(r"\A---\n.*?\n(?:---|\.\.\.)\n", re.DOTALL)
_TOML_FRONT_MATTER = re.compile(r"\A\+\+\+\n.*?\n\+\+\+\n", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_TAGS = re.compile(
    r"</?(?:a|dl|dt|dd|br|span|p|div|strong|b|sup|sub|em|i|td|tr|th|table|tbody|thead|colgroup|col|ul|ol|li)\b[^<>\n]*>"
)
_INCLUDE = re.compile(
    r"^[ \t>]*\[!(?:INCLUDE|NOTE|TIP|IMPORTANT|WARNING|CAUTION|VIDEO|div)[^\n]*$", re.IGNORECASE | re.MULTILINE
)
_AWS_ESCAPE = re.compile(r"\\([-.,()_#$*&!:+=|{}\[\]<>~`'\"])")
_RULE = re.compile(r"-{4,}")
_PADDING = re.compile(r"(?<=\S)[ \t\xa0]{2,}")
_BLANK = re.compile(r"\n[ \t\xa0]*\n(?:[ \t\xa0]*\n)+")
_TRAILING = re.compile(r"[ \t\xa0]+$", re.MULTILINE)
_HEADER_COMMENT = re.compile(r"\A(?:#!.*\n)?\s*(?:/\*.*?\*/|(?:(?://|#|--|;|%)[^\n]*\n)+)\s*", re.DOTALL)
_LICENCE_WORDS = re.compile(
    r"Licen[sc]ed (?:to|under)|Permission is hereby|Redistribution and use|SPDX-License|Copyright", re.IGNORECASE
)
_SPACE = re.compile(r"\s+")


def normalise(text: str) -> str:
    """Byte order mark off, line ends to "\\n", runs of blank lines to one, one line end at the end."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return _BLANK.sub("\n\n", text).strip("\n") + "\n"


def markdown(text: str) -> str:
    """Front matter, comments, include marks and HTML wrappers off; table padding and escapes folded outside code blocks."""
    text = _TOML_FRONT_MATTER.sub("", _FRONT_MATTER.sub("", normalise(text)))
    parts = re.split(r"(^[ \t]*```.*?^[ \t]*```[ \t]*$)", text, flags=re.DOTALL | re.MULTILINE)
    return normalise("".join(part if odd % 2 else _markdown_prose(part) for odd, part in enumerate(parts)))


def _markdown_prose(text: str) -> str:
    text = _INCLUDE.sub("", _TAGS.sub("", _COMMENT.sub("", text)))
    text = _TRAILING.sub("", _AWS_ESCAPE.sub(r"\1", text))
    if "|" not in text:
        return text
    lines = text.split("\n")
    return "\n".join(_PADDING.sub(" ", _RULE.sub("---", line)) if "|" in line else line for line in lines)


def code(text: str) -> str:
    """Code as it is, without a leading comment that only states the licence."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    found = _HEADER_COMMENT.match(text)
    if found and len(found.group()) > 300 and _LICENCE_WORDS.search(found.group()):
        text = text[found.end() :]
    return text.strip("\n") + "\n"


def tei(text: str) -> str:
    """The front and body of a TEI novel as paragraphs, without its header."""
    root = ElementTree.fromstring(text)
    blocks: list[str] = []
    for name in ("front", "body"):
        for part in root.iter(f"{{http://www.tei-c.org/ns/1.0}}{name}"):
            _tei_blocks(part, blocks)
    return normalise("\n\n".join(blocks))


def _tei_blocks(node: ElementTree.Element, blocks: list[str]) -> None:
    for child in node:
        tag = child.tag.rpartition("}")[2]
        if tag in {"p", "head", "l", "trailer"}:
            line = _SPACE.sub(" ", "".join(child.itertext())).strip()
            if tag == "l" and blocks and blocks[-1].endswith("\u2028"):
                blocks[-1] = blocks[-1][:-1] + "\n" + line + "\u2028"
            elif line:
                blocks.append(line + ("\u2028" if tag == "l" else ""))
        else:
            if blocks:
                blocks[-1] = blocks[-1].removesuffix("\u2028")
            _tei_blocks(child, blocks)
    if blocks:
        blocks[-1] = blocks[-1].removesuffix("\u2028")


def cnxml_module(text: str) -> str:
    """One module of a CNXML text book as Markdown-like text: headings, paragraphs, lists, tables, captions."""
    root = ElementTree.fromstring(text)
    blocks: list[str] = []
    _cnxml_blocks(root, blocks, 1)
    return normalise("\n\n".join(blocks))


_CNXML_SKIP = {"metadata", "media", "image", "colspec", "uuid", "content-id", "iframe"}
_CNXML_INLINE = {
    "emphasis",
    "term",
    "link",
    "sup",
    "sub",
    "newline",
    "math",
    "foreign",
    "cite",
    "code",
    "footnote",
    "span",
    "quote",
    "preformat",
}


def _cnxml_blocks(node: ElementTree.Element, blocks: list[str], depth: int) -> None:
    for child in node:
        tag = child.tag.rpartition("}")[2]
        if tag in _CNXML_SKIP:
            continue
        if tag in {"para", "title", "caption", "meaning", "quote", "equation"} or (
            tag == "term" and node.tag.endswith("definition")
        ):
            line = _cnxml_inline(child)
            if line:
                prefix = {"title": "#" * min(depth, 4) + " ", "caption": "Figure: "}.get(tag, "")
                blocks.append(prefix + line)
        elif tag == "list":
            items = [_cnxml_inline(item) for item in child if item.tag.endswith("item")]
            blocks.append("\n".join("- " + item for item in items if item))
        elif tag == "row":
            blocks.append(" | ".join(_cnxml_inline(entry) for entry in child))
        else:
            _cnxml_blocks(child, blocks, depth + (tag in {"section", "note", "example", "exercise"}))


def _cnxml_inline(node: ElementTree.Element) -> str:
    parts = [node.text or ""]
    for child in node:
        tag = child.tag.rpartition("}")[2]
        if tag == "math":
            parts.append("".join(child.itertext()).replace(" ", "").replace("\n", ""))
        elif tag == "link" and not (child.text or len(child)):
            parts.append("the figure" if not parts[-1].endswith("(") else "figure")
        elif tag == "newline":
            parts.append(" ")
        elif tag not in _CNXML_SKIP:
            inner = _cnxml_inline(child)
            parts.append(inner if tag in _CNXML_INLINE else " " + inner + " ")
            if tag in _CNXML_INLINE and child.text and child.text[:1].isspace():
                parts[-1] = " " + parts[-1]
        parts.append(child.tail or "")
    return _SPACE.sub(" ", "".join(parts)).strip()


def looks_written(text: str, kind: str) -> bool:
    """False for generated, minified or data-like files, and for pages mostly in another script than Latin or Greek."""
    head = text[:1500]
    if re.search(r"DO NOT EDIT|@generated|Code generated by|Automatically generated", head):
        return False
    lines = text.count("\n") + 1
    longest = max(map(len, text.split("\n")))
    if longest > (4_000 if kind == "code" else 60_000) or (kind == "code" and len(text) / lines > 200):
        return False
    sample = text[:20_000]
    letters = sum(map(str.isalpha, sample)) + sample.count(" ")
    foreign = sum(character > "\u03ff" and character.isalpha() for character in sample)
    return letters > 0.45 * len(sample) and foreign < 0.1 * len(sample)
