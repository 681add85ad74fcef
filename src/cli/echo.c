/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * tarn echo: messages as somebody wants to look at them. Best effort always: it slows nobody down. What the payload is
 * follows from --struct, or else from the topic's type, which is looked at with the first message of each publisher
 * until there is one.
 */
#include <inttypes.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/follow.h"
#include "cli/where.h"
#include "core/inspect.h"

enum {
    OPTION_FORMAT = OPTION_FOLLOW_LAST,
    OPTION_HEX,
    OPTION_JSON,
    OPTION_STRUCT,
    OPTION_META,
    OPTION_WHERE,
    OPTION_GREP,
    OPTION_EVERY,
    OPTION_RATE,
};

static const struct option options[] = {
    {"format", required_argument, NULL, OPTION_FORMAT},
    {"hex", no_argument, NULL, OPTION_HEX},
    {"json", no_argument, NULL, OPTION_JSON},
    {"struct", required_argument, NULL, OPTION_STRUCT},
    {"meta", no_argument, NULL, OPTION_META},
    {"where", required_argument, NULL, OPTION_WHERE},
    {"grep", required_argument, NULL, OPTION_GREP},
    {"every", required_argument, NULL, OPTION_EVERY},
    {"rate", required_argument, NULL, OPTION_RATE},
    FOLLOW_OPTIONS,
    COMMON_OPTIONS,
};

enum { WHERES_MAX = 32 };
enum format { FORMAT_AUTO, FORMAT_TEXT, FORMAT_HEX, FORMAT_JSON, FORMAT_CSV };

struct echo {
    struct follow follow;
    enum format format;
    bool formats_collide, meta, is_terminal;
    const char *description; /* --struct */

    /* what the payload is */
    struct record *record; /* NULL: no struct */
    bool is_json, is_settled;
    uint64_t last_publisher; /* with whose first message the type was looked at; 0: never */
    uint64_t too_short;
    bool said_longer, csv_begun;

    /* which messages */
    struct where *wheres;
    size_t where_count;
    regex_t grep;
    bool greps;
    char *scratch; /* the message with a zero behind it, for grep */
    size_t scratch_bytes;
    uint64_t every, passed;

    /* --rate: the newest one waits until it is time */
    int64_t period_ns, next_ns;
    tarn_message newest;
    bool has_newest;
};

/* ---- options -------------------------------------------------------------------------------------------------- */

static bool set_format(struct echo *echo, enum format format) {
    echo->formats_collide |= echo->format && echo->format != format;
    echo->format = format;
    return true;
}

static bool name_format(struct echo *echo, const char *name) {
    static const char *const names[] = {"auto", "text", "hex", "json", "csv", NULL}; /* as enum format has them */
    unsigned format;
    if (argument_word("format", name, names, &format))
        return set_format(echo, (enum format)format);
    if (strcmp(name, "raw") == 0)
        say("'tarn sub --raw' writes the bytes as they are");
    return false;
}

static bool set_struct(struct echo *echo, const char *text) {
    struct record_error error;
    record_free(echo->record);
    echo->description = text;
    echo->is_settled = true;
    echo->record = record_parse(text, strlen(text), &error);
    if (!echo->record)
        record_say_error("--struct", text, strlen(text), &error);
    return echo->record;
}

static bool add_where(struct echo *echo, const char *text) {
    if (echo->where_count == WHERES_MAX) {
        say("--where: at most %d of them", WHERES_MAX);
        return false;
    }
    if (!echo->wheres && !(echo->wheres = calloc(WHERES_MAX, sizeof(*echo->wheres)))) {
        say("--where: no memory");
        return false;
    }
    return where_parse(&echo->wheres[echo->where_count++], text);
}

