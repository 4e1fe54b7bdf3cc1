/* Chunking by structure.
 *
 * The blocks are cut into pieces (a heading, a sentence, a table row, a line of code), the tokens
 * of each piece are counted once, and chunks are runs of pieces: every decision adds numbers that
 * are known, so the cost is linear. What does not add up exactly (tokenizers that join across
 * spaces) is caught when a chunk is closed: its whole text is counted, and pieces that do not fit
 * go to the next. Rejected: windows of a fixed number of tokens, which cut sentences and mix
 * sections; counting each candidate chunk, which is quadratic.
 *
 * A chunk that begins inside a table has the table's column heads at the end of its heading path,
 * so that a row never loses what its numbers mean. */
#include "ingest/chunk_internal.h"

#include "text/sentence.h"

#include <stdlib.h>
#include <string.h>

enum {
    DEFAULT_OVERLAP = 50,
    MIN_TOKENS = 32,
    BYTES_PER_TOKEN = 16, /* a piece counts at least that many tokens: bounds a chunk's bytes where
                             a model sees one unknown word in a megabyte */
    HEADING_BYTES = 160,  /* kept of one heading in a path */
    PATH_BYTES = 1 << 12,
    UNKNOWN_TITLE = 12, /* tokens kept free for a title that the caller will find */
};

struct piece {
    uint32_t start, end;
    uint32_t block;
    uint32_t tokens;
};

struct chunker {
    const struct token_counter *counter;
    const struct extracted *x;
    struct arena *arena;
    struct err *e;
    size_t max_tokens, overlap, title_tokens;
    struct piece *pieces;
    size_t n_pieces, cap_pieces;
    struct chunk *chunks;
    size_t n_chunks, cap_chunks;
    size_t longest_piece; /* tokens above which a piece is cut */
    size_t longest_path;  /* tokens; title, path and a piece always fit a chunk together */
};

static const struct text_block *block_of(const struct chunker *c, size_t piece)
{
    return &c->x->blocks[c->pieces[piece].block];
}

static enum status no_memory(struct chunker *c)
{
    return err_set(c->e, ERR_MEMORY, NULL, "not enough memory to chunk the document");
}

/* ---- pieces ---- */

static enum status count_tokens(struct chunker *c, uint32_t start, uint32_t end, size_t *tokens)
{
    size_t by_bytes = (end - start + BYTES_PER_TOKEN - 1) / BYTES_PER_TOKEN, n = 0;
    enum status s = c->counter->count(c->counter->ctx, c->x->text + start, end - start, &n, c->e);
    *tokens = n > by_bytes ? n : by_bytes;
    return s;
}

static enum status push_piece(struct chunker *c, uint32_t start, uint32_t end, uint32_t block,
                              size_t tokens)
{
    if (c->n_pieces == c->cap_pieces) {
        size_t cap = c->cap_pieces ? c->cap_pieces * 2 : 256;
        struct piece *grown = realloc(c->pieces, cap * sizeof *grown);
        if (!grown) {
            return no_memory(c);
        }
        c->pieces = grown;
        c->cap_pieces = cap;
    }
    c->pieces[c->n_pieces++] = (struct piece){start, end, block, (uint32_t)tokens};
    return OK;
}

static bool is_space(char ch)
{
    return ch == ' ' || ch == '\n' || ch == '\t';
}

/* Where to cut text[start, end) near its middle: behind a line, else a space, else a character. */
static uint32_t cut_point(const char *text, uint32_t start, uint32_t end)
{
    uint32_t middle = start + (end - start) / 2, reach = (end - start) / 4;
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t d = 0; d < reach; d++) {
            if (text[middle - d] == (pass ? ' ' : '\n')) {
                return middle - d + 1;
            }
            if (text[middle + d] == (pass ? ' ' : '\n')) {
                return middle + d + 1;
            }
        }
    }
    while (middle > start + 1 && ((uint8_t)text[middle] & 0xC0) == 0x80) {
        middle--;
    }
    return middle;
}

