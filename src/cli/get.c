/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * tarn get: one value of a blackboard, as it is. Makes no key: what nobody has named is told from what has no value
 * yet.
 */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "tarn.h"

enum { OPTION_TIMEOUT = OPTION_FIRST, OPTION_JSON };

static const struct option options[] = {
    {"timeout", required_argument, NULL, OPTION_TIMEOUT}, {"json", no_argument, NULL, OPTION_JSON}, COMMON_OPTIONS};

struct get {
    struct place place;
    tarn_reader *reader;
    const char *topic, *name;
    int64_t timeout_ns, deadline_ns;
    bool json, has_timeout; /* has_timeout: one was given, if of 0 */
};

static bool set(int option, const char *argument, void *context) {
    struct get *get = context;
    if (option == OPTION_TIMEOUT)
        return (get->has_timeout = true) && argument_seconds("timeout", argument, &get->timeout_ns);
    return get->json = true;
}

/* The number of the key, if there is one of that name. */
static int find(struct get *get) {
    int count = tarn_reader_keys(get->reader);
    for (int key = 0; key < count; key++) {
        const char *name = tarn_reader_key_name(get->reader, key);
        if (name && strcmp(name, get->name) == 0)
            return key;
    }
    return -1;
}

static void print(const struct get *get, const tarn_message *value) {
    if (!get->json) {
        output_bytes(value->data, value->bytes);
        return;
    }
    output_print("{\"topic\": ");
    format_json_string(get->topic);
    output_print(", \"key\": ");
    format_json_string(get->name);
    output_print(", \"version\": %" PRIu64 ", \"writer\": \"%016" PRIx64 "\", \"bytes\": %zu}\n", value->sequence,
                 value->publisher, value->bytes);
}

/* 1: there is a value; 0: not in time; or a status. */
static int wait_for(struct get *get, int key) {
    for (int status = 0;;) {
        int64_t left = get->deadline_ns == INT64_MAX ? INT64_MAX : get->deadline_ns - clock_ns();
        if (left <= 0 || stop_status() != EXIT_OK)
            return status;
        status = tarn_reader_wait_key(get->reader, key, 0, left < 100 * NS_PER_MS ? left : 100 * NS_PER_MS);
        if (status == TARN_ERROR_TOPIC_REMOVED) { /* those who had joined go on */
            say_error();
            status = 0;
        }
        if (status != 0)
            return status;
    }
}

static int read_value(struct get *get) {
    tarn_message value;
    int key = get->timeout_ns ? tarn_reader_key(get->reader, get->name) : find(get);
    if (get->timeout_ns && key < 0)
        return say_error();
    int status = get->timeout_ns ? wait_for(get, key) : 1;
    if (status == 1 && key >= 0)
        status = tarn_reader_take(get->reader, key, &value);
    if (status < 0)
        return say_error();
    if (status == 1 && key >= 0) {
        print(get, &value);
        output_flush();
        tarn_message_release(&value);
        return EXIT_OK;
    }
    say(key < 0 ? "topic '%s' has no key '%s', or nobody is in it"
                : "topic '%s': key '%s' has no value (it was not set, or went with its writer)",
        get->topic, get->name);
    return get->has_timeout ? EXIT_TIMEOUT : EXIT_FAILED;
}

static int run(int argc, char **argv) {
    struct get get = {.timeout_ns = 0};
    int code = arguments_parse(&verb_get, argc, argv, &get.place, set, &get);
    if (code >= 0)
        return code;
    if (argc - optind != 2)
        return usage_error(&verb_get, argc - optind < 1   ? "a topic and a key are missing"
                                      : argc - optind < 2 ? "a key is missing"
                                                          : "one key at a time");
    get.topic = argv[optind];
    get.name = argv[optind + 1];
    tarn_reader_options how = {
        .struct_bytes = sizeof(how), .directory = get.place.directory, .domain = get.place.domain};
    if (tarn_reader_open(&get.reader, get.topic, &how) < 0)
        return say_error();
    stop_on_signals(NULL);
    get.deadline_ns = clock_deadline_ns(get.timeout_ns);
    code = read_value(&get);
    tarn_reader_close(get.reader);
    if (stop_status() != EXIT_OK)
        return stop_status();
    return output_status() != EXIT_OK ? output_status() : code;
}

const struct verb verb_get = {
    "get",
    "writes the value of a key of a blackboard",
    "usage: tarn get TOPIC KEY [OPTION...]\n"
    "\n"
    "Writes the latest value of the key to standard output, the bytes as they are. If it has none, a sentence on "
    "stderr\n"
    "says so, and the exit code is 1.\n"
    "\n"
    "examples\n"
    "  tarn get robot speed\n"
    "  tarn get robot map --timeout 5 >map.bin\n"
    "  tarn get robot map --json | jq .version\n"
    "\n"
    "options\n"
    "  --timeout SECONDS   waits so long for a value (or forever); without one in time the exit code is 3\n"
    "  --json              about the value one line: topic, key, version, writer, bytes\n" COMMON_HELP "\n"
    "More in 'tarn help'.\n",
    options,
    run,
};
