/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Options, and numbers as users type them: each refusal names the option, what was given and what would do. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "tarn.h"

/* What others are called may be in it: a sentence stays one line, and does nothing to a terminal. */
static void say_arguments(const char *format, va_list arguments, const char *end) {
    char line[2048], safe[FORMAT_SAFE_BYTES * sizeof(line)];
    vsnprintf(line, sizeof(line), format, arguments);
    format_safe(safe, line);
    fprintf(stderr, "tarn: %s%s\n", safe, end);
}

void say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say_arguments(format, arguments, "");
    va_end(arguments);
}

int say_error(void) {
    say("%s", tarn_error());
    return EXIT_FAILED;
}

int usage_error(const struct verb *verb, const char *format, ...) {
    char end[64];
    snprintf(end, sizeof(end), "; see 'tarn help %s'", verb->name);
    va_list arguments;
    va_start(arguments, format);
    say_arguments(format, arguments, end);
    va_end(arguments);
    return EXIT_USAGE;
}

int arguments_parse(const struct verb *verb, int argc, char **argv, struct place *place,
                    bool (*set)(int option, const char *argument, void *context), void *context) {
    *place = (struct place){NULL, NULL};
    for (int option; (option = getopt_long(argc, argv, "h", verb->options, NULL)) != -1;) {
        if (option == OPTION_DIRECTORY) {
            place->directory = optarg;
        } else if (option == OPTION_DOMAIN) {
            place->domain = optarg;
        } else if (option == OPTION_HELP || option == 'h') {
            output_print("%s", verb->help);
            return EXIT_OK;
        } else if (option == '?') { /* getopt has said what is wrong */
            say("see 'tarn help %s'", verb->name);
            return EXIT_USAGE;
        } else if (!set(option, optarg, context)) {
            return EXIT_USAGE;
        }
    }
    return -1;
}

static bool refuse(const char *option, const char *text, const char *wanted) {
    say("--%s: '%s' is not %s", option, text, wanted);
    return false;
}

/* Plain decimal digits; end receives where they end. */
static bool parse_digits(const char *text, uint64_t *ret, char **end) {
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *ret = strtoull(text, end, 10);
    return errno == 0;
}

bool argument_count(const char *option, const char *text, uint64_t least, uint64_t most, uint64_t *ret) {
    uint64_t value;
    char *end, wanted[80];
    if (parse_digits(text, &value, &end) && !*end && value >= least && value <= most) {
        *ret = value;
        return true;
    }
    snprintf(wanted, sizeof(wanted), "a whole number from %" PRIu64 " to %" PRIu64, least, most);
    return refuse(option, text, wanted);
}

bool argument_bytes(const char *option, const char *text, uint64_t *ret) {
    uint64_t value;
    char *end;
    unsigned shift = 0;
    if (parse_digits(text, &value, &end) && value) {
        const char *suffix = *end ? strchr("KMG", *end) : NULL;
        if (suffix) {
            shift = 10 * (unsigned)(strchr("KMG", *suffix) - strchr("KMG", 'K') + 1);
            end++;
        }
        if (!*end && value <= (uint64_t)INT64_MAX >> shift) {
            *ret = value << shift;
            return true;
        }
    }
    return refuse(option, text, "a number of bytes, such as 4096, 64K, 1M or 2G");
}

static bool parse_decimal(const char *text, double *ret) {
    char *end;
    *ret = strtod(text, &end);
    return end != text && !*end && isfinite(*ret) && *ret >= 0;
}

bool argument_seconds(const char *option, const char *text, int64_t *ret_ns) {
    double seconds;
    if (strcmp(text, "forever") == 0) {
        *ret_ns = TARN_FOREVER;
        return true;
    }
    if (!parse_decimal(text, &seconds))
        return refuse(option, text, "a number of seconds, such as 2, 0.5 or forever");
    *ret_ns = seconds < 9e9 ? (int64_t)(seconds * 1e9) : TARN_FOREVER;
    return true;
}

bool argument_number(const char *option, const char *text, double *ret) {
    double value;
    if (!parse_decimal(text, &value) || value < 1e-6)
        return refuse(option, text, "a number above 0, such as 100 or 0.5");
    *ret = value;
    return true;
}

bool argument_word(const char *option, const char *text, const char *const *words, unsigned *ret) {
    char list[256];
    for (unsigned i = 0; words[i]; i++)
        if (strcmp(text, words[i]) == 0) {
            *ret = i;
            return true;
        }
    for (size_t i = 0, used = 0; words[i] && used < sizeof(list); i++)
        used += (size_t)snprintf(list + used, sizeof(list) - used, i ? ", %s" : "%s", words[i]);
    say("--%s: '%s' is none of %s", option, text, list);
    return false;
}
