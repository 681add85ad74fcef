/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Results for machines: JSON for whoever keeps figures, and one line per mark for the table of bench/run:
 * name, value, "<=" or ">=", limit, unit, separated by tabs.
 */
#include "common.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

struct bench_report {
    FILE *json, *marks;
    size_t rows;
};

/* The words after "model name", or "unknown". */
static void cpu_model(char *ret, size_t size) {
    snprintf(ret, size, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "re");
    char line[256];
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        char *words = strstr(line, ": ");
        if (strncmp(line, "model name", 10) == 0 && words != NULL) {
            words[strcspn(words, "\n")] = '\0';
            snprintf(ret, size, "%s", words + 2);
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
}

static FILE *open_for(const char *path, const char *mode) {
    if (path == NULL) {
        return NULL;
    }
    FILE *file = fopen(path, mode);
    if (file == NULL) {
        bench_fail("cannot write %s: %s", path, strerror(errno));
    }
    return file;
}

struct bench_report *bench_report_open(const char *program, const char *json_path, const char *marks_path) {
    struct bench_report *report = calloc(1, sizeof(*report));
    if (report == NULL) {
        bench_fail("no memory");
    }
    report->json = open_for(json_path, "we");
    report->marks = open_for(marks_path, "ae");
    if (report->json != NULL) {
        struct utsname system;
        char model[200];
        uname(&system);
        cpu_model(model, sizeof(model));
        fprintf(report->json, "{\"program\": \"%s\", \"cpu\": \"%s\", \"kernel\": \"%s\",\n \"rows\": [", program,
                model, system.release);
    }
    return report;
}

void bench_report_row(struct bench_report *report, const char *name, ...) {
    if (report->json == NULL) {
        return;
    }
    fprintf(report->json, "%s\n  {\"name\": \"%s\"", report->rows++ > 0 ? "," : "", name);
    va_list pairs;
    va_start(pairs, name);
    for (const char *key = va_arg(pairs, const char *); key != NULL; key = va_arg(pairs, const char *)) {
        fprintf(report->json, ", \"%s\": %.10g", key, va_arg(pairs, double));
    }
    va_end(pairs);
    fputc('}', report->json);
}

void bench_report_mark(struct bench_report *report, const char *name, double value, bool at_most, double limit,
                       const char *unit) {
    if (report->marks != NULL) {
        fprintf(report->marks, "%s\t%.10g\t%s\t%.10g\t%s\n", name, value, at_most ? "<=" : ">=", limit, unit);
    }
}

void bench_report_close(struct bench_report *report) {
    if (report->json != NULL) {
        fprintf(report->json, "\n]}\n");
        fclose(report->json);
    }
    if (report->marks != NULL) {
        fclose(report->marks);
    }
    free(report);
}
