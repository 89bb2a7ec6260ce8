"""A trained model as a file for another runtime: C99 source, an ONNX graph, a NIR graph.

    network.py      what every format needs of a model, and why some models cannot be exported
    c.py            a folder of C source, put together from the pieces in templates/ (pieces.py)
    constants.py    the flags, sizes and numbers for the pieces; model_tables.py and rows.py have the tables and the
                    matrices, state.py the struct
    onnx.py         the graphs of a step and of a sequence; onnx_cells.py has the equations, onnx_graph.py the rest
    nir.py          the graph of a network with a hard reset
"""
