"""A trained model as one file of C99.

    export_c.py         writes the folder: recognizer.c and .h, put together from the pieces in templates/
    pieces.py           reads the pieces, and knows which of them a cell needs
    template_values.py  what fills the pieces for a model: flags, sizes and numbers, with the tables of model_tables.py,
                        the matrices of rows.py and the struct of state.py
"""
