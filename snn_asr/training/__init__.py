"""Training: from a recipe and prepared data to a run folder, in one process or several, resumed after a stop."""
