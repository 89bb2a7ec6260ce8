"""From a trained model and sound to transcripts: search, segments between pauses, times of words, files, streams."""
