/* ---- The network: one frame through all layers and the head ----
 *
 * Source 0 is the input, source l the layer l - 1; source l feeds layer l, or the head. What a layer sends back to
 * itself waits for the next frame.
#if RESET_FIRST
 * What units hear of each other within a step comes behind those: source LAYERS + 1 + l, of layer l.
#endif
 */
static void forget_everything(recognizer *self)
{
#if INPUT_CODER
    memset(self->coded, 0, sizeof self->coded);
#endif
    memset(self->units, 0, sizeof self->units);
#if INPUT_HELD
    memset(self->held_input, 0, sizeof self->held_input);
#endif
#if CHANGES
    memset(self->known, 0, sizeof self->known);
    memset(self->told, 0, sizeof self->told);
#endif
#if WAITING
    memset(self->waiting, 0, sizeof self->waiting);
#endif
#if RECURRENT_SMOOTHING
    memset(self->fed_back, 0, sizeof self->fed_back);
#endif
#if SMOOTHING
    memset(self->integrated, 0, sizeof self->integrated);
#endif
}

/* drive = product + offset: what is left of batch normalisation, and biases. */
static void add_offset(const source *source, const float *product, float *drive)
{
    int k;

    for (k = 0; k < source->fed; k++)
        drive[k] = product[k] + source->offset[k];
}

/* One input of INPUT values to CLASSES logits. */
static void run_network(recognizer *self, const float *input, float *logits)
{
    float *product = self->scratch.network.product, *drive = self->scratch.network.drive;
    const float *values = input;
    int layer;
#if ADDED_RECURRENCE
    int k;
#endif

#if INPUT_CODER
    code_features(input, self->coded[1], self->coded[0]);
    values = self->coded[0];
#endif
#if INPUT_HELD
    hold(input, self->held_input, INPUT, INPUT_THRESHOLD);
    values = self->held_input;
#endif
    for (layer = 0; layer <= LAYERS; layer++) {
        const source *source = &sources[layer];
        const float *fed = product;
#if CHANGES
        if (source->change >= 0.0f)
            fed = tell_changes(self, source, values);
        else
#endif
            deliver(self, source, values, product);
        if (layer > 0) {
#if WAITING
            memcpy(self->waiting[layer - 1], fed + source->fed, sizeof self->waiting[0]);
#endif
#if SMOOTHING
            integrate(self->integrated[layer - 1], fed, source->fed, smoothing[layer - 1]);
            fed = self->integrated[layer - 1];
#endif
        }
        if (layer == LAYERS) {
            add_offset(source, fed, logits);
            return;
        }
        add_offset(source, fed, drive);
#if ADDED_RECURRENCE
#if RECURRENT_SMOOTHING
        integrate(self->fed_back[layer], self->waiting[layer], BACK, recurrent_smoothing[layer]);
        for (k = 0; k < BACK; k++)
            drive[k] += self->fed_back[layer][k];
#else
        for (k = 0; k < BACK; k++)
            drive[k] += self->waiting[layer][k];
#endif
#endif
        step(self, layer, drive);
        values = self->units[layer][OUTPUT];
    }
}

