"""The command line: one short file for each command. Installed as ``snn_asr.cli``."""
