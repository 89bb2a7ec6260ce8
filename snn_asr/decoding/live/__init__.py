"""Live recognition: sound from a pipe, words as they become final, and their output."""
