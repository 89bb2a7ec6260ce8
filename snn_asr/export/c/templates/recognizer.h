/* @title@
 *
 *     static recognizer state;                    @ram@ bytes on a 32-bit device; no other memory is taken
 *
 *     recognizer_init(&state, heard, NULL);       heard(context, event) is called with every word
 *     recognizer_accept(&state, samples, count);  any number of samples at a time, @rate@ a second, one channel
 *     recognizer_finish(&state);                  the end of the sound; the state is then ready for another
 *
 * C99 and math.h alone; two states never share anything but constants. Compiled with -DRECOGNIZER_DOUBLE features are
 * computed in double precision, as snn-asr does: slower where the processor has none.
 */
#ifndef RECOGNIZER_H
#define RECOGNIZER_H

#include <stddef.h>
#include <stdint.h>

#ifdef RECOGNIZER_DOUBLE
typedef double recognizer_real;
#else
typedef float recognizer_real;
#endif

#define RECOGNIZER_SAMPLE_RATE @rate@   /* hertz */
#define RECOGNIZER_STEP_SECONDS @step@  /* from one frame of the events below to the next */

enum recognizer_kind {
    RECOGNIZER_WORD,    /* a word is final */
    RECOGNIZER_SEGMENT  /* a stretch of speech is: silence follows; its text is empty, its words have been told */
};

typedef struct {
    enum recognizer_kind kind;
    const char *text;                /* UTF-8, valid until the listener returns; cut after @word_bytes@ bytes */
    uint32_t start_frame, end_frame; /* frames since the start of the stream, the end excluded */
    float confidence;                /* 0 to 1: of the least certain token */
} recognizer_event;

typedef void (*recognizer_listener)(void *context, const recognizer_event *event);

/* All that is remembered from one sample to the next. */
typedef struct {
@state@
} recognizer;

/* Begin a sound. The listener, called from the two functions below, is given `context` as it is. */
void recognizer_init(recognizer *self, recognizer_listener listener, void *context);

/* Take the next samples. */
void recognizer_accept(recognizer *self, const int16_t *samples, size_t count);

/* The sound has ended: what is left is told. The state then begins another. */
void recognizer_finish(recognizer *self);

#endif
