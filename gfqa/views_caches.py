"""What the commands about ingesting and caches show, in the words of `console`, which alone prints."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gfqa.console import Console, duration, joined, plural, size

if TYPE_CHECKING:
    from gfqa.plan import Plan
    from gfqa.status import Status

LISTED = 20
"""Documents named one by one; --json names them all."""


def planned(console: Console, plan: Plan) -> None:
    """The answer of `ingest --dry-run`, on stdout."""
    counts = [(plan.new, "new"), (plan.changed, "changed"), (plan.unchanged, "unchanged"), (plan.removed, "gone")]
    console.line(f"{plan.name}: " + ", ".join(f"{plural(count, 'document')} {what}" for count, what in counts if count))
    console.line(f"  {plan.total:,} tokens, {plan.to_read:,} to read")
    for path, tokens in plan.largest:
        console.line(f"  {tokens:,} of them in {path} (--exclude leaves it out)")
    if plan.rate is not None:
        origin = "measured now" if plan.measured else "as at an earlier ingest"
        console.line(
            f"  about {duration(plan.estimated_seconds)} at {plan.rate:,.0f} tokens/s on {plan.device} ({origin})"
        )
    memory = "" if plan.memory_bytes is None else f", {size(plan.memory_bytes)} of memory"
    console.line(f"  {size(plan.disk_bytes)} on disk{memory}")
    if plan.skipped:
        reasons = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in plan.reasons().items())
        console.line(f"  skipped: {reasons}")
    for path, pages in plan.pages_without_text:
        console.warn(f"{path}: no text on {plural(len(pages), 'page')} (scanned?)")


def status(console: Console, rows: Sequence[Status]) -> None:
    """The answer of `status`: a line a cache, then what an ingest would find."""
    for row in rows:
        counts = [(row.changed, "changed"), (row.new, "new"), (row.gone, "gone")]
        parts = [f"{plural(row.fresh, 'document')} up to date"]
        parts += [f"{len(places):,} {what}" for places, what in counts if places]
        parts += [f"{row.unchecked:,} not from this disk"] if row.unchecked else []
        console.line(f"{row.name}: {', '.join(parts)} ({age(row.updated)} old)", "bold" if row.stale else "")
        for source in row.missing:
            console.line(f"  the source {source} is gone")
        named = [(what, path) for places, what in counts for source, path in places if source not in row.missing]
        for what, path in named[:LISTED]:
            console.line(f"  {what + ':':9}{path}")
        if len(named) > LISTED:
            console.line(f"  and {len(named) - LISTED:,} more (--json names them all)")


def cache_list(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """`caches list`: on a terminal one line of its width a cache, in a pipe every column in full."""
    if not rows:
        console.note("There is no cache yet: gfqa ingest PATH makes one.")
        return
    wide = [("NAME", "DOCUMENTS", "TOKENS", "SIZE", "AGE", "MODEL", "SOURCES")]
    for row in rows:
        if "error" in row:
            wide.append((row["name"], "-", "-", "-", "-", "damaged", row["error"]))
            continue
        numbers = (f"{row['document_count']}", f"{row['tokens']}", size(row["bytes"]), age(row["updated"]))
        wide.append((row["name"], *numbers, row["model"], joined(row["sources"], 3)))
    console.table(fitted(wide, shutil.get_terminal_size().columns) if console.on_terminal else wide)


def cache(console: Console, row: Mapping[str, Any], documents: Sequence[Mapping[str, Any]]) -> None:
    """`caches show`: the cache, then one line a document."""
    console.record(
        {
            "name": row["name"],
            "model": row["model"],
            "layout": row["layout"],
            "sources": ", ".join(row["sources"]),
            "documents": f"{row['document_count']:,}",
            "tokens": f"{row['tokens']:,}",
            "size": size(row["bytes"]),
            "imported": "yes" if row["imported"] else "no",
            "age": age(row["updated"]),
            "made": date(row["created"]),
        }
    )
    console.line()
    console.table([("TOKENS", "BYTES", "PATH"), *((f"{d['tokens']}", f"{d['bytes']}", d["path"]) for d in documents)])


def verified(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """`caches verify`: a line a cache."""
    for row in rows:
        if row["ok"]:
            console.line(
                f"{row['name']}: whole, {plural(row['chains'], 'chain')}, {row['tokens']:,} tokens, {size(row['bytes'])}"
            )
        else:
            console.line(f"{row['name']}: {row['error']}", "red")


def compared(console: Console, result: Mapping[str, Any]) -> None:
    """`caches diff`: a line a document, `+` for added, `-` for removed, `~` for changed, then the sums."""
    for mark, kind in (("+", "added"), ("-", "removed")):
        for row in result[kind]:
            console.line(f"{mark} {row['path']}  ({row['tokens']:,} tokens)")
    for row in result["changed"]:
        console.line(f"~ {row['path']}  ({row['tokens'][0]:,} to {row['tokens'][1]:,} tokens)")
    first, second = result["caches"]
    console.note(
        f"{first} to {second}: {len(result['added'])} added, {len(result['removed'])} removed, "
        f"{len(result['changed'])} changed, {result['unchanged']} unchanged; "
        f"{result['tokens'][0]:,} to {result['tokens'][1]:,} tokens"
    )
    if not result["same_model"]:
        console.warn("the caches are of different models, so their tokens cannot be compared")


def fitted(rows: Sequence[Sequence[str]], width: int) -> list[list[str]]:
    """The table with its widest columns cut until a line has at most `width` characters; numbers are never cut."""
    table = [list(row) for row in rows]
    columns = range(len(table[0]))
    cuttable = [column for column in columns if table[0][column] in ("NAME", "MODEL", "SOURCES", "FOLDER")]
    widths = [max(len(row[column]) for row in table) for column in columns]
    while sum(widths) + 2 * (len(widths) - 1) > width:
        widest = max(cuttable, key=lambda column: widths[column])
        if widths[widest] <= 8:
            break
        widths[widest] -= 1
    return [[shortened(cell, widths[column]) for column, cell in enumerate(row)] for row in table]


def shortened(text: str, width: int) -> str:
    """The text with its middle left out where it is longer than width: both ends of a path say more than either."""
    if len(text) <= width:
        return text
    head = (width - 1) // 3
    return text[:head] + "…" + text[len(text) - (width - 1 - head) :]


def age(moment: float) -> str:
    """How long ago a moment (seconds since 1970) was: 5 min, 3 h, 12 days."""
    seconds = max(0.0, time.time() - moment)
    for unit, length, most in (("s", 1, 60), ("min", 60, 60), ("h", 3600, 48)):
        if seconds < length * most:
            return f"{seconds / length:.0f} {unit}"
    return plural(round(seconds / 86400), "day")


def date(moment: float) -> str:
    """2026-11-22 18:05, in the local time zone."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
