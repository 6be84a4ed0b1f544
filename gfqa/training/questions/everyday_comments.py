"""Descriptions in other languages and in configuration: comments above or behind a declaration, help texts, messages.

Line by line and without a parser: a declaration is what fits a language's usual layout, a description the comment that
ends right above it or follows it on its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from gfqa.training.questions import everyday
from gfqa.training.questions.everyday_words import clean, words_of_name
from gfqa.training.questions.facts import FileFacts
from gfqa.training.questions.sentences import plain_verb

_VALUE = r"(?P<value>[^\s;,{(][^\n;{]{0,59}?)"
_GO = (
    (r"func \((?:\w+ )?\*?(?P<owner>\w+)[^)]*\) (?P<name>\w+)\(", "method"),
    (r"func (?P<name>\w+)[(\[]", "function"),
    (r"type (?P<name>\w+) (?:struct|interface|func|u?int\w*|string|map)\b", "type"),
    (rf"(?:const |var |\t+)(?P<name>[A-Za-z]\w+)(?: [\w.*\[\]]+)?\s+= {_VALUE}\s*(?://.*)?$", "constant"),
    (r"\t+(?P<name>[A-Z]\w+)\s+(?!=)[*\[\]\w.]+(?:\s+`[^`]*`)?\s*(?://.*)?$", "field"),
)
_RUST = (
    (r"\s*(?:pub(?:\([^)]*\))? )?(?:const |async |unsafe )*fn (?P<name>\w+)", "function"),
    (r"\s*(?:pub(?:\([^)]*\))? )?(?:struct|enum|trait|union) (?P<name>\w+)", "type"),
    (rf"\s*(?:pub(?:\([^)]*\))? )?(?:const|static) (?P<name>[A-Z]\w+)\s*:[^=]+= {_VALUE};", "constant"),
    (r"\s+(?:pub(?:\([^)]*\))? )?(?P<name>[a-z]\w+): [^,()]+,\s*(?://.*)?$", "field"),
    (r"\s+(?P<name>[A-Z]\w+)(?:\([^)]*\)|\s*\{)?,?\s*$", "variant"),
)
_SCRIPT = (
    (r"\s*(?:export )?(?:default )?(?:async )?function\*? (?P<name>\w+)", "function"),
    (r"\s*(?:export )?const (?P<name>\w+)(?:: [^=]+)? = (?:async )?(?:function\b|\([^)]*\)[^=]*=>|\w+ =>)", "function"),
    (r"\s*(?:export )?(?:default )?(?:abstract )?(?:class|interface|type|enum) (?P<name>\w+)", "type"),
    (rf"(?:export )?(?:const|let|var) (?P<name>\w+)(?:\s*:[^=]+)?\s*= {_VALUE};?\s*(?://.*)?$", "constant"),
    (r"\s*(?:[\w.]+\.prototype|app|req|res|proto|\w+exports)\.(?P<name>\w+) = (?:async )?function", "method"),
    (r"\s+(?:public |private |protected |static |async |get )*(?P<name>(?!if|for|while|switch|return|catch|"
     r"constructor)[a-z]\w+)\([^;]*\)[^;]*\{$",
     "method"),
    (rf"\s+(?P<name>[A-Za-z]\w+): {_VALUE},\s*(?://.*)?$", "setting"),
    (r"\s+(?:readonly )?(?P<name>[a-z]\w+)\??: [^=(){}]+;?\s*$", "field"),
)  # fmt: skip
_JAVA_MODIFIERS = r"\s*(?:(?:public|private|protected|static|final|abstract|synchronized|default) )+"
_JAVA = (
    (rf"{_JAVA_MODIFIERS}(?:class|interface|enum) (?P<name>\w+)", "class"),
    (rf"{_JAVA_MODIFIERS}(?:<[^>]+> )?[\w.<>\[\]?, ]+ (?P<name>[a-z]\w+)\([^;]*$", "method"),
    (rf"{_JAVA_MODIFIERS}[\w<>\[\]]+ (?P<name>[A-Z][A-Z\d_]+) = {_VALUE};", "constant"),
)
_C = (
    (r"\s*#\s*define\s+(?P<name>\w+)[ \t]+(?P<value>[^\s(/][^\n/\\]{0,59}?)\s*(?:/[*/].*)?$", "constant"),
    (rf"(?:static |inline |constexpr |const )+[\w:<> ]+[ *]+(?P<name>\w+) = {_VALUE};", "constant"),
    (
        r" {0,4}(?!else|return|typedef|#|if|for|while|switch)[A-Za-z][\w:<>,~*& ]*[ *&](?P<name>\w*[a-z]\w*)\([^;]*$",
        "function",
    ),
    (r"(?:typedef )?(?:struct|class|enum) (?:\w+_API )?(?P<name>\w+)\s*(?::.*)?\{?$", "type"),
    (r"\s+(?:const |unsigned |struct )*\w+[ *]+(?P<name>[a-z]\w+)(?:\[\w*\])?;\s*(?:/[*/].*)?$", "field"),
    (r"\s+(?P<name>[A-Z][A-Z\d_]+)(?:\s*=\s*(?P<value>[-\w]+))?,?\s*(?:/[*/].*)?$", "constant"),
)
_SHELL = (
    (r"(?:function )?(?P<name>[\w-]+)\s*\(\)", "function"),
    (r"(?:export |readonly |declare )?(?P<name>[A-Z]\w+)=(?P<value>[^\s$`(][^\n$`]{0,59}?)\s*(?:#.*)?$", "variable"),
)
_CONFIG = ((r"\s*(?P<name>[A-Za-z][\w.-]+)\s*[:=]\s*(?P<value>[^\s#{\[|>&][^#\n]{0,59}?)?\s*(?:[#;].*)?$", "setting"),)
_JS = (".js", ".mjs", ".cjs", ".jsx", ".ts", ".tsx", ".mts")
_PATTERNS = {
    ".go": _GO,
    ".rs": _RUST,
    ".java": _JAVA,
    **dict.fromkeys(_JS, _SCRIPT),
    **dict.fromkeys((".c", ".h", ".cc", ".cpp", ".hpp", ".cxx", ".cu"), _C),
    **dict.fromkeys((".sh", ".bash"), _SHELL),
    **dict.fromkeys((".toml", ".ini", ".cfg", ".yml", ".yaml"), _CONFIG),
}
_ANONYMOUS = re.compile(r"(?:const|var) \(\s*$|(?:typedef )?(?:struct|union|enum)\s*\{\s*$")
_CONFIG_ENDS = frozenset((".toml", ".ini", ".cfg", ".yml", ".yaml"))
_HASH = _CONFIG_ENDS | {".sh", ".bash"}

_ENVIRONMENT = re.compile(
    r"(?:process\.env\.|(?:process\.env\[|env::var(?:_os)?\(|[Gg]etenv\(|LookupEnv\(|\benv\()['\"])(?P<name>[A-Z][A-Z\d_]{2,})"
)
_KEPT = re.compile(
    r"\s*(?:(?:const|let|var|static|final|String|char|auto|if let Ok\(|"
    r"if)\s+)*\*?(?P<name>[a-z]\w+)[^=\n]{0,30}=(?!=).{0,12}?(?:process\.|env::|os\.|System\.|std::|getenv)"
)
_MESSAGE = re.compile(
    r"(?:(?:throw )?new (?P<js>\w*(?:Error|Exception))\(|(?P<err>Err\w+|err[A-Z]\w+)\s*=\s*errors\.New\(|"
    r"errors\.New\(|fmt\.Errorf\(|"
    r"bail!\(|panic!\(|anyhow!\(|throw (?:\w+::)*(?P<cpp>\w*(?:error|"
    r"exception))\()\s*(?P<q>[\"'`])(?P<text>[^\"'`\n\\]{8,120})(?P=q)"
)
_FLAG = re.compile(
    r"(?:[fF]lags?(?:\(\))?|flagset|fs|"
    r"cmd)\.\w+\((?:&?[\w.]+, )?\"(?P<name>[a-z][\w-]+)\", (?:\"\w?\", )?(?:(?P<value>[^,\n]+), )?"
    r"\"(?P<said>[^\"\n]+)\"|"
    r"\.option\(\s*['\"](?:-\w,? "
    r")?(?P<js>--[\w-]+)[^'\"\n]*['\"],\s*['\"](?P<help>[^'\"\n]+)['\"](?:,\s*(?P<other>[^,)\n]+))?\)"
)
_CLAP = re.compile(r"\.long\(\"(?P<name>[\w-]+)\"\)(?:(?!Arg::new)[^;]){0,400}?\.help\(\s*\"(?P<said>[^\"\n]+)\"")


def _above(lines: list[str], at: int, hashes: bool) -> str | None:
    """The comment that ends right above line `at` (from 0); attributes and decorators between are passed over."""
    at -= 1
    while at >= 0 and re.match(r"\s*(?:#\[.*\]|@\w.*)\s*$", lines[at]) and not hashes:
        at -= 1
    found: list[str] = []
    mark = re.compile(r"\s*#+!?\s?(?!\[)" if hashes else r"\s*//[/!]?\s?")
    if not hashes and at >= 0 and lines[at].rstrip().endswith("*/"):
        for line in reversed(lines[max(0, at - 30) : at + 1]):
            found.append(re.sub(r"^\s*(?:/\*+!?|\*+/?)\s?|\s*\*+/\s*$", "", line))
            if "/*" in line:
                break
        else:
            return None
    else:
        while at >= 0 and (match := mark.match(lines[at])) and len(found) < 12:
            found.append(lines[at][match.end() :])
            at -= 1
    text = "\n".join(reversed(found)).strip()
    return text if text and not text.startswith("@") else None


def _behind(line: str, hashes: bool) -> str | None:
    match = re.search(r"\S\s+#+\s+(\S.*)$" if hashes else r"\S\s*(?://+[/!<]*|/\*+[!<]*)\s*(\S.*?)\s*(?:\*/)?$", line)
    return match[1] if match and not re.match(r"\s*#" if hashes else r"\s*(?://|/\*)", line) else None


def _declared(line: str, suffix: str) -> Iterator[tuple[re.Match[str], str]]:
    for pattern, what in _PATTERNS[suffix]:
        if match := re.match(pattern, line):
            yield match, what
            return


def _named(said: str | None, name: str) -> str | None:
    """A comment without the name that it begins with, as Go's do: "Dial connects to ..."."""
    if not said:
        return None
    if plain_verb(name.lower()) and name[:1].islower() != said[:1].islower():
        return said  # execute: "Execute commands"
    text = re.sub(rf"^(?:the )?`?{re.escape(name)}`?(?:\(\))? (?:is |are )?(?=[a-z])", "", said, flags=re.IGNORECASE)
    return text[:1].upper() + text[1:] if text != said else said


