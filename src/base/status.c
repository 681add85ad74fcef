/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* The one table of codes and texts, and the thread's sentence. */
#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define WORDS_BYTES 128 /* of what the operating system says */

static _Thread_local char sentence[768];

static const struct {
    int status;
    const char *text;
} status_texts[] = {
    {TARN_OK, "no error"},
    {TARN_ERROR_ARGUMENT, "invalid argument"},
    {TARN_ERROR_TOPIC_NAME, "invalid topic or domain name"},
    {TARN_ERROR_CLOSED, "closed or not a handle"},
    {TARN_ERROR_FORKED, "inherited through fork"},
    {TARN_ERROR_DIRECTORY, "topic directory not usable"},
    {TARN_ERROR_PERMISSION, "permission denied"},
    {TARN_ERROR_TOPIC_FILE, "topic file not usable"},
    {TARN_ERROR_VERSION, "other memory layout"},
    {TARN_ERROR_TYPE, "other payload type"},
    {TARN_ERROR_BUSY, "topic file locked by another process"},
    {TARN_ERROR_NO_MEMORY, "out of memory"},
    {TARN_ERROR_LIMIT, "system limit reached"},
    {TARN_ERROR_TOO_BIG, "message too big"},
    {TARN_ERROR_FULL, "full"},
    {TARN_ERROR_HOLDING, "too many messages held"},
    {TARN_ERROR_INTERRUPTED, "interrupted"},
    {TARN_ERROR_RELEASED, "released, sent or dropped before"},
    {TARN_ERROR_REFUSED, "reliable subscribers refused"},
    {TARN_ERROR_DAMAGED, "damaged by a peer"},
    {TARN_ERROR_TOPIC_REMOVED, "topic file removed"},
    {TARN_ERROR_SYSTEM, "operating system failed"},
    {TARN_ERROR_PATTERN, "topic used for another pattern"},
    {TARN_ERROR_PEER_DIED, "peer died"},
    {TARN_ERROR_NO_PEER, "no peer"},
    {TARN_ERROR_PENDING, "too many requests pending"},
    {TARN_ERROR_TAKEN, "taken by another"},
};

const char *tarn_status_text(int status) {
    if (status > 0)
        return "success";
    for (size_t i = 0; i < sizeof(status_texts) / sizeof(status_texts[0]); i++)
        if (status_texts[i].status == status)
            return status_texts[i].text;
    return "unknown status";
}

const char *tarn_error(void) {
    return sentence[0] ? sentence : tarn_status_text(TARN_OK);
}

const char *tarn_version(void) {
#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
    return TEXT(TARN_VERSION_MAJOR) "." TEXT(TARN_VERSION_MINOR) "." TEXT(TARN_VERSION_PATCH);
}

int fail(enum tarn_status status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    return status;
}

static void say(const char *reason, const char *format, va_list arguments) {
    int used = vsnprintf(sentence, sizeof(sentence), format, arguments);
    size_t length = used < 0 ? 0 : (size_t)used;
    if (length < sizeof(sentence))
        snprintf(sentence + length, sizeof(sentence) - length, ": %s", reason);
}

static const char *text_of_errno(int error_number, char *words, size_t size) {
#if defined(__GLIBC__)
    return strerror_r(error_number, words, size);
#else
    strerror_r(error_number, words, size);
    return words;
#endif
}

int fail_system(enum tarn_status status, int error_number, const char *format, ...) {
    char words[WORDS_BYTES] = "";
    va_list arguments;
    va_start(arguments, format);
    say(text_of_errno(error_number, words, sizeof(words)), format, arguments);
    va_end(arguments);
    return status;
}

static const char *reason_of(int error_number, char *words, size_t size) {
    if (error_number == ENOSPC)
        return "no shared memory segment is left (kernel.shmmni allows 4096 by default, kernel.shmall bounds their "
               "memory)";
    if (error_number == EOVERFLOW)
        return "the topic's roster cannot grow any more; it begins anew when all have left";
    return text_of_errno(error_number, words, size);
}

int fail_memory(int error_number, const char *format, ...) {
    char words[WORDS_BYTES] = "";
    va_list arguments;
    va_start(arguments, format);
    say(reason_of(error_number, words, sizeof(words)), format, arguments);
    va_end(arguments);
    return status_of_errno(error_number);
}

enum tarn_status status_of_errno(int error_number) {
    switch (error_number) {
    case ENOMEM:
        return TARN_ERROR_NO_MEMORY;
    case EMFILE:
    case ENFILE:
    case ENOSPC:
    case EOVERFLOW:
    case EDQUOT:
    case ENOLCK:
        return TARN_ERROR_LIMIT;
    case EACCES:
    case EPERM:
    case EROFS:
        return TARN_ERROR_PERMISSION;
    default:
        return TARN_ERROR_SYSTEM;
    }
}
