"""Facts of JavaScript, TypeScript, Go, Rust, C, C++, Java and shell files, read with careful regular expressions.

No parser: a pattern only matches declarations that stand on one line in the usual layout, and says nothing about the rest.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable

from gfqa.training.questions.facts import FileFacts, comment_words, sentence_of
from gfqa.training.questions.sentences import purpose

_KEYWORDS_WORDS = (
    "if for while switch return else catch function new do sizeof typeof defined await yield throw delete case match "
    "loop"
)
_KEYWORDS = frozenset(_KEYWORDS_WORDS.split())
_NAME = r"[A-Za-z_$][\w$]*"


class _Scanner:
    """Runs patterns over a file and turns match positions into line numbers."""

    def __init__(self, path: str, text: str) -> None:
        self.file = FileFacts(path, text)
        self.text = text
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def line(self, position: int) -> int:
        return bisect.bisect_right(self._starts, position)

    def each(self, pattern: str, use: Callable[[re.Match[str]], None]) -> None:
        for match in re.finditer(pattern, self.text, re.MULTILINE):
            use(match)

    def blocks(self, pattern: str) -> list[tuple[re.Match[str], int, int]]:
        """Matches ending in an opening brace, with the span up to the closing brace at the same indentation."""
        found = []
        for match in re.finditer(pattern, self.text, re.MULTILINE):
            indent = re.match(r"[ \t]*", match.group(0).lstrip("\n"))
            closing = re.compile(r"\n" + (indent.group(0) if indent else "") + r"\}")
            end = closing.search(self.text, match.end())
            if end:
                found.append((match, match.end(), end.start()))
        return found

    def comment_above(self, position: int, mark: str) -> str | None:
        """First sentence of the line comments (`mark`) or of the block comment that end right above `position`."""
        above = self.text[:position].rstrip(" \t")
        lines: list[str] = []
        for line in reversed(above.split("\n")[-13:-1]):
            stripped = line.strip()
            if stripped.startswith(mark):
                lines.append(stripped[len(mark) :].strip())
            elif stripped.startswith(("#[", "@")):
                continue
            else:
                break
        if lines:
            return sentence_of("\n".join(reversed(lines)))
        block = re.search(r"/\*\*?((?:[^*]|\*(?!/)){12,800})\*/\s*$", above[-1000:])
        inside = "\n".join(part.strip(" *\t") for part in block.group(1).split("\n")).strip() if block else ""
        return None if inside.startswith("@") else sentence_of(inside)

    # One declaration each; all patterns of the languages end here.

    def declared(self, match: re.Match[str], name: str, what: str, *, comment: str | None = None) -> None:
        """Where a name is defined, its first line, and what the comment above it says."""
        at = match.start("name")
        line, start = self.line(at), self.text.rfind("\n", 0, at) + 1
        whole = self.text[start : (self.text + "\n").index("\n", at)].strip().removesuffix("{").strip()
        self.file.add("where", {"name": name, "what": what}, self.file.path, line)
        self.file.add("definition", {"name": name, "what": what}, whole, line)
        sentence = self.comment_above(start, comment) if comment else None
        if sentence:
            # A comment stands above its declaration, so it is only asked for where it names its subject.
            if name in sentence.split(" ", 2)[:2]:
                self.file.add("docstring", [{"f": name}, {"f": f"the {what} {name}"}], sentence, line)
            self.file.add("doc_to_name", {"d": sentence.rstrip("."), "what": what}, name, line)
            # Go comments begin with the name: "Dial connects to ...".
            if said := purpose(re.sub(rf"^{re.escape(name)} ([a-z])", lambda m: m.group(1).upper(), sentence)):
                self.file.add("purpose", {**said, "what": what}, name, line)
                self.file.add("purpose_where", said, self.file.path, line)

    def called(self, match: re.Match[str], name: str, names: list[str]) -> None:
        """Parameters and, where the pattern has them, defaults, types and the return type of a function."""
        line = self.line(match.start("params"))
        subjects = [{"f": option} for option in names]
        if match.group("params").strip():
            self.file.add("params", subjects, match.group("params"), line)
        for part in _split(match.group("params")):
            typed = re.match(
                rf"\s*(?:mut )?(?P<p>{_NAME})\??\s*:(?!:)\s*(?P<type>[^=]+?)\s*(?:=\s*(?P<value>.+))?$", part
            )
            if typed:
                slots = [{**subject, "p": typed.group("p")} for subject in subjects]
                self.file.add("param_type", slots, typed.group("type"), line)
                self.file.add("param_default", slots, typed.group("value"), line)
                continue
            default = re.match(rf"(?:.*[\s*&])?(?P<p>{_NAME})\s*=\s*(?P<value>.+)$", part.strip())
            if default:
                slots = [{**subject, "p": default.group("p")} for subject in subjects]
                self.file.add("param_default", slots, default.group("value"), line)
        returns = match.groupdict().get("returns")
        if returns and returns.strip():
            self.file.add("return_type", subjects, returns, self.line(match.start("returns")))

    def constant(self, match: re.Match[str]) -> None:
        self.file.add(
            "constant",
            {"name": match.group("name")},
            match.group("value").rstrip(";, "),
            self.line(match.start("value")),
        )
        start = self.text.rfind("\n", 0, match.start("name")) + 1
        above = self.text[self.text.rfind("\n", 0, max(start - 1, 0)) + 1 : start].strip()
        for mark in ("///", "//", "#"):
            if said := comment_words(above, mark):
                line = self.line(match.start("value"))
                self.file.add("comment_value", {"d": said}, match.group("value").rstrip(";, "), line)
                break

    def field(self, owner: str, offset: int, body: str, pattern: str) -> None:
        """Fields of a struct, class or interface: type, and value where there is one. A name seen twice is left out."""
        seen: dict[str, list[re.Match[str]]] = {}
        for match in re.finditer(pattern, body, re.MULTILINE):
            seen.setdefault(match.group("name"), []).append(match)
        for name, matches in seen.items():
            match, slots = matches[0], {"name": name, "c": owner}
            if len(matches) == 1 and name not in _KEYWORDS:
                line = self.line(offset + match.start("name"))
                if match.groupdict().get("type"):
                    self.file.add("field_type", slots, match.group("type").rstrip(",; "), line)
                if match.groupdict().get("value"):
                    self.file.add("attribute", slots, match.group("value").rstrip(",; "), line)


def _split(parameters: str) -> list[str]:
    """Split at commas outside brackets and quotes."""
    parts, depth, start, quote = [], 0, 0, ""
    for i, char in enumerate(parameters):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"`":
            quote = char
        elif char in "([{<":
            depth += 1
        elif char in ")]}" or (char == ">" and parameters[i - 1 : i] not in ("=", "-")):
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(parameters[start:i])
            start = i + 1
    return [*parts, parameters[start:]]


def _errors(scan: _Scanner, body: str, offset: int, names: list[str], pattern: str) -> None:
    """The message of the only error a function body makes."""
    found = list(re.finditer(pattern, body))
    if len(found) == 1:
        line = scan.line(offset + found[0].start("text"))
        scan.file.add("message", [{"f": name} for name in names], found[0].group("text"), line)
        if " " in found[0].group("text") and len(found[0].group("text")) >= 15:
            scan.file.add("raised_by", {"d": found[0].group("text")}, names[0], line)


def javascript_facts(path: str, text: str) -> FileFacts:
    scan = _Scanner(path, text)
    returns = r"(?:\s*:\s*(?P<returns>[^={\n]+?))?"
    function = (
        rf"^[ \t]*(?:export\s+)?(?:default\s+)?(?:async\s+)?function\*?\s+(?P<name>{_NAME})"
        rf"(?:<[^>\n]*>)?\((?P<params>[^()\n]*)\){returns}\s*\{{"
    )
    arrow = rf"^(?:export\s+)?const\s+(?P<name>{_NAME})\s*=\s*(?:async\s*)?\(" rf"(?P<params>[^()\n]*)\){returns}\s*=>"
    for match, start, end in scan.blocks(function):
        name = match.group("name")
        scan.declared(match, name, "function", comment="//")
        scan.called(match, name, [name, f"{name}()"])
        _errors(scan, text[start:end], start, [name], r"new \w*Error\((?P<q>['\"`])(?P<text>[^'\"`\n]{8,140})(?P=q)")
    for match in re.finditer(arrow, text, re.MULTILINE):
        scan.declared(match, match.group("name"), "function", comment="//")
        scan.called(match, match.group("name"), [match.group("name"), f"{match.group('name')}()"])
    scan.each(
        rf"^(?:export\s+)?(?:const|let|var)\s+(?P<name>{_NAME})(?:\s*:\s*[^=\n]+)?\s*=\s*"
        rf"(?P<value>[^\n{{(=]{{1,80}}?);?$",
        scan.constant,
    )
    owner = (
        rf"^(?:export\s+)?(?:default\s+)?(?:abstract\s+)?(?P<what>class|interface)\s+"
        rf"(?P<name>{_NAME})(?:<[^\n]*?>)?(?:\s+extends\s+(?P<base>[\w$.<>, ]+?))?"
        rf"(?:\s+implements\s+[^{{\n]+)?\s*\{{"
    )
    for match, start, end in scan.blocks(owner):
        c = match.group("name")
        scan.declared(match, c, match.group("what"), comment="//")
        if match.group("base"):
            scan.file.add("base_class", {"c": c}, match.group("base"), scan.line(match.start("base")))
        scan.field(
            c,
            start,
            text[start:end],
            rf"^[ \t]+(?:readonly\s+|private\s+|public\s+|protected\s+|static\s+)*"
            rf"(?P<name>{_NAME})\??!?\s*:\s*(?P<type>[^=;\n(){{]+?)(?:\s*=\s*(?P<value>[^;\n]+))?;?$",
        )
    scan.each(
        r"^import\s+(?:type\s+)?(?P<names>[^'\"\n]+?)\s+from\s+['\"](?P<m>[^'\"]+)['\"]",
        lambda match: scan.file.add(
            "imports_from", {"m": match.group("m")}, match.group("names"), scan.line(match.start())
        ),
    )
    scan.each(
        rf"^(?:const|let|var)\s+(?P<name>{_NAME})\s*=\s*require\(['\"](?P<m>[^'\"]+)['\"]\)",
        lambda match: scan.file.add("imported_by", {"m": match.group("m")}, path, scan.line(match.start())),
    )
    return scan.file


def go_facts(path: str, text: str) -> FileFacts:
    scan = _Scanner(path, text)
    function = (
        r"^func\s+(?:\((?:\w+\s+)?\*?(?P<owner>\w+)(?:\[[^\]]*\])?\)\s+)?(?P<name>\w+)"
        r"(?:\[[^\]\n]*\])?\((?P<params>[^()\n]*)\)[ \t]*(?P<returns>[^{\n]*?)[ \t]*\{"
    )
    for match, start, end in scan.blocks(function):
        name, owner = match.group("name"), match.group("owner")
        names = [f"{owner}.{name}", name, f"{name} on {owner}"] if owner else [name, f"{name}()"]
        if not owner:
            scan.declared(match, name, "function", comment="//")
        else:
            scan.file.add("method_of", {"name": name}, owner, scan.line(match.start("name")))
            sentence = scan.comment_above(match.start(), "//")
            if sentence and sentence.startswith(name + " "):
                scan.file.add("docstring", [{"f": option} for option in names], sentence, scan.line(match.start()) - 1)
        scan.called(match, name, names)
        for part in _split(match.group("params")):
            words = part.split(maxsplit=1)
            if len(words) == 2:
                slots = [{"f": option, "p": words[0]} for option in names]
                scan.file.add("param_type", slots, words[1], scan.line(match.start("params")))
        _errors(
            scan,
            text[start:end],
            start,
            names,
            r"(?:errors\.New|fmt\.Errorf|errors\.Errorf|errors\.Fatalf?)\(\"(?P<text>[^\"\n]{8,140})\"",
        )
    for match, start, end in scan.blocks(r"^type\s+(?P<name>\w+)\s+(?P<what>struct|interface)\s*\{"):
        scan.declared(match, match.group("name"), match.group("what"), comment="//")
        scan.field(
            match.group("name"),
            start,
            text[start:end],
            r"^\t(?P<name>\w+)[ \t]+(?P<type>[^\s/`{(][^/`\n{]*?)[ \t]*(?:`[^`\n]*`)?[ \t]*(?://[^\n]*)?$",
        )
    scan.each(
        r"^(?:const|var)\s+(?P<name>\w+)(?:\s+[\w.\[\]*]+)?\s*=\s*(?P<value>[^\n{(]{1,80}?)[ \t]*" r"(?://[^\n]*)?$",
        scan.constant,
    )
    for _, start, _ in scan.blocks(r"^(?P<name>const|var)\s*\((?=\n)"):
        close = text.find("\n)", start)
        for item in re.finditer(
            r"^\t(?P<name>\w+)(?:[ \t]+[\w.\[\]*]+)?[ \t]*=[ \t]*(?P<value>[^\n{(]{1,80}?)[ \t]*(?://[^\n]*)?$",
            text[start:close],
            re.MULTILINE,
        ):
            scan.file.add(
                "constant", {"name": item.group("name")}, item.group("value"), scan.line(start + item.start("name"))
            )
    return scan.file


def rust_facts(path: str, text: str) -> FileFacts:
    scan = _Scanner(path, text)
    visible = r"(?:pub(?:\([^)]*\))?\s+)?"
    function = (
        rf"^[ \t]*{visible}(?:const\s+|async\s+|unsafe\s+|extern\s+\"C\"\s+)*fn\s+(?P<name>\w+)"
        rf"(?:<[^\n(]*>)?\((?P<params>[^()\n]*)\)(?:\s*->\s*(?P<returns>[^{{\n]+?))?\s*"
        rf"(?:where[^{{]*)?\{{"
    )
    for match, start, end in scan.blocks(function):
        name = match.group("name")
        scan.declared(match, name, "function", comment="///")
        scan.called(match, name, [name, f"{name}()"])
        _errors(scan, text[start:end], start, [name], r"(?:panic!|bail!|anyhow!|expect)\(\"(?P<text>[^\"\n]{8,140})\"")
    for match, start, end in scan.blocks(
        rf"^[ \t]*{visible}(?P<what>struct|enum|trait)\s+(?P<name>\w+)(?:<[^\n{{]*>)?[^\n{{;(]*\{{"
    ):
        scan.declared(match, match.group("name"), match.group("what"), comment="///")
        if match.group("what") == "struct":
            scan.field(
                match.group("name"),
                start,
                text[start:end],
                rf"^[ \t]+{visible}(?P<name>\w+)\s*:\s*(?P<type>[^\n]+?),[ \t]*$",
            )
    scan.each(
        rf"^[ \t]*{visible}(?:const|static)\s+(?:mut\s+)?(?P<name>[A-Z_][A-Z0-9_]*)\s*:[^=\n]+=\s*"
        rf"(?P<value>[^\n;{{]{{1,90}});",
        scan.constant,
    )
    scan.each(
        r"^[ \t]*use\s+(?P<m>[\w:]+)::\{(?P<names>[^{}\n]+)\};",
        lambda match: scan.file.add(
            "imports_from", {"m": match.group("m")}, match.group("names"), scan.line(match.start())
        ),
    )
    return scan.file


def c_facts(path: str, text: str) -> FileFacts:
    scan = _Scanner(path, text)
    scan.each(
        r"^[ \t]*#[ \t]*define[ \t]+(?P<name>[A-Za-z_]\w*)[ \t]+(?!/[/*])"
        r"(?P<value>[^\n\\]{1,80}?)[ \t]*(?:/\*[^\n]*|//[^\n]*)?$",
        scan.constant,
    )
    scan.each(
        r"^[ \t]*(?:static\s+|inline\s+)*(?:constexpr|const)\s+[\w:<>\s*]+?\b(?P<name>\w+)"
        r"(?:\[\w*\])?\s*=\s*(?P<value>[^\n;{(]{1,80});",
        scan.constant,
    )
    function = (
        r"^(?!(?:else|return|typedef|#)\b)(?:[\w:<>,~]+[ \t*&]+)+(?P<name>(?:\w+::)?\w+)\("
        r"(?P<params>[^()\n]*)\)[ \t]*(?:const|noexcept|override)?\s*\{"
    )
    for match, start, end in scan.blocks(function):
        name = match.group("name")
        if name not in _KEYWORDS:
            scan.declared(match, name, "function", comment="//")
            scan.called(match, name, [name, f"{name}()"])
            _errors(
                scan,
                text[start:end],
                start,
                [name],
                r"(?:throw [\w:]+|[a-z_]*(?:[eE]rror|panic)\w*)\((?:[\w>\-]+,\s*)?\"(?P<text>[^\"\n]{8,140})\"",
            )
    struct = (
        r"^(?:typedef\s+)?(?P<what>struct|class|union)\s+(?:\w+_API\s+)?(?P<name>\w+)(?:\s+final)?"
        r"(?:\s*:\s*(?P<base>[^{\n;]+?))?\s*\{"
    )
    for match, _, _ in scan.blocks(struct):
        scan.declared(match, match.group("name"), match.group("what"), comment="//")
        if match.group("base"):
            scan.file.add("base_class", {"c": match.group("name")}, match.group("base"), scan.line(match.start("base")))
    scan.each(
        r"^[ \t]*#[ \t]*include[ \t]+[<\"](?P<m>[^>\"\n]+)[>\"]",
        lambda match: scan.file.add("imported_by", {"m": match.group("m")}, path, scan.line(match.start())),
    )
    for _, start, end in scan.blocks(r"^(?:typedef\s+)?enum(?:\s+class)?\s*(?P<name>\w*)[^{\n;]*\{"):
        for item in re.finditer(
            r"^[ \t]+(?P<name>\w+)\s*=\s*(?P<value>[^,\n/]{1,40}?),?[ \t]*(?:/[/*][^\n]*)?$",
            text[start:end],
            re.MULTILINE,
        ):
            scan.file.add(
                "constant", {"name": item.group("name")}, item.group("value"), scan.line(start + item.start("name"))
            )
    return scan.file


def java_facts(path: str, text: str) -> FileFacts:
    scan = _Scanner(path, text)
    modifiers = r"(?:(?:public|private|protected|static|final|abstract|synchronized|default|sealed)\s+)*"
    owners = scan.blocks(
        rf"^[ \t]*{modifiers}(?P<what>class|interface|enum)\s+(?P<name>\w+)(?:<[^\n{{]*?>)?"
        rf"(?:\s+extends\s+(?P<base>[\w.<>?, ]+?))?(?:\s+implements\s+[^{{\n]+)?\s*\{{"
    )
    for match, _, _ in owners:
        scan.declared(match, match.group("name"), match.group("what"), comment="//")
        if match.group("base"):
            scan.file.add("base_class", {"c": match.group("name")}, match.group("base"), scan.line(match.start("base")))
    outer = owners[0][0].group("name") if owners else None
    method = (
        rf"^[ \t]+{modifiers}(?:<[^>\n]+>\s+)?(?P<type>[\w.<>\[\]?, ]+?)\s+(?P<name>[a-z]\w*)\("
        rf"(?P<params>[^()\n]*)\)(?:\s+throws\s+(?P<throws>[\w., ]+?))?\s*\{{"
    )
    for match, start, end in scan.blocks(method):
        name = match.group("name")
        if name in _KEYWORDS or match.group("type").strip() in ("new", "return", "else", "throw"):
            continue
        names = [name, f"{outer}.{name}", f"{name}() in {outer}"] if outer else [name]
        scan.called(match, name, names)
        if match.group("throws"):
            scan.file.add(
                "raises", [{"f": option} for option in names], match.group("throws"), scan.line(match.start("throws"))
            )
        _errors(scan, text[start:end], start, names, r"throw new \w+\(\"(?P<text>[^\"\n]{8,140})\"")
    scan.each(
        rf"^[ \t]+{modifiers}(?:[\w<>\[\]]+)\s+(?P<name>[A-Z][A-Z0-9_]+)\s*=\s*(?P<value>[^\n;{{]{{1,90}});",
        scan.constant,
    )
    return scan.file


def shell_facts(path: str, text: str) -> FileFacts:
    scan = _Scanner(path, text)
    scan.each(
        r"^(?:export\s+|readonly\s+|local\s+|declare\s+)?(?P<name>[A-Za-z_]\w*)=" r"(?P<value>[^\n]{1,80})$",
        scan.constant,
    )
    scan.each(
        r"^(?:function\s+)?(?P<name>[\w-]+)\s*\(\)\s*\{",
        lambda match: scan.declared(match, match.group("name"), "function", comment="#"),
    )
    return scan.file
