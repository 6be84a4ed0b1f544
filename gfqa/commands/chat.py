"""`gfqa chat`: one question after another, the model and the caches loaded once."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gfqa import head_start, views
from gfqa.commands import units
from gfqa.commands.shared import (
    AsJson,
    Caches,
    Device,
    MaxTokens,
    MemoryBudget,
    Model,
    NoReread,
    NoServer,
    Only,
    Quiet,
    Seed,
    Sources,
    Temperature,
    TopK,
    TopP,
    Verbose,
    open_store,
    sampling,
)
from gfqa.console import Console, joined, plural
from gfqa.errors import GfqaError, UsageError

if TYPE_CHECKING:
    from gfqa.chat import Chat
    from gfqa.serve.chat import WarmChat

HELP = """/quit           end the chat (Ctrl-D does, too)
/caches         the caches that are asked, and the others
/sources [N]    the places of the last answer; with N: at most N from now on
/only [GLOB…]   ask only the documents that match; without a glob: all of them
/json           answers as JSON lines, or for people again
/new            begin anew, where the model remembers the questions before
/help           this list"""


def chat(
    cache: Caches = None,
    only: Only = None,
    model: Model = None,
    device: Device = "auto",
    memory_budget: MemoryBudget = None,
    sources: Sources = 3,
    max_tokens: MaxTokens = 64,
    no_reread: NoReread = False,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    top_k: TopK = 0,
    seed: Seed = None,
    no_server: NoServer = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Ask one question after another; the model and the caches are loaded once. Also works in a pipe, a question a line.

    Each question is answered on its own: this reader does not remember the ones before. Only a model of the chained layout
    goes on from question to question. /help lists the commands; questions are kept nowhere but in the history of the
    prompt, until the end.

    \b
    gfqa chat --cache myrepo
    printf 'Which port?\\nWho maintains it?\\n' | gfqa chat --json
    """
    typed = sys.stdin.isatty()
    console = Console(as_json=as_json, quiet=quiet, verbose=verbose)

    options: dict[str, Any] = {"citations": sources, "max_tokens": max_tokens, "reread": not no_reread}
    options |= sampling(temperature, top_p, top_k, seed)
    budget = None if memory_budget is None else units.byte_count(memory_budget)

    from gfqa.serve.chat import WarmChat, texts_for
    from gfqa.shelf import choose_caches

    store = open_store()
    names = choose_caches(store, cache or [], Path.cwd())

    def of_its_own() -> Chat:
        head_start.begin(model, device)
        from gfqa import ask as use_case
        from gfqa.chat import Chat

        memory = use_case.open_memory(use_case.open_model(model, device), store, names, memory_budget=budget)
        return Chat(memory, **options)

    # A server holds its memories as it was told to.
    texts = texts_for(store, names, model) if not no_server and budget is None else None
    chat = of_its_own() if texts is None else WarmChat(texts, model, device, of_its_own, options)
    if only:
        chat.restrict(only)
    if typed:
        console.note(f"{joined(chat.caches)}: {plural(chat.documents(), 'document')}. /help lists the commands.")
    failed = _Talk(chat, console, typed).run()
    if failed and not typed:
        raise typer.Exit(1)


class _Talk:
    """The loop from line to answer."""

    def __init__(self, chat: Chat | WarmChat, console: Console, typed: bool) -> None:
        self._chat, self._console, self._typed = chat, console, typed

    def run(self) -> int:
        """Every line until the end; how many failed."""
        failed = 0
        for number, line in enumerate(self._lines(), 1):
            if not line.strip():
                continue
            try:
                if line.startswith("/"):
                    if not self._command(line.split()):
                        break
                else:
                    self._answer(line)
            except GfqaError as error:
                failed += 1
                self._tell(number, line, error)
            except KeyboardInterrupt:
                if not self._typed:
                    raise
                self._console.line()
                self._console.note("Stopped.")
        return failed

    def _lines(self) -> Iterator[str]:
        if not self._typed:
            for raw in iter(sys.stdin.buffer.readline, b""):
                yield raw.decode("utf-8", "replace").strip()
            return
        if importlib.util.find_spec("readline") is not None:
            import readline  # noqa: F401  (gives the prompt its history and its editing)
        prompt = "> " if self._console.width is not None else ""
        while True:
            try:
                yield self._console.ask_line(prompt).strip()
            except EOFError:
                # The shell's own prompt begins its own line.
                if prompt:
                    self._console.line()
                return
            except KeyboardInterrupt:
                self._console.note("")
                self._console.note("/quit or Ctrl-D ends the chat.")

    def _answer(self, question: str) -> None:
        console = self._console
        with console.working("Looking…"):
            answer = self._chat.ask(question, (lambda text: None) if console.as_json else console.stream)
        if console.as_json:
            console.json(answer.to_json())
        else:
            views.answered(console, answer)
            console.line()
        views.figures(console, answer, 0.0)

    def _command(self, words: list[str]) -> bool:
        """Obey a line that begins with a slash; False ends the chat."""
        console, chat = self._console, self._chat
        match words:
            case ["/quit" | "/exit"]:
                return False
            case ["/help"]:
                for line in HELP.split("\n"):
                    console.note(line)
            case ["/caches"]:
                others = [name for name in open_store().names() if name not in chat.caches]
                console.note(f"asked: {joined(chat.caches)} ({plural(chat.documents(), 'document')})")
                if others:
                    console.note(f"others: {joined(others)} (gfqa chat --cache NAME)")
            case ["/sources"] if chat.last is None:
                raise UsageError("There is no answer yet.")
            case ["/sources"]:
                if chat.last is not None and console.as_json:
                    console.json(chat.last.to_json())
                elif chat.last is not None:
                    views.quoted(console, chat.last)
            case ["/sources", count] if count.isdecimal() and int(count) <= 100:
                chat.options["citations"] = int(count)
            case ["/only", *globs]:
                chat.restrict(globs)
                console.note(f"asked: {plural(chat.documents(), 'document')}")
            case ["/json"]:
                self._console = Console(as_json=not console.as_json, quiet=console.silenced, verbose=console.verbose)
            case ["/new"]:
                chat.begin_again()
            case _:
                raise UsageError(f"There is no command {' '.join(words)}.", hint="/help lists the commands.")
        return True

    def _tell(self, number: int, line: str, error: GfqaError) -> None:
        """An error ends its line, not the chat."""
        if self._console.as_json:
            problem = {"code": error.exit_code, "message": error.message}
            self._console.json({"schema": 1, "line": number, "question": line, "error": problem})
        else:
            self._console.error(error.exit_code, error.message, error.hint)
