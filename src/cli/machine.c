/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What Linux tells about the machine: /proc, /sys and the cgroup. Everything may be missing (in
 * containers, virtual machines, on other architectures), and is then left out.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/machine.h"

void machine_line(char *ret, size_t size, const char *format, ...) {
    char path[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(path, sizeof(path), format, arguments);
    va_end(arguments);
    ret[0] = '\0';
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    if (!fgets(ret, (int)size, file))
        ret[0] = '\0';
    ret[strcspn(ret, "\n")] = '\0';
    fclose(file);
}

static double read_number(const char *path) {
    char line[64];
    machine_line(line, sizeof(line), "%s", path);
    return strtod(line, NULL);
}

/* Whether a list such as "0-3,8" has it. */
static bool list_has(const char *list, int cpu) {
    while (*list >= '0' && *list <= '9') {
        char *end;
        long first = strtol(list, &end, 10), last = first;
        if (*end == '-')
            last = strtol(end + 1, &end, 10);
        if (cpu >= first && cpu <= last)
            return true;
        list = *end == ',' ? end + 1 : end;
    }
    return false;
}

static void list_write(char *ret, size_t size, const cpu_set_t *set) {
    size_t used = 0;
    ret[0] = '\0';
    for (int cpu = 0; cpu < CPU_SETSIZE && used + 24 < size; cpu++) {
        int last = cpu;
        if (!CPU_ISSET(cpu, set))
            continue;
        while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, set))
            last++;
        used += (size_t)snprintf(ret + used, size - used, last > cpu ? "%s%d-%d" : "%s%d", used ? "," : "", cpu, last);
        cpu = last;
    }
}

/* ---- one CPU -------------------------------------------------------------------------------------------------- */

#define CPU_PATH "/sys/devices/system/cpu/cpu%d/"

static void read_cache(char *ret, size_t size, int cpu) {
    int largest = 0;
    char level[16];
    ret[0] = '\0';
    for (int index = 0; index < 8; index++) {
        machine_line(level, sizeof(level), CPU_PATH "cache/index%d/level", cpu, index);
        if (atoi(level) > largest) {
            largest = atoi(level);
            machine_line(ret, size, CPU_PATH "cache/index%d/shared_cpu_list", cpu, index);
        }
    }
}

static void read_idle(struct machine_cpu *cpu) {
    char name[32], off[16], exit_us[32];
    for (int state = 0; state < 16; state++) {
        machine_line(name, sizeof(name), CPU_PATH "cpuidle/state%d/name", cpu->number, state);
        machine_line(off, sizeof(off), CPU_PATH "cpuidle/state%d/disable", cpu->number, state);
        machine_line(exit_us, sizeof(exit_us), CPU_PATH "cpuidle/state%d/latency", cpu->number, state);
        if (name[0] && atoi(off) == 0) {
            memcpy(cpu->idle_state, name, sizeof(name));
            cpu->idle_exit_us = strtod(exit_us, NULL);
        }
    }
}

static void read_cpu(struct machine_cpu *cpu, int number) {
    *cpu = (struct machine_cpu){.number = number};
    machine_line(cpu->package, sizeof(cpu->package), CPU_PATH "topology/physical_package_id", number);
    machine_line(cpu->threads, sizeof(cpu->threads), CPU_PATH "topology/thread_siblings_list", number);
    machine_line(cpu->governor, sizeof(cpu->governor), CPU_PATH "cpufreq/scaling_governor", number);
    machine_line(cpu->driver, sizeof(cpu->driver), CPU_PATH "cpufreq/scaling_driver", number);
    read_cache(cpu->cache, sizeof(cpu->cache), number);
    read_idle(cpu);
}

/* ---- which CPUs ----------------------------------------------------------------------------------------------- */

static void read_allowed(cpu_set_t *ret) {
    CPU_ZERO(ret);
    if (sched_getaffinity(0, sizeof(*ret), ret) != 0 || CPU_COUNT(ret) == 0)
        CPU_SET(0, ret);
}

