/* Terms of a question, and the support check on top of them. */
#include "common/test.h"

#include "retrieve/polarity.h"
#include "retrieve/support.h"
#include "retrieve/terms.h"

#include <string.h>

static struct terms terms(struct arena *a, const char *q)
{
    struct terms t;
    assert_ok(terms_of(q, strlen(q), a, &t));
    return t;
}

static uint64_t met(const struct terms *t, const char *text)
{
    uint64_t m = 0;
    assert_ok(terms_met(t, text, strlen(text), &m));
    return m;
}

static void content_words_are_kept_once(void **state)
{
    (void)state;
    struct arena a = {0};
    struct terms t = terms(&a, "What is the capital of France, the capital?");
    assert_int_equal(t.n, 2);
    assert_string_equal(t.items[0].text, "capital");
    assert_string_equal(t.items[1].text, "France");
    assert_int_equal(t.items[1].kind, WORD_NAME);
    assert_true(t.items[1].weight > t.items[0].weight);
    arena_reset(&a);
}

static void inflection_case_and_identifiers_meet(void **state)
{
    (void)state;
    struct arena a = {0};
    struct terms t = terms(&a, "creating indexes for max connections in Postgres");
    assert_int_equal(t.n, 5);
    uint64_t m = met(&t, "CREATE an index; max_connections; PostgreSQL");
    assert_int_equal(m, 31);
    assert_int_equal(met(&t, "nothing here"), 0);
    assert_true(terms_share(&t, m) == 1.0f);
    arena_reset(&a);
}

static bool other_relation(const struct terms *t, const char *text, const char *heading)
{
    return terms_other_relation(t, text, strlen(text), met(t, text) | met(t, heading));
}

static void the_noun_of_a_name_is_told_of_that_name(void **state)
{
    (void)state;
    struct arena a = {0};
    struct terms t = terms(&a, "What is the capital of Germany?");
    assert_int_equal(t.noun, 0);
    assert_int_equal(t.name, 1);
    assert_true(other_relation(&t, "Paris is the capital of France.", "France"));
    assert_true(other_relation(&t, "Cairo, the capital of the Arab Republic, is large.", ""));
    assert_false(other_relation(&t, "Berlin is the capital of Germany.", ""));
    assert_false(other_relation(&t, "Berlin is the capital of the Republic.", "Germany"));
    assert_false(other_relation(&t, "France borders the north of Spain.", ""));
    assert_false(other_relation(&t, "Paris is the capital.", ""));
    static const char *const without[] = {"What is the name of Germany?", "Where is Germany?",
                                          "What is the capital of it in Germany?"};
    for (size_t i = 0; i < sizeof without / sizeof *without; i++) {
        t = terms(&a, without[i]);
        assert_int_equal(t.noun, -1);
        assert_false(other_relation(&t, "Paris is the capital of France.", ""));
    }
    arena_reset(&a);
}

static void numbers_match_exactly(void **state)
{
    (void)state;
    struct arena a = {0};
    struct terms t = terms(&a, "was it 12,345 or 2014?");
    assert_int_equal(t.n, 2);
    assert_int_equal(met(&t, "in 12345 cases"), 1);
    assert_int_equal(met(&t, "in 20145 cases"), 0);
    assert_int_equal(terms_missing_hard(&t, 1), 2);
    arena_reset(&a);
}

static void names_are_met_one_letter_off_and_by_their_initials(void **state)
{
    (void)state;
    struct arena a = {0};
    struct terms t = terms(&a, "did Celeron meet the AAA in London?");
    assert_int_equal(t.n, 4);
    assert_int_equal(met(&t, "where C\u00e9loron went"), 1);
    assert_int_equal(met(&t, "where Calaron went"), 0);
    assert_int_equal(met(&t, "where Celreon went"), 1);
    assert_int_equal(met(&t, "where Cameron went"), 0);
    assert_int_equal(met(&t, "the American Automobile Association"), 4);
    assert_int_equal(met(&t, "the Association of American Automobiles"), 4);
    assert_int_equal(met(&t, "the American automobile Association"), 0);
    assert_int_equal(met(&t, "in Londen"), 8);
    arena_reset(&a);
}

static bool opposed(const char *question, const char *text)
{
    struct buf b = {0};
    bool r = false;
    assert_ok(polarity_opposites(question, strlen(question), &b));
    assert_ok(polarity_opposed(text, strlen(text), &b, &r));
    buf_fini(&b);
    return r;
}

static void opposites_are_seen(void **state)
{
    (void)state;
    assert_true(opposed("Where sits the smallest party?", "The largest party sits in the middle."));
    assert_false(opposed("Where sits the largest party?", "The largest party sits in the middle."));
    assert_false(
        opposed("Where sits the smallest party?", "The largest and the smallest sit here."));
    assert_false(opposed("Is it smallest or largest?", "The largest party sits in the middle."));
    assert_true(opposed("How are logs compressed?", "It decompresses logs."));
    assert_false(opposed("What is the capital?", "The largest city."));
}

