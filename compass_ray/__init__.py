"""Compass: an AI gateway on Ray that weighs quality, cost and speed, and never overspends."""

__version__ = "0.1.0"
