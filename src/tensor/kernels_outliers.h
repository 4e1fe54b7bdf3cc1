/* Columns that are multiplied as floats (kernels.h, struct outliers), for any width of vector: the
 * body of kernels_outliers_<isa>.c. A vector of the compiler's has one lane for each row of a
 * strip; sums and products are rounded one by one, so that every processor gives the same bits. */
#include "tensor/pack.h"
#include "tensor/types_internal.h"

#include <string.h>

typedef uint32_t words __attribute__((vector_size(64)));
typedef int32_t ints __attribute__((vector_size(64)));
typedef float floats __attribute__((vector_size(64)));
typedef uint16_t halves16 __attribute__((vector_size(32)));
typedef int8_t bytes16 __attribute__((vector_size(16)));

/* Factor i of 16 rows: of group g, or of the super-block that g is in. */
static inline __attribute__((always_inline)) void
load_factors(const struct strip *w, const struct mat_form *form, size_t g, size_t i, floats *out)
{
    const size_t n = group_factors(form);
    const uint8_t *at = w->factors + (g * n + i) * STRIP_ROWS * 2, *unit = at;
    if (form->super) {
        unit = w->factors + strip_factor_bytes(form, g / SUPER_GROUPS * SUPER_GROUPS);
        at = unit + (form->has_min ? 2 : 1) * STRIP_ROWS * 2;
        at += (g % SUPER_GROUPS * n + i) * STRIP_ROWS;
        unit += i < (size_t)form->halves ? 0 : STRIP_ROWS * 2;
    }
    halves16 h;
    memcpy(&h, unit, sizeof h);
    const words bits = __builtin_convertvector(h, words);
    const words small = (bits & 0x7fff) << 13; /* exact for subnormals, too */
    const words scaled = (words)((floats)small * 0x1p112f);
    const words wild = (words)(small >= 0x0f800000);
    const words v = (scaled & ~wild) | ((small | 0x7f800000) & wild) | (bits & 0x8000) << 16;
    *out = (floats)v;
    if (form->super) {
        bytes16 b;
        memcpy(&b, at, sizeof b);
        *out *= __builtin_convertvector(b, floats);
    }
}

static void column(const struct strip *w, const struct mat_form *form, size_t c, float out[16])
{
    const size_t g = c / GROUP, quad = c % GROUP / 4, byte = c % 4 * 8;
    const size_t halves = (size_t)form->halves, h = c % GROUP / (GROUP / halves);
    const uint8_t *plane = w->values + g * (size_t)form->bits * 64;
    words v = {0};
    uint32_t pos = 0;
    for (uint32_t p = 8; p; p /= 2) {
        if ((uint32_t)form->bits & p) {
            words d;
            memcpy(&d, plane + quad % p * 64, sizeof d);
            d >>= (uint32_t)(byte + quad / p * p);
            v |= (d & ((1u << p) - 1)) << pos;
            plane += p * 64;
            pos += p;
        }
    }
    if (form->table) {
        for (size_t r = 0; r < STRIP_ROWS; r++) {
            v[r] = (uint32_t)(int32_t)iq4_values[v[r]];
        }
    } else {
        v -= (uint32_t)value_offset(form);
    }
    floats f = __builtin_convertvector((ints)v, floats), factor;
    load_factors(w, form, g, h, &factor);
    f *= factor;
    if (form->has_min) {
        load_factors(w, form, g, halves + h, &factor);
        f += factor;
    }
    memcpy(out, &f, sizeof f);
}

/* Every token takes as many steps as the one with most: a loop of its own length for each would be
 * predicted wrongly most of the time. */
static inline __attribute__((always_inline)) void
add_side(const size_t n, const struct outliers *o, int32_t most, const float *columns, float *tile)
{
    floats acc[PANEL_TOKENS], w;
#pragma GCC unroll 8
    for (size_t t = 0; t < n; t++) {
        memcpy(&acc[t], tile + t * 2 * STRIP_ROWS, sizeof w);
    }
    for (int32_t i = 0; i < most; i++) {
#pragma GCC unroll 8
        for (size_t t = 0; t < n; t++) {
            memcpy(&w, columns + (ptrdiff_t)o[t].col[i] * 2 * STRIP_ROWS, sizeof w);
            acc[t] += w * o[t].x[i];
        }
    }
#pragma GCC unroll 8
    for (size_t t = 0; t < n; t++) {
        memcpy(tile + t * 2 * STRIP_ROWS, &acc[t], sizeof w);
    }
}

static void add_outliers(const struct outliers *o, size_t n, const float *columns, float *tile)
{
    const int32_t most = outliers_most(o, n);
    if (n == PANEL_TOKENS) {
        add_side(PANEL_TOKENS, o, most, columns, tile);
        add_side(PANEL_TOKENS, o, most, columns + STRIP_ROWS, tile + STRIP_ROWS);
        return;
    }
    for (size_t t = 0; t < n; t++, tile += 2 * STRIP_ROWS) {
        add_side(1, o + t, o[t].n, columns, tile);
        add_side(1, o + t, o[t].n, columns + STRIP_ROWS, tile + STRIP_ROWS);
    }
}

/* Takes the columns from `at` on whose bits are set. */
static inline void take_some(float *x, size_t at, uint32_t mask, struct outliers *out)
{
    for (; mask && out->n < MOST_OUTLIERS; mask &= mask - 1) {
        const size_t i = at + (size_t)__builtin_ctz(mask);
        out->col[out->n] = (int32_t)i;
        out->x[out->n++] = x[i];
        x[i] = 0;
    }
}
