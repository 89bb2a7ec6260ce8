/* ---- The gate: silence and steady noise, told from sound that moves, never reach the network ----
 *
 * ONSET inputs on end above the noise open the gate, REST inputs without such a rise close it and end the segment.
 * Inputs of which it is not known yet whether they pass are held.
 */

/* Whether the sound began loud and has come down from it to these energies. */
static int has_fallen(const recognizer *self, const float *energies)
{
    uint32_t j, above = 0;
    int g;

    for (j = 0; j < self->energy_count; j++)
        for (g = 0; g < GROUPS; g++)
            if (self->energies[j][g] > energies[g] + MARGIN) {
                above++;
                break;
            }
    return above >= ONSET;
}

/* Take the energies of the next input, and whether they rise; whether the gate has opened or closed with it. */
static int gate_moves(recognizer *self, const float *energies, int rises)
{
    int risen, g;

    for (g = 0; g < GROUPS; g++)
        self->gate_heard |= energies[g] > LOWEST_ENERGY;
    self->rise = rises ? self->rise + 1 : 0;
    risen = self->rise >= ONSET || (!self->gate_decided && has_fallen(self, energies));
    self->still = risen ? 0 : self->still + 1;
    if (self->gate_open) {
        self->gate_open = self->still < REST;
        return !self->gate_open;
    }
    if (risen)
        self->gate_open = self->gate_decided = 1;
    else if (self->still >= REST)
        self->gate_decided = 1;
    return self->gate_open;
}

/* Whether the inputs that are held pass if the sound ends here: not those of digital silence. */
static int passes_at_the_end(const recognizer *self)
{
    return self->gate_open || (!self->gate_decided && self->gate_heard);
}

/* How many of the last inputs of an open gate have come too long after a rise to pass by themselves. */
static uint32_t doubtful(const recognizer *self)
{
    return self->still > HANG ? self->still - HANG : 0;
}

/* The oldest inputs that are held leave, down to `left` of them: to the network, or nowhere. */
static void release(recognizer *self, uint32_t left, int pass)
{
    while (self->held_count > left) {
        const uint32_t oldest = self->held_first;
        self->held_first = (self->held_first + 1) % HELD;
        self->held_count--;
        if (pass)
            hear(self, self->held[oldest], self->held_loud[oldest]);
        else
            self->first_frame = self->previous_end = ++self->frames;
    }
}

/* The next input, and the energies of its sound. */
static void sort_input(recognizer *self, const float *input, const float *energies)
{
    const uint32_t place = (self->held_first + self->held_count) % HELD;
    const int decided = self->gate_decided, rises = rises_above(self, energies);
    const int moves = gate_moves(self, energies, rises);

    memcpy(self->held[place], input, sizeof self->held[0]);
    self->held_loud[place] = (uint8_t)rises;
    self->held_count++;
    if (moves && !self->gate_open) {
        release(self, doubtful(self), 1);
        end_segment(self);
        release(self, 0, 0);
    } else if (moves && decided) {
        release(self, LEAD, 0);
    }
    if (self->gate_open)
        release(self, doubtful(self), 1);
    else if (self->gate_decided)
        release(self, LEAD, 0);
}

