/* ---- The cell: gated recurrent unit ----
 *
 *     r, z = logistic(D + U h)                     reset, update
 *     n = tanh(D_n + r (U_n h + b))                new
 *     h = (1 - z) n + z h                          output
 */
enum { OUTPUT };

static void step(recognizer *self, int layer, float *drive)
{
    float *output = self->units[layer][OUTPUT];
    const float *recurrent = self->waiting[layer], *bias = neurons[layer][0];
    float *reset = drive, *update = drive + HIDDEN, *candidate = drive + 2 * HIDDEN;
    int k;

    for (k = 0; k < 2 * HIDDEN; k++)
        drive[k] += recurrent[k];
    logistic(drive, 2 * HIDDEN);
    for (k = 0; k < HIDDEN; k++)
        candidate[k] += reset[k] * (recurrent[2 * HIDDEN + k] + bias[k]);
    tangent(candidate, HIDDEN);
    for (k = 0; k < HIDDEN; k++)
        output[k] = candidate[k] + update[k] * (output[k] - candidate[k]);
}

