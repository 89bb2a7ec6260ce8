"""The training loop, and what it uses at every step or epoch: frames, losses, schedules, pruning, averages, graphs."""
