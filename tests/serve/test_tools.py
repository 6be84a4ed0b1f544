"""What an agent can do: the tool functions themselves, and, where the package is there, over the protocol."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gfqa.errors import CacheError, GfqaError, UsageError
from gfqa.serve import tools as module
from gfqa.serve.tools import Tools
from tests.cli.test_bad_input import check
from tests.conftest import ROOT, Result
from tests.documents.pdf_bytes import lines, pdf
from tests.serve.conftest import Serving

Run = Callable[..., Result]


@pytest.fixture
def tools(ingested: Run, tiny_model: Path) -> Tools:
    return Tools(str(tiny_model), "cpu")


def test_find_is_find(tools: Tools, ingested: Run) -> None:
    expected = ingested("find", "Which port?", "--json", "-n", "2").json["passages"]
    assert tools.find("Which port?", ["proj"], 2) == expected
    assert len(expected) == 2
    with pytest.raises(UsageError, match="count"):
        tools.find("q", count=0)
    with pytest.raises(UsageError, match="empty"):
        tools.find(" ")
    with pytest.raises(CacheError, match="no cache named"):
        tools.find("q", ["nothing"])


def test_ask_is_ask_with_and_without_a_server(tools: Tools, ingested: Run, serving: Serving) -> None:
    expected = ingested("ask", "Which port?", "--json", "--max-tokens", "5").json
    alone = tools.ask("Which port?", ["proj"], 5)
    assert {**alone, "timing": 0} == {**expected, "timing": 0}
    engine = tools._engine
    assert engine is not None
    with serving():
        served = tools.ask("Which port?", max_tokens=5)
        assert {**served, "timing": 0} == {**expected, "timing": 0}
        assert Tools(tools._model, "cpu").ask("q", max_tokens=2)["found"]
    assert tools.ask("q", max_tokens=2)["found"]
    assert tools._engine is engine


def test_a_refreshed_cache_is_seen(tools: Tools, ingested: Run, project: Path) -> None:
    before = tools.ask("q", max_tokens=2)["tokens"]["reused"]
    (project / "more.txt").write_text("more\n")
    ingested("ingest", project, "-q")
    assert tools.ask("q", max_tokens=2)["tokens"]["reused"] > before
    assert tools.read_span("proj", "more.txt")["text"] == "more"


def test_list_caches(tools: Tools, project: Path, home: Path, ingested: Run) -> None:
    [row] = tools.list_caches()
    assert {name: row[name] for name in ("name", "documents", "sources", "model")} == {
        "name": "proj",
        "documents": 4,
        "sources": [str(project)],
        "model": "tiny",
    }
    ingested("ingest", project, "-q", "--name", "broken")
    manifest = next(path for path in home.rglob("*.manifest") if path.stem == "broken")
    manifest.chmod(0o600)
    manifest.write_bytes(b"")
    assert "damaged" in tools.list_caches()[0]["error"]


def test_a_citation_can_be_read(tools: Tools) -> None:
    for citation in tools.ask("Which port?")["citations"]:
        span = tools.read_span(citation["cache"], citation["path"], citation["start_line"], citation["end_line"])
        assert span["text"].startswith(citation["quote"])
        assert span["source"] == citation["source"]


def test_lines_are_those_of_the_cache_not_of_the_disk(tools: Tools, project: Path) -> None:
    (project / "notes.txt").write_text("changed since\n")
    assert tools.read_span("proj", "notes.txt", 2, 2) == {
        "cache": "proj", "source": str(project), "path": "notes.txt", "start_line": 2, "end_line": 2, "lines": 3,
        "text": "beta", "truncated": False,
    }  # fmt: skip
    whole = tools.read_span("proj", "notes.txt")
    assert (whole["text"], whole["end_line"]) == ("alpha\nbeta\ngamma", 3)
    assert tools.read_span("proj", "notes.txt", 2, 99)["text"] == "beta\ngamma"


def test_long_documents_come_in_parts(
    tools: Tools, ingested: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / "long"
    long.mkdir()
    text = [f"line {number}" for number in range(1, 31)]
    (long / "lines.txt").write_text("\n".join(text) + "\n")
    (long / "huge.txt").write_text("x" * 900 + "\nend\n")
    ingested("ingest", long, "-q")
    monkeypatch.setattr(module, "LINES", 12)
    monkeypatch.setattr(module, "CHARACTERS", 100)
    read: list[str] = []
    while True:
        part = tools.read_span("long", "lines.txt", len(read) + 1)
        read += part["text"].split("\n")
        assert part["end_line"] == len(read)
        if not part["truncated"]:
            break
    assert read == text
    huge = tools.read_span("long", "huge.txt")
    assert (huge["text"], huge["end_line"], huge["truncated"]) == ("x" * 100, 1, True)


def test_pages_of_a_pdf(tools: Tools, ingested: Run, tmp_path: Path) -> None:
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "two.pdf").write_bytes(pdf(lines("First page about retries"), lines("Second page about ports")))
    ingested("ingest", folder, "-q")
    assert "retries" in tools.read_span("papers", "two.pdf", page=1)["text"]
    second = tools.read_span("papers", "two.pdf", page=2)
    assert "ports" in second["text"]
    assert "retries" not in second["text"]
    assert second["page"] == 2
    for page in (0, 3, -1):
        with pytest.raises(UsageError, match="2 pages"):
            tools.read_span("papers", "two.pdf", page=page)


def test_places_that_are_not_there(tools: Tools, project: Path) -> None:
    for arguments, words in (
        (("proj", "nope.txt"), "no document 'nope.txt'"),
        (("proj", "../../../etc/passwd"), "no document"),
        (("proj", "/etc/passwd"), "no document"),
        (("proj", "notes.txt", 0), "3 lines"),
        (("proj", "notes.txt", 4), "3 lines"),
        (("proj", "notes.txt", 3, 2), "3 lines"),
        (("proj", "notes.txt", 1, 1, 1), "lines, not pages"),
        (("proj", "notes.txt", 1, 1, None, "/elsewhere"), "of /elsewhere"),
    ):
        with pytest.raises(UsageError, match=words):
            tools.read_span(*arguments)
    for name in ("nope", "../x"):
        with pytest.raises(GfqaError, match=r"nope|cannot be the name"):
            tools.read_span(name, "notes.txt")
        with pytest.raises(GfqaError, match=r"nope|no cache"):
            tools.ask("q", [name])
    for count in (0, 10**9):
        with pytest.raises(UsageError, match="max_tokens"):
            tools.ask("q", max_tokens=count)
    with pytest.raises(UsageError, match="empty"):
        tools.ask(" ")


def test_one_path_in_two_sources(tools: Tools, ingested: Run, project: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("from the other\n")
    ingested("ingest", other, "-q", "--name", "proj")
    with pytest.raises(UsageError, match="several sources"):
        tools.read_span("proj", "notes.txt")
    assert tools.read_span("proj", "notes.txt", source=str(other))["text"] == "from the other"


def test_a_cache_of_another_tokenizer(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    reader = tools._opened().reader
    foreign = dataclasses.replace(reader, identity=dataclasses.replace(reader.identity, tokenizer="0" * 64))
    tools._opened().reader = foreign
    with pytest.raises(CacheError, match="another tokenizer"):
        tools.read_span("proj", "notes.txt")


def test_the_package_that_is_missing(gfqa: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mcp.server", None)
    check(gfqa("mcp"), 2, "needs the package mcp", "gfqa[mcp]")


def test_every_tool_is_described() -> None:
    from gfqa.serve.mcp import DESCRIPTIONS

    assert list(DESCRIPTIONS) == [name for name in vars(Tools) if not name.startswith("_")]


@pytest.mark.slow
def test_over_the_protocol(tools: Tools, tiny_model: Path, project: Path) -> None:
    """A client of the package, a server of its own process, stdin and stdout between them."""
    pytest.importorskip("mcp")
    import sys

    import anyio
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    variables = {"PYTHONPATH": path, "GFQA_DEVICE": "cpu", "OMP_NUM_THREADS": "1"}
    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "gfqa.cli", "mcp", "--model", str(tiny_model)],
        env={**os.environ, **variables},
    )
    expected = tools.ask("Which port?", ["proj"], 4)

    async def talk() -> dict[str, Any]:
        async with stdio_client(command) as (reading, writing), ClientSession(reading, writing) as session:
            await session.initialize()
            found: dict[str, Any] = {"tools": (await session.list_tools()).tools}
            for name, arguments in (
                ("list_caches", {}),
                ("ask", {"question": "Which port?", "caches": ["proj"], "max_tokens": 4}),
                ("read_span", {"cache": "proj", "path": "notes.txt", "start_line": 2}),
            ):
                found[name] = await session.call_tool(name, arguments)
            found["bad"] = await session.call_tool("read_span", {"cache": "nope", "path": "x"})
            found["worse"] = await session.call_tool("ask", {"question": 5})
            return found

    found = anyio.run(talk)
    assert [tool.name for tool in found["tools"]] == ["ask", "list_caches", "read_span"]
    assert found["tools"][0].input_schema["required"] == ["question"]
    assert {**found["ask"].structured_content, "timing": 0} == {**expected, "timing": 0}
    assert found["list_caches"].structured_content["result"][0]["name"] == "proj"
    assert found["read_span"].structured_content["text"] == "beta\ngamma"
    assert found["bad"].is_error
    assert "no cache named 'nope'" in found["bad"].content[0].text
    assert found["worse"].is_error
