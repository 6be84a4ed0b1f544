"""A model and the memories it was asked about, kept loaded; answers are those of a process that has just started.

Nothing is trusted to stay as it was: each question looks at the manifests of its caches and at the model's files, and what
changed is loaded again. One thread uses an engine at a time (`gfqa.serve.server` and `gfqa.serve.tools` see to that).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from gfqa import config, find
from gfqa.answer.result import Passages
from gfqa.ask import Answer, Memory, ask, changed_documents, choose_caches, open_memory
from gfqa.cachestore import Store
from gfqa.errors import GfqaError, UsageError
from gfqa.memory import restricted
from gfqa.reader import Reader, find_model, open_model, resolve_device
from gfqa.shelf import stale

MEMORIES: Final = 4
"""How many memories stay loaded; the one that was asked longest ago goes first."""
Digests = tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """What is asked of which caches; none named: the one that `choose_caches` finds for `folder`, unless there is a document.

    options: keyword arguments of `gfqa.ask.ask`. count, budget: passages are wanted instead of an answer, so many, or those
    that fit so many tokens.
    """

    text: str
    folder: Path
    caches: tuple[str, ...] = ()
    document: bytes | None = None
    only: tuple[str, ...] = ()
    require_fresh: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    count: int | None = None
    budget: int | None = None


class Engine:
    """One opened model on one device, over the store of `home`; memory_budget: as of `open_memory`, for each memory."""

    def __init__(
        self,
        model: str | None = None,
        device: str = "auto",
        home: Path | None = None,
        memory_budget: int | None = None,
    ) -> None:
        self.reader: Reader = open_model(model, device)
        self.home = home or config.home()
        self._budget = memory_budget
        self._files = _files(self.reader.folder)
        self._memories: OrderedDict[tuple[str, ...], tuple[Digests, Memory]] = OrderedDict()
        self._part: tuple[Memory, tuple[str, ...], Memory] | None = None

    @property
    def store(self) -> Store:
        """The store, opened anew: the first ingest may have made it since."""
        return Store.open(self.home)

    @property
    def loaded(self) -> list[tuple[str, ...]]:
        """The names of caches whose memories are loaded."""
        return list(self._memories)

    def warm_up(self, caches: tuple[str, ...] = ()) -> None:
        """Load the weights, answer once over a text of a few words (kernels are built), and load a memory of `caches`."""
        ask(open_memory(self.reader, None, (), b"Warming up.\n"), "What?", max_tokens=2)
        if caches:
            self.memory(caches)

    def differs(self, model: str | None, device: str, folder: Path) -> str | None:
        """Why a process in `folder` that was given this model and device would not use this one; None if it would."""
        try:
            wanted = find_model(model, folder)
            place = resolve_device(device)
        except GfqaError as error:
            return error.message
        if wanted != self.reader.folder:
            return f"it serves the model {self.reader.name} of {self.reader.folder}"
        if _numbered(place) != _numbered(self.reader.device):
            return f"it runs on {self.reader.device}"
        return None

    def answer(
        self, question: Question, on_text: Callable[[str], None] = lambda text: None
    ) -> tuple[Answer, dict[str, Any]]:
        """The answer and its documented JSON object, with `"warm": true` among the timing. GfqaErrors as of `gfqa ask`."""
        began = time.monotonic()
        memory = self._memory_for(question)
        answer = ask(
            replace(memory, seconds=time.monotonic() - began), question.text, **question.options, on_text=on_text
        )
        document = answer.to_json()
        return answer, {**document, "timing": {**document["timing"], "warm": True}}

    def passages(self, question: Question) -> Passages:
        """The passages that `question.count` or `question.budget` asks for. GfqaErrors as of `gfqa find`."""
        memory = self._memory_for(question)
        if question.budget is not None:
            return find.context(memory, question.text, question.budget)
        return find.search(memory, question.text, question.count or 0)

    def _memory_for(self, question: Question) -> Memory:
        """What the question is asked of, brought up to date."""
        if not question.text.strip():
            raise UsageError("The question is empty.")
        self._refresh()
        names = tuple(question.caches)
        if not names and question.document is None:
            names = tuple(choose_caches(self.store, (), question.folder))
        elif names:
            choose_caches(self.store, names, question.folder)
        memory = self.memory(names, question.document)
        if question.only:
            memory = self._restricted(memory, question.only)
        if question.require_fresh and (changed := changed_documents(memory)):
            raise stale(changed)
        return memory

    def _restricted(self, memory: Memory, globs: tuple[str, ...]) -> Memory:
        """The memory of only some documents; the last one is kept, since a chat asks the same again."""
        if self._part is None or self._part[0] is not memory or self._part[1] != globs:
            self._part = None  # before the next one is made: there may be no room for both
            self._part = memory, globs, restricted(memory, globs)
        return self._part[2]

    def memory(self, names: tuple[str, ...], document: bytes | None = None) -> Memory:
        """The memory of these caches as they are now, loaded only if they changed; that of a document is not kept."""
        if document is not None:
            return open_memory(self.reader, self.store, names, document, memory_budget=self._budget)
        names = tuple(sorted(set(names)))
        store = self.store
        # Read before the memory is: if a writer commits in between, the next question loads once too often, not too seldom.
        digests = tuple(store.manifest(name).digest for name in names)
        known = self._memories.pop(names, None)
        if known is None or known[0] != digests:
            known = digests, open_memory(self.reader, store, names, memory_budget=self._budget)
        self._memories[names] = known
        while len(self._memories) > MEMORIES:
            self._memories.popitem(last=False)
        return known[1]

    def drop(self) -> None:
        """Forget all memories: after a failure they may be what there was no room for."""
        self._memories.clear()
        self._part = None

    def _refresh(self) -> None:
        """Open the model again if its files changed."""
        files = _files(self.reader.folder)
        if files != self._files:
            self.reader = open_model(self.reader.folder, self.reader.device)
            self._files = files
            self.drop()


def _files(folder: Path) -> list[tuple[str, int, int, int]]:
    """Name, inode, size and modification time of the files of a model."""
    found = []
    for path in sorted(folder.iterdir()):
        status = path.stat()
        found.append((path.name, status.st_ino, status.st_size, status.st_mtime_ns))
    return found


def _numbered(device: str) -> str:
    return "cuda:0" if device == "cuda" else device
