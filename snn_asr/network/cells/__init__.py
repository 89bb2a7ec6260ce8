"""Neuron families, one file each: equations, parameters, and a pure step over explicit state."""
