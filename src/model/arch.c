/* The architecture table and what loaders share: see arch.h. Vectors are copied to floats (they are
 * small, and files keep them in F32, F16 or BF16 at any alignment); matrices stay views until
 * tensor/ repacks them. */
#include "model/arch.h"

#include <stdio.h>
#include <string.h>

static const struct arch archs[] = {
    {.name = "llama", /* Llama 2 and 3, Mistral, SmolLM2, TinyLlama */
     .traits = ARCH_WINDOW,
     .read_hparams = hparams_read_decoder,
     .load = decoder_load,
     .run = decoder_run},
    {.name = "qwen2",
     .traits = ARCH_QKV_BIAS,
     .read_hparams = hparams_read_decoder,
     .load = decoder_load,
     .run = decoder_run},
    {.name = "qwen3",
     .traits = ARCH_QK_NORM,
     .read_hparams = hparams_read_decoder,
     .load = decoder_load,
     .run = decoder_run},
    {.name = "bert", /* MiniLM, bge, e5 */
     .read_hparams = hparams_read_encoder,
     .load = encoder_load,
     .run = encoder_run},
};
enum { N_ARCHS = sizeof archs / sizeof archs[0] };

enum status arch_find(const struct weights *w, const struct arch **out, struct err *e)
{
    struct meta_str name;
    if (!meta_string(w, "general.architecture", &name)) {
        return err_set(e, ERR_FORMAT, weights_path(w), "no key general.architecture");
    }
    char known[256] = "";
    for (size_t i = 0; i < N_ARCHS; i++) {
        if (name.n == strlen(archs[i].name) && memcmp(name.p, archs[i].name, name.n) == 0) {
            *out = &archs[i];
            return OK;
        }
        size_t at = strlen(known);
        (void)snprintf(known + at, sizeof known - at, "%s%s", i ? ", " : "", archs[i].name);
    }
    return err_set(e, ERR_UNSUPPORTED, weights_path(w), "architecture \"%.*s\" (known: %s)",
                   name.n > 64 ? 64 : (int)name.n, name.p, known);
}

static enum status no_memory(struct err *e)
{
    return err_set(e, ERR_MEMORY, NULL, "no memory for the model's tables");
}

enum status loader_init(struct loader *l, struct model *m, size_t max_mats, struct err *e)
{
    *l = (struct loader){.m = m, .e = e};
    l->used = arena_array(&m->arena, weights_count(m->w), sizeof *l->used);
    m->mats = arena_array(&m->arena, max_mats, sizeof *m->mats);
    m->layers = arena_array(&m->arena, (size_t)m->hp.n_layers, sizeof *m->layers);
    return l->used && m->mats && m->layers ? OK : no_memory(e);
}

enum status loader_finish(struct loader *l)
{
    for (size_t i = 0; i < weights_count(l->m->w); i++) {
        const struct named_tensor *t = weights_at(l->m->w, i);
        if (!l->used[i] && strncmp(t->name, "blk.", 4) == 0 && !strstr(t->name, "rot_embd")) {
            return err_set(l->e, ERR_UNSUPPORTED, t->file, "tensor %s has no place in %s", t->name,
                           l->m->hp.arch);
        }
    }
    return OK;
}

const char *block_name(struct loader *l, int64_t layer, const char *suffix)
{
    return arena_printf(&l->m->arena, "blk.%lld.%s", (long long)layer, suffix);
}

static void shape_text(const struct tensor *t, char *out, size_t n)
{
    size_t at = 0;
    out[0] = 0;
    for (int i = 0; i < t->n_dims && at < n; i++) {
        int k = snprintf(out + at, n - at, "%s%lld", i ? " x " : "", (long long)t->ne[i]);
        at += k > 0 ? (size_t)k : 0;
    }
}

/* rows 0: a vector. */
static enum status find(struct loader *l, const char *name, int64_t cols, int64_t rows,
                        bool optional, const struct named_tensor **out)
{
    if (!name) {
        return no_memory(l->e);
    }
    const struct weights *w = l->m->w;
    const struct named_tensor *t = weights_find(w, name);
    struct tensor want = {.n_dims = rows ? 2 : 1, .ne = {cols, rows, 1, 1}};
    char expected[96], found[96];
    shape_text(&want, expected, sizeof expected);
    if (!t) {
        *out = NULL;
        return optional ? OK
                        : err_set(l->e, ERR_FORMAT, weights_path(w),
                                  "no tensor %s, expected one of %s", name, expected);
    }
    if (t->t.ne[0] != cols || t->t.ne[1] != (rows ? rows : 1) || t->t.ne[2] != 1 ||
        t->t.ne[3] != 1) {
        shape_text(&t->t, found, sizeof found);
        return err_set(l->e, ERR_FORMAT, t->file, "tensor %s is %s, expected %s", name, found,
                       expected);
    }
    l->used[t - weights_at(w, 0)] = true;
    *out = t;
    return OK;
}

