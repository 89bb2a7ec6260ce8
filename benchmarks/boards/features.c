/* Writes the features of every window of the samples that it reads, without deltas. */
#include <stdio.h>
#include "recognizer.c"

int main(void)
{
    static recognizer state;
    float frame[BASE];
    int16_t sample;

    while (fread(&sample, 2, 1, stdin) == 1) {
        state.samples[state.sample_count++] = sample;
        if (state.sample_count < WINDOW)
            continue;
        base_frame(&state, frame);
        fwrite(frame, sizeof frame, 1, stdout);
        state.sample_count -= HOP;
        memmove(state.samples, state.samples + HOP, state.sample_count * sizeof *state.samples);
    }
    return 0;
}
