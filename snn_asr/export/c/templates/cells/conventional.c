/* ---- The cell: conventional spiking neuron ----
 *
 *     I = decay I + D                     synaptic current
 *     Y = Q(V), V = V - Y + I             the coder; without one Y = I
 */
enum { OUTPUT, CURRENT, MEMBRANE };

static void step(recognizer *self, int layer, float *drive)
{
    float *output = self->units[layer][OUTPUT], *current = self->units[layer][CURRENT];
    const float *decay = neurons[layer][0];
    int k;

    for (k = 0; k < HIDDEN; k++)
        current[k] = decay[k] * current[k] + drive[k];
#if CODER
    send(&coders[layer], current, self->units[layer][MEMBRANE], output, HIDDEN);
#else
    memcpy(output, current, sizeof self->units[layer][OUTPUT]);
#endif
}