static void negation_and_denial(void **state)
{
    (void)state;
    assert_true(polarity_negates("What isn't supported?", 21));
    assert_false(polarity_negates("What is supported?", 18));
    assert_false(polarity_negates("the knot", 8));
    assert_true(polarity_denies("It works unless the table is empty.", 35));
    assert_true(polarity_denies("It was unaffected.", 18));
    assert_true(polarity_denies("They refused to allow it.", 25));
    assert_false(polarity_denies("It works.", 9));
}

static void question_words_decide_what_is_asked(void **state)
{
    (void)state;
    struct arena a = {0};
    assert_int_equal(terms(&a, "When was it built?").asked, ASKED_TIME);
    assert_int_equal(terms(&a, "How many wheels has a truck?").asked, ASKED_NUMBER);
    assert_int_equal(terms(&a, "In what year did it start?").asked, ASKED_TIME);
    assert_int_equal(terms(&a, "Who wrote it?").asked, ASKED_PERSON);
    assert_int_equal(terms(&a, "How does it work?").asked, ASKED_ANY);
    struct terms t = terms(&a, "How many wheels has a truck?");
    assert_true(terms_answers_kind(&t, "It has 18 wheels.", 17));
    assert_false(terms_answers_kind(&t, "It has wheels.", 14));
    assert_false(terms_answers_kind(&t, "Wheels are counted in Section 73.2.", 35));
    assert_true(terms_answers_kind(&t, "Section 73.2 counts 18 of them.", 31));
    arena_reset(&a);
}

static void rare_words_weigh_more(void **state)
{
    (void)state;
    struct arena a = {0};
    struct terms t = terms(&a, "table vacuum");
    uint64_t seen[4] = {1, 1, 1, 3};
    terms_weigh(&t, seen, 4);
    assert_true(t.items[1].weight > 1.5f * t.items[0].weight);
    arena_reset(&a);
}

/* One passage, its sentences as evidence. */
static const char *const SOURCE =
    "Paris is the capital of France. It has 2,102,650 inhabitants. It does not lie on the coast.";

static struct support check(const char *sentence)
{
    static struct passage p;
    static struct search_result found;
    static struct evidence ev[3];
    static struct evidence_set set;
    static struct arena a;
    p.chunk = (struct chunk){.start = 100,
                             .end = 100 + (uint32_t)strlen(SOURCE),
                             .text = SOURCE,
                             .text_len = strlen(SOURCE),
                             .heading = "Cities"};
    found = (struct search_result){.items = &p, .n = 1};
    struct text_span sp;
    size_t pos = 0;
    for (size_t i = 0; i < 3; i++) {
        assert_true(sentence_next(SOURCE, strlen(SOURCE), &pos, &sp));
        ev[i] = (struct evidence){.start = 100 + sp.start,
                                  .end = 100 + sp.end,
                                  .text = SOURCE + sp.start,
                                  .score = 0.8f - 0.1f * (float)i};
    }
    set = (struct evidence_set){
        .items = ev, .n = 3, .terms = terms(&a, "What is the capital of France?")};
    struct support s;
    struct err e = {0};
    assert_ok_err(support_check(sentence, strlen(sentence), &set, &found, &s, &e), &e);
    return s;
}

static void what_a_source_says_is_supported_there(void **state)
{
    (void)state;
    struct support s = check("The capital of France is Paris.");
    assert_true(s.supported);
    assert_int_equal(s.by->start, 100);
    s = check("Paris");
    assert_true(s.supported);
    s = check("It has 2102650 inhabitants.");
    assert_true(s.supported);
    assert_int_equal(s.by->start, 132);
}

static void inventions_are_not(void **state)
{
    (void)state;
    assert_string_equal(check("Lyon is the capital of France.").why,
                        "it has names or numbers that no source has");
    assert_string_equal(check("Paris has 3 million inhabitants.").why,
                        "it has names or numbers that no source has");
    assert_string_equal(check("It is famous for delicious pastry and museums.").why,
                        "no source says it");
    assert_string_equal(check("The capital of France is the capital of France.").why,
                        "it only repeats the question");
    assert_string_equal(check("Paris is not the capital of France.").why,
                        "the source says it with another sign of negation");
    assert_string_equal(check("!").why, "it says nothing that could be checked");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(content_words_are_kept_once),
        cmocka_unit_test(inflection_case_and_identifiers_meet),
        cmocka_unit_test(the_noun_of_a_name_is_told_of_that_name),
        cmocka_unit_test(numbers_match_exactly),
        cmocka_unit_test(names_are_met_one_letter_off_and_by_their_initials),
        cmocka_unit_test(opposites_are_seen),
        cmocka_unit_test(negation_and_denial),
        cmocka_unit_test(question_words_decide_what_is_asked),
        cmocka_unit_test(rare_words_weigh_more),
        cmocka_unit_test(what_a_source_says_is_supported_there),
        cmocka_unit_test(inventions_are_not),
    };
    return cmocka_run_group_tests_name("terms", tests, NULL, NULL);
}
