/* ---- The spectrum in whole numbers: one window of samples to the logarithms of its mel energies, as Kaldi defines them
 *
 * Samples are scaled up by a power of two until the largest has 29 bits; each stage of the Fourier transform halves them.
 * Numbers are shifted to the right with their sign, as all compilers do that are known.
 */

/* value * factor, in units of 2^-30, to one or two units: of halves, whose products have 32 bits, which is all that small
 * processors multiply. */
static int32_t times(int32_t value, int32_t factor)
{
    const int32_t high = value >> 16, low = value & 0xffff, upper = factor >> 15, lower = factor & 0x7fff;

    return 2 * high * upper + ((high * lower + (1 << 13)) >> 14) + ((low * upper + (1 << 14)) >> 15);
}

/* Fourier transform in place of FFT_SIZE / 2 complex numbers, real and imaginary parts side by side, divided by their
 * count. */
static void transform(int32_t *z)
{
    const int count = FFT_SIZE / 2;
    int i, k, half;

    reorder(z);
    for (half = 1; half < count; half *= 2)
        for (k = 0; k < half; k++) {
            const int32_t c = cosine_of(k * (count / half)), s = sine_of(k * (count / half));
            for (i = k; i < count; i += 2 * half) {
                int32_t *low = z + 2 * i, *high = z + 2 * (i + half);
                const int32_t re = times(high[0], c) + times(high[1], s), im = times(high[1], c) - times(high[0], s);
                high[0] = (low[0] - re) / 2, high[1] = (low[1] - im) / 2;
                low[0] = (low[0] + re) / 2, low[1] = (low[1] + im) / 2;
            }
        }
}

/* The power of frequency k of real samples, from the transform of half as many complex numbers at k and at its mirror:
 * even samples were their real, odd ones their imaginary parts. */
static uint64_t power_of(const int32_t *one, const int32_t *other, int k)
{
    const int32_t even_re = (one[0] + other[0]) / 2, even_im = (one[1] - other[1]) / 2;
    const int32_t odd_re = (one[1] + other[1]) / 2, odd_im = (other[0] - one[0]) / 2;
    const int64_t re = even_re + times(odd_re, cosine_of(k)) + times(odd_im, sine_of(k));
    const int64_t im = even_im + times(odd_im, cosine_of(k)) - times(odd_re, sine_of(k));

    return (uint64_t)(re * re) + (uint64_t)(im * im);
}

/* A power in the place of a complex number. */
static void keep(int32_t *place, uint64_t power)
{
    const uint32_t halves[2] = {(uint32_t)(power >> 32), (uint32_t)power};

    memcpy(place, halves, sizeof halves);
}

static uint64_t kept(const int32_t *place)
{
    uint32_t halves[2];

    memcpy(halves, place, sizeof halves);
    return (uint64_t)halves[0] << 32 | halves[1];
}

/* The power of each frequency below Nyquist's, of FFT_SIZE real samples, in their place. */
static void power_spectrum(int32_t *samples)
{
    const int count = FFT_SIZE / 2;
    int k;

    transform(samples);
    for (k = 0; k <= count / 2; k++) {
        int32_t *one = samples + 2 * k, *other = samples + 2 * ((count - k) % count);
        const uint64_t power = power_of(one, other, k), mirrored = power_of(other, one, count - k);
        keep(other, mirrored);
        keep(one, power);
    }
}

/* The logarithm to base 2 of a whole number above 0, in units of 2^-22: a table of its mantissa's first eight bits,
 * and a line between. */
static int32_t logarithm(uint64_t value)
{
    int32_t exponent = 31;
    uint32_t mantissa, place, rest;

    for (; value >> 32; value >>= 1)
        exponent++;
    mantissa = (uint32_t)value;
    for (; !(mantissa >> 31); mantissa <<= 1)
        exponent--;
    place = mantissa >> 23 & 255;
    rest = mantissa >> 7 & 0xffff;
    return (int32_t)(((uint32_t)exponent << 22) + logarithms[place]
                     + ((logarithms[place + 1] - logarithms[place]) * rest >> 16));
}

/* The window of samples, without its mean and pre-emphasised, times 2^27 and so many powers of two more as are told. */
static int take_window(const recognizer *self, int32_t *samples)
{
    int64_t total = 0;
    int32_t mean, before;
    uint32_t largest = 0;
    int k, shift = 0;

    for (k = 0; k < WINDOW; k++)
        total += self->samples[k];
    mean = (int32_t)(total * 4096 / WINDOW);
    before = self->samples[0] * 4096 - mean; /* the sample before a window counts as its first */
    for (k = 0; k < WINDOW; k++) {
        const int32_t here = self->samples[k] * 4096 - mean;
        samples[k] = times(here - times(before, PREEMPHASIS), window[k]);
        largest |= (uint32_t)(samples[k] < 0 ? -samples[k] : samples[k]);
        before = here;
    }
    for (; k < FFT_SIZE; k++)
        samples[k] = 0;
    for (; largest != 0 && largest < 1u << 28; largest <<= 1)
        shift++;
    for (k = 0; k < WINDOW; k++)
        samples[k] *= (int32_t)1 << shift;
    return shift;
}

/* The logarithms of MELS energies of the window of samples. */
static void log_energies(recognizer *self, real *energies)
{
    int32_t *samples = self->scratch.spectrum.samples;
    const int32_t scale = (SCALE_BITS + 2 * take_window(self, samples)) * (1 << 22);
    const uint16_t *weight = mel_weights;
    int k, m;

    power_spectrum(samples);
    for (m = 0; m < MELS; m++) {
        uint64_t energy = 0;
        int32_t found = LOWEST_LOGARITHM;
        for (k = mel_first[m]; k < mel_end[m]; k++)
            energy += (kept(samples + 2 * k) >> 16) * *weight++;
        if (energy > 0)
            found = logarithm(energy) - scale;
        energies[m] = (real)(found > LOWEST_LOGARITHM ? found : LOWEST_LOGARITHM) * LOGARITHM_UNIT;
    }
}

