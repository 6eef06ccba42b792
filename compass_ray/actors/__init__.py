"""Stateful Ray actors: one authority per fact that must be true across replicas."""
