"""Many files: those that a user names, their decoding, the output folder, and the formats of transcripts."""