def commented_words(file: FileFacts) -> None:
    """Add the everyday facts of a file that is not Python, as far as its suffix is known."""
    suffix = PurePosixPath(file.path).suffix
    if suffix not in _PATTERNS or file.path.startswith(".github/"):
        return
    lines, hashes = file.text.split("\n"), suffix in _HASH
    owner = inside = ""
    in_type = False
    for i, line in enumerate(lines):
        for match, what in _declared(line, suffix):
            grouped = what not in ("function", "method", "type", "class") and everyday.heads_a_group(lines, i)
            in_type = what in ("type", "class") or (in_type and what not in ("function", "method"))
            if not in_type and (what == "field" or (suffix == ".go" and line.startswith("\t"))):
                continue  # a variable of a function
            name, said = match["name"], None if grouped else _named(_above(lines, i, hashes), match["name"])
            back = False
            if not clean(said):
                said, back = _behind(line, hashes), True
            found = match.groupdict()
            if what in ("type", "class") or (what == "function" and not line.startswith((" ", "\t"))):
                owner = inside = name
            elif what in ("function", "method"):
                inside = name
            scope = words_of_name(found.get("owner") or owner) if name != (found.get("owner") or owner) else ""
            if what in ("function", "method", "type", "class"):
                everyday.describe_code(file, said, name, what, i + 1, back=back, scope=scope)
            elif what == "variant":
                if told := re.match(r"\s*#\[error\(\"([^\"]{8,120})\"", lines[i - 1] if i else ""):
                    everyday.describe_variant(file, told[1], name, i)
                everyday.describe_code(file, said, name, what, i + 1, back=back, scope=scope)
            else:
                everyday.describe_value(file, said, found.get("value"), i + 1, back=back, default=False, scope=scope)
                everyday.describe_setting(file, said, name, what, i + 1, back=back, scope=scope)
                value = found.get("value")
                # Versions of dependencies and commands of tasks are no settings.
                if suffix not in _CONFIG_ENDS or not re.match(r"['\"](?:[~^<>=]*\d|[^'\"]* )", value or ""):
                    everyday.describe_name(file, name, value, i + 1, scope=scope)
        in_type = (in_type or bool(_ANONYMOUS.match(line))) and line[:1] not in (")", "}")
        if hashes:
            continue
        for found_env in _ENVIRONMENT.finditer(line):
            _environment(file, lines, i, found_env["name"])
        for error in _MESSAGE.finditer(line):
            kind = error["js"] or error["err"] or error["cpp"]
            everyday.describe_error(
                file, error["text"], kind if kind != "Error" else None, i + 1, scope=everyday.place(inside)
            )
    _options(file)


def _environment(file: FileFacts, lines: list[str], at: int, name: str) -> None:
    if name in everyday.COMMON_VARIABLES:
        return
    what, above = "environment variable", _above(lines, at, False)
    if clean(above):
        everyday.describe_setting(file, above, name, what, at + 1, back=False)
    kept = _KEPT.match(lines[at])
    if kept and "?" not in lines[at] and len(words_of_name(kept["name"]).split()) >= 2:
        slots = {"n": words_of_name(kept["name"]), "what": what}
        everyday.add(file, "everyday_name", slots, name, at + 1, back=False)


def _options(file: FileFacts) -> None:
    """Options of cobra, Go's flag, commander and clap."""
    for pattern in (_FLAG, _CLAP):
        for match in pattern.finditer(file.text):
            found = match.groupdict()
            name, said = found["name"] or found.get("js"), found.get("said") or found.get("help")
            line = file.text.count("\n", 0, match.start()) + 1
            if name and said:
                everyday.describe_setting(file, said, name, "option", line, back=True)
                value = found.get("value") or found.get("other")
                everyday.describe_value(file, said, value, line, back=True, default=True)
