"""A trained model as a file for another runtime: C99 source, an ONNX graph, a NIR graph.

    network.py      what every format needs of a model, and why some models cannot be exported
    origin.py       the mark of exported files, so that no other file is overwritten
    c/              a folder of C source
    onnx.py         the graphs of a step and of a sequence; onnx_cells.py has the equations, onnx_graph.py the rest
    nir.py          the graph of a network with a hard reset
"""
