#if HARD_RESET
/* ---- The cell: leaky integrate-and-fire neuron with a hard reset (as in NIR, Pedersen et al. 2024) ----
 *
 *     u = alpha u (1 - s) + (1 - alpha) (D + V s)           potential; after a spike it starts from 0
 *     s = 1 where u > 1                                     spike
 */
#else
/* ---- The cell: leaky integrate-and-fire neuron (Bittar & Garner 2022) ----
 *
 *     w = beta w + a u + b s                                adaptation
 *     u = alpha (u - s) + (1 - alpha) (D + V s - w)         potential; what was sent is subtracted
 *     s = 1 where u > 1                                     spike
 */
#endif
enum { OUTPUT, POTENTIAL, ADAPTATION };

static void step(recognizer *self, int layer, float *drive)
{
    float *output = self->units[layer][OUTPUT], *potential = self->units[layer][POTENTIAL];
    const float *decay = neurons[layer][0];
#if ADAPTIVE
    float *adaptation = self->units[layer][ADAPTATION];
    const float *adaptation_decay = neurons[layer][1], *coupling = neurons[layer][2], *jump = neurons[layer][3];
#endif
    int k;

    for (k = 0; k < HIDDEN; k++) {
#if ADAPTIVE
        adaptation[k] = (adaptation_decay[k] * adaptation[k] + coupling[k] * potential[k]) + jump[k] * output[k];
        drive[k] -= adaptation[k];
#endif
#if HARD_RESET
        potential[k] = decay[k] * (potential[k] * (1.0f - output[k])) + (1.0f - decay[k]) * drive[k];
#else
        potential[k] = decay[k] * (potential[k] - output[k]) + (1.0f - decay[k]) * drive[k];
#endif
        output[k] = potential[k] > 1.0f ? 1.0f : 0.0f;
    }
}

