/* hearth models: what a model file is, read from its header without running it. */
#include "cli/engines.h"
#include "model/packs.h"
#include "model/vocab.h"
#include "model/weights.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct type_count {
    const char *name;
    int64_t n_tensors, n_elements, n_bytes;
};

struct facts {
    const char *path, *name, *arch, *format, *tokenizer, *pre;
    int64_t n_params, n_ctx, n_layers, d_model, n_heads, n_kv_heads, n_vocab, file_bytes;
    bool has_template;
    size_t template_bytes;
    struct type_count types[TYPE_COUNT];
    size_t n_tensors;
    const char *copy; /* of its packed weights, NULL: none; any of several */
    int64_t copy_bytes;
};

static const char *meta_text(struct cli *c, const struct weights *w, const char *key)
{
    struct meta_str s;
    return meta_string(w, key, &s) ? arena_strndup(&c->arena, s.p, s.n) : NULL;
}

/* ARCH.key as an integer; 0 when absent. */
static int64_t arch_int(struct cli *c, const struct weights *w, const char *arch, const char *key)
{
    int64_t v = 0;
    const char *full = arena_printf(&c->arena, "%s.%s", arch, key);
    return full && meta_i64(w, full, &v) ? v : 0;
}

static void count_types(const struct weights *w, struct facts *f)
{
    f->n_tensors = weights_count(w);
    for (size_t i = 0; i < f->n_tensors; i++) {
        const struct tensor *t = &weights_at(w, i)->t;
        struct type_count *k = &f->types[t->type];
        int64_t n = t->ne[0] * (int64_t)tensor_rows(t);
        k->name = type_info(t->type)->name;
        k->n_tensors++;
        k->n_elements += n;
        k->n_bytes += (int64_t)tensor_bytes(t);
        f->n_params += n;
    }
}

struct copy_search {
    struct arena *arena;
    struct facts *f;
};

static enum status note_copy(void *ctx, const char *path, int64_t bytes)
{
    struct copy_search *s = ctx;
    s->f->copy = arena_strdup(s->arena, path);
    s->f->copy_bytes = bytes;
    return s->f->copy ? OK : ERR_MEMORY;
}

static enum status find_copy(struct cli *c, struct facts *f, struct err *e)
{
    struct copy_search s = {&c->arena, f};
    const char *dir = engines_packed_dir(c, f->path);
    return dir ? packs_each(dir, f->path, note_copy, &s, e) : OK;
}

static const char *vocab_kind_name(enum vocab_kind kind)
{
    static const char *const names[] = {[VOCAB_BPE] = "byte-level BPE",
                                        [VOCAB_SPM] = "SentencePiece BPE",
                                        [VOCAB_WORDPIECE] = "WordPiece",
                                        [VOCAB_UNIGRAM] = "SentencePiece Unigram"};
    return names[kind];
}

static enum status read_facts(struct cli *c, const char *path, struct facts *f, struct err *e)
{
    struct weights *w = NULL;
    struct vocab *v = NULL;
    enum status s = weights_open(path, &w, e);
    if (s) {
        return s;
    }
    const char *arch = meta_text(c, w, "general.architecture");
    f->path = path;
    f->arch = arch ? arch : "?";
    const char *name = meta_text(c, w, "general.name");
    f->name = name ? name : strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    f->format = arena_strdup(&c->arena, weights_format(w));
    f->file_bytes = (int64_t)weights_file_bytes(w);
    f->n_ctx = arch_int(c, w, f->arch, "context_length");
    f->n_layers = arch_int(c, w, f->arch, "block_count");
    f->d_model = arch_int(c, w, f->arch, "embedding_length");
    f->n_heads = arch_int(c, w, f->arch, "attention.head_count");
    f->n_kv_heads = arch_int(c, w, f->arch, "attention.head_count_kv");
    struct meta_str chat;
    f->has_template = meta_string(w, "tokenizer.chat_template", &chat);
    f->template_bytes = f->has_template ? chat.n : 0;
    count_types(w, f);
    struct err why = {0};
    if (vocab_open(w, &v, &why) == OK) {
        f->tokenizer = vocab_kind_name(vocab_kind(v));
        f->pre = arena_strdup(&c->arena, vocab_pre(v));
        f->n_vocab = vocab_size(v);
    } else { /* the file may still be of use: say what is wrong with this part of it */
        f->tokenizer = arena_printf(&c->arena, "unusable: %s", why.message);
        f->pre = "";
    }
    vocab_close(v);
    weights_close(w);
    return find_copy(c, f, e);
}

