/* ---- The noise: energies of GROUPS bands of frequencies, held against their lowest in the last seconds ---- */

/* Remember the energies of the next input; whether it rises above the noise. */
static int rises_above(recognizer *self, const float *energies)
{
    int rises = 0, g;
    uint32_t j;

    memcpy(self->energies[self->energy_next], energies, sizeof self->energies[0]);
    self->energy_next = (self->energy_next + 1) % ENERGIES;
    if (self->energy_count < ENERGIES)
        self->energy_count++;
    for (g = 0; g < GROUPS; g++) {
        float lowest = energies[g];
        for (j = 0; j < self->energy_count; j++)
            if (self->energies[j][g] < lowest)
                lowest = self->energies[j][g];
        rises |= energies[g] > lowest + MARGIN;
    }
    return rises;
}

