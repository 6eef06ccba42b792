"""Compass: an AI orchestration platform on Ray."""

__version__ = "0.1.0"
