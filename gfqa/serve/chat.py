"""A chat whose questions a warm server answers; where it cannot, the chat goes on with a memory of its own. Torch-free.

Only for the independent layout, where each question stands alone: a chained model goes on from question to question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from gfqa import shelf
from gfqa.cachestore import Store
from gfqa.errors import GfqaError
from gfqa.model_folders import tokenizer_of
from gfqa.serve import client
from gfqa.shelf import Shelf

if TYPE_CHECKING:
    from gfqa.answer.result import Answer


class Own(Protocol):
    """What a chat that takes over has to be able to do: a `gfqa.chat.Chat`."""

    options: dict[str, Any]

    def restrict(self, globs: Sequence[str]) -> None: ...

    def ask(self, question: str, on_text: Callable[[str], None]) -> Answer: ...


class WarmChat:
    """As `gfqa.chat.Chat`, without loading a model. texts: the documents of the caches; model, device: as the user gave them;
    own: opens the chat that takes over.
    """

    goes_on = False

    def __init__(
        self, texts: Shelf, model: str | None, device: str, own: Callable[[], Own], options: dict[str, Any]
    ) -> None:
        self.options = options
        self.last: Answer | None = None
        self.only: tuple[str, ...] = ()
        self._whole = self._texts = texts
        self._place: dict[str, Any] = {"model": model, "device": device}
        self._open = own
        self._own: Own | None = None

    @property
    def caches(self) -> tuple[str, ...]:
        """The names of the caches that are asked."""
        return self._whole.caches

    def documents(self) -> int:
        """How many documents are asked, as things stand."""
        return len(self._texts.origins)

    def restrict(self, globs: Sequence[str]) -> None:
        """Ask only the documents that match, all where there are no globs. UsageError as of `gfqa.shelf.part_of`."""
        self._texts = shelf.only(self._whole, globs) if globs else self._whole
        self.only = tuple(globs)
        if self._own is not None:
            self._own.restrict(globs)

    def begin_again(self) -> None:
        """Forget the last answer; nothing else is remembered."""
        self.last = None

    def ask(self, question: str, on_text: Callable[[str], None] = lambda chunk: None) -> Answer:
        """The answer to the next question; errors as of `gfqa.ask.ask`."""
        answer, shown = None, client.Shown(on_text)
        if self._own is None:
            answer = client.ask(
                question, caches=self.caches, only=self.only, options=self.options, on_text=shown, **self._place
            )
        if answer is None:
            if self._own is None:
                self._own = self._open()
                self._own.options = self.options
                self._own.restrict(self.only)
            answer = self._own.ask(question, shown)
        self.last = answer
        return answer


def texts_for(store: Store, names: Sequence[str], model: str | None) -> Shelf | None:
    """The documents a warm chat is about; None where no server runs, or where it is not for a warm chat to begin."""
    if client.status() is None:
        return None
    try:
        if any(store.manifest(name).identity.layout != "independent" for name in names):
            return None
        return shelf.open_shelf(tokenizer_of(model), store, names)
    except GfqaError:
        return None  # A chat of its own says what is wrong.