static enum status to_floats(struct loader *l, const struct named_tensor *t, float *out)
{
    const struct type_info *info = type_info(t->t.type);
    size_t n = (size_t)t->t.ne[0] * tensor_rows(&t->t);
    if (!info || n % info->block_elems) {
        return err_set(l->e, ERR_UNSUPPORTED, t->file,
                       "tensor %s has a type that vectors cannot have", t->name);
    }
    info->to_float(t->t.data, out, n);
    return OK;
}

enum status load_vectors(struct loader *l, const char *const *names, const int64_t *sizes, int n,
                         bool optional, const float **out)
{
    int64_t total = 0;
    for (int i = 0; i < n; i++) {
        total += sizes[i];
    }
    float *all = NULL;
    int64_t at = 0;
    for (int i = 0; i < n; i++) {
        const struct named_tensor *t;
        enum status s = find(l, names[i], sizes[i], 0, optional && !all, &t);
        if (s) {
            return s;
        }
        if (!t) {
            continue;
        }
        if (!all) {
            if (i) { /* the first ones were absent, this one is not */
                return err_set(l->e, ERR_FORMAT, t->file, "tensor %s without %s", names[i],
                               names[0]);
            }
            all = arena_array(&l->m->arena, (size_t)total, sizeof *all);
            if (!all) {
                return no_memory(l->e);
            }
        }
        if ((s = to_floats(l, t, all + at))) {
            return s;
        }
        at += sizes[i];
    }
    *out = all;
    return OK;
}

enum status load_vector(struct loader *l, const char *name, int64_t n, bool optional,
                        const float **out)
{
    return load_vectors(l, &name, &n, 1, optional, out);
}

static enum status init_mat(struct loader *l, const char *label,
                            const struct named_tensor *const *t, int n, enum mul_mode mode,
                            struct mat *out)
{
    const struct tensor *views[PROJ_MAX] = {NULL};
    for (int i = 0; i < n; i++) {
        views[i] = &t[i]->t;
    }
    enum status s = mat_init_in(packs_home(l->m->packs), out, views, n, mode, l->e);
    if (s) {
        (void)err_prefix(l->e, "%s: tensor %s", t[0]->file, t[0]->name);
        return s;
    }
    for (int i = 0; i < n && out->packed; i++) {
        weights_release(l->m->w, &t[i]->t);
    }
    l->m->mats[l->m->n_mats++] = (struct mat_entry){label, out};
    return OK;
}

enum status load_proj(struct loader *l, const char *label, const char *const *names,
                      const int64_t *rows, int n, int64_t cols, struct proj *out)
{
    const struct named_tensor *t[PROJ_MAX];
    bool same = true;
    if (!label) {
        return no_memory(l->e);
    }
    out->cols = cols;
    for (int i = 0; i < n; i++) {
        enum status s = find(l, names[i], cols, rows[i], false, &t[i]);
        if (s) {
            return s;
        }
        same = same && t[i]->t.type == t[0]->t.type;
    }
    int64_t at = 0;
    int step = same ? n : 1;
    for (int i = 0; i < n; i += step) {
        enum status s =
            init_mat(l, same ? label : names[i], t + i, step, l->m->mode, &out->mats[out->n_mats]);
        if (s) {
            return s;
        }
        out->at[out->n_mats++] = at;
        at += rows[i];
    }
    for (int i = 0; i < n; i++) {
        out->rows += rows[i];
    }
    return OK;
}

enum status load_matrix(struct loader *l, const char *name, int64_t rows, int64_t cols,
                        bool only_rows, struct mat *out)
{
    const struct named_tensor *t;
    enum status s = find(l, name, cols, rows, false, &t);
    if (s) {
        return s;
    }
    if (!only_rows) {
        /* An output head: its rounding would go straight into the logits. */
        enum mul_mode mode = l->m->mode == MUL_DEFAULT ? MUL_FINE : l->m->mode;
        return init_mat(l, name, &t, 1, mode, out);
    }
    /* Only looked up row by row: the file's bytes do. */
    *out = (struct mat){.type = t->t.type, .rows = rows, .cols = cols, .source = t->t};
    return OK;
}