struct bench_cpus machine_cpus_choose(void) {
    cpu_set_t allowed;
    read_allowed(&allowed);
    struct bench_cpus cpus = {-1, -1};
    struct machine_cpu first = {.number = -1};
    char threads[256], cache[256], package[16];
    int best = -1;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed))
            continue;
        if (cpus.here < 0) {
            cpus = (struct bench_cpus){cpu, cpu};
            read_cpu(&first, cpu);
            continue;
        }
        machine_line(threads, sizeof(threads), CPU_PATH "topology/thread_siblings_list", cpu);
        machine_line(package, sizeof(package), CPU_PATH "topology/physical_package_id", cpu);
        read_cache(cache, sizeof(cache), cpu);
        int nearness =
            4 * !list_has(threads, cpus.here) + 2 * list_has(cache, cpus.here) + (strcmp(package, first.package) == 0);
        if (nearness > best) {
            best = nearness;
            cpus.there = cpu;
        }
    }
    return cpus;
}

bool machine_cpu_usable(int cpu, const char **ret_why) {
    cpu_set_t allowed, only;
    read_allowed(&allowed);
    CPU_ZERO(&only);
    if (cpu < 0 || cpu >= CPU_SETSIZE) {
        *ret_why = "there is none of that number";
        return false;
    }
    CPU_SET(cpu, &only);
    if (sched_setaffinity(0, sizeof(only), &only) != 0) {
        *ret_why = errno == EINVAL ? "it is not there, or this process may not use it" : strerror(errno);
        return false;
    }
    sched_setaffinity(0, sizeof(allowed), &allowed);
    return true;
}

bool machine_same_core(const struct machine *machine) {
    return list_has(machine->cpus[0].threads, machine->cpus[1].number);
}

bool machine_same_cache(const struct machine *machine) {
    return !machine->cpus[0].cache[0] || list_has(machine->cpus[0].cache, machine->cpus[1].number);
}

bool machine_same_package(const struct machine *machine) {
    return strcmp(machine->cpus[0].package, machine->cpus[1].package) == 0;
}

bool machine_is_slowed(char *ret, size_t size, const struct machine *machine) {
    const struct machine_cpu *cpu = &machine->cpus[0];
    if (strcmp(cpu->governor, "powersave") != 0)
        return false;
    if (strstr(cpu->driver, "pstate"))
        snprintf(ret, size,
                 "Frequency scaling: governor powersave (%s) raises the clock only after some load, so rare messages "
                 "meet slow CPUs. For comparisons: cpupower frequency-set -g performance.",
                 cpu->driver);
    else
        snprintf(ret, size,
                 "Frequency scaling: governor powersave (%s) keeps the clock at its lowest. For speed: cpupower "
                 "frequency-set -g performance.",
                 cpu->driver);
    return true;
}

/* ---- the whole ------------------------------------------------------------------------------------------------ */

static void cut(char *text, const char *word) {
    char *at = strstr(text, word);
    if (at)
        memmove(at, at + strlen(word), strlen(at + strlen(word)) + 1);
}

/* Model, clock and the hypervisor's mark, from the first CPU's paragraph. */
static void read_cpuinfo(struct machine *machine) {
    FILE *file = fopen("/proc/cpuinfo", "re");
    char *line = NULL;
    size_t size = 0;
    while (file && getline(&line, &size, file) > 1) {
        char *value = strstr(line, ": ");
        if (!value)
            continue;
        value += 2;
        value[strcspn(value, "\n")] = '\0';
        if (strncmp(line, "model name", 10) == 0)
            snprintf(machine->model, sizeof(machine->model), "%s", value);
        else if (strncmp(line, "cpu MHz", 7) == 0)
            machine->clock_ghz = strtod(value, NULL) / 1000;
        else if (strncmp(line, "flags", 5) == 0)
            machine->is_virtual = strstr(value, " hypervisor ") != NULL;
    }
    free(line);
    if (file)
        fclose(file);
}

static void read_model(struct machine *machine) {
    read_cpuinfo(machine);
    if (!machine->model[0])
        machine_line(machine->model, sizeof(machine->model), "/proc/device-tree/model");
    if (!machine->model[0])
        snprintf(machine->model, sizeof(machine->model), "unknown CPU");
    cut(machine->model, "(R)");
    cut(machine->model, "(R)");
    cut(machine->model, "(TM)");
    cut(machine->model, " CPU");
    machine->model[strcspn(machine->model, "@")] = '\0';
    for (size_t end = strlen(machine->model); end > 0 && machine->model[end - 1] == ' '; end--)
        machine->model[end - 1] = '\0';
    if (access("/sys/hypervisor/type", F_OK) == 0 || access("/proc/device-tree/hypervisor", F_OK) == 0)
        machine->is_virtual = true;
}