/* Adds text[start, end) as one piece, or halves it until every part is short enough: each byte is
 * counted once per halving. The recursion is as deep as the logarithm of the length. */
static enum status add_piece(struct chunker *c, uint32_t start, uint32_t end, uint32_t block)
{
    while (start < end && is_space(c->x->text[end - 1])) {
        end--;
    }
    size_t tokens;
    if (start == end) {
        return OK;
    }
    /* what is far too long is not counted whole */
    bool huge = end - start > c->longest_piece * BYTES_PER_TOKEN;
    enum status s = huge ? OK : count_tokens(c, start, end, &tokens);
    if (s) {
        return s;
    }
    if (!huge && (tokens <= c->longest_piece || end - start < 8)) {
        return push_piece(c, start, end, block, tokens);
    }
    uint32_t cut = cut_point(c->x->text, start, end);
    s = add_piece(c, start, cut, block);
    while (cut < end && is_space(c->x->text[cut]) && c->x->text[cut] != '\n') {
        cut++;
    }
    return s ? s : add_piece(c, cut, end, block);
}

static enum status add_lines(struct chunker *c, uint32_t start, uint32_t end, uint32_t block)
{
    enum status s = OK;
    while (!s && start < end) {
        const char *nl = memchr(c->x->text + start, '\n', end - start);
        uint32_t stop = nl ? (uint32_t)(nl - c->x->text) : end;
        s = add_piece(c, start, stop, block);
        start = stop + 1;
    }
    return s;
}

static enum status add_sentences(struct chunker *c, uint32_t start, uint32_t end, uint32_t block)
{
    size_t pos = 0;
    struct text_span span;
    enum status s = OK;
    while (!s && sentence_next(c->x->text + start, end - start, &pos, &span)) {
        s = add_piece(c, start + span.start, start + span.end, block);
    }
    return s;
}

static enum status make_pieces(struct chunker *c)
{
    enum status s = OK;
    for (size_t i = 0; !s && i < c->x->n_blocks; i++) {
        const struct text_block *b = &c->x->blocks[i];
        uint32_t block = (uint32_t)i;
        if (b->kind == BLOCK_CODE) {
            s = add_lines(c, b->start, b->end, block);
        } else if (b->kind == BLOCK_HEADING || b->kind == BLOCK_TABLE_ROW) {
            s = add_piece(c, b->start, b->end, block);
        } else {
            s = add_sentences(c, b->start, b->end, block);
        }
    }
    return s;
}

/* ---- heading paths ---- */

struct path {
    uint32_t blocks[TERM_LEVEL + 1]; /* block + 1 of the open heading of each level; 0: none */
    uint32_t head_from, head_to;     /* blocks of the column heads of the table being read */
    int32_t table;
};

/* Goes past block i. */
static void path_advance(struct path *p, const struct text_block *b, uint32_t i)
{
    if (b->kind == BLOCK_HEADING) {
        for (int level = b->level; level <= TERM_LEVEL; level++) {
            p->blocks[level] = 0;
        }
        p->blocks[b->level] = i + 1;
    } else if (b->kind == BLOCK_PARAGRAPH) {
        p->blocks[TERM_LEVEL] = 0;
    }
    if (b->kind == BLOCK_TABLE_ROW && b->table_header) {
        p->head_from = p->table == b->table ? p->head_from : i;
        p->head_to = i + 1;
        p->table = b->table;
    }
}

/* Appends at most `max` bytes of a block on one line, cut behind a whole word. */
static void put_line(struct buf *out, const struct extracted *x, uint32_t block, size_t max)
{
    const struct text_block *b = &x->blocks[block];
    size_t n = b->end - b->start;
    const char *s = x->text + b->start;
    if (n > max) {
        n = max;
        while (n > max / 2 && s[n] != ' ') {
            n--;
        }
        while (n > 0 && ((uint8_t)s[n] & 0xC0) == 0x80) {
            n--;
        }
    }
    for (size_t i = 0; i < n; i++) {
        buf_putc(out, s[i] == '\n' ? ' ' : s[i]);
    }
}

