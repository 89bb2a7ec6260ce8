"""The demo corpus: digits, spelled words and commands that espeak-ng speaks, with phone times, noise and rooms.

    corpus.py           what is prepared: the plan of all utterances, their two layouts, the manifests
    sentences.py        the grammar                     voices.py   the speakers, each in one split alone
    espeak.py           speech with the time of every phoneme (espeak_worker.py in a process of its own)
    phones.py           from espeak-ng's phonemes to TIMIT's labels
    room.py             level, reverberation and noise
"""

from snn_asr.corpora.demo.corpus import prepare

__all__ = ["prepare"]
