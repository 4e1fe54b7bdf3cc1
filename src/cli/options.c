/* THE option table: every option of every command, once. The parser, --help, the environment, the
 * configuration file and `hearth config` are made from it. */
#include "cli/cli.h"

#define OF(command) (1u << (CMD_##command))
#define ASKS (OF(ASK) | OF(CHAT))
#define RUNS (ASKS | OF(GENERATE))

/* clang-format off */
const struct option option_table[OPTION_COUNT] = {
    [O_HOME] = {.name = "home",
                .type = OPT_STRING,
                .value = "DIR",
                .env = "HEARTH_HOME",
                .config = "home",
                .help = "data directory (default: hearth in $XDG_DATA_HOME or ~/.local/share)"},
    [O_MODEL] = {.name = "model",
                 .letter = 'm',
                 .type = OPT_STRING,
                 .value = "MODEL",
                 .default_value = "SmolLM2-135M-Instruct.Q4_1.gguf",
                 .env = "HEARTH_MODEL",
                 .config = "model",
                 .help =
                     "language model: a GGUF file, a Hugging Face directory, or a name in models/"},
    [O_EMBED_MODEL] = {.name = "embed-model",
                       .type = OPT_STRING,
                       .value = "MODEL",
                       .default_value = "all-MiniLM-L6-v2",
                       .env = "HEARTH_EMBED_MODEL",
                       .config = "embed-model",
                       .help = "embedding model, given in the same ways"},
    [O_THREADS] = {.name = "threads",
                   .letter = 't',
                   .type = OPT_INT,
                   .value = "N",
                   .min = 1,
                   .max = 256,
                   .env = "HEARTH_THREADS",
                   .config = "threads",
                   .help = "compute threads (default: all cores)"},
    [O_JSON] = {.name = "json", .letter = 'j', .type = OPT_FLAG, .help = "print JSON"},
    [O_QUIET] = {.name = "quiet",
                 .letter = 'q',
                 .type = OPT_FLAG,
                 .env = "HEARTH_QUIET",
                 .config = "quiet",
                 .help = "no progress and no remarks"},
    [O_PROGRESS] = {
        .name = "progress", .type = OPT_STRING, .value = "HOW", .default_value = "auto",
        .config = "progress",
        .help = "of long work: auto (a bar, on a terminal only), plain (a line now and then), none"},
    [O_COLOR] = {.name = "color",
                 .type = OPT_FLAG,
                 .default_value = "yes",
                 .config = "color",
                 .help = "colours on a terminal; --no-color or NO_COLOR turns them off"},
    [O_CONFIG] =
        {.name = "config",
         .type = OPT_STRING,
         .value = "FILE",
         .env = "HEARTH_CONFIG",
         .help = "configuration file (default: hearth/config in $XDG_CONFIG_HOME or ~/.config)"},
    [O_MAX_INPUT] = {.name = "max-input",
                     .type = OPT_INT,
                     .value = "MB",
                     .min = 1,
                     .max = 65536,
                     .default_value = "256",
                     .config = "max-input",
                     .help = "largest text read from standard input or a file"},
    [O_PACKED_CACHE] = {.name = "packed-cache",
                        .type = OPT_STRING,
                        .value = "WHERE",
                        .default_value = "auto",
                        .env = "HEARTH_PACKED_CACHE",
                        .config = "packed-cache",
                        .help = "copies of packed weights, to open models faster: a folder, off, "
                                "or auto (beside the model, else cache/ in the data directory)"},
    [O_PACKED_CACHE_MAX] = {.name = "packed-cache-max",
                            .type = OPT_INT,
                            .value = "MB",
                            .min = 1,
                            .max = 1 << 24,
                            .default_value = "16384",
                            .env = "HEARTH_PACKED_CACHE_MAX",
                            .config = "packed-cache-max",
                            .help = "of all such copies in a folder; the longest unused go first"},
    [O_HELP] = {.name = "help",
                .letter = 'h',
                .type = OPT_FLAG,
                .help = "show the help of the command"},
    [O_VERSION] = {.name = "version", .type = OPT_FLAG, .help = "show the version"},

    /* models */
    [O_CTX] = {
        .name = "ctx", .letter = 'c', .type = OPT_INT, .value = "N", .min = 8, .max = 1 << 24,
        .config = "ctx", .commands = RUNS | OF(PERPLEXITY) | OF(BENCH),
        .help = "tokens of context (default: the model's own limit, at most 4096; perplexity: 512)"},
    [O_KV_Q8] = {
        .name = "kv-q8", .type = OPT_FLAG, .config = "kv-q8",
        .commands = RUNS | OF(PERPLEXITY) | OF(BENCH), .help = "keep keys and values in 8 bits"},
    [O_EXACT] = {
        .name = "exact", .type = OPT_FLAG, .commands = RUNS | OF(PERPLEXITY) | OF(BENCH) | OF(EMBED) | OF(RERANK),
        .help = "plain float arithmetic: slow, to compare with"},
    [O_EMBED_PRECISION] = {
        .name = "embed-precision", .type = OPT_STRING, .value = "HOW", .default_value = "fine",
        .config = "embed-precision",
        .commands = ASKS | OF(SEARCH) | OF(ADD) | OF(EMBED) | OF(RERANK) | OF(BENCH),
        .help = "of an encoder: fine (12-bit products) or int8 (about twice as fast)"},

    /* retrieval and answers */
    [O_K] = {
        .name = "k", .letter = 'k', .type = OPT_INT, .value = "N", .min = 1, .max = 1000,
        .config = "k", .commands = ASKS | OF(SEARCH),
        .help = "passages (default: 8 for search, chosen for the model's size for answers)"},
    [O_CANDIDATES] = {
        .name = "candidates", .type = OPT_INT, .value = "N", .min = 1, .max = 1000,
        .config = "candidates", .commands = OF(SEARCH),
        .help = "passages taken from the vector index before ranking (default: 64)"},
    [O_CONTEXT_TOKENS] = {
        .name = "context-tokens", .type = OPT_INT, .value = "N", .min = 32, .max = 1 << 24,
        .config = "context-tokens", .commands = ASKS,
        .help = "budget of the passages in the prompt (default: chosen for the model)"},
    [O_ORDER] = {
        .name = "order", .type = OPT_STRING, .value = "ORDER", .default_value = "best-last",
        .config = "order", .commands = ASKS,
        .help = "of the passages in the prompt: best-last or best-first"},
    [O_KEEP_UNSUPPORTED] = {
        .name = "keep-unsupported", .type = OPT_FLAG, .config = "keep-unsupported", .commands = ASKS,
        .help = "show sentences that no source supports, too (they carry no mark)"},

    /* generation */
    [O_MAX_TOKENS] = {
        .name = "max-tokens", .letter = 'n', .type = OPT_INT, .value = "N", .min = 1, .max = 1 << 24,
        .default_value = "256", .config = "max-tokens", .commands = RUNS, .help = "longest answer"},
    [O_TEMPERATURE] = {
        .name = "temperature", .type = OPT_FLOAT, .value = "T", .min = 0, .max = 100,
        .default_value = "0", .config = "temperature", .commands = RUNS,
        .help = "0: always the likeliest token"},
    [O_TOP_K] = {
        .name = "top-k", .type = OPT_INT, .value = "N", .min = 0, .max = 1 << 24,
        .default_value = "0", .config = "top-k", .commands = RUNS,
        .help = "draw among the N likeliest; 0: off"},
    [O_TOP_P] = {
        .name = "top-p", .type = OPT_FLOAT, .value = "P", .min = 0, .max = 1, .default_value = "1",
        .config = "top-p", .commands = RUNS, .help = "draw among the likeliest that make up P"},
    [O_MIN_P] = {
        .name = "min-p", .type = OPT_FLOAT, .value = "P", .min = 0, .max = 1, .default_value = "0",
        .config = "min-p", .commands = RUNS,
        .help = "leave out what is less likely than P times the likeliest"},
    [O_TYPICAL_P] = {
        .name = "typical-p", .type = OPT_FLOAT, .value = "P", .min = 0, .max = 1,
        .default_value = "1", .config = "typical-p", .commands = RUNS,
        .help = "locally typical sampling; 1: off"},
    [O_REPETITION] = {
        .name = "repetition-penalty", .type = OPT_FLOAT, .value = "F", .min = 0, .max = 100,
        .default_value = "1", .config = "repetition-penalty", .commands = RUNS,
        .help = "divides the score of tokens that occurred; 1: off"},
    [O_PRESENCE] = {
        .name = "presence-penalty", .type = OPT_FLOAT, .value = "F", .min = -2, .max = 2,
        .default_value = "0", .config = "presence-penalty", .commands = RUNS,
        .help = "taken off the score of tokens that occurred"},
    [O_FREQUENCY] = {
        .name = "frequency-penalty", .type = OPT_FLOAT, .value = "F", .min = -2, .max = 2,
        .default_value = "0", .config = "frequency-penalty", .commands = RUNS,
        .help = "taken off once for each time a token occurred"},
    [O_PENALTY_WINDOW] = {
        .name = "penalty-window", .type = OPT_INT, .value = "N", .min = -1, .max = 1 << 24,
        .default_value = "64", .config = "penalty-window", .commands = RUNS,
        .help = "tokens that the penalties look back; -1: all"},
    [O_SEED] = {
        .name = "seed", .type = OPT_INT, .value = "N", .min = 0, .max = 9007199254740992.0,
        .default_value = "1", .config = "seed", .commands = RUNS,
        .help = "the same seed draws the same tokens"},
    [O_LOGIT_BIAS] = {
        .name = "logit-bias", .type = OPT_STRINGS, .value = "ID=BIAS", .commands = RUNS,
        .help = "added to a token's score; -inf forbids it; may be repeated"},
    [O_PROMPT] = {
        .name = "prompt", .letter = 'p', .type = OPT_STRING, .value = "TEXT",
        .commands = OF(GENERATE), .help = "the prompt (else --prompt-file, the words, or stdin)"},
    [O_PROMPT_FILE] = {
        .name = "prompt-file", .type = OPT_STRING, .value = "FILE", .commands = OF(GENERATE),
        .help = "file that holds the prompt; - for standard input"},
    [O_SYSTEM] = {
        .name = "system", .type = OPT_STRING, .value = "TEXT", .config = "system",
        .commands = OF(GENERATE), .help = "system message of the chat template"},
    [O_RAW] = {
        .name = "raw", .type = OPT_FLAG, .commands = OF(GENERATE),
        .help = "run the prompt as it is, without the chat template"},
    [O_STOP] = {
        .name = "stop", .type = OPT_STRINGS, .value = "TEXT", .commands = OF(GENERATE),
        .help = "end before this text; may be repeated"},
    [O_LOGPROBS] = {
        .name = "logprobs", .type = OPT_INT, .value = "N", .min = 0, .max = 20,
        .default_value = "0", .commands = OF(GENERATE),
        .help = "with --json: also the N likeliest tokens at each place"},
    [O_N] = {
        .name = "n", .type = OPT_INT, .value = "N", .min = 1, .max = 1000, .default_value = "1",
        .commands = OF(GENERATE), .help = "continuations, with seeds one apart"},
    [O_IGNORE_EOS] = {
        .name = "ignore-eos", .type = OPT_FLAG, .commands = OF(GENERATE),
        .help = "go on past the model's end token"},
    [O_SPECIAL] = {
        .name = "special", .type = OPT_FLAG, .commands = OF(TOKENIZE) | OF(GENERATE),
        .help = "tokenize: add the model's special tokens and recognise them in the text; generate: "
                "print them"},

    /* measures and tools */
    [O_DECODE] = {
        .name = "decode", .type = OPT_FLAG, .commands = OF(TOKENIZE),
        .help = "from ids to text: reads numbers, or a JSON array"},
    [O_QUERY] = {
        .name = "query", .type = OPT_FLAG, .commands = OF(EMBED),
        .help = "embed as queries, not documents, where the model tells them apart"},
    [O_NORMALIZE] = {
        .name = "normalize", .type = OPT_FLAG, .default_value = "yes", .commands = OF(EMBED),
        .help = "to length 1, as the model's settings say; --no-normalize turns it off"},
    [O_RERANK_MODEL] = {
        .name = "rerank-model", .type = OPT_STRING, .value = "MODEL", .env = "HEARTH_RERANK_MODEL",
        .config = "rerank-model", .commands = OF(RERANK),
        .help = "the reranker, where --model does not name it"},
    [O_RERANK_QUERY] = {
        .name = "query", .type = OPT_STRING, .value = "TEXT", .commands = OF(RERANK),
        .help = "the query of all documents; the lines are {\"text\"} then"},
    [O_RERANK_INSTRUCTION] = {
        .name = "instruction", .type = OPT_STRING, .value = "TEXT", .commands = OF(RERANK),
        .help = "what a language model is to look for [default: passages that answer a web search query]"},
    [O_RERANK_K] = {
        .name = "k", .letter = 'k', .type = OPT_INT, .value = "N", .min = 1, .max = 1048576,
        .commands = OF(RERANK), .help = "print the best N (default: all)"},
    [O_SELF_TEST] = {
        .name = "self-test", .type = OPT_FLAG, .default_value = "yes", .commands = OF(RERANK),
        .help = "refuse a model that cannot tell an answer from a recipe"},
    [O_FILE] = {
        .name = "file", .letter = 'f', .type = OPT_STRING, .value = "FILE",
        .commands = OF(PERPLEXITY) | OF(BENCH), .help = "the text (else standard input)"},
    [O_BENCH_PROMPT] = {
        .name = "prompt", .letter = 'p', .type = OPT_STRING, .value = "N,...",
        .default_value = "512", .commands = OF(BENCH),
        .help = "prompt tokens, or tokens of a text to embed; a list gives a row for each"},
    [O_BENCH_GEN] = {
        .name = "gen", .letter = 'n', .type = OPT_STRING, .value = "N,...",
        .default_value = "128", .commands = OF(BENCH), .help = "generated tokens"},
    [O_DEPTH] = {
        .name = "depth", .type = OPT_STRING, .value = "N,...", .default_value = "0",
        .commands = OF(BENCH), .help = "tokens in the context before those that are measured"},
    [O_PIN] = {
        .name = "pin", .type = OPT_FLAG, .commands = OF(BENCH),
        .help = "keep each thread on a core of its own"},
    [O_TYPE_K] = {
        .name = "type-k", .type = OPT_STRING, .value = "TYPE", .commands = OF(BENCH),
        .help = "how keys are kept: f16 (default), q8_0 or f32"},
    [O_TYPE_V] = {
        .name = "type-v", .type = OPT_STRING, .value = "TYPE", .commands = OF(BENCH),
        .help = "how values are kept: as the keys, other pairs are not made"},
    [O_REPEATS] = {
        .name = "repeats", .letter = 'r', .type = OPT_INT, .value = "N", .min = 1, .max = 100,
        .default_value = "5", .commands = OF(BENCH), .help = "runs; best and median are shown"},

    /* the library */
    [O_CHUNK_TOKENS] = {
        .name = "chunk-tokens", .type = OPT_INT, .value = "N", .min = 32, .max = 8192,
        .default_value = "256", .config = "chunk-tokens", .commands = OF(ADD),
        .help = "longest passage, in the embedding model's tokens"},
    [O_OVERLAP] = {
        .name = "overlap", .type = OPT_INT, .value = "N", .min = 0, .max = 4096,
        .default_value = "50", .config = "overlap", .commands = OF(ADD),
        .help = "tokens that a passage shares with the one before it"},
    [O_DRY_RUN] = {
        .name = "dry-run", .type = OPT_FLAG, .commands = OF(ADD), .help = "show what would be done"},
    [O_ALL] = {
        .name = "all", .type = OPT_FLAG, .commands = OF(REMOVE), .help = "every document"},
    [O_DROP_CACHE] = {
        .name = "drop-cache", .type = OPT_FLAG, .commands = OF(MODELS),
        .help = "remove the copies of packed weights, of the models named or of all"},
    [O_VERIFY] = {
        .name = "verify", .type = OPT_FLAG, .commands = OF(STATUS),
        .help = "check the whole database (slow on a large one)"},
};
