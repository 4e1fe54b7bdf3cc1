/* A hash map from byte strings to 32-bit values (open addressing, FNV-1a with a per-map seed
 * against crafted keys). Keys are borrowed: they must outlive the map. Owner: one thread while it
 * is filled; read-only lookups from any thread after that. */
#ifndef HEARTH_BASE_MAP_H
#define HEARTH_BASE_MAP_H

#include "base/err.h"

struct map_slot {
    const char *key; /* NULL: free */
    uint32_t key_len;
    uint32_t value;
    uint64_t hash;
};

struct map {
    struct map_slot *slots;
    size_t n_slots; /* power of two, or 0 */
    size_t count;
    uint64_t seed;
};

MUST_CHECK enum status map_init(struct map *m, size_t expected);
void map_fini(struct map *m);

/* Adds or replaces. ERR_MEMORY only. */
MUST_CHECK enum status map_put(struct map *m, const char *key, size_t key_len, uint32_t value);

/* true and *value when the key is there. */
bool map_get(const struct map *m, const char *key, size_t key_len, uint32_t *value);

#endif
