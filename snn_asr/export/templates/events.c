/* ---- Events: each value that is not zero adds the row of weights behind it; the others cost nothing ---- */

#if INT8
/* Weights are integers times one scale for each sum, values are whole levels of one unit: the sums are exact. */
typedef int32_t sum;
#else
typedef float sum;
#endif

/* sums += value * row, of the row behind one unit of a source. */
static void add_row(const source *source, int unit, sum value, sum *sums)
{
    const int count = source->fed + source->back;
    int k;

#if SPARSE
    if (source->gaps) { /* a pruned matrix: only weights that are left, each so many places behind the one before */
        uint32_t place = source->starts[unit], end = source->starts[unit + 1];
        for (sum *here = sums; place < end; place++) {
            here += source->gaps[place];
            *here += value * source->weights[place];
        }
        return;
    }
#endif
    for (k = 0; k < count; k++)
        sums[k] += value * source->weights[(size_t)unit * count + k];
}

#if INT8
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
            add_row(source, i, (sum)rintf(values[i] / unit), sums);
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
            add_row(source, i, values[i], result);
}
#endif

