/* ---- The cell: long short-term memory whose gates spike (Lotfi Rezaabad & Vishwanath 2020) ----
 *
 *     f, i, o, g = 1 where D + U h > threshold     forget, input and output gate, candidate
 *     a = f c + i g
 *     c = 1 where a > threshold, or a itself       cell: thresholded, or kept
 *     h = o c                                      output
 */
enum { OUTPUT, CELL };

static void step(recognizer *self, int layer, float *drive)
{
    float *output = self->units[layer][OUTPUT], *cell = self->units[layer][CELL];
    const float *forget = drive, *admit = drive + HIDDEN, *emit = drive + 2 * HIDDEN, *candidate = drive + 3 * HIDDEN;
    const float threshold = thresholds[layer];
    int k;

    for (k = 0; k < HIDDEN; k++) {
        const float written = admit[k] > threshold && candidate[k] > threshold ? 1.0f : 0.0f;
        cell[k] = (forget[k] > threshold ? cell[k] : 0.0f) + written;
#if THRESHOLDED
        cell[k] = cell[k] > threshold ? 1.0f : 0.0f;
#endif
        output[k] = emit[k] > threshold ? cell[k] : 0.0f;
    }
}

