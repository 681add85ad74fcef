/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * tarn doctor: whether this machine, user and directory have what tarn needs. What can be tried is tried; nothing that
 * is in use is changed.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/doctor.h"
#include "tarn.h"

enum { OPTION_JSON = OPTION_FIRST };

static const struct option options[] = {{"json", no_argument, NULL, OPTION_JSON}, COMMON_OPTIONS};

static bool set(int option, const char *argument, void *context) {
    (void)argument;
    return *(bool *)context = option == OPTION_JSON;
}

/* Names stay as they are: programs read them. */
static const struct check {
    const char *group, *name;
    look *look;
} checks[] = {
    {"kernel", "kernel", look_at_kernel},
    {"kernel", "segments", look_at_segments},
    {"kernel", "segment_limits", look_at_segment_limits},
    {"kernel", "locks", look_at_locks},
    {"kernel", "fork", look_at_fork},
    {"kernel", "membarrier", look_at_membarrier},
    {"kernel", "futex", look_at_futex},
    {"kernel", "deaths", look_at_deaths},
    {"kernel", "timeouts", look_at_timeouts},
    {"limits", "files", look_at_files},
    {"limits", "addresses", look_at_addresses},
    {"limits", "locked_memory", look_at_locked_memory},
    {"limits", "memory", look_at_memory},
    {"place", "directory", look_at_directory},
    {"place", "file_system", look_at_file_system},
    {"place", "trial", look_at_trial},
    {"place", "namespaces", look_at_namespaces},
    {"place", "topics", look_at_topics},
    {"place", "participants", look_at_participants},
    {"place", "left", look_at_left},
    {"place", "logout", look_at_logout},
    {"machine", "cpus", look_at_cpus},
    {"machine", "cores", look_at_cores},
    {"machine", "clock", look_at_clock},
    {"machine", "frequency", look_at_frequency},
    {"machine", "virtual", look_at_virtual},
};

enum { CHECKS = sizeof(checks) / sizeof(checks[0]) };

static const char *const state_names[] = {[STATE_OK] = "ok", [STATE_NOTE] = "note", [STATE_PROBLEM] = "problem"};

/* ---- findings ------------------------------------------------------------------------------------------------- */

void found(struct finding *finding, enum state state, const char *format, ...) {
    va_list arguments;
    finding->state = state;
    finding->advice[0] = '\0';
    va_start(arguments, format);
    vsnprintf(finding->text, sizeof(finding->text), format, arguments);
    va_end(arguments);
}

void advise(struct finding *finding, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(finding->advice, sizeof(finding->advice), format, arguments);
    va_end(arguments);
}

static int count(const struct finding *findings, enum state state) {
    int sum = 0;
    for (int i = 0; i < CHECKS; i++)
        sum += findings[i].state == state;
    return sum;
}

static void meet(struct patient *patient) {
    if (inspect_domain_open(&patient->domain, patient->place.directory, patient->place.domain) < 0 ||
        inspect_left(&patient->left, patient->place.directory, patient->place.domain) < 0)
        snprintf(patient->refusal, sizeof(patient->refusal), "%s", tarn_error());
    inspect_probe(&patient->probe);
    machine_read(&patient->machine, machine_cpus_choose());
}

/* ---- for people ----------------------------------------------------------------------------------------------- */

static void print_state(enum state state) {
    static const char *const colours[] = {"\033[32m", "\033[33m", "\033[1;31m"};
    bool coloured = output_is_coloured();
    output_print("  %s%s%s%*s", coloured ? colours[state] : "", state_names[state], coloured ? "\033[0m" : "",
                 (int)(9 - strlen(state_names[state])), "");
}

