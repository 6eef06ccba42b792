"""Serve applications, one short builder each."""
