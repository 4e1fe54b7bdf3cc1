/* Rotary frequencies: see rope.h. Computed in double and rounded once. */
#include "model/rope.h"

#include <math.h>

static const double pi = 3.14159265358979323846;

/* The pair whose wave turns `rotations` times over the trained context. */
static double pair_of_rotations(const struct rope_hparams *hp, double rotations)
{
    return (double)hp->rot_dim * log((double)hp->n_ctx_orig / (rotations * 2 * pi)) /
           (2 * log(hp->freq_base));
}

static double llama3(const struct rope_hparams *hp, double freq)
{
    double wave = 2 * pi / freq;
    double n = (double)hp->n_ctx_orig;
    if (wave < n / hp->high) {
        return freq;
    }
    if (wave > n / hp->low) {
        return freq / hp->factor;
    }
    double smooth = (n / wave - hp->low) / (hp->high - hp->low);
    return (1 - smooth) * freq / hp->factor + smooth * freq;
}

static double yarn(const struct rope_hparams *hp, double freq, double pair)
{
    double last = (double)hp->rot_dim - 1;
    double low = fmax(floor(pair_of_rotations(hp, hp->beta_fast)), 0);
    double high = fmin(ceil(pair_of_rotations(hp, hp->beta_slow)), last);
    double ramp = (pair - low) / fmax(high - low, 0.001);
    double interpolated = fmin(fmax(ramp, 0), 1);
    return freq / hp->factor * interpolated + freq * (1 - interpolated);
}

void rope_frequencies(const struct rope_hparams *hp, const float *factors, float *inv_freq,
                      float *mscale)
{
    for (int64_t i = 0; i < hp->rot_dim / 2; i++) {
        double freq = pow(hp->freq_base, -2.0 * (double)i / (double)hp->rot_dim);
        switch (hp->scaling) {
        case ROPE_PLAIN:
            break;
        case ROPE_LINEAR:
            freq /= hp->factor;
            break;
        case ROPE_LLAMA3:
            freq = llama3(hp, freq);
            break;
        case ROPE_YARN:
            freq = yarn(hp, freq, (double)i);
            break;
        }
        if (factors) {
            freq /= (double)factors[i];
        }
        inv_freq[i] = (float)freq;
    }
    bool stretched = hp->scaling == ROPE_YARN && hp->factor > 1;
    *mscale = (float)(hp->attn_factor * (stretched ? 0.1 * log(hp->factor) + 1 : 1));
}