static void print_text(const struct patient *patient, const struct finding *findings) {
    const char *group = "";
    if (patient->domain) {
        output_print("topics are in ");
        format_text(patient->domain->path, strlen(patient->domain->path));
        output_print("\n");
    }
    for (int i = 0; i < CHECKS; i++) {
        if (strcmp(group, checks[i].group) != 0)
            output_print("\n%s\n", group = checks[i].group);
        print_state(findings[i].state);
        output_print("%-16s", checks[i].name);
        format_sentence(findings[i].text, 27);
        if (findings[i].advice[0]) {
            output_print("\n%27s-> ", "");
            format_sentence(findings[i].advice, 30);
        }
        output_print("\n");
    }
    int problems = count(findings, STATE_PROBLEM), notes = count(findings, STATE_NOTE);
    output_print("\n%d problem%s, %d note%s\n", problems, problems == 1 ? "" : "s", notes, notes == 1 ? "" : "s");
}

/* ---- for programs --------------------------------------------------------------------------------------------- */

static void print_json(const struct patient *patient, const struct finding *findings) {
    output_print("{\"version\": \"%s\", \"directory\": ", tarn_version());
    if (patient->domain)
        format_json_string(patient->domain->path);
    else
        output_print("null");
    output_print(", \"problems\": %d, \"notes\": %d, \"checks\": [\n", count(findings, STATE_PROBLEM),
                 count(findings, STATE_NOTE));
    for (int i = 0; i < CHECKS; i++) {
        output_print("  {\"group\": \"%s\", \"name\": \"%s\", \"state\": \"%s\", \"text\": ", checks[i].group,
                     checks[i].name, state_names[findings[i].state]);
        format_json_string(findings[i].text);
        output_print(", \"advice\": ");
        if (findings[i].advice[0])
            format_json_string(findings[i].advice);
        else
            output_print("null");
        output_print("}%s\n", i + 1 < CHECKS ? "," : "");
    }
    output_print("]}\n");
}

/* ---- the verb ------------------------------------------------------------------------------------------------- */

static int run(int argc, char **argv) {
    static struct patient patient;
    static struct finding findings[CHECKS];
    bool json = false;
    int code = arguments_parse(&verb_doctor, argc, argv, &patient.place, set, &json);
    if (code >= 0)
        return code;
    if (optind < argc)
        return usage_error(&verb_doctor, "it takes no topic: '%s' is one word too many", argv[optind]);
    meet(&patient);
    for (int i = 0; i < CHECKS; i++)
        checks[i].look(&findings[i], &patient);
    (json ? print_json : print_text)(&patient, findings);
    inspect_domain_close(patient.domain);
    return count(findings, STATE_PROBLEM) ? EXIT_FAILED : EXIT_OK;
}

const struct verb verb_doctor = {
    "doctor",
    "says whether this machine has what tarn needs, and what to do if not",
    "usage: tarn doctor [OPTION...]\n"
    "\n"
    "Checks what tarn needs: what the kernel does and its limits, the directory where topics are, who else is there,\n"
    "and the CPUs. What can be tried is tried: a message goes from one process to another in a domain of its own, one\n"
    "of them is killed, and all is gone afterwards. What others use is not touched.\n"
    "\n"
    "examples\n"
    "  tarn doctor\n"
    "  tarn doctor --directory /run/tarn\n"
    "  tarn doctor --json | jq '.checks[] | select(.state != \"ok\")'\n"
    "\n"
    "states\n"
    "  ok                  as it should be\n"
    "  note                it works, but somebody may want to know, or to change it\n"
    "  problem             something does not work, or not for long; what to do is said behind the arrow\n"
    "\n"
    "options\n"
    "  --json              as JSON, whose fields stay as they are: version, directory (or null), problems, notes\n"
    "                      (how many), checks: [group (kernel, limits, place, machine), name, state (as above), text,\n"
    "                      advice (or null)]. More checks may come; names stay\n" COMMON_HELP "\n"
    "The exit code is 0 if there is no problem, and 1 if there is one. On a terminal states are coloured, unless\n"
    "NO_COLOR is set. More in 'tarn help'.\n",
    options,
    run,
};
