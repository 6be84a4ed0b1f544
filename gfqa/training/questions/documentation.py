"""Facts of Markdown and reStructuredText: headings, definition lists, tables, header fields, commands in code blocks."""

from __future__ import annotations

import re

from gfqa.training.questions.facts import FileFacts, sentence_of
from gfqa.training.questions.sentences import sentence_facts

_VERB = re.compile(
    r"(?:how to )?("
    r"(?:install|run|build|use|create|add|remove|configure|start|stop|update|upgrade|test|deploy|enable|disable|set up|write|"
    r"read|publish|check|delete|list|download|upload|generate|compile)\b[^`\"{}\n]{2,50})$",
    re.IGNORECASE,
)
_PLAIN_HEADING = re.compile(r"[A-Za-z`*_\"'(][^\n|<>\[\]]{2,70}$")
_GENERIC_WORDS = (
    "example examples usage notes note see also overview introduction parameters returns remarks syntax description "
    "requirements summary"
)
_GENERIC = frozenset(_GENERIC_WORDS.split())


def _headings(lines: list[str]) -> list[tuple[int, str]]:
    """(line index, title) of every heading, Markdown hashes or RST underlines; code blocks skipped."""
    found, fenced = [], False
    for i, line in enumerate(lines):
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        elif not fenced:
            match = re.match(r"#{1,5}\s+(.+?)\s*#*$", line)
            if match:
                found.append((i, match.group(1).strip("*` ")))
            elif (
                i + 1 < len(lines)
                and re.match(r"([=\-~^\"*+#])\1{2,}\s*$", lines[i + 1])
                and len(lines[i + 1].strip()) >= len(line.strip()) > 2
                and not line.startswith((" ", "|", "-", "="))
            ):
                found.append((i + 1, line.strip()))
    return found


def documentation_facts(path: str, text: str) -> FileFacts:
    """All facts of one documentation file."""
    file, lines = FileFacts(path, text), text.split("\n")
    headings = _headings(lines)
    for n, (at, title) in enumerate(headings):
        end = headings[n + 1][0] if n + 1 < len(headings) else len(lines)
        if _PLAIN_HEADING.match(title) and title.lower() not in _GENERIC:
            _section(file, lines, at, end, title)
    _items(file, lines)
    _tables(file, lines)
    _fields(file, lines, headings[0][1] if headings else "")
    sentence_facts(file)
    return file


def _section(file: FileFacts, lines: list[str], at: int, end: int, title: str) -> None:
    """What the section says first, and the first command of a section named after a task."""
    name = re.sub(r"[`*]", "", title)
    first = next((i for i in range(at + 1, end) if lines[i].strip()), end)
    if first < end and re.match(r"[A-Z`\"*][^|]*$", lines[first]):
        sentence = sentence_of("\n".join(lines[first : first + 2]))
        if sentence and not sentence.endswith(":"):
            file.add("heading", {"name": name}, sentence, first + 1)
    task = _VERB.match(name)
    for i in range(at + 1, end - 1):
        if task and re.match(r"\s*```(?:sh|bash|shell|console|text)?\s*$", lines[i]):
            command = lines[i + 1].strip().removeprefix("$ ")
            if not command.startswith(("#", "```")):
                file.add("command", {"d": task.group(1)[:1].lower() + task.group(1)[1:]}, command, i + 2)
            break


def _items(file: FileFacts, lines: list[str]) -> None:
    """List items that define a term: `- **name**: what it is`, ``- `name` - what it is``, and RST fields with text."""
    item = re.compile(
        r"\s*(?:[-*+]|\d+\.)\s+(?:\*\*|`{1,2})([^`*\n]{2,50}?)(?:\*\*|`{1,2})(?:\*\*)?\s*"
        r"(?:\([^)\n]*\)\s*)?(?::\*{0,2}|-+|—|–)\s+(\S.*)$"
    )
    parameter = re.compile(r"\s*:(?:param|arg|attr)\s+(?:[\w\[\]]+\s+)?(\w+):\s+(\S.*)$")
    for i, line in enumerate(lines):
        match = item.match(line) or parameter.match(line)
        if match:
            following = lines[i + 1] if i + 1 < len(lines) and lines[i + 1].startswith("  ") else ""
            if not re.match(r"\s*[-*+]\s", following):
                file.add(
                    "list_item",
                    {"name": match.group(1).strip(": ")},
                    sentence_of(match.group(2) + "\n" + following),
                    i + 1,
                )
            else:
                file.add("list_item", {"name": match.group(1).strip(": ")}, sentence_of(match.group(2)), i + 1)


def _tables(file: FileFacts, lines: list[str]) -> None:
    """Cells of pipe tables: row name, column name, value."""
    columns: list[str] = []
    for i, line in enumerate(lines):
        if not line.lstrip().startswith("|"):
            columns = []
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        if not columns:
            following = lines[i + 1] if i + 1 < len(lines) else ""
            columns = cells if re.match(r"\s*\|?[\s:|-]+$", following) and "-" in following else ["", ""]
        elif not set("".join(cells)) <= set(":- "):
            row = cells[0].strip("`* ")
            for column, cell in zip(columns[1:], cells[1:]):
                if row and 2 < len(row) <= 50 and column and cell and len(cell) <= 120:
                    file.add(
                        "table_cell",
                        {"name": row, "column": column.strip("`* ").lower()},
                        cell.strip("`") or None,
                        i + 1,
                    )


def _fields(file: FileFacts, lines: list[str], title: str) -> None:
    """Header fields before the first empty line (PEP headers, front matter)."""
    subject = next((line[5:].strip() for line in lines[:3] if line.startswith("PEP: ")), None)
    name = f"PEP {subject}" if subject else (title[:50] or file.path.rsplit("/", 1)[-1])
    start = 1 if lines[:1] == ["---"] else 0
    for i, line in enumerate(lines[start : start + 20], start):
        match = re.match(r"(?::)?([A-Za-z][\w\-. ]{1,25}):\s+(\S.{0,120})$", line)
        if not match:
            break
        file.add("table_cell", {"name": name, "column": match.group(1)}, match.group(2), i + 1)
