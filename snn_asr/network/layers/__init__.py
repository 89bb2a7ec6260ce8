"""One layer of an encoder: input product, normalisation, and a recurrent sequence.

Every layer has ``output_size``, ``core_weights()`` (input, then recurrent if any), ``binary`` (outputs take one
non-zero magnitude: their products are additions), ``unit_products`` (element-wise multiplications a unit and frame)
and ``forward(x (B, T, D), lengths (B,), state) -> (y, state)``; one that can be asked to send less has
``activity(outputs, lengths)``.
"""
