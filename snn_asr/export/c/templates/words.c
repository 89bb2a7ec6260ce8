/* ---- Words: tokens that have ended make words that have ---- */

static void tell(recognizer *self, enum recognizer_kind kind, const char *text, uint32_t start, uint32_t end,
                 float confidence)
{
    recognizer_event event;

    event.kind = kind;
    event.text = text;
    event.start_frame = start;
    event.end_frame = end;
    event.confidence = confidence;
    if (self->listener)
        self->listener(self->context_of_listener, &event);
}

static void end_word(recognizer *self)
{
    if (self->word_length > 0)
        tell(self, RECOGNIZER_WORD, self->word, self->word_start, self->word_end, self->word_confidence);
    self->word_length = 0;
    self->word_begun = 0;
}

/* Letters join the word as far as there is room: where it ends, whole characters stay, and nothing follows them. */
static void spell(recognizer *self, const char *letters)
{
    const size_t length = strlen(letters), room = WORD_BYTES - self->word_length;
    size_t taken = length <= room ? length : room;

    while (taken < length && taken > 0 && ((unsigned char)letters[taken] & 0xc0) == 0x80)
        taken--; /* not into the middle of a character */
    memcpy(self->word + self->word_length, letters, taken);
    self->word[self->word_length + taken] = '\0';
    self->word_length = taken < length ? WORD_BYTES : self->word_length + (uint32_t)taken;
}

/* A token was best on frames [start, end). */
static void take_token(recognizer *self, int token, uint32_t start, uint32_t end, float confidence)
{
    if (!self->segment_begun || confidence < self->segment_confidence)
        self->segment_confidence = confidence;
    if (!self->segment_begun)
        self->segment_start = start;
    self->segment_begun = 1;
    self->segment_end = end;
    if (roles[token] != WITHIN_WORD)
        end_word(self);
    if (roles[token] == SEPARATOR)
        return;
    if (!self->word_begun || confidence < self->word_confidence)
        self->word_confidence = confidence;
    if (!self->word_begun)
        self->word_start = start;
    self->word_begun = 1;
    self->word_end = end;
    spell(self, labels[token]);
    if (roles[token] == WHOLE_WORD)
        end_word(self);
}

/* The best class of some logits from `first` on, and its posterior. */
static int best_of(const float *logits, int first, float *posterior)
{
    float total = 0.0f;
    int best = first, k;

    for (k = first; k < CLASSES; k++)
        if (logits[k] > logits[best])
            best = k;
    for (k = first; k < CLASSES; k++)
        total += exponential(logits[k] - logits[best]);
    *posterior = 1.0f / total;
    return best;
}

#if CLASSIFICATION
/* A model that classifies answers once, from its last frame. */
static void decode(recognizer *self, const float *logits, int loud)
{
    (void)loud;
    memcpy(self->last_logits, logits, sizeof self->last_logits);
    self->frames++;
}

static void end_token(recognizer *self)
{
    float posterior;
    int best;

    if (self->frames == 0)
        return;
    best = best_of(self->last_logits, BLANK + 1, &posterior);
    take_token(self, best, 0, self->frames, posterior);
}
#else
static int is_loud(const recognizer *self, uint32_t frame)
{
    return self->loud[frame % REACH];
}

/* Where the sound of the token began that is best from now on: behind the token before, at most REACH frames ago, and
 * not in quiet. TAIL frames of sound may still belong to the token before, where quiet follows them. */
static uint32_t sound_start(const recognizer *self)
{
    const uint32_t peak = self->frames, reached = peak > REACH ? peak - REACH : 0;
    uint32_t start = reached > self->previous_end ? reached : self->previous_end, quiet = start;

    if (start == self->previous_end && start > self->first_frame) {
        while (quiet < peak && is_loud(self, quiet))
            quiet++;
        if (quiet < peak && quiet - start <= TAIL)
            start = quiet;
    }
    while (start < peak && !is_loud(self, start))
        start++;
    return start;
}

static void end_token(recognizer *self)
{
    if (self->token != BLANK) {
        take_token(self, self->token, self->token_start, self->frames, self->posteriors / (float)self->token_frames);
        if (roles[self->token] != SEPARATOR)
            self->previous_end = self->frames;
    }
    self->token = BLANK;
    self->token_frames = 0;
    self->posteriors = 0.0f;
    self->blanks = 0;
}

/* Greedy CTC: the best class of each frame, repeats merged, blanks dropped. */
static void decode(recognizer *self, const float *logits, int loud)
{
    float posterior;
    const int best = best_of(logits, BLANK, &posterior);

    if (best != self->token) {
        end_token(self);
        self->token = best;
        self->token_start = sound_start(self);
    }
    self->loud[self->frames % REACH] = (uint8_t)loud;
    self->frames++;
    if (best == BLANK) {
        self->blanks++;
    } else {
        self->token_frames++;
        self->posteriors += posterior;
    }
}
#endif

/* A segment ends; the next one begins from the zero state. */
static void end_segment(recognizer *self)
{
    end_token(self);
    end_word(self);
    if (self->segment_begun)
        tell(self, RECOGNIZER_SEGMENT, "", self->segment_start, self->segment_end, self->segment_confidence);
    self->segment_begun = 0;
#if TIMED
    self->first_frame = self->previous_end = self->frames;
#endif
#if GATE
    self->segment_frames = 0;
#endif
    forget_everything(self);
}

/* One input goes through the network; whether it is loud tells where the sound of a token begins. */
static void hear(recognizer *self, const float *input, int loud)
{
    run_network(self, input, self->scratch.network.logits);
    decode(self, self->scratch.network.logits, loud);
#if GATE
    self->segment_frames++;
    if (self->blanks >= WORDLESS || (self->segment_frames >= LONGEST && self->blanks >= PAUSE))
        end_segment(self);
#endif
}

