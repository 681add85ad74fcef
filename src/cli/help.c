/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* tarn help: the overview, or one verb's page. */
#include "cli/cli.h"

static const char overview_head[] =
    "tarn: processes on one machine talk through shared memory\n"
    "\n"
    "  in one terminal      tarn sub hello\n"
    "  in another           echo 'Hello, world' | tarn pub hello\n"
    "\n"
    "  a pipe with many     tarn sub t --raw --reliable --eof | consumer      (as often as you like)\n"
    "  readers              producer | tarn pub t --reliable                  (--wait 3: for three of them)\n"
    "\n"
    "usage: tarn VERB [OPTION...] [ARGUMENT...]\n"
    "\n";

static const char overview_tail[] =
    "\n"
    "'tarn help VERB' and 'tarn VERB --help' teach a verb by example.\n"
    "\n"
    "Topics are names such as camera/front: letters, digits, '_', '-' and '.', joined by single slashes. They are\n"
    "there while somebody uses them; messages are kept in memory only, and die with the last process that uses them.\n"
    "\n"
    "environment\n"
    "  TARN_DIR            where topics are, else /run/tarn if it exists, else /tmp/tarn-<uid>\n"
    "  TARN_DOMAIN         topics of other domains are not seen, else \"default\"\n"
    "  NO_COLOR            no colours, if it is set and not empty\n"
    "\n"
    "exit codes\n"
    "    0  all was done\n"
    "    1  it failed, or could not be finished; a sentence on stderr says why\n"
    "    2  the command line was not understood; nothing was done\n"
    "    3  --for or --timeout ran out before what it waited for came\n"
    "  130  ended by SIGINT (Ctrl-C)\n"
    "  141  the reader of stdout went away, as after 'tarn sub t | head -1'\n"
    "  143  ended by SIGTERM\n";

static void overview(void) {
    output_print("%s", overview_head);
    for (int i = 0; verbs[i]; i++)
        output_print("  tarn %-14s  %s\n", verbs[i]->name, verbs[i]->summary);
    output_print("%s", overview_tail);
}

static const struct option options[] = {HELP_OPTION};

static bool set(int option, const char *argument, void *context) {
    (void)option, (void)argument, (void)context;
    return true;
}

static int run(int argc, char **argv) {
    struct place unused;
    int code = arguments_parse(&verb_help, argc, argv, &unused, set, NULL);
    if (code >= 0)
        return code;
    if (argc - optind > 1)
        return usage_error(&verb_help, "it explains one verb at a time");
    const char *name = argv[optind];
    const struct verb *verb = name ? verb_find(name) : NULL;
    if (name && !verb)
        return verb_unknown(name);
    if (verb)
        output_print("%s", verb->help);
    else
        overview();
    return EXIT_OK;
}

const struct verb verb_help = {
    "help",
    "explains a verb by example",
    "usage: tarn help [VERB] [OPTION...]\n"
    "\n"
    "Explains a verb by example, or lists the verbs and the exit codes.\n"
    "\n"
    "examples\n"
    "  tarn help\n"
    "  tarn help pub\n"
    "\n"
    "options\n"
    "  --help              this page\n",
    options,
    run,
};