/* The heading path of a chunk that begins with piece `first`: headings that its text begins with
 * are in it, but for a term, which the text itself shows. */
static void put_path(const struct chunker *c, const struct path *at, size_t first, struct buf *out)
{
    struct path p = *at;
    const struct text_block *b = block_of(c, first);
    bool own_term = b->kind == BLOCK_PARAGRAPH; /* ends the term's reach */
    for (size_t i = first; i < c->n_pieces && b->kind == BLOCK_HEADING; i++) {
        b = block_of(c, i);
        if (b->kind == BLOCK_HEADING || b->kind == BLOCK_PARAGRAPH) {
            path_advance(&p, b, c->pieces[i].block);
        }
        own_term |= b->kind == BLOCK_HEADING && b->level == TERM_LEVEL;
    }
    for (int level = 1; level <= TERM_LEVEL; level++) {
        if (p.blocks[level] && !(level == TERM_LEVEL && own_term)) {
            buf_puts(out, out->len ? " > " : "");
            put_line(out, c->x, p.blocks[level] - 1, HEADING_BYTES);
        }
    }
    b = block_of(c, first);
    if (b->kind == BLOCK_TABLE_ROW && at->table == b->table) {
        for (uint32_t i = at->head_from; i < at->head_to && i < c->pieces[first].block; i++) {
            buf_puts(out, out->len ? " > " : "");
            put_line(out, c->x, i, PATH_BYTES);
        }
    }
}

/* The path with its tokens; parts are dropped from the left until it is short enough, and the
 * last is cut. */
static enum status make_path(struct chunker *c, const struct path *at, size_t first,
                             const char **heading, size_t *tokens)
{
    struct buf b = {0};
    size_t from = 0, limit = c->longest_path;
    put_path(c, at, first, &b);
    enum status s = OK;
    for (;;) {
        *tokens = 0;
        if (b.len > from && !b.failed) {
            s = c->counter->count(c->counter->ctx, b.data + from, b.len - from, tokens, c->e);
        }
        if (s || b.failed || *tokens <= limit) {
            break;
        }
        const char *next = memmem(b.data + from, b.len - from, " > ", 3);
        if (next) {
            from = (size_t)(next - b.data) + 3;
            continue;
        }
        size_t half = from + (b.len - from) / 2;
        while (half > from && ((uint8_t)b.data[half] & 0xC0) == 0x80) {
            half--;
        }
        b.len = half;
    }
    if (!s) {
        char *copy = arena_strndup(c->arena, b.len ? b.data + from : "", b.len - from);
        s = copy && !b.failed ? OK : no_memory(c);
        *heading = copy;
    }
    buf_fini(&b);
    return s;
}

/* ---- packing ---- */

static bool is_prose(const struct text_block *b)
{
    return b->kind == BLOCK_PARAGRAPH || b->kind == BLOCK_LIST_ITEM || b->kind == BLOCK_QUOTE;
}

/* First piece of the sentences that the chunk [first, next) hands to the one after it. */
static size_t overlap_start(const struct chunker *c, size_t first, size_t next, size_t room)
{
    size_t i = next, sum = 0, limit = c->overlap < room ? c->overlap : room;
    while (i > first + 1 && is_prose(block_of(c, i - 1)) &&
           sum + c->pieces[i - 1].tokens <= limit) {
        sum += c->pieces[--i].tokens;
    }
    return i;
}

/* Tokens of the block that piece i begins. */
static size_t block_tokens(const struct chunker *c, size_t i)
{
    size_t sum = 0;
    for (uint32_t b = c->pieces[i].block; i < c->n_pieces && c->pieces[i].block == b; i++) {
        sum += c->pieces[i].tokens;
        if (sum > c->max_tokens) {
            break;
        }
    }
    return sum;
}

static bool begins_block(const struct chunker *c, size_t i)
{
    return i == 0 || c->pieces[i - 1].block != c->pieces[i].block;
}

