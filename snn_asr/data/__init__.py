"""What goes in: sound becomes waveforms and frames of features, manifests and transcripts become batches."""
