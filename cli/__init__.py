"""The command line: one short file a command. Installed as ``snn_asr.cli``."""
