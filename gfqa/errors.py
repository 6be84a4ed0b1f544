"""The tree of errors: each carries one sentence, an optional hint and the exit code of the process.

A message names the file or value and says what is wrong; the hint says what to do. Only `console` shows them.
"""

from __future__ import annotations


class GfqaError(Exception):
    """Base of every error a user can meet. Exit code 1: I/O, full disk, permission, a failed batch line."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(GfqaError):
    """A flag, path or name that cannot be used as given: a missing path, a name conflict."""

    exit_code = 2


class CacheError(GfqaError):
    """A cache that is missing, ambiguous, damaged, or of another model, tokenizer or format."""

    exit_code = 3


class NothingToRead(GfqaError):
    """The sources hold no document that could be ingested."""

    exit_code = 4


class NotFoundInDocuments(GfqaError):
    """The documents do not answer the question (only with `--fail-not-found`)."""

    exit_code = 5


class ModelError(GfqaError):
    """A model file, a GPU or memory that is missing or unfit."""

    exit_code = 6


class NotCacheable(ModelError):
    """The model has no GOLD layers, so it leaves no compressed keys to cache."""


class Busy(GfqaError):
    """Another process holds the store."""

    exit_code = 75
