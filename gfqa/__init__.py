"""gfqa: long-context question answering on the GoldFinch architecture (arXiv 2407.12077)."""

__version__ = "0.1.0"
