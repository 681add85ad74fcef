/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What the files of `tarn doctor` share: a check is a function that looks at the patient and fills in what it found.
 *
 *   doctor.c          the table of checks, printing, the verb      doctor_place.c    directory, namespaces, topics
 *   doctor_kernel.c   what the kernel does, and its limits         doctor_machine.c  CPUs and clock
 *   doctor_trial.c    a message between two processes, and kill -9
 */
#ifndef TARN_CLI_DOCTOR_H
#define TARN_CLI_DOCTOR_H

#include "cli/cli.h"
#include "cli/machine.h"
#include "core/inspect.h"

struct patient {
    struct place place;
    struct inspect_domain *domain; /* NULL: it cannot be looked at */
    char refusal[800];             /* then why */
    struct inspect_left left;
    struct inspect_probe probe;
    struct machine machine;
};

enum state { STATE_OK, STATE_NOTE, STATE_PROBLEM };

struct finding {
    enum state state;
    char text[900];   /* what was seen, in one line */
    char advice[700]; /* what to do about it; "": nothing */
};

/* Fill in a finding. */
void found(struct finding *finding, enum state state, const char *format, ...) __attribute__((format(printf, 3, 4)));
void advise(struct finding *finding, const char *format, ...) __attribute__((format(printf, 2, 3)));

typedef void look(struct finding *finding, const struct patient *patient);

/* ---- doctor_kernel.c ------------------------------------------------------------------------------------------ */

look look_at_kernel, look_at_fork, look_at_locks, look_at_segments, look_at_segment_limits, look_at_membarrier,
    look_at_futex, look_at_deaths, look_at_timeouts;
look look_at_files, look_at_addresses, look_at_locked_memory, look_at_memory;

/* ---- doctor_place.c ------------------------------------------------------------------------------------------- */

look look_at_directory, look_at_file_system, look_at_namespaces, look_at_topics, look_at_participants, look_at_left,
    look_at_logout;

/* ---- doctor_trial.c ------------------------------------------------------------------------------------------- */

look look_at_trial;

/* ---- doctor_machine.c ----------------------------------------------------------------------------------------- */

look look_at_cpus, look_at_cores, look_at_clock, look_at_frequency, look_at_virtual;

#endif
