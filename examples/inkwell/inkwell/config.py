"""Configuration: built-in defaults, overridden by a TOML file."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

DEFAULT_PATH = "inkwell.toml"
ENVIRONMENT_VARIABLE = "INKWELL_CONFIG"


class ConfigError(ValueError):
    """A configuration file with an unknown section, an unknown key, or a value of the wrong type."""


@dataclass(frozen=True)
class ServerConfig:
    host: str = "127.0.0.1"
    port: int = 8471
    max_body_bytes: int = 65536


@dataclass(frozen=True)
class StorageConfig:
    path: str = "orders.db"
    backup_hour: int = 3


@dataclass(frozen=True)
class RatesConfig:
    url: str = "https://rates.example.org/daily.json"
    base: str = "EUR"
    refresh_minutes: int = 90


@dataclass(frozen=True)
class QueueConfig:
    max_attempts: int = 5
    retry_delay_seconds: int = 45


@dataclass(frozen=True)
class NotifyConfig:
    sender: str = "orders@inkwell.example"
    smtp_host: str = "localhost"
    smtp_port: int = 587


@dataclass(frozen=True)
class Config:
    """All sections together. Use `load_config` to make one."""

    server: ServerConfig = ServerConfig()
    storage: StorageConfig = StorageConfig()
    rates: RatesConfig = RatesConfig()
    queue: QueueConfig = QueueConfig()
    notify: NotifyConfig = NotifyConfig()


def load_config(path: str | None = None) -> Config:
    """Read the file at `path`, at $INKWELL_CONFIG, or at inkwell.toml; without any of them the defaults count."""
    chosen = Path(path or os.environ.get(ENVIRONMENT_VARIABLE, DEFAULT_PATH))
    if not chosen.exists():
        if path:
            raise ConfigError(f"{chosen} does not exist")
        return Config()
    with chosen.open("rb") as file:
        return parse_config(tomllib.load(file))


def parse_config(data: dict[str, dict[str, object]]) -> Config:
    """Turn a parsed TOML file into a Config; unknown keys are errors, so that a typing mistake is noticed."""
    sections = {field.name: field.default for field in fields(Config)}
    for name, values in data.items():
        if name not in sections:
            raise ConfigError(f"unknown section [{name}]")
        section_type = type(sections[name])
        known = {field.name: type(field.default) for field in fields(section_type)}
        for key, value in values.items():
            if key not in known:
                raise ConfigError(f"unknown key {key} in [{name}]")
            if not isinstance(value, known[key]):
                raise ConfigError(f"{key} in [{name}] must be of type {known[key].__name__}")
        sections[name] = section_type(**values)
    return Config(**sections)
