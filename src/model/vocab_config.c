/* tokenizer_config.json: names of the special tokens and the settings of tokenizers that have no
 * tokenizer.json; and vocab.txt, a WordPiece vocabulary with one piece a line. */
#include "model/vocab_config.h"

#include <stdlib.h>

const char *config_text(const json_t *v)
{
    return json_string_value(json_is_object(v) ? json_object_get(v, "content") : v);
}

json_t *config_parse(const char *json, size_t n, const char *place, struct err *e)
{
    json_error_t je;
    json_t *root = json_loadb(json, n, JSON_ALLOW_NUL, &je);
    if (!root && json_error_code(&je) == json_error_numeric_overflow) {
        /* "no limit" is written as model_max_length 10^30 */
        root = json_loadb(json, n, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &je);
    }
    if (!root) {
        (void)err_set(e, ERR_FORMAT, place, "line %d: %s", je.line, je.text);
    } else if (!json_is_object(root)) {
        json_decref(root);
        root = NULL;
        (void)err_set(e, ERR_FORMAT, place, "not a JSON object");
    }
    return root;
}

static const char *const roles[] = {"bos_token",  "eos_token", "pad_token", "unk_token",
                                    "mask_token", "cls_token", "sep_token"};
enum { N_ROLES = sizeof roles / sizeof roles[0] };

void config_read_ids(struct vocab *v, const json_t *config)
{
    int32_t *const ids[N_ROLES] = {&v->bos, &v->eos, &v->pad, &v->unk, &v->mask, &v->cls, &v->sep};
    for (int i = 0; i < N_ROLES; i++) {
        const char *text = config_text(json_object_get(config, roles[i]));
        int32_t id;
        if (text && vocab_find(v, text, strlen(text), &id)) {
            *ids[i] = id;
        }
    }
    vocab_add_end(v, v->eos);
}

bool config_flag(const json_t *object, const char *key, bool otherwise)
{
    const json_t *b = json_object_get(object, key);
    return json_is_boolean(b) ? json_is_true(b) : otherwise;
}

/* BERT's defaults where neither file says otherwise. */
static const char *role_text(const json_t *config, const char *role)
{
    static const char *const usual[][2] = {{"pad_token", "[PAD]"},
                                           {"unk_token", "[UNK]"},
                                           {"mask_token", "[MASK]"},
                                           {"cls_token", "[CLS]"},
                                           {"sep_token", "[SEP]"}};
    const char *text = config_text(json_object_get(config, role));
    for (size_t i = 0; !text && i < sizeof usual / sizeof usual[0]; i++) {
        if (strcmp(role, usual[i][0]) == 0) {
            text = usual[i][1];
        }
    }
    return text;
}

static enum piece_type type_of(const json_t *config, const char *line, size_t n)
{
    for (int i = 0; i < N_ROLES; i++) {
        const char *text = role_text(config, roles[i]);
        if (text && strlen(text) == n && memcmp(text, line, n) == 0) {
            return PIECE_CONTROL;
        }
    }
    return PIECE_NORMAL;
}

static enum status read_lines(struct vocab *v, const json_t *config, const char *list, size_t n,
                              struct err *e)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        count += list[i] == '\n';
    }
    enum status st = pieces_init(&v->pieces, count + 1, false);
    for (size_t i = 0; i < n && !st;) {
        const char *eol = memchr(list + i, '\n', n - i);
        size_t end = eol ? (size_t)(eol - list) : n;
        size_t len = end - i;
        len -= len && list[end - 1] == '\r';
        st = pieces_add(&v->pieces, list + i, len, type_of(config, list + i, len), 0);
        i = end + 1;
    }
    return st ? err_set(e, st, NULL, "vocabulary of %zu lines", count) : OK;
}

static enum status fill(struct vocab *v, const json_t *config, const char *list, size_t n,
                        struct err *e)
{
    enum status st = read_lines(v, config, list, n, e);
    st = st ? st : vocab_index(v, 0, e);
    for (int32_t i = 0; i < v->pieces.n && !st; i++) {
        if (v->pieces.type[i] == PIECE_CONTROL) {
            st = vocab_add_token(v, i, e);
        }
    }
    if (st) {
        return st;
    }
    int32_t *const ids[N_ROLES] = {&v->bos, &v->eos, &v->pad, &v->unk, &v->mask, &v->cls, &v->sep};
    for (int i = 0; i < N_ROLES; i++) {
        const char *text = role_text(config, roles[i]);
        if (text) {
            *ids[i] = piece_find(&v->normal, &v->pieces, text, strlen(text));
        }
    }
    if (v->unk < 0 || v->cls < 0 || v->sep < 0) {
        return err_set(e, ERR_FORMAT, NULL, "no piece for unknown words, [CLS] or [SEP]");
    }
    v->wordpiece.unk = v->unk;
    (void)vocab_add_prefix(v, v->cls);
    (void)vocab_add_suffix(v, v->sep);
    vocab_add_end(v, v->eos);
    return OK;
}

enum status vocab_from_list(const char *list, size_t n, const char *config, size_t n_config,
                            const char *place, struct vocab **out, struct err *e)
{
    json_t *settings = NULL;
    if (config && !(settings = config_parse(config, n_config, place, e))) {
        return ERR_FORMAT;
    }
    struct vocab *v = vocab_new(VOCAB_WORDPIECE);
    enum status st = v ? OK : err_set(e, ERR_MEMORY, place, "vocabulary");
    if (!st) {
        bool lower = config_flag(settings, "do_lower_case", true);
        v->cut = CUT_BERT;
        v->clean_decode = true;
        v->wordpiece.max_chars = 100;
        memcpy(v->wordpiece.prefix, "##", 3);
        v->norm.ops[v->norm.n++] = (struct normal_op){
            .kind = NORMAL_BERT,
            .clean = true,
            .cjk = config_flag(settings, "tokenize_chinese_chars", true),
            .lowercase = lower,
            .strip = config_flag(settings, "strip_accents", lower),
        };
        st = fill(v, settings, list, n, e);
        st = st ? err_prefix(e, "%s", place) : OK;
    }
    json_decref(settings);
    if (st) {
        vocab_close(v);
        return st;
    }
    *out = v;
    return OK;
}
