"""Segments of speech: which sound the network hears, where a segment begins and ends, and the times in it."""
