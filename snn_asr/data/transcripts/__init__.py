"""References and hypotheses as texts by utterance id, read from any of the usual formats.

    reading.py            from a file or folder to Transcripts, by the name of the file
    format_detection.py   the format of a file of lines whose name does not tell it
    line_formats.py       trn, ctm, stm, and Kaldi's text; lines.py reads the lines with their places
    json_formats.py       manifests, and objects with an id
    tables.py             .csv and .tsv
    subtitles.py          .srt and .vtt
    recordings.py         the recordings that a manifest names, by which its utterances are found
"""

from snn_asr.data.transcripts.reading import EARLIER, Transcripts, by_file_name, by_recording, read_transcripts
from snn_asr.data.transcripts.recordings import by_ending, by_place, recordings_of

__all__ = [
    "EARLIER", "Transcripts", "by_ending", "by_file_name", "by_place", "by_recording", "read_transcripts",
    "recordings_of",
]
