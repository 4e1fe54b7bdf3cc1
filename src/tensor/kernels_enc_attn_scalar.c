/* Attention of encoders: the scalar body, and what all bodies share. */
#include "tensor/kernels.h"
#include "tensor/kernels_enc_attn.h"

const uint16_t enc_chances[ENC_CHANCE_STEPS] = {
    16383, 16032, 15688, 15352, 15023, 14701, 14386, 14078, 13776, 13481, 13192,
    12910, 12633, 12362, 12097, 11838, 11585, 11336, 11093, 10856, 10623, 10395,
    10173, 9955,  9741,  9533,  9328,  9128,  8933,  8741,  8554,  8371,
};

size_t enc_head_bytes(int bits, size_t n, size_t d, uint8_t *memory, struct enc_room *room)
{
    const size_t rounded = (n + 3) / 4 * 4, each = (size_t)bits / 8;
    const size_t keys = rounded * d * each, values = rounded * d * 2;
    const size_t queries = ENC_QUERIES * d * each, scores = rounded * ENC_QUERIES * sizeof(float);
    if (room) {
        room->k = memory;
        room->v = room->k + keys;
        room->q = room->v + values;
        room->s = (float *)(void *)(room->q + queries);
        room->p = (uint8_t *)room->s + scores;
    }
    return keys + values + queries + scores + scores / 2;
}

void kernels_fill_scalar_enc_attn(struct kernels *k)
{
    k->enc.attend = attend;
}
