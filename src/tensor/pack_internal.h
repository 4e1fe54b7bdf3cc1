/* Between pack.c, which builds strips, and pack_types.c, which reads the rows of each type. */
#ifndef HEARTH_TENSOR_PACK_INTERNAL_H
#define HEARTH_TENSOR_PACK_INTERNAL_H

#include "tensor/pack.h"

/* Groups whose values are read at a time: a super-block, or a block of int16. */
enum { PACK_GROUPS = 8, PACK_MAX_BYTES = PACK_GROUPS * GROUP * 2 };

/* How a type is packed. All functions read one row of the file. */
struct packing {
    struct mat_form form;
    const char *path;
    /* Scales, and mins where the form has them, of every half group (halves 2) or group: entry i at
     * [i * STRIP_ROWS], so that the 16 rows of a strip lie side by side. NULL for 16 bits. */
    void (*factors)(const uint8_t *row, size_t groups, float *scale, float *min);
    /* The same of super-block k: the halves d of scales and mins, and the integers of 8 groups (16
     * half groups). */
    void (*supers)(const uint8_t *row, size_t k, uint16_t d[2], uint8_t *scale, uint8_t *min);
    /* Groups [g, g + n) as the strip holds them, without the other rows: 4 bytes a group for every
     * bit. g is a multiple of PACK_GROUPS, n at most that. */
    void (*values)(const uint8_t *restrict row, size_t g, size_t n, uint8_t *restrict out);
};
extern const struct packing packings[TYPE_COUNT];

#endif
