"""Comparing hypotheses with references: alignments, error rates, their intervals and p-values."""
