/* ---- Samples as they come ---- */

#if TIMED
/* Adds the energies of one frame to those of the input that it becomes a part of. */
static void add_energies(recognizer *self, const float *frame)
{
    int m, g = 0;

    for (m = 0; m < MELS; m++) {
#if MFCC
        float mel = 0.0f; /* of the smooth spectrum that cepstral coefficients describe */
        int k;
        for (k = 0; k < BASE; k++)
            mel += frame[k] * smooth_mels[k][m];
#else
        const float mel = frame[m];
#endif
        if (m >= group_ends[g])
            g++;
        self->group_energies[0][g] += exponential(mel);
    }
}

/* The logarithms of the mean energies of the last AVERAGED inputs, nothing below LOWEST_ENERGY counting. */
static void finish_energies(recognizer *self, float *energies)
{
    const uint32_t inputs = self->energy_count < AVERAGED ? self->energy_count + 1 : AVERAGED;
    uint32_t j;
    int g;

    for (g = 0; g < GROUPS; g++) {
        const int mels = group_ends[g] - (g ? group_ends[g - 1] : 0);
        float mean = 0.0f;
        for (j = 0; j < inputs; j++)
            mean += self->group_energies[j][g];
        mean /= (float)(inputs * STACK * mels);
        energies[g] = mean > 0.0f ? logf(mean) : LOWEST_ENERGY;
        if (energies[g] < LOWEST_ENERGY)
            energies[g] = LOWEST_ENERGY;
    }
    memmove(self->group_energies + 1, self->group_energies, (AVERAGED - 1) * sizeof self->group_energies[0]);
    memset(self->group_energies, 0, sizeof self->group_energies[0]);
}

#endif
/* A frame, normalised, becomes a part of the input that STACK of them make. */
static void stack_frame(recognizer *self, const float *frame)
{
    float *part = self->input + self->stacked * SIZE;
    int k;
#if TIMED
    float energies[GROUPS];

    add_energies(self, frame);
#endif
    for (k = 0; k < SIZE; k++)
        part[k] = (frame[k] - mean[k]) / deviation[k];
    self->stacked++;
    if (self->stacked < STACK)
        return;
    self->stacked = 0;
#if TIMED
    finish_energies(self, energies);
#if GATE
    sort_input(self, self->input, energies);
#else
    hear(self, self->input, rises_above(self, energies));
#endif
#else
    hear(self, self->input, 0);
#endif
}

#if DELTAS
static void take_base_frame(recognizer *self)
{
    float frame[SIZE];

    base_frame(self, self->context[self->base_count % CONTEXT]);
    self->base_count++;
    if (self->base_count > LOOK_AHEAD) { /* a frame's slopes are known so much later */
        with_deltas(self, (int64_t)self->base_count - 1 - LOOK_AHEAD, frame);
        stack_frame(self, frame);
    }
}
#else
static void take_base_frame(recognizer *self)
{
    float frame[SIZE];

    base_frame(self, frame);
    stack_frame(self, frame);
}
#endif

void recognizer_init(recognizer *self, recognizer_listener listener, void *context)
{
    memset(self, 0, sizeof *self);
    self->listener = listener;
    self->context_of_listener = context;
}

void recognizer_accept(recognizer *self, const int16_t *samples, size_t count)
{
    size_t n;

    for (n = 0; n < count; n++) {
        self->samples[self->sample_count++] = samples[n];
        if (self->sample_count < WINDOW)
            continue;
        take_base_frame(self);
        self->sample_count -= HOP;
        memmove(self->samples, self->samples + HOP, self->sample_count * sizeof *self->samples);
    }
}

void recognizer_finish(recognizer *self)
{
#if DELTAS
    float frame[SIZE];
    int64_t t = (int64_t)self->base_count - LOOK_AHEAD;

    for (t = t < 0 ? 0 : t; t < (int64_t)self->base_count; t++) {
        with_deltas(self, t, frame);
        stack_frame(self, frame);
    }
#endif
#if GATE
    release(self, 0, passes_at_the_end(self));
#endif
    end_segment(self);
    recognizer_init(self, self->listener, self->context_of_listener);
}
