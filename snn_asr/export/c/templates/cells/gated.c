/* ---- The cell: gated spiking neuron (Ponghiran & Roy 2022) ----
 *
 *     F = logistic(D_f + U_f Y)           forget signal
 *     C = clamp or ReLU(D_c + U_c Y)      candidate
 *     I = F I + (1 - F) C                 synaptic current
 *     Y = Q(V), V = V - Y + I             the coder; without one Y = I
 */
enum { OUTPUT, CURRENT, MEMBRANE };

static void step(recognizer *self, int layer, float *drive)
{
    float *output = self->units[layer][OUTPUT], *current = self->units[layer][CURRENT];
    const float *forget = drive, *candidate = drive + HIDDEN;
    int k;

    logistic(drive, HIDDEN);
#if SHIFTING
    for (k = 0; k < HIDDEN; k++) /* 1 - F is the nearest power of two */
        drive[k] = 1.0f - power_below((1.0f - drive[k]) * NEAREST);
#endif
    for (k = 0; k < HIDDEN; k++)
        current[k] = forget[k] * current[k] + (1.0f - forget[k]) * clamped(candidate[k], 0.0f, HIGHEST_CANDIDATE);
#if CODER
    send(&coders[layer], current, self->units[layer][MEMBRANE], output, HIDDEN);
#else
    memcpy(output, current, sizeof self->units[layer][OUTPUT]);
#endif
}

