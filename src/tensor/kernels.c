/* Chooses the kernel table: see kernels.h. Levels are cumulative: each file overrides what it does
 * better than the level below. */
#include "tensor/kernels.h"

#include "base/sys.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#if defined(__x86_64__)
#include "tensor/kernels_x86.h"
#elif defined(__aarch64__)
#include "tensor/kernels_arm.h"
#endif

enum { MAX_LEVELS = 6 };

static struct kernels levels[MAX_LEVELS];
static int n_levels;
static pthread_once_t levels_once = PTHREAD_ONCE_INIT;

static struct kernels *next_level(const char *name)
{
    struct kernels *k = &levels[n_levels];
    if (n_levels) {
        *k = levels[n_levels - 1];
    }
    n_levels++;
    k->name = name;
    return k;
}

static void fill_levels(void)
{
    kernels_fill_scalar(next_level("scalar"));
#if defined(__x86_64__)
    const struct cpu *cpu = cpu_features();
    if (cpu->avx2) {
        struct kernels *k = next_level("avx2");
        kernels_fill_avx2(k);
        kernels_fill_avx2_attn(k);
        kernels_fill_avx2_mul(k);
        kernels_fill_avx2_quant(k);
        kernels_fill_avx2_outliers(k);
        kernels_fill_avx2_probe(k);
        kernels_fill_avx2_enc(k);
        kernels_fill_avx2_enc_attn(k);
    }
    if (cpu->avxvnni) {
        struct kernels *k = next_level("avx-vnni");
        kernels_fill_avxvnni_attn(k);
        kernels_fill_avxvnni_mul(k);
        kernels_fill_avxvnni_probe(k);
        kernels_fill_avxvnni_enc(k);
    }
    if (cpu->avx512vnni) {
        struct kernels *k = next_level("avx512-vnni");
        kernels_fill_avx512(k);
        kernels_fill_avx512_attn(k);
        kernels_fill_avx512_mul(k);
        kernels_fill_avx512_quant(k);
        kernels_fill_avx512_few(k);
        kernels_fill_avx512_outliers(k);
        kernels_fill_avx512_probe(k);
        kernels_fill_avx512_enc(k);
        kernels_fill_avx512_enc_attn(k);
    }
#elif defined(__aarch64__)
    const struct cpu *cpu = cpu_features();
    if (cpu->neon) {
        struct kernels *k = next_level("neon");
        kernels_fill_neon(k);
        kernels_fill_neon_attn(k);
        kernels_fill_neon_mul(k);
        kernels_fill_neon_outliers(k);
        kernels_fill_neon_probe(k);
        kernels_fill_neon_enc(k);
    }
    if (cpu->neon && cpu->dotprod) {
        struct kernels *k = next_level("neon-dotprod");
        kernels_fill_dotprod_mul(k);
        kernels_fill_dotprod_probe(k);
    }
#endif
}

const struct kernels *kernels_level(int i)
{
    (void)pthread_once(&levels_once, fill_levels);
    return i < n_levels ? &levels[i] : NULL;
}

/* Called for every tile: a load once it is known, instead of pthread_once. */
const struct kernels *kernels(void)
{
    static const struct kernels *_Atomic best;
    const struct kernels *k = atomic_load_explicit(&best, memory_order_acquire);
    if (!k) {
        (void)pthread_once(&levels_once, fill_levels);
        k = &levels[n_levels - 1];
        atomic_store_explicit(&best, k, memory_order_release);
    }
    return k;
}

const char *ops_isa(void)
{
    return kernels()->name;
}

float vec_dot_f32(const float *a, const float *b, size_t n)
{
    return kernels()->dot_f32(a, b, n);
}

int32_t vec_dot_i8(const int8_t *a, const int8_t *b, size_t n)
{
    return kernels()->dot_i8(a, b, n);
}

void vec_scan_i8(const int8_t *query, const int8_t *rows, size_t n, size_t d, int32_t *out)
{
    kernels()->scan_i8(query, rows, n, d, out);
}
