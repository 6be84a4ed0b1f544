"""The walk: order, ignore rules as git has them, every reason to leave a file out, and nothing outside the root."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gfqa.documents import Document, Found, Limits, Skipped, Source, open_source
from gfqa.documents.ignore import Rules, looks_secret
from gfqa.errors import GfqaError, UsageError

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX files")


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def found(root: Path, limits: Limits | None = None) -> list[str]:
    return [item.path for item in open_source(root, limits).scan() if isinstance(item, Found)]


def skipped(root: Path, limits: Limits | None = None) -> dict[str, str]:
    return {item.path: item.reason for item in open_source(root, limits).scan() if isinstance(item, Skipped)}


def read_only_file(source: Source) -> Document | Skipped:
    (item,) = source.scan()
    return source.read(item) if isinstance(item, Found) else item


def git_lists(root: Path) -> list[str]:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "HOME": str(root)}
    environment |= {"XDG_CONFIG_HOME": str(root)}
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, check=True)
    return sorted(os.fsdecode(name) for name in done.stdout.split(b"\0") if name)


def git_init(root: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("git is absent")
    subprocess.run(["git", "init", "-q", str(root)], check=True, capture_output=True)


# ---- order and reading


def test_paths_come_sorted_and_relative(tmp_path: Path) -> None:
    names = ["b.txt", "a/z.txt", "a.txt", "a-b/c.txt", "a/b/c.txt", "B.txt", "é/x.txt"]
    plant(tmp_path, dict.fromkeys(names, "x"))
    assert found(tmp_path) == sorted(names)


def test_reading_gives_what_was_decoded(tmp_path: Path) -> None:
    data = b"line one\r\nline two\r\n"
    (tmp_path / "a.txt").write_bytes(data)
    document = read_only_file(open_source(tmp_path))
    status = (tmp_path / "a.txt").stat()
    assert document == Document(
        "a.txt", data.decode(), hashlib.sha256(data).hexdigest(), len(data), status.st_mtime_ns, None
    )


def test_scanning_and_reading_write_nothing(tmp_path: Path) -> None:
    plant(tmp_path, {"a/b.txt": "x", "a/.gitignore": "c"})
    before = {p: p.stat().st_mtime_ns for p in (tmp_path, *tmp_path.rglob("*"))}
    source = open_source(tmp_path)
    assert [source.read(item) for item in source.scan() if isinstance(item, Found)]
    assert {p: p.stat().st_mtime_ns for p in (tmp_path, *tmp_path.rglob("*"))} == before


def test_a_single_file_is_a_source_under_its_own_name(tmp_path: Path) -> None:
    plant(tmp_path, {"deep/a.py": "x = 1\n", ".gitignore": "deep"})
    source = open_source(tmp_path / "deep" / "a.py")
    assert (source.root, source.is_file) == (tmp_path / "deep" / "a.py", True)
    document = read_only_file(source)
    assert isinstance(document, Document)
    assert (document.path, document.text) == ("a.py", "x = 1\n")


def test_a_file_that_was_named_is_read_even_if_it_looks_secret(tmp_path: Path) -> None:
    plant(tmp_path, {".env": "TOKEN=1\n"})
    assert isinstance(read_only_file(open_source(tmp_path / ".env")), Document)


@posix
def test_a_root_may_be_reached_through_a_link(tmp_path: Path) -> None:
    plant(tmp_path, {"real/a.txt": "x"})
    (tmp_path / "link").symlink_to("real")
    source = open_source(tmp_path / "link")
    assert source.root == tmp_path / "real"
    assert isinstance(read_only_file(source), Document)


@pytest.mark.parametrize("path", ["absent", "", "a\0b", "absent/deeper", "x" * 300])
def test_a_missing_path_is_a_usage_error(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError):
        open_source(path)


@posix
def test_roots_that_are_no_file_or_folder_are_usage_errors(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to("circle")
    for name in ("pipe", "circle"):
        with pytest.raises(UsageError):
            open_source(tmp_path / name)


def test_a_root_that_vanishes_is_an_error_and_not_an_empty_walk(tmp_path: Path) -> None:
    plant(tmp_path, {"root/a.txt": "x"})
    folder, file = open_source(tmp_path / "root"), open_source(tmp_path / "root" / "a.txt")
    shutil.rmtree(tmp_path / "root")
    for source in (folder, file):
        with pytest.raises(GfqaError):
            list(source.scan())


# ---- ignore rules

NESTED = {
    ".gitignore": "*.log\n!keep.log\n/only_root.txt\ndocs/*.md\nbuild/\n\\#odd\nspaced\\ \n*.[oa]\n",
    "keep.log": "",
    "drop.log": "",
    "only_root.txt": "",
    "sub/only_root.txt": "",
    "docs/a.md": "",
    "docs/deep/b.md": "",
    "build/out.txt": "",
    "build/keep.log": "",
    "sub/build": "",
    "#odd": "",
    "spaced ": "",
    "x.o": "",
    "x.ob": "",
    "sub/.gitignore": "!drop.log\nlocal\n",
    "sub/drop.log": "",
    "sub/local/x": "",
    "other/local/x": "",
    "white/.gitignore": "*\n!*/\n!*.py\n",
    "white/a.txt": "",
    "white/deep/a.py": "",
    "white/deep/a.txt": "",
    "all/.gitignore": "**\n",
    "all/x/y": "",
    "inside/.gitignore": "data/**\n!data/keep\n",
    "inside/data/keep": "",
    "inside/data/x/y": "",
    "crlf/.gitignore": "\ufeffgone.txt\r\n*.tmp\r\n",
    "crlf/gone.txt": "",
    "crlf/a.tmp": "",
    "crlf/a.txt": "",
    "mid/.gitignore": "a/**/z\n",
    "mid/a/z": "",
    "mid/a/b/c/z": "",
    "mid/a/b/y": "",
}


def test_nested_rules_agree_with_git(tmp_path: Path) -> None:
    git_init(tmp_path)
    plant(tmp_path, {name: text or "x" for name, text in NESTED.items()})
    (tmp_path / ".git" / "info" / "exclude").write_text("sub/only_root.txt\n*.ob\n")
    paths = found(tmp_path)
    assert paths == git_lists(tmp_path)
    assert {"keep.log", "sub/drop.log", "docs/deep/b.md", "white/deep/a.py", "inside/data/keep"} <= set(paths)
    assert not {"drop.log", "build/keep.log", "white/deep/a.txt", "x.ob", "sub/local/x"} & set(paths)


PIECES = [
    *("*", "**", "a", "b", "foo", "bar", "*.py", "*.txt", "f*", "?", "a*b", "[ab]", "[!a]", "*o*", ".*", "foo.log"),
    *("[[]q]", "\\!z", "\\#", "x#y", "a\\ b", "*.*", "[a-z]*"),
]
NAMES = ["a", "b", "foo", "bar", "a.py", "b.txt", "foo.log", "ab", ".x", "a b", "x#y", "!z", "[q]", "a-b"]


@posix
@pytest.mark.parametrize("seed", range(25))
def test_random_rules_agree_with_git(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)

    def rule() -> str:
        pieces = [chance.choice(PIECES) for _ in range(chance.choice([1, 1, 1, 2, 2, 3]))]
        ends = [chance.choice(["", "", "!"]), chance.choice(["", "", "/"]), chance.choice(["", "", "/"])]
        return ends[0] + ends[1] + "/".join(pieces) + ends[2] + chance.choice(["", "", "", " ", "\r"])

    def grow(folder: Path, depth: int) -> None:
        for name in chance.sample(NAMES, chance.randint(2, 6)):
            if depth < 3 and chance.random() < 0.45:
                (folder / name).mkdir()
                grow(folder / name, depth + 1)
            else:
                (folder / name).write_text("x")
        if chance.random() < (0.3 if depth else 0.9):
            (folder / ".gitignore").write_bytes("\n".join(rule() for _ in range(chance.randint(1, 5))).encode())

    git_init(tmp_path)
    grow(tmp_path, 0)
    (tmp_path / ".git" / "info" / "exclude").write_text(rule())
    assert found(tmp_path) == git_lists(tmp_path)


def test_a_root_inside_a_work_tree_obeys_the_rules_above_it(tmp_path: Path) -> None:
    git_init(tmp_path)
    plant(tmp_path, {".gitignore": "*.log\n/src/gen/\n/build/\n", "src/a.py": "x", "src/a.log": "x", "src/gen/b": "x"})
    plant(tmp_path, {"build/named.txt": "x", "src/.gitignore": "c", "src/c": "x"})
    assert found(tmp_path / "src") == [".gitignore", "a.py"]
    assert found(tmp_path / "build") == ["named.txt"]  # it was named itself


def test_rules_above_do_not_count_outside_a_work_tree(tmp_path: Path) -> None:
    plant(tmp_path, {".gitignore": "*.txt\n", "src/a.txt": "x"})
    assert found(tmp_path / "src") == ["a.txt"]


def test_gfqaignore_comes_before_gitignore(tmp_path: Path) -> None:
    plant(tmp_path, {".gitignore": "a\nb\n", ".gfqaignore": "!a\nc\n", "a": "x", "b": "x", "c": "x", "d": "x"})
    assert found(tmp_path) == [".gfqaignore", ".gitignore", "a", "d"]


def test_folders_of_tools_are_left_out_whole(tmp_path: Path) -> None:
    for name in (".git", ".hg", ".svn", "__pycache__", "node_modules", ".venv"):
        plant(tmp_path, {f"{name}/x": "x", f"sub/{name}/y/z": "x"})
    plant(tmp_path, {"env/pyvenv.cfg": "x", "env/lib/a.py": "x", "tree/.git": "gitdir: elsewhere", "a.py": "x"})
    assert found(tmp_path) == ["a.py"]
    reasons = skipped(tmp_path)
    assert set(reasons.values()) == {"ignored"}
    assert {"node_modules/", "sub/.git/", "env/", "tree/.git"} <= set(reasons)
    assert len(reasons) == 14


def test_a_pruned_folder_is_one_skip(tmp_path: Path) -> None:
    plant(tmp_path, {f"out/{n}": "x" for n in range(50)} | {".gitignore": "out/\n", "a": "x"})
    assert skipped(tmp_path) == {"out/": "ignored"}


def test_include_and_exclude_globs(tmp_path: Path) -> None:
    plant(tmp_path, dict.fromkeys(["a.py", "a.md", "docs/b.md", "docs/c.py", "src/d.py", "src/t/e.py"], "x"))
    assert found(tmp_path, Limits(include=("*.py",))) == ["a.py", "docs/c.py", "src/d.py", "src/t/e.py"]
    assert found(tmp_path, Limits(include=("docs/", "/a.md"))) == ["a.md", "docs/b.md", "docs/c.py"]
    assert found(tmp_path, Limits(include=("*.py",), exclude=("src/t",))) == ["a.py", "docs/c.py", "src/d.py"]
    assert found(tmp_path, Limits(exclude=("*.md", "/src/*"))) == ["a.py", "docs/c.py"]
    assert skipped(tmp_path, Limits(exclude=("src",)))["src/"] == "ignored"
    # Globs that only leave out leave out of everything; beside others they take back, and the last one that matches decides.
    assert found(tmp_path, Limits(include=("!*.py",))) == ["a.md", "docs/b.md"]
    assert found(tmp_path, Limits(include=("!src/", "!/a.*"))) == ["docs/b.md", "docs/c.py"]
    assert found(tmp_path, Limits(include=("*.py", "!src/"))) == ["a.py", "docs/c.py"]
    assert found(tmp_path, Limits(include=("!src/", "*.py"))) == ["a.py", "docs/c.py", "src/d.py", "src/t/e.py"]


@pytest.mark.parametrize("glob", ["", "!", "#x", "**/a/**/b/**/c/**/d", "x" * 2000])
def test_a_glob_without_effect_is_a_usage_error(glob: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        found(tmp_path, Limits(exclude=(glob,)))


def test_hostile_rules_cost_little_time() -> None:
    started = time.monotonic()
    for line in ("*a" * 100 + "b", "*" * 500 + "b", "/".join(["*a*a*b"] * 5), "**/a/**/a/**/b", "?*" * 200):
        Rules([line]).decide("/".join(["a" * 200] * 5), False)
        Rules([line]).decide("a/" * 127 + "a", True)
    Rules(["[", "[z-a]", "\\", "!", "/", "[[:alpha:]]", "a" * 5000, "\udcff"]).decide("a", False)
    assert time.monotonic() - started < 20


@posix
def test_an_ignore_file_that_is_a_link_or_a_pipe_is_not_read(tmp_path: Path) -> None:
    plant(tmp_path, {"rules": "*.txt\n", "a/x.txt": "x", "b/x.txt": "x"})
    (tmp_path / "a" / ".gitignore").symlink_to("../rules")
    os.mkfifo(tmp_path / "b" / ".gitignore")
    assert found(tmp_path) == ["a/x.txt", "b/x.txt", "rules"]


# ---- reasons


@pytest.mark.parametrize(
    "name",
    [
        *(".env", ".env.local", "prod.env", "server.PEM", "tls.key", "ID_RSA", "id_ed25519.old", ".netrc", "cert.p12"),
        *(".npmrc", "credentials", "credentials.json", ".git-credentials", "client_secret_12.json", "secrets.yaml"),
        *("service-account-x.json", "main.tfstate"),
    ],
)
def test_names_that_look_secret_are_left_out_unless_wanted(name: str, tmp_path: Path) -> None:
    plant(tmp_path, {f"sub/{name}": "x"})
    assert skipped(tmp_path) == {f"sub/{name}": "secret"}
    assert found(tmp_path, Limits(include_secrets=True)) == [f"sub/{name}"]


def test_secret_folders_and_innocent_names(tmp_path: Path) -> None:
    plant(tmp_path, {".ssh/config": "x", "keys.py": "x"})
    assert skipped(tmp_path) == {".ssh/": "secret"}
    assert not any(map(looks_secret, ["environment.py", "keyboard.md", "credentials.py", "monkey", "secrets.md"]))


def test_reasons_by_size_and_content(tmp_path: Path) -> None:
    limits = Limits(max_file_bytes=1000, max_pdf_bytes=2000)
    for name, data in {
        "empty": b"",
        "huge": b"x" * 2001,
        "large": b"x" * 1001,
        "fits": b"x" * 1000,
        "image": b"\x89PNG\0" + b"x" * 1500,
        "noise": bytes(range(128, 256)) * 5,
    }.items():
        (tmp_path / name).write_bytes(data)
    source = open_source(tmp_path, limits)
    results = {i.path: source.read(i) if isinstance(i, Found) else i for i in source.scan()}
    assert isinstance(results.pop("fits"), Document)
    assert {path: r.reason for path, r in results.items() if isinstance(r, Skipped)} == {
        "empty": "empty",
        "huge": "too_large",
        "large": "too_large",
        "image": "binary",
        "noise": "undecodable",
    }


@posix
def test_a_sparse_terabyte_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(1 << 40)
    assert skipped(tmp_path) == {"sparse": "too_large"}


@posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root reads everything")
def test_without_permission(tmp_path: Path) -> None:
    plant(tmp_path, {"a.txt": "x", "closed/b.txt": "x"})
    (tmp_path / "a.txt").chmod(0)
    (tmp_path / "closed").chmod(0)
    try:
        source = open_source(tmp_path)
        results = [source.read(i) if isinstance(i, Found) else i for i in source.scan()]
        assert results == [Skipped("a.txt", "unreadable"), Skipped("closed/", "unreadable")]
    finally:
        (tmp_path / "closed").chmod(0o700)


def test_a_file_that_vanished_or_became_a_folder_is_unreadable(tmp_path: Path) -> None:
    plant(tmp_path, {"a": "x", "b": "x"})
    source = open_source(tmp_path)
    a, b = source.scan()
    (tmp_path / "a").unlink()
    (tmp_path / "b").unlink()
    (tmp_path / "b").mkdir()
    assert isinstance(a, Found)
    assert isinstance(b, Found)
    assert source.read(a) == Skipped("a", "unreadable")
    assert source.read(b) == Skipped("b", "unreadable")


def test_a_file_that_changed_since_the_scan_is_recorded_as_read(tmp_path: Path) -> None:
    plant(tmp_path, {"a": "old"})
    source = open_source(tmp_path, Limits(max_file_bytes=100))
    (item,) = source.scan()
    assert isinstance(item, Found)
    (tmp_path / "a").write_text("newer text")
    document = source.read(item)
    assert isinstance(document, Document)
    assert (document.text, document.size) == ("newer text", 10)
    assert document.content_hash == hashlib.sha256(b"newer text").hexdigest()
    (tmp_path / "a").write_text("x" * 101)
    assert source.read(item) == Skipped("a", "too_large")
    (tmp_path / "a").write_text("")
    assert source.read(item) == Skipped("a", "empty")


# ---- links, special files, names


@posix
def test_links_are_never_followed(tmp_path: Path) -> None:
    plant(tmp_path, {"outside/secret.txt": "x", "root/a.txt": "x", "root/sub/b.txt": "x"})
    for name, target in {
        "here": ".",
        "up": "..",
        "top": "/",
        "out": "../outside",
        "file": "../outside/secret.txt",
        "sub/one": "two",
        "sub/two": "one",
        "dangling": "nowhere",
        "inner": "sub",
    }.items():
        (tmp_path / "root" / name).symlink_to(target)
    assert found(tmp_path / "root") == ["a.txt", "sub/b.txt"]
    assert set(skipped(tmp_path / "root").values()) == {"symlink"}
    assert len(skipped(tmp_path / "root")) == 9


@posix
def test_hard_links_are_files(tmp_path: Path) -> None:
    plant(tmp_path, {"a": "x"})
    os.link(tmp_path / "a", tmp_path / "b")
    assert found(tmp_path) == ["a", "b"]


@posix
def test_special_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("sock")
        assert skipped(tmp_path) == {"pipe": "special", "sock": "special"}


@posix
def test_what_becomes_a_pipe_or_link_after_the_scan_is_not_read(tmp_path: Path) -> None:
    plant(tmp_path, {"root/a": "x", "root/b": "x", "root/c/d": "x", "outside/d": "SECRET"})
    source = open_source(tmp_path / "root")
    items = list(source.scan())
    for name in ("a", "b", "c/d"):
        (tmp_path / "root" / name).unlink()
    (tmp_path / "root" / "c").rmdir()
    os.mkfifo(tmp_path / "root" / "a")
    (tmp_path / "root" / "b").symlink_to("../outside/d")
    (tmp_path / "root" / "c").symlink_to("../outside")  # a folder on the way, not the file itself
    assert [source.read(i) for i in items if isinstance(i, Found)] == [
        Skipped(name, "unreadable") for name in ("a", "b", "c/d")
    ]


@posix
def test_a_race_between_file_and_link_never_leads_outside(tmp_path: Path) -> None:
    plant(tmp_path, {"root/sub/a": "inside", "outside/a": "SECRET", "spare/a": "inside"})
    source = open_source(tmp_path / "root")
    (item,) = source.scan()
    assert isinstance(item, Found)
    stop = threading.Event()

    def swap() -> None:
        folder, link = tmp_path / "root" / "sub", tmp_path / "link"
        while not stop.is_set():
            folder.rename(tmp_path / "aside")
            folder.symlink_to(tmp_path / "outside")
            folder.rename(link)
            (tmp_path / "aside").rename(folder)
            link.unlink()

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        results = [source.read(item) for _ in range(3000)]
    finally:
        stop.set()
        thread.join()
    assert {r.text for r in results if isinstance(r, Document)} <= {"inside"}
    assert {r.reason for r in results if isinstance(r, Skipped)} <= {"unreadable"}


HOSTILE_NAMES = [
    *("new\nline.txt", "esc\x1b[31mred.txt", "bidi\u202egnp.txt", "-rf", "~", "~root", "CON", "nul.txt", "a" * 255),
    *("tab\t.txt", "'quote\"", "$(id)", "`id`", "back\\slash", "*?[x]", "#comment", "!bang", " lead", "trail ", "...a"),
    *(
        "zero\u200bwidth",
        "tag\U000e0041",
        "emoji\U0001f600",
        "e\u0301",
        "\u00e9",
        "%s%n",
        "a;b",
        "a&b",
        "cr\rx",
        "\x7f",
    ),
]


@posix
@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
def test_hostile_names_are_names(name: str, tmp_path: Path) -> None:
    plant(tmp_path, {name: "text"})
    document = read_only_file(open_source(tmp_path))
    assert isinstance(document, Document)
    assert document.path == name


@posix
def test_rules_match_names_with_newlines(tmp_path: Path) -> None:
    plant(
        tmp_path, {".gitignore": "*.txt\nsub/\n", "a\n.txt": "x", "a.txt\n": "x", "x\ny/b.txt": "x", "x\ny/sub/z": "x"}
    )
    assert found(tmp_path) == [".gitignore", "a.txt\n"]


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems refuse such names")
def test_names_that_are_not_utf8_are_shown_escaped_and_can_be_read(tmp_path: Path) -> None:
    folder = os.path.join(os.fsencode(tmp_path), b"d\xff")
    os.mkdir(folder)
    for name in (b"caf\xe9.txt", b"skip\xfe.log"):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(b"text")
    (tmp_path / ".gitignore").write_bytes(b"skip\xfe.*\n")
    source = open_source(tmp_path)
    items = list(source.scan())
    assert [i.path for i in items] == [".gitignore", "d\\xff/caf\\xe9.txt", "d\\xff/skip\\xfe.log"]
    assert isinstance(items[1], Found)
    document = source.read(items[1])
    assert isinstance(document, Document)
    assert (document.path, document.text) == ("d\\xff/caf\\xe9.txt", "text")
    document.path.encode("utf-8")
    assert items[2] == Skipped("d\\xff/skip\\xfe.log", "ignored")


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems refuse such names")
def test_an_escaped_name_never_stands_for_another_file(tmp_path: Path) -> None:
    (tmp_path / "a\\xff").write_text("the real one")
    with open(os.path.join(os.fsencode(tmp_path), b"a\xff"), "wb") as file:
        file.write(b"the impostor")
    source = open_source(tmp_path)
    results = [source.read(i) if isinstance(i, Found) else i for i in source.scan()]
    assert sorted(type(r).__name__ for r in results) == ["Document", "Skipped"]
    assert [r.text for r in results if isinstance(r, Document)] == ["the real one"]


@posix
@pytest.mark.parametrize(("name", "depth", "reason"), [("d", 200, "special"), ("d" * 200, 50, "unreadable")])
def test_very_deep_folders_end(name: str, depth: int, reason: str, tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(depth):  # one by one, because a path over 4096 bytes is refused in one piece
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    (item,) = open_source(tmp_path).scan()
    assert isinstance(item, Skipped)
    assert item.reason == reason
    assert item.path.count("/") < depth
    subprocess.run(["rm", "-rf", str(tmp_path / name)], check=True)


def test_many_small_files(tmp_path: Path) -> None:
    for number in range(2000):
        (tmp_path / f"{number:04}").write_text("x")
    assert len(found(tmp_path)) == 2000
