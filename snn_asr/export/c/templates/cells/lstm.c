/* ---- The cell: long short-term memory ----
 *
 *     i, f, o = logistic(D + U h), g = tanh(D_g + U_g h)
 *     c = f c + i g
 *     h = o tanh(c)                                output
 */
enum { OUTPUT, CELL };

static void step(recognizer *self, int layer, float *drive)
{
    float *output = self->units[layer][OUTPUT], *cell = self->units[layer][CELL];
    float *admit = drive + ADMIT * HIDDEN, *forget = drive + FORGET * HIDDEN;
    float *candidate = drive + CANDIDATE * HIDDEN, *emit = drive + EMIT * HIDDEN;
    int k;

    logistic(admit, HIDDEN);
    logistic(forget, HIDDEN);
    logistic(emit, HIDDEN);
    tangent(candidate, HIDDEN);
    for (k = 0; k < HIDDEN; k++)
        output[k] = cell[k] = forget[k] * cell[k] + admit[k] * candidate[k];
    tangent(output, HIDDEN);
    for (k = 0; k < HIDDEN; k++)
        output[k] *= emit[k];
}

