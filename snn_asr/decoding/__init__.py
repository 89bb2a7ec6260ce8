"""Recognition: from a trained model and sound to transcripts of files and live streams, with the times of words."""
