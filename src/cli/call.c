/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* tarn call: sends one request, and prints what is answered. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "tarn.h"

enum {
    OPTION_TIMEOUT = OPTION_FIRST,
    OPTION_MEMORY,
    OPTION_QUIET,
};

static const struct option options[] = {
    {"timeout", required_argument, NULL, OPTION_TIMEOUT},
    {"memory", required_argument, NULL, OPTION_MEMORY},
    {"quiet", no_argument, NULL, OPTION_QUIET},
    COMMON_OPTIONS,
};

struct call {
    struct place place;
    const char *topic;
    uint64_t memory;
    int64_t timeout_ns, deadline_ns;
    bool quiet, is_line; /* is_line: the request was an argument, so answers are for people to read */
    tarn_client *client;
    char *request;
    size_t bytes;
};

static bool set(int option, const char *argument, void *context) {
    struct call *call = context;
    switch (option) {
    case OPTION_TIMEOUT:
        return argument_seconds("timeout", argument, &call->timeout_ns);
    case OPTION_MEMORY:
        return argument_bytes("memory", argument, &call->memory);
    case OPTION_QUIET:
        return call->quiet = true;
    default:
        return false;
    }
}

/* ---- the request ---------------------------------------------------------------------------------------------- */

static int read_stdin(struct call *call) {
    size_t capacity = 0;
    for (;;) {
        if (call->bytes == capacity) {
            capacity = capacity ? 2 * capacity : 64 * 1024;
            char *larger = realloc(call->request, capacity);
            if (!larger) {
                say("no memory for a request of more than %zu bytes", call->bytes);
                return EXIT_FAILED;
            }
            call->request = larger;
        }
        size_t got = 0;
        int code =
            input_read(STDIN_FILENO, "standard input", call->request + call->bytes, capacity - call->bytes, &got);
        if (code != EXIT_OK || got == 0)
            return code;
        call->bytes += got;
    }
}

static int read_request(struct call *call, const char *data) {
    call->is_line = data && strcmp(data, "-") != 0;
    if (!call->is_line)
        return read_stdin(call);
    call->bytes = strlen(data);
    call->request = malloc(call->bytes + 1);
    if (call->request)
        memcpy(call->request, data, call->bytes);
    return call->request ? EXIT_OK : EXIT_FAILED;
}

static int interrupt(void *client) {
    return tarn_client_interrupt(client);
}

static int open_client(struct call *call) {
    tarn_client_options how = {
        .struct_bytes = sizeof(how),
        .directory = call->place.directory,
        .domain = call->place.domain,
        .memory_limit_bytes = call->memory,
        .server_timeout_ns = NS_PER_S, /* in slices: see send_request() */
    };
    if (call->timeout_ns < how.server_timeout_ns)
        how.server_timeout_ns = call->timeout_ns > 0 ? call->timeout_ns : TARN_IMMEDIATELY;
    if (tarn_client_open(&call->client, call->topic, &how) < 0)
        return say_error();
    stop_interrupts(interrupt, call->client);
    return EXIT_OK;
}

static int say_timeout(const struct call *call, const char *what) {
    if (!call->quiet)
        say("%s '%s' in time", what, call->topic);
    return EXIT_TIMEOUT;
}

/* Waits for a server and for space as long as the time-out allows. */
static int send_request(struct call *call) {
    bool said = call->quiet;
    for (;;) {
        int status = tarn_client_send(call->client, call->request, call->bytes, NULL);
        if (status == 1)
            return EXIT_OK;
        if (stop_status() != EXIT_OK)
            return stop_status();
        if (status != TARN_ERROR_NO_PEER && status != TARN_ERROR_FULL && status != TARN_ERROR_INTERRUPTED)
            return say_error();
        if (clock_ns() >= call->deadline_ns)
            return say_timeout(call, "no server took a request for");
        if (!said)
            say("waiting: %s", tarn_error());
        said = true;
    }
}

