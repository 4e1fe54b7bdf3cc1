/* hearth tokenize: text to ids and back. Opens only the vocabulary, so that files without weights
 * serve, too. */
#include "cli/cli.h"
#include "model/vocab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static enum status bad_id(const char *text, size_t at, struct err *e)
{
    char place[64];
    (void)snprintf(place, sizeof place, "standard input:%zu", at);
    return err_set(e, ERR_FORMAT, place, "expected token ids, found '%.*s'",
                   (int)(strcspn(text, " \t\r\n,]") % 40), text);
}

static enum status push(struct ids *ids, long long id, int32_t n_vocab, struct err *e)
{
    if (id < 0 || id >= n_vocab) {
        return err_set(e, ERR_USAGE, "standard input", "%lld is no token id: the model has 0 to %d",
                       id, n_vocab - 1);
    }
    return ids_push(ids, (int32_t)id) ? OK : err_set(e, ERR_MEMORY, NULL, "no memory for ids");
}

/* Numbers between white space, commas and brackets: plain lists and JSON arrays alike. */
static enum status parse_ids(const char *text, int32_t n_vocab, struct ids *ids, struct err *e)
{
    enum status s = OK;
    for (const char *p = text; !s;) {
        p += strspn(p, " \t\r\n,[]");
        if (!*p) {
            break;
        }
        char *end = NULL;
        errno = 0;
        long long id = strtoll(p, &end, 10);
        if (end == p || errno == ERANGE || (*end && !strchr(" \t\r\n,]", *end))) {
            return bad_id(p, (size_t)(p - text), e);
        }
        s = push(ids, id, n_vocab, e);
        p = end;
    }
    return s;
}

static enum status decode(struct cli *c, const struct vocab *v, const struct buf *in, struct err *e)
{
    struct ids ids = {0};
    struct buf text = {0};
    enum status s = parse_ids(in->data, vocab_size(v), &ids, e);
    if (!s) {
        vocab_decode(v, ids.data, ids.n, c->values[O_SPECIAL].flag, &text);
        s = text.failed ? err_set(e, ERR_MEMORY, NULL, "no memory for the text") : OK;
    }
    const char *data = text.data ? text.data : "";
    if (!s && c->json) {
        json_t *exact = json_stringn(data, text.len);
        s = out_json(c,
                     json_pack("{s:o, s:b}", "text", out_string(data, text.len), "valid_utf8",
                               exact != NULL),
                     e);
        json_decref(exact);
    } else if (!s) {
        (void)fwrite(data, 1, text.len, stdout);
    }
    buf_fini(&text);
    ids_fini(&ids);
    return s;
}

static enum status encode(struct cli *c, const struct vocab *v, const struct buf *in, struct err *e)
{
    struct ids ids = {0};
    unsigned flags = c->values[O_SPECIAL].flag ? ENCODE_ADD_SPECIAL | ENCODE_PARSE_SPECIAL : 0;
    enum status s = vocab_encode(v, in->data, in->len, flags, &ids, e);
    if (!s) {
        (void)fputs(c->json ? "[" : "", stdout);
        for (size_t i = 0; i < ids.n; i++) {
            printf("%s%d", i == 0 ? "" : c->json ? "," : " ", ids.data[i]);
        }
        (void)fputs(c->json ? "]\n" : "\n", stdout);
    }
    ids_fini(&ids);
    return s;
}

enum status cmd_tokenize(struct cli *c, struct err *e)
{
    const char *path = NULL;
    struct weights *w = NULL;
    struct vocab *v = NULL;
    struct buf in = {0};
    enum status s = model_path(c, c->values[O_MODEL].s, &path, e);
    if (!s) {
        s = weights_open(path, &w, e);
    }
    if (!s) {
        s = vocab_open(w, &v, e);
    }
    if (!s) {
        s = input_read(c, NULL, &in, e);
    }
    if (!s) {
        s = c->values[O_DECODE].flag ? decode(c, v, &in, e) : encode(c, v, &in, e);
    }
    buf_fini(&in);
    vocab_close(v);
    weights_close(w);
    return s;
}
