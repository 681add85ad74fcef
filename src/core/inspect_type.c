/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* The payload type of one topic, for tools: see inspect.h. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/process.h"
#include "base/status.h"
#include "core/inspect.h"
#include "core/topic.h"
#include "core/topic_master.h"
#include "core/type.h"

/* 1, 0 or a status, as inspect_type. */
static int read_type(struct inspect_type *ret, struct roster *roster) {
    struct type_text text;
    if (!type_read(roster, &text))
        return 0;
    memcpy(ret->name, text.name, sizeof(ret->name));
    memcpy(ret->encoding, text.encoding, sizeof(ret->encoding));
    ret->bytes = text.bytes;
    ret->schema = malloc(TYPE_SCHEMA_BYTES_MAX + 1);
    if (!ret->schema)
        return fail(TARN_ERROR_NO_MEMORY, "no memory for the schema of a payload type");
    ret->schema_bytes = type_read_schema(roster, ret->schema);
    ret->schema[ret->schema_bytes] = '\0';
    return 1;
}

/* What cannot be attached has no type that anybody could see. */
static int look_at(struct inspect_type *ret, const struct directory *directory, int fd) {
    struct topic_header header;
    struct roster roster;
    memset(&roster, 0, sizeof(roster));
    if (!topic_file_in_use(fd) || topic_header_read(&header, fd) != HEADER_SOUND ||
        roster_attach(&roster, &header.roster, &directory->access, false) != 0)
        return 0;
    int status = read_type(ret, &roster);
    roster_detach(&roster);
    return status;
}

int inspect_type(struct inspect_type *ret, const char *topic, const char *directory_path, const char *domain_name) {
    struct directory directory;
    char file[TARN_TOPIC_BYTES_MAX + 1];
    int fd, status = topic_name_check(topic);
    memset(ret, 0, sizeof(*ret));
    if (status == 0)
        status = directory_open(&directory, directory_path, domain_name, false);
    if (status)
        return status == 1 ? 0 : status;
    topic_file_name(file, topic);
    process_lock();
    status = topic_file_open(&directory, file, topic, false, &fd);
    if (status == 0) {
        status = look_at(ret, &directory, fd);
        close(fd);
    } else if (status == 1) {
        status = 0;
    }
    process_unlock();
    directory_close(&directory);
    return status;
}
