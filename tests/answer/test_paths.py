"""Which words of an answer are paths, and which of these the caches do not hold."""

from __future__ import annotations

import pytest

from gfqa.answer.paths import unknown_paths

DOCUMENTS = [
    ("/home/me/project", "src/app.py"),
    ("/home/me/project", "src/core/queue.py"),
    ("/home/me/project", "README.md"),
    ("/home/me/project", "deploy/Makefile"),
    ("/home/me/project", "schema/main.proto"),
    ("/srv/papers", "annual report.pdf"),
]


@pytest.mark.parametrize(
    "answer",
    [
        "src/app.py",
        "app.py",
        "core/queue.py",
        "./src/app.py:12-14",
        "It is in src/core/ and in src/app.py.",
        "`README.md`, (deploy/Makefile)",
        "project/src/app.py",
        "/home/me/project/src/app.py",
        "/home/me/project/src",
        "main.proto",
        "src",
    ],
)
def test_known(answer: str) -> None:
    assert unknown_paths(answer, DOCUMENTS) == ()


@pytest.mark.parametrize(
    ("answer", "unknown"),
    [
        ("src/apps.py", ["src/apps.py"]),
        ("rc/app.py", ["rc/app.py"]),
        ("pp.py", ["pp.py"]),
        ("src/app.pyc", ["src/app.pyc"]),
        ("settings.yaml", ["settings.yaml"]),
        ("other.proto:3", ["other.proto"]),
        ("conf/nginx.conf", ["conf/nginx.conf"]),
        ("src/missing/", ["src/missing/"]),
        ("src/core/stack", ["src/core/stack"]),
        ("/home/me/project/gone.py", ["/home/me/project/gone.py"]),
        ("See lib/a.rs, app.py and lib/a.rs; then b.rs.", ["lib/a.rs", "b.rs"]),
        ("deploy/makefile", ["deploy/makefile"]),
    ],
)
def test_unknown(answer: str, unknown: list[str]) -> None:
    assert unknown_paths(answer, DOCUMENTS) == tuple(unknown)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "8471",
        "3.5",
        "v1.2",
        "and/or",
        "TCP/IP",
        "1/2",
        "os.path",
        "self.queue",
        "e.g. this",
        "Node.js",
        "text/html",
        "https://example.com/a/b.py",
        "example.com/a.html",
        "me@example.com",
        "/etc/hosts.conf",
        "~/notes.txt",
        "../up.py",
        ".",
        "/",
        "...",
        "Wait. What.",
    ],
)
def test_no_path_to_judge(answer: str) -> None:
    assert unknown_paths(answer, DOCUMENTS) == ()
    assert unknown_paths(answer, []) == ()
