/* ---- The cell: gated recurrent unit ----
 *
 *     r, z = logistic(D + U h)                     reset, update
#if RESET_FIRST
 *     n = tanh(D_n + U_n (r h))                    new
#else
 *     n = tanh(D_n + r (U_n h + b))                new
#endif
 *     h = (1 - z) n + z h                          output
 */
enum { OUTPUT };

static void step(recognizer *self, int layer, float *drive)
{
    float *output = self->units[layer][OUTPUT];
    float *reset = drive + RESET * HIDDEN, *update = drive + UPDATE * HIDDEN, *candidate = drive + CANDIDATE * HIDDEN;
    const float *recurrent = self->waiting[layer];
#if RESET_FIRST
    float *product = self->scratch.network.product;
#else
    const float *bias = neurons[layer][0];
#endif
    int k;

    for (k = 0; k < 2 * HIDDEN; k++)
        drive[k] += recurrent[k];
    logistic(drive, 2 * HIDDEN);
#if RESET_FIRST
    for (k = 0; k < HIDDEN; k++)
        reset[k] *= output[k];
    deliver(self, &sources[LAYERS + 1 + layer], reset, product);
    for (k = 0; k < HIDDEN; k++)
        candidate[k] += product[k];
#else
    for (k = 0; k < HIDDEN; k++)
        candidate[k] += reset[k] * (recurrent[2 * HIDDEN + k] + bias[k]);
#endif
    tangent(candidate, HIDDEN);
    for (k = 0; k < HIDDEN; k++)
        output[k] = candidate[k] + update[k] * (output[k] - candidate[k]);
}