/* Past the last piece of the chunk that begins with `first`, the overlap being [first, fresh). */
static size_t chunk_end(const struct chunker *c, size_t first, size_t fresh, size_t budget)
{
    size_t used = 0, i = first;
    bool has_text = false; /* something but headings */
    for (; i < c->n_pieces; i++) {
        const struct text_block *b = block_of(c, i);
        size_t t = c->pieces[i].tokens;
        bool heading = b->kind == BLOCK_HEADING && begins_block(c, i);
        if (i > fresh) {
            if (heading && has_text && (b->level <= 2 || used * 3 >= budget)) {
                break;
            }
            if (used + t > budget) {
                break;
            }
            /* a block that would fit a chunk of its own is not split, unless that leaves this one
             * almost empty */
            bool keep = begins_block(c, i) && (is_prose(b) || b->kind == BLOCK_CODE);
            size_t whole = keep ? block_tokens(c, i) : 0;
            if (whole > budget - used && whole <= budget && used * 4 >= budget) {
                break;
            }
        }
        used += t;
        has_text |= b->kind != BLOCK_HEADING;
    }
    /* headings at the end belong to what follows them */
    while (i > fresh + 1 && i < c->n_pieces && block_of(c, i - 1)->kind == BLOCK_HEADING &&
           has_text) {
        i--;
    }
    return i;
}

static enum status count_chunk(struct chunker *c, const struct chunk *k, size_t *tokens)
{
    struct buf b = {0};
    chunk_embed_text(c->x->title, k, &b);
    enum status s = b.failed ? no_memory(c) : OK;
    if (!s) {
        s = c->counter->count(c->counter->ctx, b.data, b.len, tokens, c->e);
        *tokens += c->counter->overhead + (*c->x->title ? 0 : c->title_tokens);
    }
    buf_fini(&b);
    return s;
}

static void set_range(const struct chunker *c, struct chunk *k, size_t first, size_t end)
{
    k->start = c->pieces[first].start;
    k->end = c->pieces[end - 1].end;
    k->page = block_of(c, first)->page;
    k->page_end = block_of(c, end - 1)->page;
    k->text = c->x->text + k->start;
    k->text_len = k->end - k->start;
}

static enum status push_chunk(struct chunker *c, const struct chunk *k)
{
    if (c->n_chunks == c->cap_chunks) {
        size_t cap = c->cap_chunks ? c->cap_chunks * 2 : 16;
        struct chunk *grown = realloc(c->chunks, cap * sizeof *grown);
        if (!grown) {
            return no_memory(c);
        }
        c->chunks = grown;
        c->cap_chunks = cap;
    }
    c->chunks[c->n_chunks++] = *k;
    return OK;
}

/* Makes the chunk that begins with `first`; *end is past its last piece. `fresh`: the first piece
 * that no earlier chunk holds. */
static enum status make_chunk(struct chunker *c, const struct path *at, size_t first, size_t fresh,
                              size_t *end)
{
    struct chunk k = {.index = (int32_t)c->n_chunks};
    size_t path_tokens = 0, total = 0;
    enum status s = make_path(c, at, first, &k.heading, &path_tokens);
    if (s) {
        return s;
    }
    size_t taken = c->counter->overhead + c->title_tokens + path_tokens + 2;
    size_t budget = c->max_tokens > taken + MIN_TOKENS / 4 ? c->max_tokens - taken : MIN_TOKENS / 4;
    *end = chunk_end(c, first, fresh, budget);
    for (;;) {
        set_range(c, &k, first, *end);
        s = count_chunk(c, &k, &total);
        if (s || total <= c->max_tokens || *end - first <= 1) {
            break;
        }
        if (*end > fresh + 1) {
            --*end;
        } else {
            first++; /* less overlap */
        }
    }
    k.n_tokens = (int32_t)total;
    return s ? s : push_chunk(c, &k);
}

