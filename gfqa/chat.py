"""A chat: one opened memory, many questions. Each is answered on its own, unless the model is chained: then it goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from gfqa.answer.result import Answer
from gfqa.ask import ask_on
from gfqa.memory import Memory, restricted


class Chat:
    """The questions asked so far, as far as they matter for the next one.

    options: as of `gfqa.ask.ask`. last: the last answer; only: the globs in force.
    """

    def __init__(self, memory: Memory, **options: Any) -> None:
        self.options = options
        self.last: Answer | None = None
        self.only: tuple[str, ...] = ()
        self._whole = self._memory = memory
        self._unread: tuple[int, ...] = ()

    @property
    def caches(self) -> tuple[str, ...]:
        """The names of the caches that are asked."""
        return self._whole.caches

    @property
    def goes_on(self) -> bool:
        """Whether a question is read after the ones before it."""
        return self._whole.state is not None

    def documents(self) -> int:
        """How many documents are asked, as things stand."""
        return len(self._memory.origins)

    def restrict(self, globs: Sequence[str]) -> None:
        """Ask only the documents that match, all where there are no globs. UsageError as of `gfqa.memory.restricted`."""
        self._memory = restricted(self._whole, globs) if globs else self._whole
        self.only = tuple(globs)

    def begin_again(self) -> None:
        """Forget the questions before; only a chained model remembers any."""
        self.restrict(self.only)
        self._unread, self.last = (), None

    def ask(self, question: str, on_text: Callable[[str], None] = lambda chunk: None) -> Answer:
        """The answer to the next question; errors as of `gfqa.ask.ask`."""
        answer, generated = ask_on(self._memory, question, unread=self._unread, on_text=on_text, **self.options)
        if self.goes_on and generated.state is not None:
            self._memory, self._unread = replace(self._memory, state=generated.state), generated.unread
        self.last = answer
        return answer