/* This process's cgroup v2, "" if it has none. */
static void read_cgroup(char *ret, size_t size) {
    FILE *file = fopen("/proc/self/cgroup", "re");
    char line[480];
    ret[0] = '\0';
    while (file && fgets(line, sizeof(line), file))
        if (strncmp(line, "0::", 3) == 0) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(ret, size, "/sys/fs/cgroup%s", strcmp(line + 3, "/") == 0 ? "" : line + 3);
        }
    if (file)
        fclose(file);
}

/* Of this process's cgroup and those above it, the one that has least left. */
struct machine_memory machine_memory_read(void) {
    struct machine_memory least = {0, 0};
    char path[512], limit[64], used[64];
    read_cgroup(path, sizeof(path));
    for (char *end; strlen(path) >= strlen("/sys/fs/cgroup"); *end = '\0') {
        machine_line(limit, sizeof(limit), "%s/memory.max", path);
        machine_line(used, sizeof(used), "%s/memory.current", path);
        struct machine_memory group = {strtod(limit, NULL), strtod(used, NULL)}; /* "max" is 0 */
        if (group.limit_bytes > 0 &&
            (least.limit_bytes == 0 || group.limit_bytes - group.used_bytes < least.limit_bytes - least.used_bytes))
            least = group;
        end = strrchr(path, '/');
    }
    return least;
}

/* The tightest of the cgroup's limit and its parents'. */
static double read_quota(void) {
    char path[512], line[64];
    double least = 0, quota, period;
    read_cgroup(path, sizeof(path));
    for (char *end; strlen(path) >= strlen("/sys/fs/cgroup"); *end = '\0') {
        machine_line(line, sizeof(line), "%s/cpu.max", path);
        if (sscanf(line, "%lf %lf", &quota, &period) == 2 && period > 0 && (least == 0 || quota / period < least))
            least = quota / period;
        end = strrchr(path, '/');
    }
    return least;
}

void machine_read(struct machine *machine, struct bench_cpus cpus) {
    struct utsname system;
    cpu_set_t allowed;
    *machine = (struct machine){.is_one_cpu = cpus.here == cpus.there};
    read_model(machine);
    if (uname(&system) == 0)
        snprintf(machine->kernel, sizeof(machine->kernel), "Linux %s", system.release);
    read_allowed(&allowed);
    list_write(machine->allowed, sizeof(machine->allowed), &allowed);
    machine->allowed_count = CPU_COUNT(&allowed);
    machine->load = read_number("/proc/loadavg");
    machine->quota_cpus = read_quota();
    read_cpu(&machine->cpus[0], cpus.here);
    read_cpu(&machine->cpus[1], cpus.there);
}

/* ---- who used the CPUs ---------------------------------------------------------------------------------------- */

static double seconds_of(int who) {
    struct rusage usage;
    if (getrusage(who, &usage) != 0)
        return 0;
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static double read_throttled(void) {
    char path[512], line[128];
    unsigned long times = 0;
    read_cgroup(path, sizeof(path) - sizeof("/cpu.stat"));
    strcat(path, "/cpu.stat");
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file))
        sscanf(line, "nr_throttled %lu", &times);
    if (file)
        fclose(file);
    return (double)times;
}

struct machine_use machine_use_read(const struct machine *machine) {
    struct machine_use use = {.at_ns = clock_ns(), .throttled = read_throttled()};
    double tick_s = 1.0 / (double)sysconf(_SC_CLK_TCK);
    uint64_t user, nice, kernel, idle, disk, irq, softirq, stolen;
    char line[512];
    int cpu;
    use.own_s = seconds_of(RUSAGE_SELF) + seconds_of(RUSAGE_CHILDREN);
    FILE *file = fopen("/proc/stat", "re");
    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line,
                   "cpu%d %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
                   &cpu, &user, &nice, &kernel, &idle, &disk, &irq, &softirq, &stolen) == 9 &&
            (cpu == machine->cpus[0].number || cpu == machine->cpus[1].number)) {
            use.busy_s += (double)(user + nice + kernel + irq + softirq) * tick_s;
            use.stolen_s += (double)stolen * tick_s;
        }
    if (file)
        fclose(file);
    return use;
}
