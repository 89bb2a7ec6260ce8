"""The layers of encoders: an input product for all frames, its normalisation, and the neurons of a cell.

Each cell has its layer in a file of the same name. ``base.py`` says what every layer offers, ``driven.py`` has what the
spiking layers share, and ``declared.py`` makes a layer for a cell that has no file here.
"""
