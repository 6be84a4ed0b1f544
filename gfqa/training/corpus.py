"""The pre-training text: bare git directories and ready question sets to sharded JSONL.xz, the same bytes every time.

`mirror` holds `<owner>+<name>/repo` bare git directories, `ready` the question sets. `out` receives
`shard-000.jsonl.xz`, ... (one document a line: source, path, kind, text), `heldout/heldout.jsonl.xz` (about half a percent,
never in a shard) and `manifest.json`. Files of one source stay consecutive in groups of about 200 kB; the groups are shuffled.
"""

from __future__ import annotations

import hashlib
import json
import logging
import lzma
import random
import re
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

from gfqa.training import corpus_text
from gfqa.training.corpus_files import Repository, capped, check_licence, wanted_files
from gfqa.training.sources import EVALUATION_ONLY, READY_SETS, SOURCES, ReadySet, Source

log = logging.getLogger(__name__)

GROUP_BYTES = 200_000
SHARD_BYTES = 46_000_000
SHARD_LIMIT = 12 << 20
HELD_OUT_EVERY = 200
_SEED = 20261
_DOC_ENDINGS = (".md", ".rst", ".adoc", ".txt")

Row = dict[str, str]


def read_source(mirror: Path, source: Source, banned: frozenset[str]) -> tuple[list[Row], dict[str, object]]:
    """All documents of a repository, cleaned, in path order, and its manifest entry."""
    repository = Repository(mirror / source.repository.replace("/", "+") / "repo", source.commit)
    licence_file = check_licence(repository, source)
    listed = wanted_files(repository, source)
    contents = repository.read([blob for _, blob, _ in listed])
    raw = []
    for (path, _, _), data in zip(listed, contents, strict=True):
        if data and b"\0" not in data and hashlib.sha256(data).hexdigest() not in banned:
            raw.append((path, data.decode("utf-8", "replace")))
    pages = list(_books(raw) if source.parser == "cnxml" else _pages(raw, source))
    rows = [
        {"source": source.repository, "path": path, "kind": _kind(source, path), "text": text}
        for path, text in capped(list(_without_repeats(pages)), source.max_mb)
    ]
    entry: dict[str, object] = {
        "commit": repository.commit,
        "licence": source.licence,
        "licence_file": licence_file,
        "note": source.note,
    }
    return rows, entry


def _kind(source: Source, path: str) -> str:
    return "docs" if source.kind == "code" and path.endswith(_DOC_ENDINGS) else source.kind


def _pages(raw: list[tuple[str, str]], source: Source) -> Iterable[tuple[str, str]]:
    parse = {
        "plain": corpus_text.normalise,
        "tei": corpus_text.tei,
        "markdown": corpus_text.markdown,
        "code": corpus_text.code,
    }
    for path, text in raw:
        parser = "markdown" if source.parser == "code" and path.endswith(".md") else source.parser
        page = parse[parser](text)
        if (
            len(page) >= source.min_chars
            and "\ufffd" not in page
            and corpus_text.looks_written(page, _kind(source, path))
        ):
            yield path.removesuffix(".xml") + ".txt" if parser == "tei" else path, page


