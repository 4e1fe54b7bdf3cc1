/* The machine: clocks, processor features, core count, a small random generator. */
#ifndef HEARTH_BASE_SYS_H
#define HEARTH_BASE_SYS_H

#include "base/err.h"

int64_t clock_ns(void); /* monotonic */
double clock_ms(void);  /* monotonic, milliseconds */
int64_t wall_ns(void);  /* since 1970-01-01 UTC */

/* Instruction sets that both the processor and the operating system offer, less what HEARTH_ISA
 * masks: HEARTH_ISA=scalar, avx2 (AVX2+FMA+F16C), avxvnni (AVX2 and 256-bit VNNI), avx512
 * (F/BW/VL/DQ/VNNI, no BF16) or unset (all). */
struct cpu {
    bool avx2, avxvnni, avx512vnni, avx512bf16, neon, dotprod;
    char name[64];
};
const struct cpu *cpu_features(void); /* read once; safe from any thread */

int cpu_count(void);       /* cores this process may run on, at least 1 */
size_t cpu_l2_bytes(void); /* second-level data cache of a core; 1 MiB where nobody tells */
/* Memory that can be had without others being paged out, in bytes; 0: not known. */
int64_t sys_memory_available(void);
/* May memory be backed by huge pages (always, or where madvise asks for them)? */
bool sys_huge_pages(void);

/* xoshiro256** 1.0 (Blackman and Vigna, 2018), seeded through splitmix64: the same seed gives the
 * same numbers everywhere. */
struct rng {
    uint64_t s[4];
};
void rng_init(struct rng *r, uint64_t seed);
uint64_t rng_u64(struct rng *r);
double rng_unit(struct rng *r); /* [0, 1), 53 bits */

#endif
