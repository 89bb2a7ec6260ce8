/* ---- Of the Fourier transform: what is the same in numbers of either kind ---- */

#if FIXED
typedef int32_t wave;
#else
typedef real wave;
#endif

/* cos and sin of 2 pi k / FFT_SIZE, k up to half of it. */
static wave cosine_of(int k)
{
    return cosine[k];
}

static wave sine_of(int k)
{
    return cosine[k < FFT_SIZE / 4 ? FFT_SIZE / 4 - k : k - FFT_SIZE / 4];
}

/* FFT_SIZE / 2 complex numbers, real and imaginary parts side by side, to the places with reversed bits. */
static void reorder(wave *z)
{
    const int count = FFT_SIZE / 2;
    int i, j = 0, bit;

    for (i = 1; i < count; i++) {
        for (bit = count >> 1; j & bit; bit >>= 1)
            j ^= bit;
        j ^= bit;
        if (i < j) {
            const wave re = z[2 * i], im = z[2 * i + 1];
            z[2 * i] = z[2 * j], z[2 * i + 1] = z[2 * j + 1];
            z[2 * j] = re, z[2 * j + 1] = im;
        }
    }
}