static bool set_grep(struct echo *echo, const char *text) {
    char why[128];
    if (echo->greps)
        regfree(&echo->grep);
    int error = regcomp(&echo->grep, text, REG_EXTENDED | REG_NOSUB | REG_NEWLINE);
    echo->greps = error == 0;
    if (echo->greps)
        return true;
    regerror(error, &echo->grep, why, sizeof(why));
    say("--grep: '%s' is no regular expression: %s", text, why);
    return false;
}

static bool set_rate(struct echo *echo, const char *text) {
    double rate;
    if (!argument_number("rate", text, &rate))
        return false;
    echo->period_ns = rate < 1e9 ? (int64_t)(1e9 / rate) : 1;
    return true;
}

static bool set(int option, const char *argument, void *context) {
    struct echo *echo = context;
    switch (option) {
    case OPTION_FORMAT:
        return name_format(echo, argument);
    case OPTION_HEX:
        return set_format(echo, FORMAT_HEX);
    case OPTION_JSON:
        return set_format(echo, FORMAT_JSON);
    case OPTION_STRUCT:
        return set_struct(echo, argument);
    case OPTION_META:
        return echo->meta = true;
    case OPTION_WHERE:
        return add_where(echo, argument);
    case OPTION_GREP:
        return set_grep(echo, argument);
    case OPTION_EVERY:
        return argument_count("every", argument, 1, INT64_MAX, &echo->every);
    case OPTION_RATE:
        return set_rate(echo, argument);
    default:
        return follow_set(&echo->follow, option, argument);
    }
}

/* ---- what the payload is -------------------------------------------------------------------------------------- */

static bool resolve_wheres(struct echo *echo) {
    for (size_t i = 0; i < echo->where_count; i++)
        if (!where_resolve(&echo->wheres[i], echo->record))
            return false;
    return true;
}

static void settle(struct echo *echo, const struct inspect_type *type) {
    struct record_error error;
    echo->is_settled = true;
    if (strcmp(type->encoding, "json") == 0) {
        echo->is_json = true;
    } else if (strcmp(type->encoding, "raw") == 0 && type->schema_bytes) {
        echo->record = record_parse(type->schema, type->schema_bytes, &error);
        if (!echo->record)
            record_say_error("the topic's schema is no description of a struct, so it is not used", type->schema,
                             type->schema_bytes, &error);
    }
}

/* With the first message of a publisher. Ends it all where a condition asks for what is not there. */
static void look_at_type(struct echo *echo, const tarn_message *message) {
    struct inspect_type type;
    bool is_first = echo->last_publisher == 0;
    if (echo->is_settled || echo->csv_begun || echo->last_publisher == message->publisher)
        return;
    echo->last_publisher = message->publisher;
    int status = inspect_type(&type, echo->follow.topic, echo->follow.place.directory, echo->follow.place.domain);
    if (status == 1) {
        settle(echo, &type);
        free(type.schema);
    } else if (status < 0) {
        say_error();
    }
    if ((is_first || echo->record) && !resolve_wheres(echo))
        follow_end(&echo->follow, EXIT_FAILED);
}

/* Whether the message has the struct's bytes. */
static bool check_bytes(struct echo *echo, const tarn_message *message) {
    if (!echo->record || message->bytes == echo->record->bytes)
        return true;
    if (message->bytes < echo->record->bytes && echo->too_short++ == 0)
        say("message %" PRIu64 " of %016" PRIx64 " has %zu byte%s, the struct has %" PRIu64
            ": messages that are shorter are not shown",
            message->sequence, message->publisher, message->bytes, message->bytes == 1 ? "" : "s", echo->record->bytes);
    else if (message->bytes > echo->record->bytes && !echo->said_longer)
        say("message %" PRIu64 " of %016" PRIx64 " has %zu bytes, the struct has %" PRIu64
            ": what is behind them is not shown",
            message->sequence, message->publisher, message->bytes, echo->record->bytes);
    echo->said_longer |= message->bytes > echo->record->bytes;
    return message->bytes > echo->record->bytes;
}

