/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Results: a negative enum tarn_status for the program, a sentence per thread for the person. */
#ifndef TARN_BASE_STATUS_H
#define TARN_BASE_STATUS_H

#include "tarn.h"

/* Stores the sentence of this thread's error and returns status, so that callers can write: return fail(...). */
int fail(enum tarn_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* As fail, with the operating system's words for error_number appended. */
int fail_system(enum tarn_status status, int error_number, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As that, where shared memory was asked for: what errnos mean there; with the errno's status. */
int fail_memory(int error_number, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What an errno means to our callers where no better reason is known. */
enum tarn_status status_of_errno(int error_number);

#endif
