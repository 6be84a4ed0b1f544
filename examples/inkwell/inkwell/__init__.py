"""Inkwell: orders, prices and presses of a small print shop."""

__version__ = "2.3.0"