/* ---- the answer ----------------------------------------------------------------------------------------------- */

static void print(const struct call *call, const tarn_message *message) {
    if (message->flags & TARN_MESSAGE_NO_DATA)
        return;
    if (call->is_line)
        format_line(message->data, message->bytes, false);
    else
        output_bytes(message->data, message->bytes);
    output_flush();
}

/* The next response, as tarn_client_receive. A deleted file is said, and ends nothing: the server had joined before. */
static int receive(struct call *call, tarn_message *ret) {
    for (;;) {
        int64_t left = call->deadline_ns == INT64_MAX ? TARN_FOREVER : call->deadline_ns - clock_ns();
        int status = tarn_client_receive(call->client, ret, left > 0 ? left : 0);
        if (status != TARN_ERROR_TOPIC_REMOVED || stop_status() != EXIT_OK)
            return status;
        say_error();
    }
}

static int print_answers(struct call *call) {
    for (uint64_t answers = 0;; answers++) {
        tarn_message message;
        int status = receive(call, &message);
        if (stop_status() != EXIT_OK)
            return stop_status();
        if (status == 0)
            return say_timeout(call, "no answer came from");
        if (status < 0)
            return say_error();
        bool last = message.flags & TARN_MESSAGE_LAST, no_data = message.flags & TARN_MESSAGE_NO_DATA;
        print(call, &message);
        tarn_message_release(&message);
        if (output_status() != EXIT_OK)
            return output_status();
        if (last && no_data && answers == 0) {
            say("the server of '%s' ended the request without an answer", call->topic);
            return EXIT_FAILED;
        }
        if (last)
            return EXIT_OK;
    }
}

/* ---- the verb ------------------------------------------------------------------------------------------------- */

static int run_call(struct call *call, const char *data) {
    int code = read_request(call, data);
    call->deadline_ns = clock_deadline_ns(call->timeout_ns);
    if (code == EXIT_OK)
        code = open_client(call);
    if (code == EXIT_OK)
        code = send_request(call);
    if (code == EXIT_OK)
        code = print_answers(call);
    stop_interrupts(NULL, NULL);
    tarn_client_close(call->client);
    free(call->request);
    return code;
}

static int run(int argc, char **argv) {
    struct call call = {.timeout_ns = TARN_FOREVER};
    int code = arguments_parse(&verb_call, argc, argv, &call.place, set, &call);
    if (code >= 0)
        return code;
    if (argc - optind < 1)
        return usage_error(&verb_call, "a topic is missing");
    if (argc - optind > 2)
        return usage_error(&verb_call, "one request only: put it in quotes");
    call.topic = argv[optind];
    stop_on_signals(NULL);
    return run_call(&call, argv[optind + 1]);
}

const struct verb verb_call = {
    "call",
    "sends a request to a server, and prints the answer",
    "usage: tarn call TOPIC [REQUEST] [OPTION...]\n"
    "\n"
    "Sends a request to one of the topic's servers, and prints what it answers. The request is the argument, or, "
    "without\n"
    "one or with '-', all of standard input. To an argument the answer is a line: a newline is added if it has none; "
    "to\n"
    "standard input it is printed as it is. Where there are several responses, each is printed when it comes.\n"
    "\n"
    "examples\n"
    "  tarn serve upper -- tr a-z A-Z          in one terminal\n"
    "  tarn call upper 'hello, world'          in another\n"
    "  tarn call thumbnail <photo.jpg >small.jpg --timeout 5\n"
    "\n"
    "options\n"
    "  --timeout SECONDS   gives up after so long, waiting for a server included (default: forever)\n"
    "  --memory BYTES      uses no more than that for the request (default: a quarter of the machine's)\n"
    "  --quiet             no notes on waiting\n" COMMON_HELP "\n"
    "Exit code 1: the server died or left, which is noticed at once, or ended the request without an answer; 3: not "
    "in\n"
    "time. More in 'tarn help'.\n",
    options,
    run,
};
