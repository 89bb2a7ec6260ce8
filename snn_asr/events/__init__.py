"""The event engine: it runs trained networks frame by frame on one CPU core, with work only for non-zero values."""