static enum status pack(struct chunker *c)
{
    struct path at = {0}; /* before piece `first` */
    size_t first = 0, fresh = 0, end;
    uint32_t seen = 0; /* blocks that `at` went past */
    enum status s = OK;
    while (!s && fresh < c->n_pieces) {
        s = make_chunk(c, &at, first, fresh, &end);
        if (s || end >= c->n_pieces) {
            break;
        }
        bool heading = block_of(c, end)->kind == BLOCK_HEADING && begins_block(c, end);
        size_t room = c->max_tokens / 3;
        fresh = end;
        first = heading ? end : overlap_start(c, first, end, room);
        for (; seen < c->pieces[first].block; seen++) {
            path_advance(&at, &c->x->blocks[seen], seen);
        }
    }
    return s;
}

static enum status finish(struct chunker *c, struct chunk **out, size_t *n_out)
{
    struct chunk *copy = arena_array(c->arena, c->n_chunks, sizeof *copy);
    if (!copy) {
        return no_memory(c);
    }
    if (c->n_chunks) {
        memcpy(copy, c->chunks, c->n_chunks * sizeof *copy);
    }
    *out = copy;
    *n_out = c->n_chunks;
    return OK;
}

/* Title, longest path and longest piece together stay within a chunk. A long sentence is cut to a
 * third of it, so that its parts pack well beside others. */
static void set_limits(struct chunker *c)
{
    size_t taken = c->counter->overhead + c->title_tokens + 2;
    size_t room = c->max_tokens > taken + MIN_TOKENS / 2 ? c->max_tokens - taken : MIN_TOKENS / 2;
    c->longest_path = room / 3;
    c->longest_piece = room - c->longest_path;
    if (c->longest_piece > c->max_tokens / 3) {
        c->longest_piece = c->max_tokens / 3;
    }
}

enum status chunk_blocks(const struct token_counter *counter, const struct extracted *x,
                         const struct chunk_options *opt, struct arena *arena, struct chunk **out,
                         size_t *n_out, struct err *e)
{
    int max_tokens = opt && opt->max_tokens ? opt->max_tokens : CHUNK_DEFAULT_TOKENS;
    int overlap = opt ? opt->overlap : 0;
    if (overlap == 0) {
        overlap = max_tokens / 4 < DEFAULT_OVERLAP ? max_tokens / 4 : DEFAULT_OVERLAP;
    }
    if (max_tokens < MIN_TOKENS || overlap < -1 || overlap >= max_tokens) {
        return err_set(e, ERR_USAGE, NULL,
                       "chunks of %d tokens with an overlap of %d: at least %d, and less overlap",
                       max_tokens, overlap, MIN_TOKENS);
    }
    struct chunker c = {.counter = counter,
                        .x = x,
                        .arena = arena,
                        .e = e,
                        .max_tokens = (size_t)max_tokens,
                        .overlap = overlap > 0 ? (size_t)overlap : 0,
                        .title_tokens = UNKNOWN_TITLE};
    enum status s = OK;
    if (*x->title) {
        struct buf title = {0};
        chunk_embed_text(x->title, &(struct chunk){.heading = "", .text = ""}, &title);
        s = title.failed ? no_memory(&c)
                         : counter->count(counter->ctx, title.data, title.len, &c.title_tokens, e);
        buf_fini(&title);
    }
    set_limits(&c);
    s = s ? s : make_pieces(&c);
    s = s ? s : pack(&c);
    s = s ? s : finish(&c, out, n_out);
    free(c.pieces);
    free(c.chunks);
    return s;
}

void chunk_embed_text(const char *title, const struct chunk *c, struct buf *out)
{
    const char *heading = c->heading ? c->heading : "";
    size_t n = strlen(title);
    if (n > HEADING_BYTES) {
        n = HEADING_BYTES;
        while (n > 0 && ((uint8_t)title[n] & 0xC0) == 0x80) {
            n--;
        }
    }
    /* a path that begins with the title says it already */
    bool said = n > 0 && strncmp(heading, title, n) == 0 &&
                (heading[n] == 0 || strncmp(heading + n, " > ", 3) == 0);
    if (n && !said) {
        buf_put(out, title, n);
        buf_puts(out, *heading ? " > " : "");
    }
    buf_puts(out, heading);
    if (n || *heading) {
        buf_putc(out, '\n');
    }
    buf_put(out, c->text, c->text_len);
}
