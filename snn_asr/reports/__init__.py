"""Finished runs and trained models set side by side, in tables and figures."""
