"""Documents from files: walk a tree, decode text, extract PDFs. Free of torch; nothing here runs what it reads.

    source = open_source("path/to/repo")
    for item in source.scan():                # Found or Skipped, sorted by path, nothing read yet
        document = source.read(item)          # Document or Skipped

`read_many` reads in parallel and in order, `in_parallel` does more with each; `open_list` takes the files of a list;
`document_from_bytes` is for standard input.
"""

from gfqa.documents.listing import split_list
from gfqa.documents.records import REMEDIES, Document, Found, Limits, Skipped
from gfqa.documents.source import Source, document_from_bytes, in_parallel, open_list, open_source, read_many

__all__ = [
    "REMEDIES",
    "Document",
    "Found",
    "Limits",
    "Skipped",
    "Source",
    "document_from_bytes",
    "in_parallel",
    "open_list",
    "open_source",
    "read_many",
    "split_list",
]
