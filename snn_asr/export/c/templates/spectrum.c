/* ---- The spectrum: one window of samples to the logarithms of its mel energies, as Kaldi defines them ---- */

#ifdef RECOGNIZER_DOUBLE
#define LOGARITHM log
#else
#define LOGARITHM logf
#endif

/* Fourier transform in place of FFT_SIZE / 2 complex numbers, real and imaginary parts side by side. */
static void transform(real *z)
{
    const int count = FFT_SIZE / 2;
    int i, k, half;

    reorder(z);
    for (half = 1; half < count; half *= 2)
        for (k = 0; k < half; k++) {
            const real c = cosine_of(k * (count / half)), s = sine_of(k * (count / half));
            for (i = k; i < count; i += 2 * half) {
                real *low = z + 2 * i, *high = z + 2 * (i + half);
                const real re = high[0] * c + high[1] * s, im = high[1] * c - high[0] * s;
                high[0] = low[0] - re, high[1] = low[1] - im;
                low[0] += re, low[1] += im;
            }
        }
}

/* The power of each frequency below Nyquist's, of FFT_SIZE real samples: even ones were taken as real, odd ones as
 * imaginary parts of half as many complex numbers, and their transforms are told apart here. */
static void power_spectrum(real *samples, real *power)
{
    const int count = FFT_SIZE / 2;
    int k;

    transform(samples);
    for (k = 0; k < count; k++) {
        const real *one = samples + 2 * k, *other = samples + 2 * ((count - k) % count);
        const real even_re = (one[0] + other[0]) / 2, even_im = (one[1] - other[1]) / 2;
        const real odd_re = (one[1] + other[1]) / 2, odd_im = (other[0] - one[0]) / 2;
        const real re = even_re + cosine_of(k) * odd_re + sine_of(k) * odd_im;
        const real im = even_im + cosine_of(k) * odd_im - sine_of(k) * odd_re;
        power[k] = re * re + im * im;
    }
}

/* The window of samples, without its mean and pre-emphasised, to the logarithms of MELS energies. */
static void log_energies(recognizer *self, real *energies)
{
    real *samples = self->scratch.spectrum.samples, *power = self->scratch.spectrum.power, mean, before;
    const real *weight = mel_weights;
    int64_t total = 0;
    int k, m;

    for (k = 0; k < WINDOW; k++)
        total += self->samples[k];
    mean = (real)total / WINDOW / 32768;
    before = self->samples[0] / (real)32768 - mean; /* the sample before a window counts as its first */
    for (k = 0; k < FFT_SIZE; k++) {
        const real here = k < WINDOW ? self->samples[k] / (real)32768 - mean : 0;
        samples[k] = k < WINDOW ? (here - PREEMPHASIS * before) * window[k] : 0;
        before = here;
    }
    power_spectrum(samples, power);
    for (m = 0; m < MELS; m++) {
        real energy = 0;
        for (k = mel_first[m]; k < mel_end[m]; k++)
            energy += power[k] * *weight++;
        energies[m] = LOGARITHM(energy > ENERGY_FLOOR ? energy : ENERGY_FLOOR);
    }
}

