"""A server that speaks the wires of all providers, with faults by script.

It stands alone: it imports nothing of Compass.
"""

from compass_ray.simulator.process import SimulatorProcess

__all__ = ["SimulatorProcess"]