def _books(raw: list[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    """Text books: one document per chapter, in the order of the book, modules shared by two books once."""
    texts = dict(raw)
    seen: set[str] = set()
    for path, text in raw:
        if not path.startswith("collections/"):
            continue
        book = path.removeprefix("collections/").removesuffix(".collection.xml")
        content = next(e for e in ElementTree.fromstring(text) if e.tag.endswith("content"))
        for number, unit in enumerate(content):
            title = next((e.text or "" for e in unit.iter() if e.tag.endswith("}title")), "preface")
            names = [e.get("document", "") for e in unit.iter() if e.tag.endswith("}module")]
            fresh = [name for name in names if name not in seen and f"modules/{name}/index.cnxml" in texts]
            seen.update(fresh)
            parts = [corpus_text.cnxml_module(texts[f"modules/{name}/index.cnxml"]) for name in fresh]
            chapter = "\n".join(part for part in parts if len(part) > 300)
            if chapter:
                slug = re.sub(r"\W+", "-", title.lower()).strip("-")[:60]
                yield f"{book}/{number:02d}-{slug}.txt", f"{title}\n\n{chapter}" if title != "preface" else chapter


def _without_repeats(pages: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    """Drops pages of which more than 70 % of the longer lines stood in earlier pages of the same source."""
    seen: set[int] = set()
    for path, text in pages:
        lines = {hash_line(line) for line in text.split("\n") if len(line) >= 30}
        if len(lines) >= 5 and len(lines & seen) > 0.7 * len(lines):
            continue
        seen |= lines
        yield path, text


def hash_line(line: str) -> int:
    """64 bits of a line, the same in every process."""
    return int.from_bytes(
        hashlib.blake2b(line.strip().encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little"
    )


def read_ready(folder: Path, ready: ReadySet) -> list[Row]:
    """The contexts of a question set, one document per title; a title of several paragraphs becomes an article."""
    rows: list[Row] = []
    seen: Counter[int] = Counter()
    with lzma.open(folder / f"{ready.name}.jsonl.xz", "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            unit = json.loads(line)
            title = str(unit["title"]).replace("_", " ")
            text = "\n\n".join(paragraph["context"].strip() for paragraph in unit["paragraphs"])
            text = "".join(_rare_sentences(text, seen)).rstrip()
            if len(unit["paragraphs"]) > 1:
                text = f"{title}\n\n{text}"
            name = re.sub(r"[^\w.-]+", "_", title)[:60] if len(title) > 4 else f"{number:05d}"
            rows.append(
                {"source": ready.name, "path": f"{name}.txt", "kind": "prose", "text": corpus_text.normalise(text)}
            )
    return rows


def _rare_sentences(text: str, seen: Counter[int]) -> Iterable[str]:
    """The sentences of a text without long ones that stood in two earlier texts of the set (boilerplate)."""
    for sentence in re.split(r"(?<=[.:?]) ", text):
        key = hash_line(sentence)
        seen[key] += len(sentence) > 100
        if seen[key] <= 2:
            yield sentence + " "


def banned_hashes(mirror: Path) -> frozenset[str]:
    """SHA-256 of every file over 200 bytes of the evaluation-only repositories that the mirror holds."""
    hashes: set[str] = set()
    for name in EVALUATION_ONLY:
        folder = mirror / name.replace("/", "+") / "repo"
        if folder.exists():
            repository = Repository(folder, "HEAD")
            blobs = [
                blob
                for path, blob, size in repository.files()
                if 200 < size < 1_000_000 and not path.startswith("LICENSE")
            ]
            hashes.update(hashlib.sha256(data).hexdigest() for data in repository.read(blobs) if data)
    return frozenset(hashes)


def groups_of(rows: list[Row]) -> list[list[Row]]:
    """Consecutive documents of about GROUP_BYTES each; a longer document is a group of its own."""
    groups: list[list[Row]] = []
    room = 0
    for row in rows:
        size = len(row["text"].encode())
        if room < size // 2 or not groups:
            groups.append([])
            room = GROUP_BYTES
        groups[-1].append(row)
        room -= size
    return groups


def write_shard(path: Path, rows: list[Row]) -> int:
    """Writes one JSONL.xz file and returns its compressed size in bytes."""
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    path.write_bytes(lzma.compress(data, preset=6))
    return path.stat().st_size


def _job(arguments: tuple[Path, Source, frozenset[str]]) -> tuple[list[Row], dict[str, object]]:
    return read_source(*arguments)


def build(mirror: Path, ready: Path, out: Path, workers: int = 2) -> dict[str, object]:
    """Reads every source, mixes the groups and writes shards, held-out text and manifest. Returns the manifest."""
    banned = banned_hashes(mirror)
    entries: dict[str, dict[str, object]] = {}
    groups: list[list[Row]] = []
    seen: set[bytes] = set()

    def take(name: str, rows: list[Row], entry: dict[str, object], repeat: int = 1) -> None:
        fresh = []
        for row in rows:
            digest = hashlib.sha256(re.sub(r"\s+", " ", row["text"]).encode()).digest()
            if digest not in seen:
                seen.add(digest)
                fresh.append(row)
        size = sum(len(row["text"].encode()) for row in fresh)
        by_kind: dict[str, int] = {}
        for row in fresh:
            by_kind[row["kind"]] = by_kind.get(row["kind"], 0) + repeat * len(row["text"].encode())
        entries[name] = {**entry, "documents": len(fresh), "bytes": size, "repeat": repeat, "bytes_by_kind": by_kind}
        for _ in range(repeat):
            groups.extend(groups_of(fresh))
        log.info("%-52s %6d documents %7.1f MB  %s", name, len(fresh), size / 1e6, entry["licence"])

    with ProcessPoolExecutor(workers) as pool:
        for source, (rows, entry) in zip(SOURCES, pool.map(_job, ((mirror, s, banned) for s in SOURCES)), strict=True):
            take(source.repository, rows, entry)
        for ready_set in READY_SETS:
            take(ready_set.name, read_ready(ready, ready_set), {"licence": ready_set.licence}, ready_set.repeat)

        random.Random(_SEED).shuffle(groups)
        # Repeated sets must not meet their own copy in the held-out text.
        once = [g for g in groups if g[0]["source"] not in {r.name for r in READY_SETS if r.repeat > 1}]
        held_out = once[::HELD_OUT_EVERY]
        chosen = {id(group) for group in held_out}
        groups = [group for group in groups if id(group) not in chosen]
        shards = _fill(groups)
        (out / "heldout").mkdir(parents=True, exist_ok=True)
        for old in out.glob("shard-*.jsonl.xz"):
            old.unlink()
        names = [out / f"shard-{number:03d}.jsonl.xz" for number in range(len(shards))]
        sizes = list(pool.map(write_shard, names, shards))
        held_size = write_shard(out / "heldout" / "heldout.jsonl.xz", [row for group in held_out for row in group])
    if max(sizes) > SHARD_LIMIT:
        log.warning("the largest shard has %d bytes, over the limit of %d", max(sizes), SHARD_LIMIT)
    kinds: dict[str, int] = {}
    for row in (row for shard in shards for row in shard):
        kinds[row["kind"]] = kinds.get(row["kind"], 0) + len(row["text"].encode())
    manifest: dict[str, object] = {
        "seed": _SEED,
        "text_bytes": sum(kinds.values()),
        "text_bytes_by_kind": kinds,
        "shards": {name.name: size for name, size in zip(names, sizes, strict=True)},
        "heldout_bytes": held_size,
        "sources": entries,
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return manifest


def _fill(groups: list[list[Row]]) -> list[list[Row]]:
    shards: list[list[Row]] = [[]]
    size = 0
    for group in groups:
        if size > SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1] += group
        size += sum(len(row["text"].encode()) for row in group)
    return shards