/* ---- which messages ------------------------------------------------------------------------------------------- */

/* A zero is where a string ends, so the end of a line here. */
static bool grep(struct echo *echo, const tarn_message *message) {
    size_t bytes = format_line_bytes(message->data, message->bytes);
    if (echo->scratch_bytes < bytes + 1) {
        free(echo->scratch);
        echo->scratch_bytes = bytes + 1;
        echo->scratch = malloc(echo->scratch_bytes);
        if (!echo->scratch) {
            echo->scratch_bytes = 0;
            say("no memory to search %zu bytes in", bytes);
            follow_end(&echo->follow, EXIT_FAILED);
            return false;
        }
    }
    memcpy(echo->scratch, message->data, bytes);
    echo->scratch[bytes] = '\0';
    for (char *zero = echo->scratch; (zero = memchr(zero, '\0', bytes - (size_t)(zero - echo->scratch)));)
        *zero = '\n';
    return regexec(&echo->grep, echo->scratch, 0, NULL, 0) == 0;
}

static bool passes(struct echo *echo, const tarn_message *message) {
    if (!check_bytes(echo, message))
        return false;
    for (size_t i = 0; i < echo->where_count; i++)
        if (!where_holds(&echo->wheres[i], message))
            return false;
    if (echo->greps && !grep(echo, message))
        return false;
    return echo->every == 0 || echo->passed++ % echo->every == 0;
}

/* ---- one message ---------------------------------------------------------------------------------------------- */

static void print_text(const struct echo *echo, const tarn_message *message) {
    if (echo->meta)
        output_print("%" PRIu64 " of %016" PRIx64 ": ", message->sequence, message->publisher);
    if (!echo->record) {
        format_line(message->data, message->bytes, true);
        return;
    }
    record_print_text(echo->record, message->data);
    output_bytes("\n", 1);
}

/* A value, as it is but for its line breaks, which are not in strings. */
static void print_json_value(const char *bytes, size_t count) {
    for (size_t i = 0, length; i < count; i += length) {
        for (length = 0; i + length < count && !strchr("\r\n", bytes[i + length]); length++)
            ;
        output_bytes(bytes + i, length);
        for (; i + length < count && strchr("\r\n", bytes[i + length]); length++)
            output_bytes(" ", 1);
    }
}

static void print_json(const struct echo *echo, const tarn_message *message) {
    const unsigned char *bytes = message->data;
    bool is_text = format_is_text(bytes, message->bytes);
    format_json_message(echo->follow.topic, message);
    output_print(", \"%s\": ", echo->record || is_text ? "data" : "hex");
    if (echo->record) {
        record_print_json(echo->record, bytes);
    } else if (echo->is_json && json_is_value(bytes, message->bytes)) {
        print_json_value(message->data, message->bytes);
    } else if (is_text) {
        format_json_text(bytes, message->bytes);
    } else {
        output_bytes("\"", 1);
        for (size_t i = 0; i < message->bytes; i++)
            output_print("%02x", bytes[i]);
        output_bytes("\"", 1);
    }
    output_print("}\n");
}

static void print_csv(struct echo *echo, const tarn_message *message) {
    if (!echo->csv_begun) {
        output_print("%s", echo->meta ? "sequence,publisher,bytes,lost,sent_ns," : "");
        if (echo->record)
            record_print_csv_header(echo->record);
        else
            output_print("text");
        output_bytes("\n", 1);
        echo->csv_begun = true;
    }
    if (echo->meta)
        output_print("%" PRIu64 ",%016" PRIx64 ",%zu,%" PRIu64 ",", message->sequence, message->publisher,
                     message->bytes, message->lost);
    if (echo->meta && message->sent_ns)
        output_print("%" PRId64, message->sent_ns);
    output_print("%s", echo->meta ? "," : "");
    if (echo->record)
        record_print_csv(echo->record, message->data, echo->is_terminal);
    else
        csv_text(message->data, format_line_bytes(message->data, message->bytes), echo->is_terminal);
    output_bytes("\n", 1);
}

