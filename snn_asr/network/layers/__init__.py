"""One layer of an encoder a file: an input product for all frames, its normalisation, and the neurons of a cell.

``base.py`` says what every layer offers, ``driven.py`` is common to the spiking ones, ``declared.py`` makes a layer
of a cell that has none of its own.
"""
