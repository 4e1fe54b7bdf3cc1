/* Sentences, words and their compared form: exact outcomes. */
#include "common/test.h"

#include "text/sentence.h"
#include "text/stem.h"

#include <string.h>

/* The sentences of `text`, joined by "\n". */
static char *sentences(const char *text)
{
    static struct buf b;
    buf_reset(&b);
    buf_put(&b, "", 0);
    size_t pos = 0;
    struct text_span s;
    while (sentence_next(text, strlen(text), &pos, &s)) {
        if (b.len) {
            buf_putc(&b, '\n');
        }
        buf_put(&b, text + s.start, s.end - s.start);
    }
    return b.data;
}

static void sentences_end_where_people_end_them(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"", ""},
        {" \n\t ", ""},
        {"One.", "One."},
        {"One. Two! Three? Four", "One.\nTwo!\nThree?\nFour"},
        {"Mr. Smith met Dr. Jones. They talked.", "Mr. Smith met Dr. Jones.\nThey talked."},
        {"It costs 3.5 dollars, e.g. 4.25 at most. Next.",
         "It costs 3.5 dollars, e.g. 4.25 at most.\nNext."},
        {"See Fig. 3 and Sec. 4. No. 5 is alive, no. It is.",
         "See Fig. 3 and Sec. 4.\nNo. 5 is alive, no.\nIt is."},
        {"J. R. R. Tolkien wrote it. C. S. Lewis read it.",
         "J. R. R. Tolkien wrote it.\nC. S. Lewis read it."},
        {"The U.S. Treasury paid Apple Inc. The firm agreed.",
         "The U.S. Treasury paid Apple Inc.\nThe firm agreed."},
        {"Apple Inc. Class A shares fell.", "Apple Inc. Class A shares fell."},
        {"He said \"Stop.\" Then he left. (Really.) Yes.",
         "He said \"Stop.\"\nThen he left.\n(Really.)\nYes."},
        {"Wait... what? Hm... Yes.", "Wait... what?\nHm...\nYes."},
        {"1. First item\n2. Second item\n- third\n\n* fourth",
         "1. First item\n2. Second item\n- third\n* fourth"},
        {"a. Alpha is first. iv. Not a marker.", "a. Alpha is first.\niv. Not a marker."},
        {"A heading\n\nA line\nwrapped here. Next", "A heading\nA line\nwrapped here.\nNext"},
        {"Edit postgresql.conf. pg_ctl reloads it.", "Edit postgresql.conf.\npg_ctl reloads it."},
        {"Use the command. kubectl prints it.", "Use the command.\nkubectl prints it."},
        {"See ch. 5 of vol. 2 etc. and so on.", "See ch. 5 of vol. 2 etc. and so on."},
        {"Yahoo! was sold. Was it?! Yes.", "Yahoo! was sold.\nWas it?!\nYes."},
        {"これは文です。次の文。", "これは文です。\n次の文。"},
        {"Il est né. Élan vital.", "Il est né.\nÉlan vital."},
        {"version 1.2.3.4 of a.b.c works", "version 1.2.3.4 of a.b.c works"},
        {"bad \xFF\xFE bytes. Go on \xC3", "bad \xFF\xFE bytes.\nGo on \xC3"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        /* the lines of a sentence stay in it; compare them as one */
        assert_string_equal(sentences(rows[i].text), rows[i].want);
    }
}

/* Words as "text/kind" with a star behind stop words. */
static char *words(const char *text)
{
    static struct buf b;
    static const char kinds[] = "p#Ni";
    buf_reset(&b);
    buf_put(&b, "", 0);
    size_t pos = 0;
    struct word w;
    while (word_next(text, strlen(text), &pos, &w)) {
        if (b.len) {
            buf_putc(&b, ' ');
        }
        buf_put(&b, text + w.span.start, w.span.end - w.span.start);
        buf_putc(&b, '/');
        buf_putc(&b, kinds[w.kind]);
        if (w.stop) {
            buf_putc(&b, '*');
        }
    }
    return b.data;
}

