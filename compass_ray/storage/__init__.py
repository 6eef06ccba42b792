"""Stores: what outlives a process."""
