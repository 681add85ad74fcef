/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* tarn doctor: CPUs and clock. They decide how fast it is, never whether it works. */
#include <string.h>

#include "cli/doctor.h"

#define CLOCK_READS 1000
#define CLOCK_SLOW_NS 200.0 /* by the vDSO it takes 20 to 50 ns, by the kernel more than 200 */

void look_at_cpus(struct finding *finding, const struct patient *patient) {
    const struct machine *machine = &patient->machine;
    if (machine->allowed_count < 2) {
        found(finding, STATE_NOTE, "one CPU (%s): processes take turns, and who spins keeps it from the others",
              machine->allowed);
        advise(finding, "let subscribers sleep at once (TARN_WAIT_SLEEP), or give the processes two CPUs");
    } else if (machine->quota_cpus > 0 && machine->quota_cpus < 2) {
        found(finding, STATE_NOTE, "%d CPUs (%s), of which the cgroup may use the time of %.2g (cpu.max)",
              machine->allowed_count, machine->allowed, machine->quota_cpus);
        advise(finding, "let subscribers sleep rather than spin, or raise the quota (systemd: CPUQuota=)");
    } else {
        found(finding, STATE_OK, "%d CPUs (%s), %s", machine->allowed_count, machine->allowed, machine->model);
    }
}

void look_at_cores(struct finding *finding, const struct patient *patient) {
    const struct machine *machine = &patient->machine;
    int first = machine->cpus[0].number, second = machine->cpus[1].number;
    if (machine->is_one_cpu)
        found(finding, STATE_OK, "one core");
    else if (machine_same_core(machine)) {
        found(finding, STATE_NOTE, "CPUs %d and %d are two threads of one core: each is slowed by what the other does",
              first, second);
        advise(finding, "where there are more cores, allow them; 'lscpu -e' lists them");
    } else if (!machine_same_cache(machine) || !machine_same_package(machine))
        found(finding, STATE_NOTE, "CPUs %d and %d, the nearest of two cores, share no cache: a message needs longer",
              first, second);
    else
        found(finding, STATE_OK, "CPUs %d and %d are of two cores that share a cache%s", first, second,
              strchr(machine->cpus[0].threads, ',') || strchr(machine->cpus[0].threads, '-')
                  ? "; cores have two threads"
                  : "");
}

void look_at_clock(struct finding *finding, const struct patient *patient) {
    char source[64];
    (void)patient;
    machine_line(source, sizeof(source), "/sys/devices/system/clocksource/clocksource0/current_clocksource");
    int64_t started = clock_ns();
    for (int i = 1; i < CLOCK_READS; i++)
        clock_ns();
    double each_ns = (double)(clock_ns() - started) / CLOCK_READS;
    found(finding, each_ns < CLOCK_SLOW_NS ? STATE_OK : STATE_NOTE, "reading the clock takes %.0f ns (source: %s)",
          each_ns, source[0] ? source : "unknown");
    if (finding->state != STATE_OK)
        advise(finding,
               "waiting and timestamps read it: clocksource=tsc on the kernel's command line, where TSC is steady");
}

void look_at_frequency(struct finding *finding, const struct patient *patient) {
    char text[640];
    const char *governor = patient->machine.cpus[0].governor;
    if (machine_is_slowed(text, sizeof(text), &patient->machine))
        found(finding, STATE_NOTE, "%s", text);
    else
        found(finding, STATE_OK, "frequency governor: %s", governor[0] ? governor : "none that Linux shows");
}

void look_at_virtual(struct finding *finding, const struct patient *patient) {
    if (patient->machine.is_virtual)
        found(finding, STATE_NOTE,
              "a virtual machine: its host decides where CPUs run, and to wake one that sleeps takes longer");
    else
        found(finding, STATE_OK, "no hypervisor is seen");
}
