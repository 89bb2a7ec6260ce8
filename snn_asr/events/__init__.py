"""The event engine: trained networks frame by frame on one CPU core, at a cost that follows what is not zero."""