static json_t *copy_json(const struct facts *f)
{
    return f->copy ? json_pack("{s:o, s:I}", "path", out_text(f->copy), "bytes",
                               (json_int_t)f->copy_bytes)
                   : json_null();
}

static json_t *facts_json(const struct facts *f)
{
    json_t *types = json_object();
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        const struct type_count *k = &f->types[i];
        if (k->n_tensors) {
            (void)json_object_set_new(
                types, k->name,
                json_pack("{s:I, s:I, s:I}", "tensors", (json_int_t)k->n_tensors, "parameters",
                          (json_int_t)k->n_elements, "bytes", (json_int_t)k->n_bytes));
        }
    }
    return json_pack("{s:o, s:o, s:o, s:s, s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I, "
                     "s:{s:o, s:s, s:I}, s:b, s:o}",
                     "path", out_text(f->path), "name", out_text(f->name), "architecture",
                     out_text(f->arch), "format", f->format, "file_bytes",
                     (json_int_t)f->file_bytes, "parameters", (json_int_t)f->n_params, "tensors",
                     (json_int_t)f->n_tensors, "types", types, "context", (json_int_t)f->n_ctx,
                     "layers", (json_int_t)f->n_layers, "embedding", (json_int_t)f->d_model,
                     "heads", (json_int_t)f->n_heads, "kv_heads", (json_int_t)f->n_kv_heads,
                     "vocabulary", (json_int_t)f->n_vocab, "tokenizer", "kind",
                     out_text(f->tokenizer), "pre", f->pre, "tokens", (json_int_t)f->n_vocab,
                     "template", f->has_template, "packed_copy", copy_json(f));
}

static void print_facts(struct cli *c, const struct facts *f)
{
    char a[UI_TEXT], b[UI_TEXT];
    printf("%s%s%s\n", ui_style(&c->ui, stdout, UI_BOLD), f->path,
           ui_style(&c->ui, stdout, UI_RESET));
    printf("  name          %s\n", f->name);
    printf("  architecture  %s, %lld layers, width %lld, %lld heads", f->arch,
           (long long)f->n_layers, (long long)f->d_model, (long long)f->n_heads);
    if (f->n_kv_heads && f->n_kv_heads != f->n_heads) {
        printf(" (%lld for keys and values)", (long long)f->n_kv_heads);
    }
    printf("\n  format        %s, %s\n", f->format, ui_bytes(a, f->file_bytes));
    printf("  parameters    %s in %zu tensors\n", ui_count(a, f->n_params), f->n_tensors);
    const char *label = "types";
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        const struct type_count *k = &f->types[i];
        if (k->n_tensors) {
            printf("  %-13s %-7s %lld tensor%s, %s\n", label, k->name, (long long)k->n_tensors,
                   k->n_tensors == 1 ? "" : "s", ui_bytes(b, k->n_bytes));
            label = "";
        }
    }
    printf("  context       %s tokens\n", ui_count(a, f->n_ctx));
    printf("  tokenizer     %s%s%s%s, %s tokens\n", f->tokenizer, *f->pre ? " (" : "", f->pre,
           *f->pre ? ")" : "", ui_count(a, f->n_vocab));
    printf("  template      %s\n", f->has_template ? "yes" : "no");
    if (f->copy) {
        printf("  packed copy   %s, %s\n", f->copy, ui_bytes(a, f->copy_bytes));
    }
    printf("\n");
}

struct listing {
    struct cli *c;
    json_t *list;
    size_t n, n_failed;
    struct err first; /* why the first bad one is bad */
};

