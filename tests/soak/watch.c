/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What lies around while the storm goes on. The bounds follow from how many processes there are, and not from how long
 * it has lasted: whatever each death or departure left for good would pass them within a minute.
 */
#include "soak.h"

enum {
    SEGMENTS_EACH = 12,    /* of its own publisher, and of those that its subscriber has not done with */
    FILES_EACH = 2,        /* doorbells of the dead stay until somebody takes their place */
    DESCRIPTORS_MOST = 24, /* of a process with a publisher and a subscriber */
    PRIVATE_BYTES_MOST = 32 << 20,
};
#define BYTES_EACH (UINT64_C(48) << 20)

struct peaks peaks;

struct reading read_segments(void) {
    struct reading reading = {0};
    struct listed_segment segment;
    for (FILE *list = list_segments(); next_segment(list, &segment);) {
        reading.segments++;
        reading.orphans += segment.key && !segment.attached && !segment.resident;
        reading.bytes += segment.bytes;
        reading.resident += segment.resident;
    }
    return reading;
}

unsigned count_domain_files(void) {
    char path[512];
    domain_path(path, NULL);
    int count = count_files(path, 4096);
    domain_path(path, "elsewhere");
    return (unsigned)(count + count_files(path, 4096));
}

/* Lines of a file of /proc/<pid>; that one of a process that has just ended is empty. */
static FILE *open_process_file(pid_t pid, const char *name) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    return fopen(path, "re");
}

static unsigned attached_by(pid_t pid) {
    unsigned count = 0;
    FILE *file = open_process_file(pid, "maps");
    for (char line[512]; file && fgets(line, sizeof line, file);)
        count += strstr(line, "/SYSV") != NULL;
    if (file)
        fclose(file);
    return count;
}

static uint64_t private_bytes_of(pid_t pid) {
    unsigned long long kib = 0;
    FILE *file = open_process_file(pid, "status");
    for (char line[512]; file && fgets(line, sizeof line, file);)
        sscanf(line, "RssAnon: %llu kB", &kib);
    if (file)
        fclose(file);
    return kib * 1024;
}

static unsigned descriptors_of(pid_t pid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    return (unsigned)count_files(path, LONG_MAX);
}

static unsigned higher(unsigned a, unsigned b) {
    return a > b ? a : b;
}

static uint64_t more(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

static void watch_resident(pid_t pid, unsigned segments_most) {
    unsigned descriptors = descriptors_of(pid), attached = attached_by(pid);
    uint64_t private_bytes = private_bytes_of(pid);
    peaks.descriptors = higher(peaks.descriptors, descriptors);
    peaks.attached = higher(peaks.attached, attached);
    peaks.private_bytes = more(peaks.private_bytes, private_bytes);
    CHECK_INT(descriptors, <=, DESCRIPTORS_MOST);
    CHECK_INT(attached, <=, segments_most);
    CHECK_INT(private_bytes, <=, PRIVATE_BYTES_MOST);
}

void watch(unsigned processes, const pid_t *residents, unsigned resident_count) {
    struct reading reading = read_segments();
    unsigned files = count_domain_files(), segments_most = TOPICS + processes * SEGMENTS_EACH;
    peaks.segments = higher(peaks.segments, reading.segments);
    peaks.files = higher(peaks.files, files);
    peaks.bytes = more(peaks.bytes, reading.bytes);
    peaks.resident = more(peaks.resident, reading.resident);
    CHECK_INT(reading.segments, <=, segments_most);
    CHECK_INT(reading.bytes, <=, processes * BYTES_EACH);
    CHECK_INT(files, <=, TOPICS + processes * FILES_EACH);
    for (unsigned i = 0; i < resident_count; i++)
        watch_resident(residents[i], segments_most);
}
