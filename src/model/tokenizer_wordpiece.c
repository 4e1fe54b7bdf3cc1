/* WordPiece: see tokenizer_wordpiece.h. The longest piece is found by looking ever shorter texts up
 * in the hash index. A trie would find it in one walk, but most words are one piece, which costs
 * one look-up here. */
#include "model/tokenizer_wordpiece.h"

#include "text/unicode.h"

enum { KEY_MAX = 1024 };

static size_t char_start(const char *word, size_t i)
{
    while (i && ((unsigned char)word[i] & 0xC0) == 0x80) {
        i--;
    }
    return i;
}

static bool too_long(const struct wordpiece *w, const char *word, size_t n)
{
    if (n <= w->max_chars) {
        return false;
    }
    size_t chars = 0;
    for (size_t i = 0; i < n && chars <= w->max_chars; i++) {
        chars += ((unsigned char)word[i] & 0xC0) != 0x80;
    }
    return chars > w->max_chars;
}

/* The longest piece at the beginning of p[0..n), its length in *len; -1: none. */
static int32_t longest(const struct wordpiece *w, const char *p, size_t n, bool first, size_t *len)
{
    char key[KEY_MAX + sizeof w->prefix];
    size_t pre = first ? 0 : strlen(w->prefix);
    size_t end = n;
    size_t most = w->pieces->max_len < pre ? 0 : w->pieces->max_len - pre;
    most = most < KEY_MAX ? most : KEY_MAX;
    if (end > most) {
        end = char_start(p, most);
    }
    memcpy(key, w->prefix, pre);
    memcpy(key + pre, p, end);
    while (end) {
        int32_t id = piece_find(w->index, w->pieces, key, pre + end);
        if (id >= 0) {
            *len = end;
            return id;
        }
        end = char_start(p, end - 1);
    }
    return -1;
}

enum status wordpiece_encode_word(const struct wordpiece *w, const char *word, size_t n,
                                  struct ids *out)
{
    size_t before = out->n;
    bool known = !too_long(w, word, n);
    for (size_t i = 0, len; known && i < n; i += len) {
        int32_t id = longest(w, word + i, n - i, i == 0, &len);
        known = id >= 0;
        if (known && !ids_push(out, id)) {
            return ERR_MEMORY;
        }
    }
    if (!known) {
        out->n = before;
        return ids_push(out, w->unk) ? OK : ERR_MEMORY;
    }
    return OK;
}

bool wordpiece_is_punct(uint32_t cp)
{
    if (cp < 128) {
        return cp > 32 && cp < 127 && uni_ascii_class[cp] & UNI_OTHER;
    }
    /* Two that were punctuation when the reference's tables were made. */
    return (uni_class(cp) & UNI_PUNCT && !wordpiece_unassigned(cp)) || cp == 0x166D ||
           cp == 0x111C9;
}

enum status wordpiece_encode(const struct wordpiece *w, const char *text, size_t n, struct ids *out)
{
    size_t start = 0;
    enum status st = OK;
    for (size_t i = 0, len; i <= n && !st; i += len) {
        uint32_t cp = ' ';
        len = i < n ? utf8_decode(text + i, n - i, &cp) : 1;
        bool space = i == n || uni_class(cp) & UNI_SPACE;
        bool punct = !space && wordpiece_is_punct(cp);
        if ((space || punct) && i > start) {
            st = wordpiece_encode_word(w, text + start, i - start, out);
        }
        if (punct && !st) {
            st = wordpiece_encode_word(w, text + i, len, out);
        }
        if (space || punct) {
            start = i + len;
        }
    }
    return st;
}
