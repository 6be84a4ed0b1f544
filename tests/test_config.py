"""Where the data lives, and the user's own defaults: what the file may say, and what goes before it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfqa import config
from tests.cli.test_bad_input import check
from tests.conftest import Result

Run = Callable[..., Result]


def test_gfqa_home_moves_everything(monkeypatch, tmp_path):
    monkeypatch.setenv("GFQA_HOME", str(tmp_path / "here"))
    assert config.home() == tmp_path / "here"
    assert not config.home().exists()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GFQA_HOME", "relative")
    assert config.home() == tmp_path / "relative"
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("GFQA_HOME", "~/caches")
    assert config.home() == Path("/home/someone/caches")


@pytest.mark.parametrize("value", [None, ""])
def test_without_it_the_users_data_directory_is_used(monkeypatch, value):
    monkeypatch.delenv("GFQA_HOME", raising=False)
    if value is not None:
        monkeypatch.setenv("GFQA_HOME", value)
    monkeypatch.setattr("platformdirs.user_data_dir", lambda name, appauthor: f"/data/{name}")
    assert config.home() == Path("/data/gfqa")


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The configuration file of this test; not there yet."""
    monkeypatch.delenv("GFQA_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "gfqa" / "config.toml"


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_where_the_file_is(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert config.path() == file
    monkeypatch.setenv("GFQA_CONFIG", "")
    assert config.path() == file
    monkeypatch.setenv("GFQA_CONFIG", str(tmp_path / "other.toml"))
    assert config.path() == tmp_path / "other.toml"
    monkeypatch.delenv("GFQA_CONFIG")
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert config.path() in (
        Path("/home/someone/.config/gfqa/config.toml"),
        Path("/home/someone/Library/Application Support/gfqa/config.toml"),
    )


def test_the_current_folder_is_never_a_place_of_configuration(
    file: Path, gfqa: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("config.toml", ".gfqa.toml", "gfqa.toml", "gfqa/config.toml", ".config/gfqa/config.toml"):
        write(project / name, "sources = 99\nnonsense = 1\n")
    monkeypatch.chdir(project)
    assert gfqa("ingest", ".", "-q").code == 0
    assert gfqa("config", "show", "--json").json["settings"]["sources"] == 3
    for relative in (".", "", "gfqa/.."):
        monkeypatch.setenv("XDG_CONFIG_HOME", relative)
        assert config.path().is_absolute()
        assert not config.path().is_relative_to(project)


def test_no_file_is_no_settings_unless_it_was_named(file: Path, gfqa: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.load() == {}
    write(file, "")
    assert config.load() == {}
    missing = file.parent / "missing.toml"
    monkeypatch.setenv("GFQA_CONFIG", str(missing))
    check(gfqa("caches", "list"), 2, str(missing), "GFQA_CONFIG")
    assert gfqa("config", "path").out == f"{missing}\n"
    assert gfqa("config", "set", "sources", "1").code == 0
    assert gfqa("caches", "list").code == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense = 1", ["nonsense", "max_tokens"]),
        ("[ask]\nsources = 1", ["'ask'"]),
        ("sources = '3'", ["sources", "whole number"]),
        ("sources = 1.5", ["sources", "whole number"]),
        ("sources = true", ["sources", "whole number"]),
        ("sources = -1", ["sources", "-1", "between 0 and 100"]),
        ("max_tokens = 0", ["max_tokens", "between 1 and 100000"]),
        ("reread = 1", ["reread", "true or false"]),
        ("model = 3", ["model", "a text"]),
        ("model = ''", ["model", "empty"]),
        ("device = 'gpu'", ["device", "'gpu'", "auto, cpu, cuda or cuda:N"]),
        ("cache = [1]", ["cache", "list of texts"]),
        ("cache = ''", ["cache"]),
        ("sources = ", ["no TOML"]),
        ("sources = 1\nsources = 2", ["no TOML"]),
        ("x = " + "[" * 5000, ["no TOML"]),
    ],
)
def test_a_file_that_is_wrong_is_one_sentence_naming_it(file: Path, gfqa: Run, text: str, words: list[str]) -> None:
    write(file, text)
    for arguments in (["caches", "list"], ["ask", "q"], ["config", "show"]):
        check(gfqa(*arguments), 2, str(file), *words[:1])
    error = gfqa("caches", "list", "--json").json["error"]
    assert error["code"] == 2
    whole = f"{error['message']} {error['hint']}"
    assert all(word in whole for word in words)
    for arguments in (["--help"], ["ask", "--help"], ["--version"], ["config", "path"]):
        assert gfqa(*arguments).code == 0


def test_bytes_that_are_no_text(file: Path, gfqa: Run) -> None:
    write(file, "")
    file.write_bytes(b"model = '\xff'")
    check(gfqa("caches", "list"), 2, str(file), "UTF-8")
    check(gfqa("config", "set", "sources", "1"), 2, str(file), "UTF-8")
    assert file.read_bytes() == b"model = '\xff'"


def test_a_folder_or_an_unreadable_file(file: Path, gfqa: Run) -> None:
    file.mkdir(parents=True)
    check(gfqa("caches", "list"), 1, str(file))
    check(gfqa("config", "set", "sources", "1"), 1, str(file))


def test_flags_go_before_the_environment_before_the_file(
    file: Path, gfqa: Run, project: Path, other_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gfqa("ingest", project, "-q")
    gfqa("ingest", project, "-q", "--name", "second")
    write(file, "cache = 'second'\nsources = 1\nmax_tokens = 2\n")
    answer = gfqa("ask", "q", "--json").json
    assert answer["cache"]["names"] == ["second"]
    assert len(answer["citations"]) == 1
    assert answer["tokens"]["generated"] == 2
    answer = gfqa("ask", "q", "--json", "--sources", "2", "--max-tokens", "3").json
    assert (len(answer["citations"]), answer["tokens"]["generated"]) == (2, 3)
    monkeypatch.setenv("GFQA_CACHE", "proj")
    assert gfqa("ask", "q", "--json").json["cache"]["names"] == ["proj"]
    assert gfqa("ask", "q", "--json", "-c", "second").json["cache"]["names"] == ["second"]
    write(file, f"model = '{other_model}'\ncache = ['proj', 'second']\n")
    monkeypatch.delenv("GFQA_CACHE")
    assert gfqa("ask", "q", "--json").json["cache"]["names"] == ["proj", "second"]
    monkeypatch.delenv("GFQA_MODEL")
    assert gfqa("models", "show", "--json").json["name"] == "other"
    assert gfqa("ask", "q").code == 3
    write(file, "reread = false\n")
    seen = []
    monkeypatch.setattr("gfqa.commands.ask.warm.ask", lambda *_, options, **__: seen.append(options["reread"]))
    gfqa("ask", "q", "--model", other_model)
    gfqa("ask", "q", "--model", other_model, "--reread")
    assert seen == [False, True]


def test_show_says_where_each_value_comes_from(file: Path, gfqa: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, "sources = 7\ndevice = 'cuda'\n")
    monkeypatch.setenv("GFQA_CACHE", "a b")
    monkeypatch.setenv("GFQA_NO_SERVER", "1")
    shown = gfqa("config", "show", "--origin", "--json").json
    assert list(shown) == ["schema", "path", "settings"]
    assert shown["path"] == str(file)
    assert list(shown["settings"]) == list(config.KEYS)
    assert shown["settings"]["sources"] == {"value": 7, "origin": str(file)}
    assert shown["settings"]["device"] == {"value": "cpu", "origin": "environment GFQA_DEVICE"}
    assert shown["settings"]["cache"] == {"value": ["a", "b"], "origin": "environment GFQA_CACHE"}
    assert shown["settings"]["server"] == {"value": False, "origin": "environment GFQA_NO_SERVER"}
    assert shown["settings"]["reread"] == {"value": True, "origin": "default"}
    plain = gfqa("config", "show", "--json").json["settings"]
    assert plain == {key: setting["value"] for key, setting in shown["settings"].items()}
    lines = gfqa("config", "show", "--origin").out.splitlines()
    assert lines[0] == "SETTING\tVALUE\tORIGIN"
    assert f"sources\t7\t{file}" in lines
    assert "cache\ta, b" in gfqa("config", "show").out


def test_defaults_and_bounds_are_those_of_the_flags(gfqa: Run) -> None:
    import typer.main

    from gfqa.cli import app

    ask = {option.name: option for option in typer.main.get_command(app).commands["ask"].params}  # type: ignore[attr-defined]
    for known in config.KEYS.values():
        if known.option.startswith("!"):
            assert ask[known.option[1:]].default is not known.default
        elif known.option:
            assert ask[known.option].default == known.default
    for key, known in config.KEYS.items():
        if known.kind is int:
            flag = "--" + key.replace("_", "-")
            for value in (known.bounds[0] - 1, known.bounds[1] + 1):
                check(gfqa("ask", "q", flag, str(value)), 2, flag)
            for value in known.bounds:
                check(gfqa("ask", "q", flag, str(value)), 3, "no cache")


def test_set_and_unset_keep_the_rest_of_the_file(file: Path, gfqa: Run) -> None:
    assert gfqa("config", "set", "sources", "5").err == f"sources is 5 in {file}.\n"
    assert file.read_text() == "sources = 5\n"
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("# mine\nsources = 5 # five\n\nmodel = 'm'  # the model\n")
    assert gfqa("config", "set", "sources", "6", "--json").json == {
        "schema": 1, "path": str(file), "key": "sources", "value": 6,
    }  # fmt: skip
    assert file.read_text() == "# mine\nsources = 6\n\nmodel = 'm'  # the model\n"
    gfqa("config", "set", "reread", "false")
    gfqa("config", "set", "cache", "a, b")
    gfqa("config", "unset", "sources")
    assert file.read_text() == '# mine\n\nmodel = \'m\'  # the model\nreread = false\ncache = ["a", "b"]\n'
    assert config.load() == {"model": "m", "reread": False, "cache": ["a", "b"]}


@pytest.mark.parametrize(
    "text",
    ["cache = [\n  'a', # one\n  'b',\n]\n", "'sources' = 3\n", 'model = """a\nsources = 9\n"""\n', "model = 'x'"],
)
def test_set_works_whatever_the_file_looks_like(file: Path, gfqa: Run, text: str) -> None:
    write(file, text)
    before = config.load()
    for key, value in (("sources", 4), ("cache", ["c"]), ("model", "n")):
        assert gfqa("config", "set", key, value[0] if isinstance(value, list) else str(value)).code == 0
        before[key] = value
        assert config.load() == before
    assert gfqa("config", "unset", "cache").code == 0
    del before["cache"]
    assert config.load() == before


@given(text=st.text(st.characters(blacklist_categories=["Cs"]), min_size=1))
@settings(max_examples=200, deadline=None)
def test_any_text_is_written_so_that_it_reads_back(text: str) -> None:
    written = config.changed("sources = 1\n", "model", text, Path("file"))
    assert tomllib.loads(written) == {"sources": 1, "model": text}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["set", "nonsense", "1"], ["nonsense"]),
        (["set", "sources", "many"], ["sources", "whole number"]),
        (["set", "sources", "101"], ["101"]),
        (["set", "reread", "perhaps"], ["reread", "true or false"]),
        (["set", "model", ""], ["model", "empty"]),
        (["set", "cache", "a,,b"], ["cache"]),
        (["set", "model", "\udcff"], ["model"]),
        (["set", "sources"], ["VALUE"]),
        (["unset", "nonsense"], ["nonsense"]),
    ],
)
def test_bad_values_leave_the_file_alone(file: Path, gfqa: Run, arguments: list[str], words: list[str]) -> None:
    write(file, "sources = 5\n")
    check(gfqa("config", *arguments), 2, *words)
    assert gfqa("config", *arguments, "--json").json["error"]["code"] == 2
    assert file.read_text() == "sources = 5\n"


def test_a_bad_file_is_not_written_over(file: Path, gfqa: Run) -> None:
    write(file, "nonsense = 1\n")
    check(gfqa("config", "set", "sources", "1"), 2, "nonsense", str(file))
    assert file.read_text() == "nonsense = 1\n"


def test_a_file_that_cannot_be_written(file: Path, gfqa: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, "sources = 5\n")

    def fail(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("os.fsync", fail)
    check(gfqa("config", "set", "sources", "6"), 1, str(file))
    assert file.read_text() == "sources = 5\n"
    assert list(file.parent.iterdir()) == [file]


def test_a_linked_file_stays_a_link(file: Path, gfqa: Run, tmp_path: Path) -> None:
    write(tmp_path / "dotfiles" / "gfqa.toml", "sources = 5\n")
    file.parent.mkdir(parents=True)
    file.symlink_to(tmp_path / "dotfiles" / "gfqa.toml")
    assert gfqa("config", "set", "sources", "6").code == 0
    assert file.is_symlink()
    assert (tmp_path / "dotfiles" / "gfqa.toml").read_text() == "sources = 6\n"
