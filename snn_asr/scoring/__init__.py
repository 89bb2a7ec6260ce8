"""How far a hypothesis lies from its reference: alignments, error rates, their intervals and p-values."""