/* Prints it, and gives it back. */
static void print(struct echo *echo, tarn_message *message) {
    if (echo->format == FORMAT_JSON)
        print_json(echo, message);
    else if (echo->format == FORMAT_CSV)
        print_csv(echo, message);
    else if (echo->format == FORMAT_HEX ||
             (echo->format == FORMAT_AUTO && !echo->record && !format_is_text(message->data, message->bytes)))
        format_hex_message(message);
    else
        print_text(echo, message);
    tarn_message_release(message);
}

/* ---- following ------------------------------------------------------------------------------------------------ */

/* Prints the newest one, if it is time. */
static bool print_newest(struct echo *echo) {
    int64_t now = clock_ns();
    if (!echo->has_newest || now < echo->next_ns)
        return false;
    echo->has_newest = false;
    echo->next_ns = now + echo->period_ns;
    print(echo, &echo->newest);
    output_flush();
    return true;
}

static bool keep_newest(struct echo *echo, const tarn_message *message) {
    if (echo->has_newest)
        tarn_message_release(&echo->newest);
    echo->newest = *message;
    echo->has_newest = true;
    return print_newest(echo);
}

static bool take(void *context, tarn_message *message) {
    struct echo *echo = context;
    look_at_type(echo, message);
    if (echo->follow.ended || !passes(echo, message)) {
        tarn_message_release(message);
        return false;
    }
    if (echo->period_ns)
        return keep_newest(echo, message);
    print(echo, message);
    return true;
}

static int64_t idle(void *context) {
    struct echo *echo = context;
    echo->follow.counted += print_newest(echo);
    return echo->has_newest ? echo->next_ns : INT64_MAX;
}

/* ---- the verb ------------------------------------------------------------------------------------------------- */

/* The one that waits is shown at the end, and counts. Returns the exit code. */
static int print_last(struct echo *echo, int code) {
    print(echo, &echo->newest);
    bool is_complete = echo->follow.count && ++echo->follow.counted == echo->follow.count;
    return code == EXIT_TIMEOUT && is_complete ? EXIT_OK : code;
}

static int finish(struct echo *echo, int code) {
    if (echo->has_newest && stop_status() == EXIT_OK)
        code = print_last(echo, code);
    else if (echo->has_newest)
        tarn_message_release(&echo->newest);
    if (echo->too_short == 0)
        return code;
    say("%" PRIu64 " message%s shorter than the struct", echo->too_short, echo->too_short == 1 ? " was" : "s were");
    return code == EXIT_OK ? EXIT_FAILED : code;
}

static int check(struct echo *echo, int operands) {
    if (operands != 1)
        return usage_error(&verb_echo, operands == 0 ? "a topic is missing" : "only one topic at a time");
    if (echo->formats_collide)
        return usage_error(&verb_echo, "--format, --hex and --json exclude each other");
    return echo->record && !resolve_wheres(echo) ? EXIT_USAGE : EXIT_OK;
}

static int run_with(struct echo *echo, int argc, char **argv) {
    int code = arguments_parse(&verb_echo, argc, argv, &echo->follow.place, set, echo);
    if (code >= 0 || (code = check(echo, argc - optind)) != EXIT_OK)
        return code;
    echo->follow.topic = argv[optind];
    echo->is_terminal = isatty(STDOUT_FILENO);
    code = follow_open(&echo->follow);
    return code == EXIT_OK ? finish(echo, follow_run(&echo->follow)) : code;
}

static int run(int argc, char **argv) {
    struct echo echo = {.follow = FOLLOW_START};
    echo.follow.context = &echo;
    echo.follow.take = take;
    echo.follow.idle = idle;
    int code = run_with(&echo, argc, argv);
    record_free(echo.record);
    free(echo.wheres);
    free(echo.scratch);
    if (echo.greps)
        regfree(&echo.grep);
    return code;
}

