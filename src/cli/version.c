/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* tarn version */
#include "cli/cli.h"
#include "tarn.h"

static const struct option options[] = {HELP_OPTION};

static bool set(int option, const char *argument, void *context) {
    (void)option, (void)argument, (void)context;
    return true;
}

static int run(int argc, char **argv) {
    struct place place;
    int code = arguments_parse(&verb_version, argc, argv, &place, set, NULL);
    if (code >= 0)
        return code;
    if (optind < argc)
        return usage_error(&verb_version, "'%s' is one word too many", argv[optind]);
    output_print("tarn %s\n", tarn_version());
    return EXIT_OK;
}

const struct verb verb_version = {
    "version",
    "says which version this is",
    "usage: tarn version [OPTION...]\n"
    "\n"
    "Says which version this is. So does tarn --version.\n"
    "\n"
    "examples\n"
    "  tarn version\n"
    "  tarn --version\n"
    "\n"
    "options\n"
    "  --help              this page\n",
    options,
    run,
};