static void words_have_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"", ""},
        {"... --- !", ""},
        {"The quick brown fox", "The/p* quick/p brown/p fox/p"},
        {"He met Anna in Paris. Rain fell.", "He/p* met/p Anna/N in/p* Paris/N Rain/p fell/p"},
        {"Ask Mr. Smith", "Ask/p Mr/N Smith/N"},
        {"NASA and the US told us", "NASA/N and/p* the/p* US/N told/p us/p*"},
        {"$1,234,567.89 or 12:30 on 2024-03-31, 5-10 days, 3/31/2024",
         "1,234,567.89/# or/p* 12:30/# on/p* 2024-03-31/# 5/# 10/# days/p 3/31/2024/#"},
        {"16MB, 3rd, 10-Q", "16MB/# 3rd/# 10/# Q/N"},
        {"max_connections fooBar PostgreSQL a.b() now() v1.2 sha256 U.S. x",
         "max_connections/i fooBar/i PostgreSQL/N a.b()/i now()/i v1.2/i sha256/i U.S/N x/p"},
        {"use --data-checksums or -D here, well-known -- x",
         "use/p --data-checksums/i or/p* -D/i here/p* well/p known/p x/p"},
        {"don't PostgreSQL's Anna\xE2\x80\x99s", "don't/p* PostgreSQL's/N Anna\xE2\x80\x99s/N"},
        {"naïve Élan Übung groß", "naïve/p Élan/N Übung/N groß/p"},
        {"東京タワー is tall", "東/p 京/p タワー/p is/p* tall/p"},
        {"\xFF bad\xFFword", "bad/p word/p"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_string_equal(words(rows[i].text), rows[i].want);
    }
}

static char *normal(const char *word)
{
    static struct buf b;
    buf_reset(&b);
    buf_put(&b, "", 0);
    word_normal(word, strlen(word), &b);
    return b.data;
}

