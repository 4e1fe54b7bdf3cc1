/* Hash map: see map.h. At most 5/8 full, linear probing, no deletion (nothing in hearth needs it).
 */
#include "base/map.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t hash_bytes(const struct map *m, const char *key, size_t n)
{
    uint64_t h = 14695981039346656037ull ^ m->seed;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ (unsigned char)key[i]) * 1099511628211ull;
    }
    h ^= h >> 32;
    return h * 0x9e3779b97f4a7c15ull;
}

static struct map_slot *find(const struct map *m, const char *key, size_t n, uint64_t hash)
{
    size_t mask = m->n_slots - 1;
    for (size_t i = (size_t)(hash >> 20) & mask;; i = (i + 1) & mask) {
        struct map_slot *s = &m->slots[i];
        if (!s->key || (s->hash == hash && s->key_len == n && memcmp(s->key, key, n) == 0)) {
            return s;
        }
    }
}

static bool grow(struct map *m, size_t n_slots)
{
    struct map_slot *old = m->slots;
    size_t n_old = m->n_slots;
    struct map_slot *slots = calloc(n_slots, sizeof *slots);
    if (!slots) {
        return false;
    }
    m->slots = slots;
    m->n_slots = n_slots;
    for (size_t i = 0; i < n_old; i++) {
        if (old[i].key) {
            *find(m, old[i].key, old[i].key_len, old[i].hash) = old[i];
        }
    }
    free(old);
    return true;
}

enum status map_init(struct map *m, size_t expected)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    *m = (struct map){.seed = ((uint64_t)t.tv_nsec << 20) ^ (uint64_t)(uintptr_t)m};
    size_t n = 16;
    while (n * 5 / 8 < expected) {
        if (n > SIZE_MAX / 4) {
            return ERR_MEMORY;
        }
        n *= 2;
    }
    return grow(m, n) ? OK : ERR_MEMORY;
}

void map_fini(struct map *m)
{
    free(m->slots);
    *m = (struct map){0};
}

enum status map_put(struct map *m, const char *key, size_t key_len, uint32_t value)
{
    if (key_len > UINT32_MAX) {
        return ERR_LIMIT;
    }
    if ((m->count + 1) > m->n_slots / 8 * 5 && !grow(m, m->n_slots ? m->n_slots * 2 : 16)) {
        return ERR_MEMORY;
    }
    uint64_t hash = hash_bytes(m, key, key_len);
    struct map_slot *s = find(m, key, key_len, hash);
    if (!s->key) {
        *s = (struct map_slot){.key = key, .key_len = (uint32_t)key_len, .hash = hash};
        m->count++;
    }
    s->value = value;
    return OK;
}

bool map_get(const struct map *m, const char *key, size_t key_len, uint32_t *value)
{
    if (!m->n_slots) {
        return false;
    }
    const struct map_slot *s = find(m, key, key_len, hash_bytes(m, key, key_len));
    if (!s->key) {
        return false;
    }
    *value = s->value;
    return true;
}
