/* ---- Events: each value that is not zero adds the row of weights behind it; the others cost nothing ---- */

#if INTEGERS
/* Weights are integers times one scale for each sum, values are whole levels of one unit: the sums are exact. */
typedef int32_t sum;
#else
typedef float sum;
#endif

/* sums[k] += value * weight, for so many weights of a matrix from `first` on. */
static void add_weights(const matrix *matrix, size_t first, int count, sum value, sum *sums)
{
#if NARROW
    const int8_t *weights = matrix->weights;
    const uint8_t *pairs = matrix->weights;
    int k;

    if (matrix->narrow) {
        pairs += first / 2; /* which is even, as `count` is */
        for (k = 0; k < count; k += 2) {
            sums[k] += value * (((pairs[k / 2] & 15) ^ 8) - 8);
            sums[k + 1] += value * (((pairs[k / 2] >> 4) ^ 8) - 8);
        }
        return;
    }
    weights += first;
    for (k = 0; k < count; k++)
        sums[k] += value * weights[k];
#else
    int k;

    for (k = 0; k < count; k++)
        sums[k] += value * matrix->weights[first + k];
#endif
}

/* sums += value * row, of the row behind one unit of a source. What fills up a row's end adds zeros behind it. */
static void add_row(const matrix *matrix, int unit, sum value, sum *sums)
{
#if SPARSE
    if (matrix->starts) {
        uint32_t block = matrix->starts[unit], end = matrix->starts[unit + 1];
#if NARROW
        const uint8_t *pairs = matrix->weights;
        if (!matrix->gaps) {
            for (; block < end; block++) {
                sums += pairs[block] >> 4;
                *sums += value * (((pairs[block] & 15) ^ 8) - 8);
            }
            return;
        }
#endif
        for (; block < end; block++) {
            sums += matrix->gaps[block] * matrix->length;
            add_weights(matrix, (size_t)block * matrix->length, matrix->length, value, sums);
        }
        return;
    }
#endif
    add_weights(matrix, (size_t)unit * matrix->length, matrix->length, value, sums);
}

/* A value that is not zero adds its unit's weights to all sums of its source. */
static void add_event(const source *source, int unit, sum value, sum *sums)
{
    add_row(&source->onward, unit, value, sums);
#if RECURRENT
    if (source->back > 0)
        add_row(&source->around, unit, value, sums + source->fed);
#endif
}

#if INTEGERS
/* The unit of the values: the source's own, or where they are no levels, or too many of them, one that makes the largest
 * value 127. */
static float unit_of(const source *source, const float *values)
{
    float largest = 0.0f;
    int i;

    for (i = 0; i < source->units; i++)
        if (fabsf(values[i]) > largest)
            largest = fabsf(values[i]);
    if (source->unit > 0.0f && largest <= source->unit * source->highest)
        return source->unit;
    return largest / 127.0f > 1e-30f ? largest / 127.0f : 1e-30f;
}

/* result = the sum of value * weight over all units of a source, for each of the outputs behind it. */
static void deliver(recognizer *self, const source *source, const float *values, float *result)
{
    const int count = source->fed + source->back;
    const float unit = unit_of(source, values);
    sum *sums = self->scratch.network.sums;
    int i, k;

    memset(sums, 0, (size_t)count * sizeof *sums);
    for (i = 0; i < source->units; i++)
        if (values[i] != 0.0f)
            add_event(source, i, (sum)rintf(values[i] / unit), sums);
    for (k = 0; k < count; k++)
        result[k] = (float)sums[k] * (unit * source->scales[k]);
}
#else
/* result = the sum of value * weight over all units of a source, for each of the outputs behind it. */
static void deliver(recognizer *self, const source *source, const float *values, float *result)
{
    int i, k;

    (void)self;
    for (k = 0; k < source->fed + source->back; k++)
        result[k] = 0.0f;
    for (i = 0; i < source->units; i++)
        if (values[i] != 0.0f)
            add_event(source, i, values[i], result);
}
#endif
#if CHANGES

/* The sums for a source that sends changes: all that was told so far. What the rounding of a change leaves out is told
 * with the next one. */
static const float *tell_changes(recognizer *self, const source *source, const float *values)
{
    float *changes = self->scratch.network.changes, *product = self->scratch.network.product;
    float *known = self->known + source->known, *told = self->told + source->told;
    int i, k;
#if INTEGERS
    float unit;
#endif

    for (i = 0; i < source->units; i++) {
        changes[i] = values[i] - known[i];
        if (fabsf(changes[i]) <= source->change)
            changes[i] = 0.0f;
    }
    deliver(self, source, changes, product);
#if INTEGERS
    unit = unit_of(source, changes);
#endif
    for (i = 0; i < source->units; i++)
        if (changes[i] != 0.0f)
#if INTEGERS
            known[i] += rintf(changes[i] / unit) * unit;
#else
            known[i] = values[i];
#endif
    for (k = 0; k < source->fed + source->back; k++)
        told[k] += product[k];
    return told;
}
#endif

