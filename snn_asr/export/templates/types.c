typedef recognizer_real real;

/* What sends values to a layer or to the head: the input, or the layer below. */
typedef struct {
    int units, fed, back;         /* values that it sends; sums that they add to, above and in its own layer */
#if INT8
    const int8_t *weights;        /* for each unit one row of fed + back */
#else
    const float *weights;         /* for each unit one row of fed + back */
#endif
#if SPARSE
    const uint8_t *gaps;          /* where zeros are left out of the rows: places from one weight to the next */
    const uint32_t *starts;       /* and the first weight of each row; else both are NULL */
#endif
#if INT8
    const float *scales;          /* one for each sum */
    float unit, highest;          /* of the values; 0: they are no multiples of one; more units are too many */
#endif
    const float *scale, *offset;  /* normalisation and biases behind the sums that go on */
} source;

#if SEND
/* The range of a membrane, levels per unit of the membrane, the value of level 1, the highest level that stays. */
typedef struct {
    float range, scale, unit, threshold;
#if POWERS
    int powers; /* levels are powers of two */
#endif
} coder;

#endif
/* What a token is to the word around it. */
enum { WITHIN_WORD, STARTS_WORD, SEPARATOR, WHOLE_WORD };

