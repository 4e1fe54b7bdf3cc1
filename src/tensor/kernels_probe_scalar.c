/* What plain C can do at most: see probe.h. */
#include "tensor/kernels.h"

#include <string.h>

static uint32_t read_words(const uint8_t *p, size_t n)
{
    uint32_t sums[16] = {0}, sum = 0;
    for (size_t i = 0; i < n; i += 64) {
        uint32_t words[16];
        memcpy(words, p + i, 64);
        for (size_t j = 0; j < 16; j++) {
            sums[j] += words[j];
        }
    }
    for (size_t j = 0; j < 16; j++) {
        sum += sums[j];
    }
    return sum;
}

/* As the scalar products: a byte times a byte, into 32 bits. */
static uint64_t int_products(size_t rounds, const int8_t *operands, uint32_t *sum)
{
    uint32_t lanes[64] = {0};
    for (size_t r = 0; r < rounds; r++) {
        __asm__ volatile("" : "+r"(operands) : : "memory"); /* anew in each round */
        for (size_t i = 0; i < 64; i++) {
            lanes[i] += (uint32_t)(operands[i] * operands[i]);
        }
    }
    *sum = 0;
    for (size_t i = 0; i < 64; i++) {
        *sum += lanes[i];
    }
    return 2 * 64 * (uint64_t)rounds;
}

void kernels_fill_scalar_probe(struct kernels *k)
{
    k->read_words = read_words;
    k->int_products = int_products;
}