const struct verb verb_echo = {
    "echo",
    "shows the messages of a topic, decoded and filtered",
    "usage: tarn echo TOPIC [OPTION...]\n"
    "\n"
    "Shows the messages of the topic as somebody wants to look at them, from now on. It slows nobody down: what comes\n"
    "faster than it is shown is lost, and stderr says how much. (For a pipe's end, which gets all and the bytes as "
    "they\n"
    "are, see 'tarn help sub'; for other patterns 'tarn help listen', 'watch', 'call'.)\n"
    "\n"
    "examples\n"
    "  tarn echo hello\n"
    "  tarn echo camera/front --hex --count 1\n"
    "  tarn echo pose --struct 'u32 id; f64 xyz[3]; char name[16]'\n"
    "  tarn echo pose --struct \"$(cat pose.h)\" --where 'xyz[2] > 1.5' --where 'name = front' --rate 2\n"
    "  tarn echo pose --struct 'u32 id; f64 x' --format csv --meta --for 60 >pose.csv\n"
    "  tarn echo log --grep 'error|warning' --json | jq .data\n"
    "\n"
    "how messages are shown\n"
    "  --format auto|text|hex|json|csv  as one of these (default: auto)\n"
    "  --hex               the same as --format hex\n"
    "  --json              the same as --format json\n"
    "  --meta              in CSV, before these: sequence,publisher,bytes,lost,sent_ns; in text: sequence and "
    "publisher\n"
    "\n"
    "formats\n"
    "  auto                by what they are: fields, if the struct is known; else text, if it is text; else a hexdump\n"
    "  text                one line each; what is no text is escaped (\\n, \\x1b), but for a newline at the end\n"
    "  hex                 a hexdump, with a line before it that names message and publisher\n"
    "  json                one object each: what 'sub --json' has, and as \"data\" the fields, the message itself if "
    "the\n"
    "                      topic's encoding is json, or the text; as \"hex\" what is no text. 64-bit integers are "
    "there\n"
    "                      with all their digits (jq before 1.7 rounds them), NaN and infinity are null\n"
    "  csv                 a line with the names of the fields, then a line each; without a struct one column, text,\n"
    "                      without a newline at its end\n"
    "\n"
    "what they are\n"
    "  --struct TEXT       a C struct: its fields, or 'struct NAME { ... };'. Types are u8 to u64, i8 to i64, f32, "
    "f64,\n"
    "                      char, bool and their names in C; arrays have one or two dimensions, of char they are "
    "strings;\n"
    "                      a field may be a struct { ... }. Fields lie as the C compiler puts them, or, with 'packed'\n"
    "                      before the first, without padding; with 'big-endian' in network order\n"
    "  Without it the topic's type decides: encoding json, or raw with such a text as schema (see 'pub --schema').\n"
    "  A message that is shorter than the struct is not shown; stderr says so, and the exit code is 1.\n"
    "\n"
    "which messages\n"
    "  --where CONDITION   FIELD OP VALUE, such as 'id = 3', 'pose.q[1][0] <= 0.5', 'name != \"\"'; OP is one of = != "
    "< <=\n"
    "                      > >=. Each message has bytes, sequence, publisher and lost, too. Repeated: all must hold\n"
    "  --grep REGEX        whose bytes the (extended) regular expression matches, line by line; a zero ends a line, "
    "too\n"
    "  --every N           the first one of these and each Nth from there\n"
    "  --rate HZ           at most so many per second, the newest one each time\n" FOLLOW_HELP_HISTORY "\n"
    "when it ends\n"
    "  --count N           after N messages were shown\n" FOLLOW_HELP_ENDS "\n"
    "also\n" COMMON_HELP "\n"
    "More in 'tarn help'.\n",
    options,
    run,
};
