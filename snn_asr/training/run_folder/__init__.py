"""What a training leaves on the disk: its folder, checkpoints, identity and environment."""
