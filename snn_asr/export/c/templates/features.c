/* ---- Features: what a window's energies become ---- */

/* A window of samples to BASE features. */
static void base_frame(recognizer *self, float *frame)
{
    real energies[MELS];
    int k;
#if MFCC
    int m;
#endif

    log_energies(self, energies);
#if MFCC
    for (k = 0; k < BASE; k++) { /* the cosine transform, liftered */
        real sum = 0;
        for (m = 0; m < MELS; m++)
            sum += energies[m] * cepstral[m][k];
        frame[k] = (float)sum;
    }
#else
    for (k = 0; k < BASE; k++)
        frame[k] = (float)energies[k];
#endif
}

#if DELTAS
/* Frame t of those that a stream remembers; before the first and behind the last stand these themselves. */
static const float *context_of(const recognizer *self, int64_t t)
{
    const int64_t last = (int64_t)self->base_count - 1;

    t = t < 0 ? 0 : t > last ? last : t;
    return self->context[t % CONTEXT];
}

/* The slope of feature k over five frames around t. */
static float slope(const recognizer *self, int64_t t, int k)
{
    const double inner = (double)context_of(self, t + 1)[k] - context_of(self, t - 1)[k];
    const double outer = (double)context_of(self, t + 2)[k] - context_of(self, t - 2)[k];
    return (float)((inner + 2 * outer) / 10);
}

/* Slopes exist where frames do: before the first and behind the last stand these themselves. */
static float edged_slope(const recognizer *self, int64_t t, int k)
{
    const int64_t last = (int64_t)self->base_count - 1;
    return slope(self, t < 0 ? 0 : t > last ? last : t, k);
}

/* Frame t with its slopes, and the slopes of these. */
static void with_deltas(const recognizer *self, int64_t t, float *frame)
{
    int k;

    for (k = 0; k < BASE; k++) {
        const double inner = (double)edged_slope(self, t + 1, k) - edged_slope(self, t - 1, k);
        const double outer = (double)edged_slope(self, t + 2, k) - edged_slope(self, t - 2, k);
        frame[k] = context_of(self, t)[k];
        frame[BASE + k] = slope(self, t, k);
        frame[2 * BASE + k] = (float)((inner + 2 * outer) / 10);
    }
}

#endif
