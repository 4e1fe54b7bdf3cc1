/* The machine: see sys.h. */
#include "base/sys.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

int64_t clock_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

double clock_ms(void)
{
    return (double)clock_ns() * 1e-6;
}

int64_t wall_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static struct cpu features;
static pthread_once_t features_once = PTHREAD_ONCE_INIT;

#if defined(__x86_64__)
static void brand(char out[64])
{
    unsigned r[12];
    for (unsigned i = 0; i < 3; i++) {
        if (!__get_cpuid(0x80000002u + i, &r[4 * i], &r[4 * i + 1], &r[4 * i + 2], &r[4 * i + 3])) {
            memcpy(out, "x86-64", 7);
            return;
        }
    }
    memcpy(out, r, sizeof r);
    out[sizeof r] = 0;
}

static void detect(void)
{
    unsigned a, b, c, d;
    brand(features.name);
    /* clang 14 knows no "f16c"; AVX2 has answered for the operating system */
    bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c >> 29 & 1);
    features.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && f16c;
    bool wide = features.avx2 && __builtin_cpu_supports("avx512f") &&
                __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                __builtin_cpu_supports("avx512dq");
    features.avx512vnni = wide && __builtin_cpu_supports("avx512vnni");
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) {
        features.avxvnni = features.avx2 && (a >> 4 & 1);
        features.avx512bf16 = features.avx512vnni && (a >> 5 & 1);
    }
}
#else
static void detect(void)
{
    memcpy(features.name, "generic", 8);
#if defined(__aarch64__)
    features.neon = true;
    features.dotprod = getauxval(AT_HWCAP) >> 20 & 1;
#endif
}
#endif

static void load_features(void)
{
    detect();
    const char *mask = getenv("HEARTH_ISA");
    if (!mask || !*mask) {
        return;
    }
    bool is_avx512 = strcmp(mask, "avx512") == 0;
    bool is_avxvnni = strcmp(mask, "avxvnni") == 0;
    bool is_avx2 = strcmp(mask, "avx2") == 0;
    features.avx512bf16 = false;
    features.avx512vnni = features.avx512vnni && is_avx512;
    features.avxvnni = features.avxvnni && (is_avx512 || is_avxvnni);
    features.avx2 = features.avx2 && (is_avx512 || is_avxvnni || is_avx2);
    if (strcmp(mask, "scalar") == 0) {
        features.neon = features.dotprod = false;
    }
}

const struct cpu *cpu_features(void)
{
    (void)pthread_once(&features_once, load_features);
    return &features;
}

int cpu_count(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n > 0 ? n : 1;
}

size_t cpu_l2_bytes(void)
{
    long n = 0;
#ifdef _SC_LEVEL2_CACHE_SIZE
    n = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
    return n > 0 ? (size_t)n : (size_t)1 << 20;
}

int64_t sys_memory_available(void)
{
    FILE *f = fopen("/proc/meminfo", "re");
    char line[128];
    long long kb = 0;
    while (f && fgets(line, sizeof line, f) && sscanf(line, "MemAvailable: %lld kB", &kb) != 1) {
    }
    if (f) {
        (void)fclose(f);
    }
    return (int64_t)kb << 10;
}

bool sys_huge_pages(void)
{
    FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");
    char line[128];
    bool yes = f && fgets(line, sizeof line, f) && !strstr(line, "[never]");
    if (f) {
        (void)fclose(f);
    }
    return yes;
}

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

void rng_init(struct rng *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15ull;
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        r->s[i] = z ^ (z >> 31);
    }
}

uint64_t rng_u64(struct rng *r)
{
    uint64_t *s = r->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

double rng_unit(struct rng *r)
{
    return (double)(rng_u64(r) >> 11) * 0x1p-53;
}
