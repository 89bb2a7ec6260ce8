/* ---- The cell: gated recurrent unit ----
 *
 *     r, z = logistic(D + U h)                     reset, update
#if RESET_FIRST
 *     n = tanh(D_n + U_n (r h))                    new
#else
#if HOLDING
 *     n = tanh(D_n + r U_n h)                      new
#else
 *     n = tanh(D_n + r (U_n h + b))                new
#endif
#endif
 *     h = (1 - z) n + z h                          output
#if HOLDING
 *
 * The output, and what U is multiplied by, is h as it was when it last had changed by more than the threshold.
#endif
 */
#if HOLDING
enum { OUTPUT, VALUE };
#else
enum { OUTPUT, VALUE = OUTPUT };
#endif

static void step(recognizer *self, int layer, float *drive)
{
    float *value = self->units[layer][VALUE];
    float *reset = drive + RESET * HIDDEN, *update = drive + UPDATE * HIDDEN, *candidate = drive + CANDIDATE * HIDDEN;
#if HOLDING
    const source *own = &sources[layer + 1];
    const float *recurrent = self->told + own->told + own->fed;
#else
    const float *recurrent = self->waiting[layer];
#endif
#if RESET_FIRST
    float *product = self->scratch.network.product;
#endif
#if BIASED
    const float *bias = neurons[layer][0];
#endif
    int k;

    for (k = 0; k < 2 * HIDDEN; k++)
        drive[k] += recurrent[k];
    logistic(drive, 2 * HIDDEN);
#if RESET_FIRST
    for (k = 0; k < HIDDEN; k++)
        reset[k] *= value[k];
    deliver(self, &sources[LAYERS + 1 + layer], reset, product);
    for (k = 0; k < HIDDEN; k++)
        candidate[k] += product[k];
#else
    for (k = 0; k < HIDDEN; k++)
#if BIASED
        candidate[k] += reset[k] * (recurrent[2 * HIDDEN + k] + bias[k]);
#else
        candidate[k] += reset[k] * recurrent[2 * HIDDEN + k];
#endif
#endif
    tangent(candidate, HIDDEN);
    for (k = 0; k < HIDDEN; k++)
        value[k] = candidate[k] + update[k] * (value[k] - candidate[k]);
#if HOLDING
    hold(value, self->units[layer][OUTPUT], HIDDEN, thresholds[layer]);
#endif
}

