/* The command table. */
#include "cli/cli.h"

#include <string.h>

enum { ANY = 1 << 20 };

/* clang-format off */
static const struct command table[COMMAND_COUNT] = {
    [CMD_ADD] = {
        .name = "add", .summary = "index files and folders", .usage = "add [OPTIONS] [PATH...]",
        .help =
            "Brings the library in line with the given files and folders (text, Markdown, HTML and\n"
            "PDF, recursively): new files are added, changed ones replaced, files that are gone taken\n"
            "out, unchanged ones skipped. Without a path it does so for everything added before.\n"
            "ctrl-C loses nothing: the same command goes on from there. A file that cannot be read is\n"
            "reported and kept in `hearth status`; the command fails when that is all there was.\n\n"
            "  hearth add ~/Documents\n"
            "  hearth add --dry-run manual.pdf notes/\n",
        .max_words = ANY, .cancels = true, .run = cmd_add},
    [CMD_ASK] = {
        .name = "ask", .summary = "answer a question from the library, with its sources",
        .usage = "ask [OPTIONS] QUESTION...",
        .help =
            "Answers from the documents that were added and prints the sources: quote, document,\n"
            "heading, page and byte range. When nothing relevant is found it says so, does not call\n"
            "the model, and ends with exit code 13.\n\n"
            "  hearth ask \"What is the capital of France?\"\n"
            "  hearth ask --json \"Which isolation level is the default?\"\n",
        .min_words = 1, .max_words = ANY, .word = "a question", .cancels = true, .run = cmd_ask},
    [CMD_CHAT] = {
        .name = "chat", .summary = "ask one question after another", .usage = "chat [OPTIONS]",
        .help =
            "Each question may lean on the ones before it. On a terminal with line editing and\n"
            "history; in a pipe one question per line. /sources shows the quotes of the last answer,\n"
            "/reset forgets the conversation, /quit leaves.\n",
        .cancels = true, .run = cmd_chat},
    [CMD_SEARCH] = {
        .name = "search", .summary = "find passages, with the scores that say why",
        .usage = "search [OPTIONS] QUERY...",
        .help = "  hearth search -k 3 \"isolation levels\"\n",
        .min_words = 1, .max_words = ANY, .word = "a query", .cancels = true, .run = cmd_search},
    [CMD_STATUS] = {
        .name = "status", .summary = "show what is stored, what failed and what to do about it",
        .usage = "status [OPTIONS]", .help = "", .run = cmd_status},
    [CMD_REMOVE] = {
        .name = "remove", .summary = "take documents out of the library",
        .usage = "remove [OPTIONS] PATH... | --all",
        .help =
            "Takes out the documents of a file, a folder or a source, and forgets the files there that\n"
            "could not be read; the files themselves stay where they are.\n",
        .max_words = ANY, .cancels = true, .run = cmd_remove},
    [CMD_GENERATE] = {
        .name = "generate", .summary = "continue a prompt with the language model",
        .usage = "generate [OPTIONS] [PROMPT...]",
        .help =
            "Puts the prompt into the model's chat template (--raw: takes it as it is) and prints what\n"
            "the model writes. With --json: text, ids, logprobs, prompt_ids, stop_reason and timings.\n\n"
            "  hearth generate --prompt 'Write a haiku about rain.' --temperature 0.8\n"
            "  hearth generate --raw --prompt 'The capital of France is' --max-tokens 8 --json\n",
        .max_words = ANY, .cancels = true, .run = cmd_generate},
    [CMD_EMBED] = {
        .name = "embed", .summary = "embed texts: JSON lines in, JSON lines out",
        .usage = "embed [OPTIONS] < TEXTS.jsonl",
        .help =
            "Reads lines {\"text\": \"...\"} and writes lines {\"embedding\": [...]} in the same order.\n"
            "A text that is longer than the model reads is embedded from its beginning and marked\n"
            "\"truncated\": true. --model names the embedding model here.\n\n"
            "  echo '{\"text\": \"good morning\"}' | hearth embed\n",
        .cancels = true, .run = cmd_embed},
    [CMD_RERANK] = {
        .name = "rerank", .summary = "order documents by how well they answer a query",
        .usage = "rerank [OPTIONS] --model MODEL < REQUESTS.jsonl",
        .help =
            "Reads lines {\"query\": \"...\", \"documents\": [\"...\", ...]}, or with --query lines\n"
            "{\"text\": \"...\"} of that one query, and prints index, score and logit of the documents,\n"
            "best first. The score is the logistic function of the logit. Pairs longer than the model\n"
            "reads lose the end of their longer part, and are marked \"truncated\". The model is a\n"
            "cross-encoder (a BERT with one label), or a language model that answers yes or no\n"
            "(Qwen3-Reranker). One that puts a plain answer behind a recipe is refused.\n\n"
            "  echo '{\"text\": \"Berlin has 3.5 million inhabitants\"}' |\n"
            "      hearth rerank --model ms-marco-MiniLM-L6-v2 --query 'How big is Berlin?' --json\n",
        .cancels = true, .run = cmd_rerank},
    [CMD_TOKENIZE] = {
        .name = "tokenize", .summary = "text to token ids, and back",
        .usage = "tokenize [OPTIONS] < TEXT",
        .help =
            "Reads text from standard input and prints the ids of its tokens. Special tokens are\n"
            "neither added nor recognised unless --special asks for it.\n\n"
            "  printf 'Hello world' | hearth tokenize\n"
            "  echo 19556 905 | hearth tokenize --decode\n",
        .run = cmd_tokenize},
    [CMD_PERPLEXITY] = {
        .name = "perplexity", .summary = "measure how well a model predicts a text",
        .usage = "perplexity [OPTIONS] --file TEXT",
        .help =
            "exp of the mean negative log-likelihood over windows of --ctx tokens, the second half of\n"
            "each window counted.\n",
        .max_words = 1, .run = cmd_perplexity},
    [CMD_BENCH] = {
        .name = "bench", .summary = "measure tokens per second of a model",
        .usage = "bench [OPTIONS]",
        .help =
            "Runs prompts of --prompt tokens and generates --gen tokens at each --depth, several times;\n"
            "prints best and median, the kernel of each tensor type, and what share that is of the\n"
            "machine's limit, measured beside every row: the speed of integer products, or of reading.\n"
            "For an embedding model: texts of --prompt tokens, embedded together, and one query.\n"
            "  hearth bench --prompt 512,4096 --gen 128 --depth 0,1355,8000\n",
        .run = cmd_bench},
    [CMD_MODELS] = {
        .name = "models", .summary = "show what model files are", .usage = "models [OPTIONS] [MODEL...]",
        .help =
            "Shows architecture, tensor types, sizes, tokenizer, chat template and context of models;\n"
            "without arguments, of every model in models/.\n",
        .max_words = ANY, .run = cmd_models},
    [CMD_CONFIG] = {
        .name = "config", .summary = "show every option, its value and where it comes from",
        .usage = "config [OPTIONS]",
        .help =
            "A value comes from, highest first: the command line, the environment (a .env file in the\n"
            "working directory included), the configuration file, the default. The configuration\n"
            "file holds lines of the form  key = value.\n",
        .all_options = true, .run = cmd_config},
    [CMD_HELP] = {
        .name = "help", .summary = "show this list, or the help of a command",
        .usage = "help [COMMAND]", .help = "", .max_words = 1, .run = cmd_help},
    [CMD_VERSION] = {
        .name = "version", .summary = "show the version", .usage = "version", .help = "",
        .run = cmd_version},
};
/* clang-format on */

const struct command *command_at(enum command_id id)
{
    return &table[id];
}

const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(table[i].name, name) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

const char *command_closest(const char *name)
{
    const char *names[COMMAND_COUNT];
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        names[i] = table[i].name;
    }
    return options_closest(name, names, COMMAND_COUNT);
}
