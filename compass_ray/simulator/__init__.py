"""A server that speaks the wire of OpenAI, Anthropic and Google, with faults by script.

It stands alone: it imports nothing of Compass.
"""

from compass_ray.simulator.process import SimulatorProcess

__all__ = ["SimulatorProcess"]
