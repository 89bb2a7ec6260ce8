"""From a recipe and prepared data to a run folder, in one process or several, resumed where it was stopped."""
