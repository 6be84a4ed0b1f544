"""Facts of configuration files: TOML, INI, YAML and JSON keys with a value on the same line."""

from __future__ import annotations

import re

from gfqa.training.questions.facts import FileFacts


def _add(file: FileFacts, keys: list[str], value: str, line: int) -> None:
    dotted = ".".join(keys)
    names = [{"key": dotted}]
    if len(keys) > 1:
        names += [{"key": f"{keys[-1]} in {'.'.join(keys[:-1])}"}, {"key": keys[-1]}]
    file.add("config", names, value, line)


def sectioned_facts(path: str, text: str) -> FileFacts:
    """TOML and INI: [section] lines and key = value."""
    file, section = FileFacts(path, text), ""
    for number, line in enumerate(text.split("\n"), 1):
        if match := re.match(r"\[+([\w.\-\" ]+)\]+\s*$", line):
            section = match.group(1)
        elif match := re.match(r"([\w.\-\"]+)\s*[=:]\s*(\S[^\n]{0,150}?)\s*$", line):
            key, value = match.groups()
            if not value.endswith(("[", "{", '"""', "\\")):
                _add(file, [section, key] if section else [key], value, number)
    return file


def nested_facts(path: str, text: str) -> FileFacts:
    """YAML and JSON in their usual layout: the indentation gives the nesting. Items of lists are left out."""
    file, stack = FileFacts(path, text), [(-1, "")]
    for number, line in enumerate(text.split("\n"), 1):
        match = re.match(r"( *)(?:\"([^\"\n]{1,60})\"|([\w.\-/]{1,60}))\s*:(?:\s+(.*?))?\s*$", line)
        if not match:
            continue
        depth, key, value = len(match.group(1)), match.group(2) or match.group(3), (match.group(4) or "").rstrip(",")
        while stack[-1][0] >= depth:
            stack.pop()
        if value in ("", "{", "[", "|", ">", "|-", ">-", "{}", "[]"):
            stack.append((depth, key))
        else:
            _add(file, [*(name for _, name in stack[1:]), key], value, number)
    return file
