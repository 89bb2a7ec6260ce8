"""The input side: from sound to waveforms and frames of features, and from manifests and transcripts to batches."""