static void words_are_compared_folded_and_stemmed(void **state)
{
    (void)state;
    static const struct {
        const char *word, *want;
    } rows[] = {
        {"Connections", "connect"},
        {"connecting", "connect"},
        {"PostgreSQL's", "postgresql"},
        {"Anna\xE2\x80\x99s", "anna"},
        {"don't", "dont"},
        {"NAÏVE", "naiv"},
        {"Café", "cafe"},
        {"groß", "gross"},
        {"ﬁles", "file"},
        {"1,234,567.89", "1234567.89"},
        {"10,000", "10000"},
        {"1,23", "1,23"},
        {"2024-03-31", "2024-03-31"},
        {"--clean", "clean"},
        {"--data-checksums", "data-checksums"},
        {"pg_sleep()", "pg_sleep"},
        {"max_connections", "max_connections"},
        {"東", "東"},
        {"Straße\xC2\xADn", "strassen"},
        {"\xFF\xFE", "\xFF\xFE"},
        {"", ""},
        {"-", "-"},
        {"()", "()"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_string_equal(normal(rows[i].word), rows[i].want);
    }
    char big[200];
    memset(big, 'A', sizeof big);
    struct buf b = {0};
    word_normal(big, sizeof big, &b);
    assert_int_equal(b.len, sizeof big);
    assert_int_equal(b.data[199], 'a');
    buf_fini(&b);
}

/* The examples of Porter's paper, step by step. */
static void porter_does_what_the_paper_says(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"caresses", "caress"},
        {"ponies", "poni"},
        {"ties", "ti"},
        {"caress", "caress"},
        {"cats", "cat"},
        {"feed", "feed"},
        {"agreed", "agre"},
        {"plastered", "plaster"},
        {"bled", "bled"},
        {"motoring", "motor"},
        {"sing", "sing"},
        {"conflated", "conflat"},
        {"troubled", "troubl"},
        {"sized", "size"},
        {"hopping", "hop"},
        {"tanned", "tan"},
        {"falling", "fall"},
        {"hissing", "hiss"},
        {"fizzed", "fizz"},
        {"failing", "fail"},
        {"filing", "file"},
        {"happy", "happi"},
        {"sky", "sky"},
        {"relational", "relat"},
        {"conditional", "condit"},
        {"rational", "ration"},
        {"valenci", "valenc"},
        {"hesitanci", "hesit"},
        {"digitizer", "digit"},
        {"radicalli", "radic"},
        {"differentli", "differ"},
        {"vileli", "vile"},
        {"analogousli", "analog"},
        {"operator", "oper"},
        {"feudalism", "feudal"},
        {"decisiveness", "decis"},
        {"hopefulness", "hope"},
        {"callousness", "callous"},
        {"formaliti", "formal"},
        {"sensitiviti", "sensit"},
        {"sensibiliti", "sensibl"},
        {"triplicate", "triplic"},
        {"formative", "form"},
        {"formalize", "formal"},
        {"electrical", "electr"},
        {"goodness", "good"},
        {"revival", "reviv"},
        {"allowance", "allow"},
        {"inference", "infer"},
        {"airliner", "airlin"},
        {"adjustable", "adjust"},
        {"defensible", "defens"},
        {"irritant", "irrit"},
        {"replacement", "replac"},
        {"adjustment", "adjust"},
        {"dependent", "depend"},
        {"adoption", "adopt"},
        {"communism", "commun"},
        {"activate", "activ"},
        {"homologous", "homolog"},
        {"effective", "effect"},
        {"bowdlerize", "bowdler"},
        {"probate", "probat"},
        {"rate", "rate"},
        {"cease", "ceas"},
        {"controll", "control"},
        {"roll", "roll"},
        {"generalizations", "gener"},
        {"oscillators", "oscil"},
        {"yy", "yy"},
        {"by", "by"},
        {"syzygy", "syzygi"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char w[32];
        size_t n = strlen(rows[i][0]);
        memcpy(w, rows[i][0], n);
        w[stem_porter(w, n)] = 0;
        assert_string_equal(w, rows[i][1]);
    }
}

/* Every byte string is walked to its end, spans in order and inside. */
static void scanners_survive_random_bytes(void **state)
{
    (void)state;
    static const char alphabet[] = ".!?\n \tAaz09_-'()\"|:,\xC3\xA9\xE2\x80\x99\xE3\x80\x82\xFF";
    uint32_t seed = 1;
    for (int round = 0; round < 2000; round++) {
        char t[80];
        size_t n = (size_t)round % sizeof t;
        for (size_t i = 0; i < n; i++) {
            seed = seed * 1664525u + 1013904223u;
            t[i] = alphabet[(seed >> 16) % (sizeof alphabet - 1)];
        }
        size_t pos = 0;
        uint32_t last = 0;
        struct text_span s;
        while (sentence_next(t, n, &pos, &s)) {
            assert_true(s.start >= last && s.end > s.start && s.end <= pos && pos <= n);
            last = s.end;
        }
        for (uint32_t i = last; i < n; i++) {
            assert_true(t[i] == ' ' || t[i] == '\n' || t[i] == '\t');
        }
        struct word w;
        pos = last = 0;
        while (word_next(t, n, &pos, &w)) {
            assert_true(w.span.start >= last && w.span.end > w.span.start && w.span.end <= n);
            last = w.span.end;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sentences_end_where_people_end_them),
        cmocka_unit_test(words_have_kinds),
        cmocka_unit_test(words_are_compared_folded_and_stemmed),
        cmocka_unit_test(porter_does_what_the_paper_says),
        cmocka_unit_test(scanners_survive_random_bytes),
    };
    return cmocka_run_group_tests_name("sentence", tests, NULL, NULL);
}
