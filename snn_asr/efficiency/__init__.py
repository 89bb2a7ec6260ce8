"""What a model costs: operations, density, bytes, energy by published figures, and time on this machine."""
