/* Pre-tokenizers: how a text is cut into words before byte-pair encoding.
 *
 * A pre-tokenizer is a list of steps; each cuts every span that the step before it left. The
 * general step is a regular expression run by PCRE2 with Unicode properties; the patterns that most
 * models use also have a hand-written scanner that gives the same spans many times faster, and
 * tests hold the two against each other. GGUF files name a row of the table in pretok_table.c;
 * tokenizer.json spells its steps out, and gets the scanner when they equal a row's.
 *
 * A prepared pre-tokenizer is read-only and may be used from any thread. */
#ifndef HEARTH_MODEL_PRETOK_H
#define HEARTH_MODEL_PRETOK_H

#include "base/mem.h"

enum pretok_behavior { /* what becomes of the text that a pattern matches */
                       PRETOK_ISOLATED,
                       PRETOK_REMOVED,
                       PRETOK_MERGED_PREVIOUS,
                       PRETOK_MERGED_NEXT,
                       PRETOK_CONTIGUOUS
};

enum pretok_scan { SCAN_NONE, SCAN_GPT2, SCAN_LLAMA3, SCAN_QWEN2, SCAN_SMOLLM };

enum { PRETOK_MAX_STEPS = 8, PRETOK_MAX_PATTERN = 16384, PRETOK_MAX_TEXT = 1 << 30 };

struct pretok_row { /* of the table of names */
    const char *name;
    const char *patterns[PRETOK_MAX_STEPS]; /* all with PRETOK_ISOLATED; unused ones NULL */
    enum pretok_scan scan;
    bool ignore_merges;
    bool add_bos, add_sep; /* what the model does when its file does not say */
};
const struct pretok_row *pretok_row(const char *name, size_t n); /* NULL: unknown name */
const struct pretok_row *pretok_row_at(size_t i);                /* NULL past the last */
extern const char pretok_gpt2_pattern[];
extern const char pretok_digit_pattern[];

struct pretok_step {
    char *pattern;
    void *code; /* pcre2_code; NULL until compiled */
    enum pretok_behavior behavior;
    bool invert; /* what the pattern does not match is the delimiter */
};

struct pretok {
    struct pretok_step steps[PRETOK_MAX_STEPS];
    int n_steps;
    enum pretok_scan scan;
};

/* Zeroed struct = no steps: the text is one word. */
MUST_CHECK enum status pretok_add(struct pretok *p, const char *pattern, size_t n,
                                  enum pretok_behavior behavior, bool invert, struct err *e);
/* Ends the list: takes a scanner when the steps are a known row's, else compiles the patterns.
 * `regex`: never take a scanner. ERR_FORMAT (with PCRE2's words) for a bad pattern, ERR_MEMORY. */
MUST_CHECK enum status pretok_prepare(struct pretok *p, bool regex, struct err *e);
/* The name of the first row with the same steps; "" for none. */
const char *pretok_row_of(const struct pretok *p);
void pretok_fini(struct pretok *p);

struct span {
    uint32_t at, len;
};
struct spans {
    struct span *data;
    size_t n, cap;
};
void spans_fini(struct spans *s);

/* Appends the words of text[0..n), in order; empty ones are left out. Malformed bytes count as
 * symbols of no class. ERR_MEMORY; ERR_LIMIT for a text past PRETOK_MAX_TEXT or a pattern that
 * backtracks without end. */
MUST_CHECK enum status pretok_split(const struct pretok *p, const char *text, size_t n,
                                    struct spans *out, struct err *e);

/* The end of the word that begins at text[i], for scan != SCAN_NONE (pretok_scan.c). */
size_t pretok_scan_next(enum pretok_scan scan, const char *text, size_t n, size_t i);

#endif
