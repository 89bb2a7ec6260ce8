/* Words of raw 16-bit sound on standard input, one a line: start and end in seconds, confidence, word.
 *
 *     arecord -q -f S16_LE -r @rate@ -c 1 -t raw | ./recognizer
 *     ffmpeg -v error -i talk.mp4 -f s16le -ac 1 -ar @rate@ - | ./recognizer
 */
#include <stdio.h>

#include "recognizer.h"

static recognizer state;

static void print_word(void *context, const recognizer_event *event)
{
    (void)context;
    if (event->kind != RECOGNIZER_WORD)
        return;
    printf("%.2f %.2f %.2f %s\n", event->start_frame * RECOGNIZER_STEP_SECONDS,
           event->end_frame * RECOGNIZER_STEP_SECONDS, event->confidence, event->text);
    fflush(stdout);
}

int main(void)
{
    unsigned char bytes[512];
    int16_t samples[256];
    size_t count, n;

    recognizer_init(&state, print_word, NULL);
    while ((count = fread(bytes, 2, 256, stdin)) > 0) {
        for (n = 0; n < count; n++)
            samples[n] = (int16_t)(bytes[2 * n] | bytes[2 * n + 1] << 8);
        recognizer_accept(&state, samples, count);
    }
    recognizer_finish(&state);
    return 0;
}
