"""N-gram language models: their files, their estimation, and how they score the prefixes of a beam search."""
