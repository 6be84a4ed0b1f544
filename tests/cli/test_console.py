"""The sanitiser, and what reaches a terminal."""

from __future__ import annotations

import io
import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfqa.console import Console, duration, joined, neutralise, neutralise_line, plural, size

UNSAFE = [chr(code) for code in (*range(0x20), 0x7F, *range(0x80, 0xA0)) if chr(code) not in "\n\t"]
UNSAFE += [
    chr(code) for code in (0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xD800, 0xE0041)
]
ATTACKS = [
    "\x1b]52;c;ZXZpbA==\x07",
    "\x1b]0;title\x1b\\",
    "\x1b]8;;http://evil\x07link\x1b]8;;\x07",
    "\x1bP+q\x1b\\",
    "\x1b_apc\x1b\\",
    "\x1b[2J\x1b[1;1H",
    "\x9b2J",
    "\x1b]unterminated",
    "safe\u202egnp.exe",
    "[red]markup[/red] [link=http://evil]x[/link] :smile:",
    "a\rb\x08c",
]
texts = st.text(st.one_of(st.sampled_from(UNSAFE), st.characters()))


def assert_safe(text: str) -> None:
    for character in text:
        assert character not in UNSAFE
        category = unicodedata.category(character)
        assert category not in ("Cs", "Zl", "Zp"), hex(ord(character))
        assert category != "Cc" or character in "\n\t", hex(ord(character))


@pytest.mark.parametrize("character", UNSAFE, ids=lambda character: f"U+{ord(character):04X}")
def test_every_unsafe_character_becomes_a_visible_escape(character: str) -> None:
    shown = neutralise(character)
    assert re.fullmatch(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})", shown)
    assert int(shown[2:], 16) == ord(character)


@given(texts)
def test_fuzzed_text_is_safe_and_printable(text: str) -> None:
    assert_safe(neutralise(text))
    line = neutralise_line(text)
    assert_safe(line)
    assert "\n" not in line
    assert "\t" not in line
    line.encode("utf-8")


@given(texts, texts)
def test_streaming_equals_all_at_once(first: str, second: str) -> None:
    assert neutralise(first) + neutralise(second) == neutralise(first + second)


@given(st.text(st.characters(categories=("L", "N", "P", "Sm", "Zs"))))
def test_ordinary_text_is_untouched(text: str) -> None:
    assert neutralise(text) == text


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_way_out_is_sanitised(attack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", err)
    monkeypatch.setenv("FORCE_COLOR", "")
    console = Console()
    console.stream(attack)
    console.line(attack, "bold")
    console.block(attack)
    console.table([(attack, "x"), ("y", attack)])
    console.record({"name": attack})
    console.note(attack)
    console.warn(attack)
    console.error(1, attack, attack)
    Console(as_json=True).json({"answer": attack})
    for text in (out.getvalue(), err.getvalue()):
        assert_safe(text)
    assert json.loads(out.getvalue().splitlines()[-1]) == {"answer": attack}


def test_colour_only_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def shown(**variables: str) -> str:
        for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        stream = Terminal()
        monkeypatch.setattr("sys.stdout", stream)
        Console().line("text", "bold")
        return stream.getvalue()

    assert shown(TERM="xterm") == "\x1b[1mtext\x1b[0m\n"
    assert shown(TERM="xterm", NO_COLOR="1") == "text\n"
    assert shown(TERM="dumb") == "text\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def one_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """One terminal of 60 columns for both streams."""
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    return screen


def test_what_takes_its_time_is_said_and_gone_with_the_first_output(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = one_terminal(monkeypatch)
    console = Console()
    with console.working("Looking…") as say:
        say("Looking through 9 tokens…")
        console.stream("42")
        console.line()
    assert terminal.getvalue() == "Looking…\r\x1b[KLooking through 9 tokens…\r\x1b[K42\n"
    with pytest.raises(ValueError), console.working("x" * 99):
        raise ValueError
    assert terminal.getvalue().endswith("\n" + "x" * 59 + "\r\x1b[K")


def test_what_takes_its_time_is_not_said_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = one_terminal(monkeypatch)
    with Console(quiet=True).working("Looking…"):
        pass
    monkeypatch.setattr("sys.stderr", err := io.StringIO())
    with Console().working("Looking…") as say:
        say("Still looking…")
    assert (terminal.getvalue(), err.getvalue()) == ("", "")


def test_commentary_is_folded_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = one_terminal(monkeypatch)
    console = Console()
    console.warn("report.pdf: no text on page 8 (scanned?), so nothing there can be found")
    console.error(1, "It broke.", "Free some space on that disk, or move it, and run the command again.")
    assert terminal.getvalue().split("\n") == [
        "warning: report.pdf: no text on page 8 (scanned?), so",
        "  nothing there can be found",
        "gfqa: It broke.",
        "  Free some space on that disk, or move it, and run the",
        "    command again.",
        "",
    ]


def test_progress_is_plain_lines_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    err = io.StringIO()
    monkeypatch.setattr("sys.stderr", err)
    monkeypatch.setattr("gfqa.console._PLAIN_LINE_EVERY", 0.0)
    with Console().progress() as progress:
        progress("pre-filling", 0, 100)
        progress("pre-filling", 50, 100)
    assert re.fullmatch(r"pre-filling: 50 of 100 tokens, [\d,]+ tokens/s, 0 s left\n", err.getvalue())


def test_progress_on_a_terminal_shows_pace_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    err = Terminal()
    monkeypatch.setattr("sys.stderr", err)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with Console().progress() as progress:
        progress("pre-filling", 0, 100)
        progress("pre-filling", 50, 100)
    assert "50/100 tokens" in err.getvalue()
    assert "tokens/s" in err.getvalue()


def test_quiet_and_json_silence_commentary_but_not_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    err = io.StringIO()
    monkeypatch.setattr("sys.stderr", err)
    console = Console(quiet=True)
    console.note("note")
    console.warn("warning")
    with console.progress() as progress:
        progress("reading", 1, 2)
    assert err.getvalue() == ""
    console.error(3, "It broke.")
    assert err.getvalue() == "gfqa: It broke.\n"


def test_figures() -> None:
    assert [duration(s) for s in (3.2, 65, 7500)] == ["3 s", "1 min 05 s", "2 h 05 min"]
    assert [size(n) for n in (999, 1500, 32_000_000)] == ["999 B", "1.5 kB", "32.0 MB"]
    assert [plural(n, "document") for n in (1, 2000)] == ["1 document", "2,000 documents"]
    assert joined(["a", "b", "c"], 2) == "a, b and 1 more"
