"""Recipes: every key that one can set, reading and merging their files, and the configuration that results."""
