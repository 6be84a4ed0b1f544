"""The store: named caches over shared packs. Opening and reading write nothing and take no lock.

    <home>/store-v1/caches/<name>.manifest     which documents, which chains, where their bytes are
    <home>/store-v1/packs/<sha256>.pack        segments, immutable
    <home>/store-v1/tokenizers/<name>.<identity>.*   what turns the ids of a cache back into its text
    <home>/store-v1/LOCK                       held by the one process that writes, freed by the kernel when it dies

A reader that meets a vanished pack was overtaken by a writer; it reads the manifest again and finds the new place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from gfqa.cachestore import fs, maintenance
from gfqa.cachestore import pack as packs_
from gfqa.cachestore.catalog import (
    SUFFIX,
    CacheInfo,
    Manifest,
    StoredChain,
    check_name,
    damaged_cache,
    decode_manifest,
    info_of,
    is_name,
)
from gfqa.cachestore.keys import FORMAT_VERSION, Identity, is_key
from gfqa.cachestore.memory import ChainData, DamagedPack, HostRows, MakeRows, MemoryArrays, read_chain, read_memory
from gfqa.cachestore.pack import Entry, PackGone, PackReader
from gfqa.cachestore.segment import TOKENS, Damaged
from gfqa.errors import Busy, CacheError, UsageError

if TYPE_CHECKING:
    from gfqa.cachestore.writer import StoreWriter

ATTEMPTS: Final = 50
"""How often a reader starts over because a writer was faster, before it gives up."""

NOTICE_SECONDS: Final = 1.0
"""Whoever waits for the writer lock is told so after this long."""

T = TypeVar("T")
OnWait = Callable[[float], None]
"""on_wait(seconds): another process is writing, and it will be waited for so long in all."""


class CacheChanged(CacheError):
    """A writer removed documents of the cache while it was being read; reading the manifest again helps."""


class PackFile(NamedTuple):
    """A pack on the disk: its index (None if damaged), bytes, and modification time in seconds since 1970."""

    entries: list[Entry] | None
    size: int
    modified: float


class Store:
    """All caches under one home directory. Made by `Store.open`."""

    def __init__(self, root: Path, on_wait: OnWait) -> None:
        self.root = root
        self._on_wait = on_wait
        self.caches = root / "caches"
        self.packs = root / "packs"
        self.tokenizers = root / "tokenizers"

    @classmethod
    def open(cls, home: Path, create: bool = False, *, on_wait: OnWait = lambda seconds: None) -> Store:
        """The store in a home directory. Writes nothing, not even a directory, unless create is true.

        on_wait: called where this process has to wait for another one to finish writing.
        """
        store = cls(home / f"store-v{FORMAT_VERSION}", on_wait)
        if create:
            store.create()
        return store

    def create(self) -> None:
        """Makes the store's directories (mode 0700) where they are missing. Raises GfqaError."""
        for directory in (self.root, self.caches, self.packs):
            fs.make_dir(directory)
        ignore = self.root / ".gitignore"
        if not ignore.exists():
            # A store is as confidential as the documents in it, so it must not slip into a repository.
            fs.write_file_atomically(ignore, [b"*\n"])

    def names(self) -> list[str]:
        """The names of all caches, sorted; none if the store does not exist."""
        return sorted(name for name in self._stems(self.caches, SUFFIX) if is_name(name))

    def info(self, name: str) -> CacheInfo:
        """The summary of a cache. CacheError as for `manifest`."""
        return info_of(self.manifest(name))

    def manifest(self, name: str) -> Manifest:
        """The last commit of a cache. CacheError if it is missing, damaged or of a newer format."""
        path = self.manifest_path(name)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            names = ", ".join(self.names())
            raise CacheError(
                f"There is no cache named {name!r}.",
                hint=f"Caches: {names}." if names else "There is no cache yet: gfqa ingest PATH makes one.",
            ) from None
        except OSError as error:
            raise damaged_cache(name, f"cannot read {path}: {(error.strerror or 'error').lower()}") from error
        try:
            return decode_manifest(path, data)
        except Damaged as error:
            raise damaged_cache(name, f"{path}: {error}") from error

    def manifest_path(self, name: str) -> Path:
        """Where the manifest of a cache is or would be. UsageError for an impossible name."""
        return self.caches / (check_name(name) + SUFFIX)

    def load(
        self,
        names: Sequence[str],
        make_rows: MakeRows = HostRows,
        check: Callable[[Manifest], None] = lambda manifest: None,
    ) -> tuple[tuple[Manifest, ...], MemoryArrays]:
        """The manifests of these caches and their memory, of one moment each, even while a writer commits. CacheError.

        make_rows: of what the keys are put into; check: raises where a cache is not to be read.
        """
        attempts = 0
        while True:
            manifests = tuple(self.manifest(name) for name in names)
            for manifest in manifests:
                check(manifest)
            try:
                return manifests, self.load_memory(manifests, make_rows)
            except CacheChanged:
                attempts += 1
                if attempts == ATTEMPTS:
                    raise

    def load_memory(self, manifests: Manifest | Sequence[Manifest], make_rows: MakeRows = HostRows) -> MemoryArrays:
        """The set of chains of one or several caches of one identity, each once, sorted by chain key.

        Raises CacheError if the caches are of different models or damaged, CacheChanged if chains of these manifests were
        removed since (`load` takes care of that).
        """
        several = (manifests,) if isinstance(manifests, Manifest) else tuple(manifests)
        if not several:
            raise CacheError("No cache was named.")
        identity = several[0].identity
        for other in several[1:]:
            difference = other.identity.difference(identity)
            if difference:
                raise CacheError(f"The caches {several[0].name!r} and {other.name!r} do not go together: {difference}.")
        wanted = [(manifest, list(manifest.chains)) for manifest in several]
        return self._following(wanted, lambda chains: read_memory(self.packs, identity, chains, make_rows))

    def load_chain(self, manifest: Manifest, chain_key: str) -> ChainData:
        """One chain with its snapshot. CacheError if the manifest lacks it or its bytes are damaged."""
        if chain_key not in manifest.chains:
            raise CacheError(f"The cache {manifest.name!r} has no chain {chain_key[:12]}.")
        return self._following(
            [(manifest, [chain_key])], lambda chains: read_chain(self.packs, manifest.identity, chains[chain_key])
        )

    def load_all(self, manifest: Manifest) -> Iterator[tuple[str, ChainData]]:
        """Each chain of a cache once, sorted by key: views of one memory, without snapshots. CacheError as load_memory."""
        memory = self.load_memory(manifest)
        for number, key in enumerate(memory.chain_keys):
            span = memory.span(number)
            scales = None if memory.scales is None else memory.scales[span]
            yield key, ChainData(memory.ids[span], memory.keys[span], scales, None)

    def writer(
        self, name: str, identity: Identity, timeout: float = 30.0, *, replace: bool = False, imported: bool = False
    ) -> StoreWriter:
        """A context manager that holds the writer lock; Busy after timeout seconds. See StoreWriter."""
        from gfqa.cachestore.writer import StoreWriter

        return StoreWriter(self, check_name(name), identity, timeout, replace, imported)

    def remove(self, name: str, timeout: float = 30.0) -> int:
        """Removes a cache and every byte no other cache needs; returns the bytes freed. CacheError if there is none."""
        path = self.manifest_path(name)
        if not path.exists():
            self.manifest(name)
        with self.locked(timeout):
            released = None
            with contextlib.suppress(CacheError):
                released = {location.place for location in self.manifest(name).locations()}
            fs.unlink(path)
            fs.sync_dir(self.caches)
            try:
                return maintenance.collect(self, released)
            except CacheError as error:
                raise CacheError(
                    f"The cache {name!r} is removed, but its bytes are still there: {error.message}", hint=error.hint
                ) from error

    def rename(self, old: str, new: str, timeout: float = 30.0) -> None:
        """Gives a cache another name. CacheError if there is none, UsageError if the new name is taken or impossible."""
        source, target = self.manifest_path(old), self.manifest_path(new)
        if not source.exists():
            self.manifest(old)
        with self.locked(timeout):
            if target.exists():
                raise UsageError(
                    f"There is a cache named {new!r} already.", hint="Remove it first, or choose another name."
                )
            fs.rename(source, target)

    def keep_tokenizer(self, identity: Identity, name: str, data: bytes) -> None:
        """Keeps the file of a tokenizer, so that caches made with it can be read when its model is gone.

        name: of the file, which says its kind. Nothing happens where it is kept already. Raises GfqaError.
        """
        if is_key(identity.tokenizer) and self.tokenizer_file(identity) is None:
            stem, _, suffix = name.rpartition(".")
            fs.make_dir(self.tokenizers)
            fs.write_file_atomically(self.tokenizers / f"{stem}.{identity.tokenizer}.{suffix}", [data])

    def tokenizer_file(self, identity: Identity) -> Path | None:
        """The kept file of the tokenizer that made a cache, if there is one. It may be damaged: its reader has to check."""
        if not is_key(identity.tokenizer):
            return None
        found = [path for path in self.tokenizers.glob(f"*.{identity.tokenizer}.*") if path.suffix != fs.TEMPORARY]
        return min(found, default=None)

    def prune(self, timeout: float = 30.0, grace_seconds: float = maintenance.GRACE_SECONDS) -> int:
        """Removes what no cache needs and no ingest of the last grace_seconds left; returns the bytes freed."""
        with self.locked(timeout):
            return maintenance.prune(self, grace_seconds)

    def prune_caches(
        self,
        *,
        older_than: float | None = None,
        max_bytes: int | None = None,
        dry_run: bool = False,
        timeout: float = 30.0,
    ) -> maintenance.Pruned:
        """As `prune`, after removing the caches that `maintenance.outdated` names. A dry run changes nothing."""
        if dry_run:
            return maintenance.would_prune(self, maintenance.outdated(self, older_than, max_bytes))
        if not self.root.exists():
            return maintenance.Pruned((), 0)
        with self.locked(timeout):
            # Chosen under the lock: a cache that another process has just brought up to date is not an old one.
            names = maintenance.outdated(self, older_than, max_bytes)
            released = {place.place for name in names for place in self.manifest(name).locations()}
            for name in names:
                fs.unlink(self.manifest_path(name))
            if names:
                fs.sync_dir(self.caches)
            return maintenance.Pruned(names, maintenance.prune(self, also_released=released))

    @contextlib.contextmanager
    def locked(self, timeout: float) -> Iterator[None]:
        """Holds the writer lock, with the directories made and files of killed writers removed. Busy after timeout s.

        A wait of more than NOTICE_SECONDS is announced, once.
        """
        from filelock import FileLock, Timeout

        self.create()
        path = self.root / "LOCK"
        lock = FileLock(path, mode=0o600)
        silent = min(timeout, NOTICE_SECONDS)
        with fs.explained("lock", path):
            try:
                try:
                    lock.acquire(timeout=silent)
                except Timeout:
                    if timeout == silent:
                        raise
                    self._on_wait(timeout)
                    lock.acquire(timeout=timeout - silent)
            except Timeout:
                raise Busy(
                    f"Another gfqa process is writing to {self.root}, still after {timeout:g} s.",
                    hint="Run the command again when it is done.",
                ) from None
        try:
            for directory in (self.root, self.caches, self.packs, self.tokenizers):
                for leftover in directory.glob(f"*{fs.TEMPORARY}"):
                    fs.unlink(leftover)
            yield
        finally:
            lock.release()

    def pack_files(self) -> Iterator[tuple[str, int, float]]:
        """Name, bytes and modification time of each pack, sorted by name."""
        for name in sorted(self._stems(self.packs, packs_.SUFFIX)):
            if is_key(name):
                with contextlib.suppress(FileNotFoundError):
                    status = (self.packs / (name + packs_.SUFFIX)).stat()
                    yield name, status.st_size, status.st_mtime

    def read_packs(self) -> dict[str, PackFile]:
        """The index of every pack by name."""
        found = {}
        for name, size, modified in self.pack_files():
            entries = None
            with contextlib.suppress(Damaged, PackGone), PackReader(self.packs, name) as reader:
                entries = reader.entries()
            found[name] = PackFile(entries, size, modified)
        return found

    def segment_keys(self) -> set[str]:
        """The keys of all token segments an ingest would find, as the packs' indexes have them; nothing else is read."""
        entries = [entry for pack in self.read_packs().values() for entry in pack.entries or ()]
        return {entry.header.key for entry in entries if entry.header.kind == TOKENS and not entry.header.imported}

    def _stems(self, directory: Path, suffix: str) -> list[str]:
        with fs.explained("read", directory):
            try:
                return [path.name.removesuffix(suffix) for path in directory.iterdir() if path.name.endswith(suffix)]
            except FileNotFoundError:
                return []

    def _following(
        self, wanted: Sequence[tuple[Manifest, Collection[str]]], read: Callable[[dict[str, StoredChain]], T]
    ) -> T:
        """What `read` makes of the wanted chains, following segments that a writer moves meanwhile."""
        current = [manifest for manifest, _ in wanted]
        for _ in range(ATTEMPTS):
            try:
                return read({key: now.chains[key] for now, (_, keys) in zip(current, wanted) for key in keys})
            except DamagedPack as error:
                raise _blame(current, error) from error
            except PackGone as error:
                fresh = [self.manifest(manifest.name) for manifest in current]
                if [manifest.digest for manifest in fresh] == [manifest.digest for manifest in current]:
                    raise damaged_cache(current[0].name, str(error)) from error
                current = fresh
                if any(key not in now.chains for now, (_, keys) in zip(current, wanted) for key in keys):
                    break
        names = ", ".join(repr(manifest.name) for manifest in current)
        raise CacheChanged(f"The cache {names} was changed by another process while it was read.")


def _blame(manifests: Sequence[Manifest], error: DamagedPack) -> CacheError:
    """The error that names the cache, the pack and the documents that need the damaged bytes."""
    pack = error.path.name.removesuffix(packs_.SUFFIX)
    for manifest in manifests:
        keys = {
            key
            for key, chain in manifest.chains.items()
            if any(place.pack == pack and error.key in (None, place.key) for place in chain.locations)
        }
        paths = [document.path for document in manifest.documents if document.chain in keys]
        if keys:
            needed = f" (needed by {paths[0]}{f' and {len(paths) - 1} more' if paths[1:] else ''})" if paths else ""
            return damaged_cache(manifest.name, f"{error}{needed}")
    return damaged_cache(manifests[0].name, str(error))
