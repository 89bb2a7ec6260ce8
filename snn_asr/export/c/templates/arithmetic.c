/* ---- Arithmetic that several parts share ---- */

static float clamped(float value, float lowest, float highest)
{
    return value > lowest ? (value < highest ? value : highest) : lowest;
}

/* e^x = 2^k e^r with |r| <= ln 2 / 2 and the Cephes polynomial for e^r: within two units of the last place, 0 below
 * -88, infinite above 88.4. */
static float exponential(float x)
{
    float power, r, tail, scale;
    uint32_t bits;
    int32_t whole;

    x = clamped(x, -88.0f, 89.0f);
    power = x * 1.44269504f + 0.5f;
    whole = (int32_t)power - (power < (float)(int32_t)power); /* rounded down, without a call of floorf */
    power = (float)whole;
    r = (x - power * 0.693359375f) - power * -2.12194440e-4f;
    tail = 1.9875691500e-4f * r + 1.3981999507e-3f;
    tail = tail * r + 8.3334519073e-3f;
    tail = tail * r + 4.1665795894e-2f;
    tail = tail * r + 1.6666665459e-1f;
    tail = tail * r + 5.0000001201e-1f;
    bits = (uint32_t)(whole + 127) << 23;
    memcpy(&scale, &bits, sizeof scale);
    return (tail * (r * r) + r + 1.0f) * scale;
}

#if LOGISTIC
/* 1 / (1 + e^-x) */
static void logistic(float *values, int count)
{
    int k;

    for (k = 0; k < count; k++)
        values[k] = 1.0f / (1.0f + exponential(-values[k]));
}

#endif
#if TANGENT
/* tanh x = 1 - 2 / (1 + e^2x) */
static void tangent(float *values, int count)
{
    int k;

    for (k = 0; k < count; k++)
        values[k] = 1.0f - 2.0f / (1.0f + exponential(2.0f * values[k]));
}

#endif
#if HOLD
/* Values as they were when they last had changed by more than the threshold. */
static void hold(const float *values, float *held, int count, float threshold)
{
    int k;

    for (k = 0; k < count; k++)
        if (fabsf(values[k] - held[k]) > threshold)
            held[k] = values[k];
}

#endif
#if INTEGRATORS
/* A leaky integrator: kept = a kept + (1 - a) given. */
static void integrate(float *kept, const float *given, int count, float coefficient)
{
    int k;

    for (k = 0; k < count; k++)
        kept[k] = given[k] + coefficient * (kept[k] - given[k]);
}

#endif
#if POWERS
/* Rounded towards zero to a power of two with its sign: the mantissa is cleared; 0 stays 0. */
static float power_below(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    bits &= 0xff800000u;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#endif
#if LEVELS
/* The level of a membrane that is in units of levels: a whole number, and 0 up to the threshold. */
static float level_of(const coder *coder, float membrane)
{
    float level = clamped(membrane, -coder->range, coder->range);

#if POWERS
    if (coder->powers) /* of 32 bits the highest is 2^31, which is no int32_t */
        level = fabsf(level) < 1.0f ? 0.0f : power_below(level);
    else
#endif
        level = (float)(int32_t)level;
    return fabsf(level) > coder->threshold ? level : 0.0f;
}

#endif
#if CODER
/* The multi-level coder, in units of its levels: V = V - Y + I, then Y = the level of V. What is sent is subtracted from
 * the membrane at the next frame. */
static void send(const coder *coder, const float *current, float *membrane, float *output, int count)
{
    int k;

    for (k = 0; k < count; k++) {
        membrane[k] = (membrane[k] - output[k]) + current[k];
        output[k] = level_of(coder, membrane[k]);
    }
}

#endif
#if INPUT_CODER
/* The same for features: membranes and outputs are in units of the features, of which a level is INPUT_UNIT. */
static void code_features(const float *features, float *membrane, float *output)
{
    int k;

    for (k = 0; k < INPUT; k++) {
        membrane[k] = (membrane[k] - output[k]) + features[k];
        output[k] = level_of(&input_coder, membrane[k] * INPUT_SCALE) * INPUT_UNIT;
    }
}

#endif
