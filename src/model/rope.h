/* Rotary frequencies: the table of inverse frequencies that a model's scaling asks for. */
#ifndef HEARTH_MODEL_ROPE_H
#define HEARTH_MODEL_ROPE_H

#include "model/hparams.h"

/* inv_freq[i] = freq_base^(-2i / rot_dim) for i < rot_dim / 2, then
 * - linear: divided by factor (Chen et al. 2023, position interpolation);
 * - llama3: long waves divided by factor, short ones kept, a ramp between (Llama 3.1 model card);
 * - YaRN: interpolated by parts between beta_slow and beta_fast rotations, and *mscale =
 *   attn_factor * (0.1 ln(factor) + 1) (Peng et al. 2023, sections 3.2 and 3.4);
 * - `factors` (rope_freqs.weight of a GGUF file, rot_dim / 2 numbers; NULL: none): divided by them.
 */
void rope_frequencies(const struct rope_hparams *hp, const float *factors, float *inv_freq,
                      float *mscale);
#endif
