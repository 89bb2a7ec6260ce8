typedef recognizer_real real;

/* The weights that the units of a source are multiplied by: for each unit a row of them. */
typedef struct {
#if NARROW
    const void *weights;          /* int8_t, or uint8_t with two of four bits */
#else
#if INTEGERS
    const int8_t *weights;
#else
    const float *weights;
#endif
#endif
    int length;                   /* weights of a row; where zeros are left out, of a block */
#if NARROW
    int narrow;                   /* four bits: two weights to a byte, the first in the lower half */
#endif
#if SPARSE
#if LONG
    const uint32_t *starts;       /* where zeros are left out: the first block of each row; else NULL */
#else
    const uint16_t *starts;       /* where zeros are left out: the first block of each row; else NULL */
#endif
    const uint8_t *gaps;          /* and how many blocks each one is behind the one before; NULL where single weights of
                                     four bits have their gaps in the upper half of their byte */
#endif
} matrix;

/* What sends values to a layer or to the head: the input, or the layer below. */
typedef struct {
    int units, fed, back;         /* values that it sends; sums that they add to, above and in its own layer */
    matrix onward;                /* for the sums above */
#if RECURRENT
    matrix around;                /* and for those in its own layer */
#endif
#if INTEGERS
    const float *scales;          /* one for each sum */
    float unit, highest;          /* of the values; 0: they are no multiples of one; more units are too many */
#endif
#if CHANGES
    float change;                 /* changes of its values that are larger are told; below 0: it sends the values */
    int known, told;              /* where in the state begins what is known of the values, and the sums of products */
#endif
    const float *offset;          /* of normalisation and biases, behind the sums that go on */
} source;

#if LEVELS
/* The highest level, and the highest one that stays. */
typedef struct {
    float range, threshold;
#if POWERS
    int powers; /* levels are powers of two */
#endif
} coder;

#endif
/* What a token is to the word around it. */
enum { WITHIN_WORD, STARTS_WORD, SEPARATOR, WHOLE_WORD };

