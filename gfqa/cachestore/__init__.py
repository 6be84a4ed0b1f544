"""The cache store: token ids and compressed keys on disk, by content, so that nothing is read twice.

`Store` reads, `StoreWriter` writes, `Manifest` says which documents a cache has. Torch-free; docs/store.md has the format.
"""

from gfqa.cachestore.catalog import CacheInfo, DocumentEntry, Manifest, Reading, check_name
from gfqa.cachestore.keys import SEGMENT_TOKENS, Identity, chain_keys, segment_key
from gfqa.cachestore.memory import ChainData, HostRows, MakeRows, MemoryArrays, Pieces, Places
from gfqa.cachestore.store import CacheChanged, OnWait, Store
from gfqa.cachestore.writer import StoreWriter

__all__ = [
    "SEGMENT_TOKENS",
    "CacheChanged",
    "CacheInfo",
    "ChainData",
    "DocumentEntry",
    "HostRows",
    "Identity",
    "MakeRows",
    "Manifest",
    "MemoryArrays",
    "OnWait",
    "Pieces",
    "Places",
    "Reading",
    "Store",
    "StoreWriter",
    "chain_keys",
    "check_name",
    "segment_key",
]
