"""Attention of GOLD layers over cached and own tokens; picks the implementation."""

from gfqa.kernels.gold_attention.reference import LayerMemory, gold_attention

__all__ = ["LayerMemory", "gold_attention"]
