/* ---- The cell: gated spiking neuron (Ponghiran & Roy 2022) ----
 *
 *     F = logistic(D_f + U_f Y)           forget signal
 *     C = clamp or ReLU(D_c + U_c Y)      candidate
 *     I = I + (1 - F) (C - I)             synaptic current
 *     Y = Q(V), V = V - Y + I             the coder; without one Y = I
 */
enum { OUTPUT, CURRENT, MEMBRANE };

static void step(recognizer *self, int layer, float *drive)
{
    float *output = self->units[layer][OUTPUT], *current = self->units[layer][CURRENT];
    const float *forget = drive, *candidate = drive + HIDDEN;
    int k;

    logistic(drive, HIDDEN);
    for (k = 0; k < HIDDEN; k++) {
        float share = 1.0f - forget[k];
#if SHIFTING
        share = power_below(share * NEAREST); /* the nearest power of two */
#endif
        current[k] = current[k] + share * (clamped(candidate[k], 0.0f, highest_candidate[layer]) - current[k]);
    }
#if CODER
    send(&coders[layer], current, self->units[layer][MEMBRANE], output, HIDDEN);
#else
    memcpy(output, current, sizeof self->units[layer][OUTPUT]);
#endif
}

