"""A trained model as a file for another runtime: C99 source, an ONNX graph, a NIR graph.

    network.py      what of a model every format needs, and why a model cannot be exported
    c.py            the folder of C source, put together from the pieces in templates/ (pieces.py)
    constants.py    sizes, switches and tables that the pieces need; rows.py the matrices, state.py the struct
    onnx.py         the graphs of a step and of a sequence; onnx_cells.py every cell's equations, onnx_graph.py the rest
    nir.py          the graph of a network with a hard reset
"""