/* One bad file does not hide the others; its reason is shown in its place. */
static enum status show(void *ctx, const char *path)
{
    struct listing *l = ctx;
    struct facts f = {0};
    struct err why = {0};
    bool alone = l->c->n_words == 1; /* the one that was asked for: an error, not a row */
    l->n++;
    enum status s = read_facts(l->c, path, &f, &why);
    if (s) {
        if (l->n_failed++ == 0) {
            l->first = why;
        }
        if (alone) {
            return OK;
        }
        if (l->c->json) {
            (void)json_array_append_new(
                l->list, json_pack("{s:o, s:{s:s, s:o, s:o}}", "path", out_text(path), "error",
                                   "code", status_info(s)->name, "place", out_text(why.place),
                                   "message", out_text(why.message)));
        } else {
            printf("%s%s%s\n  %s%s%s\n\n", ui_style(&l->c->ui, stdout, UI_BOLD), path,
                   ui_style(&l->c->ui, stdout, UI_RESET), ui_style(&l->c->ui, stdout, UI_RED),
                   why.message, ui_style(&l->c->ui, stdout, UI_RESET));
        }
        return OK;
    }
    if (l->c->json) {
        (void)json_array_append_new(l->list, facts_json(&f));
    } else {
        print_facts(l->c, &f);
    }
    return OK;
}

/* --drop-cache: the models named, or every copy in the folders where models may have theirs. */

struct dropping {
    struct cli *c;
    bool whole; /* not only the model's, but all copies of its folder: their models may be gone */
    json_t *list;
    int64_t bytes;
};

static enum status drop(void *ctx, const char *path, int64_t bytes)
{
    struct dropping *d = ctx;
    if (unlink(path) == 0) {
        d->bytes += bytes;
        (void)json_array_append_new(
            d->list, json_pack("{s:o, s:I}", "path", out_text(path), "bytes", (json_int_t)bytes));
    } else {
        ui_warn(&d->c->ui, "%s could not be removed", path);
    }
    return OK;
}

static enum status drop_of(void *ctx, const char *path)
{
    struct dropping *d = ctx;
    const char *dir = engines_packed_dir(d->c, path);
    struct err unlisted = {0}; /* only for want of memory; the others are still to be tried */
    return dir ? packs_each(dir, d->whole ? NULL : path, drop, d, &unlisted) : OK;
}

static enum status drop_copies(struct cli *c, struct err *e)
{
    struct dropping d = {.c = c, .whole = c->n_words == 0, .list = json_array()};
    enum status s = OK;
    for (size_t i = 0; !s && i < c->n_words; i++) {
        const char *path = NULL;
        s = model_path(c, c->words[i], &path, e);
        s = s ? s : drop_of(&d, path);
    }
    if (d.whole) {
        const char *where = c->values[O_PACKED_CACHE].s;
        const char *dir = strcmp(where, "auto") == 0 || strcmp(where, "off") == 0
                              ? arena_printf(&c->arena, "%s/cache", c->home)
                              : where;
        s = model_path_each(c, drop_of, &d, e);
        s = s || !dir ? s : packs_each(dir, NULL, drop, &d, e);
    }
    if (!s && c->json) {
        s = out_json(c, json_incref(d.list), e);
    } else if (!s) {
        char a[UI_TEXT];
        size_t n = json_array_size(d.list);
        ui_say(&c->ui, "removed %zu cop%s of packed weights, %s", n, n == 1 ? "y" : "ies",
               ui_bytes(a, d.bytes));
    }
    json_decref(d.list);
    return s;
}

enum status cmd_models(struct cli *c, struct err *e)
{
    if (c->values[O_DROP_CACHE].flag) {
        return drop_copies(c, e);
    }
    struct listing l = {.c = c, .list = json_array()};
    enum status s = OK;
    for (size_t i = 0; !s && i < c->n_words; i++) {
        const char *path = NULL;
        s = model_path(c, c->words[i], &path, e);
        if (!s) {
            s = show(&l, path);
        }
    }
    if (c->n_words == 0) {
        s = model_path_each(c, show, &l, e);
    }
    if (!s && c->n_words == 1 && l.n_failed) {
        *e = l.first;
        s = e->code;
    } else if (!s && c->json) {
        s = out_json(c, json_incref(l.list), e);
    } else if (!s && l.n == 0) {
        ui_say(&c->ui, "no models found; `make models` in the source folder brings two small ones");
    }
    json_decref(l.list);
    return s;
}
