/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* tarn doctor: the topic directory, who may use it, the namespaces, and who is there. */
#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cli/doctor.h"
#include "tarn.h"

/* ---- the directory -------------------------------------------------------------------------------------------- */

/*
 * The nearest directory that is there: the domain's, else the one that it will be in, which decides likewise. False:
 * there is none yet.
 */
static bool nearest_directory(char *ret, size_t size, const struct patient *patient) {
    struct stat state;
    snprintf(ret, size, "%s", patient->domain->path);
    if (stat(ret, &state) == 0)
        return true;
    *strrchr(ret, '/') = '\0';
    return stat(ret, &state) == 0;
}

static void refused(struct finding *finding, const struct patient *patient) {
    found(finding, STATE_PROBLEM, "%s", patient->refusal);
    advise(finding,
           "repair or remove what the sentence names, or choose another directory with TARN_DIR or --directory");
}

static const char *user_name(uid_t uid) {
    const struct passwd *user = getpwuid(uid);
    return user ? user->pw_name : "unnamed";
}

static const char *group_name(gid_t gid) {
    const struct group *group = getgrgid(gid);
    return group ? group->gr_name : "unnamed";
}

/* Who may take part, by the bits that files and memory get as well. */
static void describe_sharing(struct finding *finding, const char *path, const struct stat *state) {
    unsigned mode = state->st_mode & 07777;
    const char *user = user_name(state->st_uid), *group = group_name(state->st_gid);
    if (mode & 0002) {
        found(finding, STATE_NOTE, "%s (user %s, mode %04o): anyone on this machine may take part, and use up memory",
              path, user, mode);
        advise(finding, "if that is not meant: a directory for a group, as 'install -d -m 2770 -g GROUP /run/tarn'");
    } else if (mode & 0004) {
        found(finding, STATE_NOTE, "%s (user %s, mode %04o): others may not take part, but read what is sent", path,
              user, mode);
        advise(finding, "if that is not meant: a directory for a group, as 'install -d -m 2770 -g GROUP /run/tarn'");
    } else if (mode & 0020)
        found(finding, STATE_OK, "%s: shared by user %s and group %s (mode %04o)", path, user, group, mode);
    else if (mode & 0040)
        found(finding, STATE_NOTE, "%s (mode %04o): group %s may read what user %s sends, and not take part", path,
              mode, group, user);
    else
        found(finding, STATE_OK, "%s: private to user %s (mode %04o)", path, user, mode);
}

/* Of a path that is not there: what is to be made it in. */
static void keep_parent(char *path) {
    char *slash = strrchr(path, '/');
    if (!slash)
        strcpy(path, ".");
    else
        slash[slash == path] = '\0';
}

static void look_at_parent(struct finding *finding, const char *path) {
    char parent[4200];
    snprintf(parent, sizeof(parent), "%s", path);
    keep_parent(parent);
    if (faccessat(AT_FDCWD, parent, W_OK | X_OK, AT_EACCESS) == 0) {
        found(finding, STATE_OK, "%s is not there yet: the first participant makes it, private to its user", path);
        return;
    }
    found(finding, STATE_PROBLEM, "%s is not there, and cannot be made in %s: %s", path, parent, strerror(errno));
    advise(finding, "make it, or choose another directory with TARN_DIR or --directory");
}

void look_at_directory(struct finding *finding, const struct patient *patient) {
    char path[4200];
    struct stat state;
    if (patient->refusal[0]) {
        refused(finding, patient);
    } else if (!nearest_directory(path, sizeof(path), patient) || stat(path, &state) != 0) {
        look_at_parent(finding, path);
    } else if (!S_ISDIR(state.st_mode) || faccessat(AT_FDCWD, path, R_OK | W_OK | X_OK, AT_EACCESS) != 0) {
        char self[64];
        snprintf(self, sizeof(self), "%s", user_name(geteuid())); /* its memory is the next one's */
        found(finding, STATE_PROBLEM, "%s (user %s, group %s, mode %04o): user %s may not take part there", path,
              user_name(state.st_uid), group_name(state.st_gid), state.st_mode & 07777u, self);
        advise(finding, "join that group (then log in anew), or choose another directory with TARN_DIR or --directory");
    } else {
        describe_sharing(finding, path, &state);
    }
}

/* ---- the file system ------------------------------------------------------------------------------------------ */

enum reach { REACH_LOCAL, REACH_NETWORK, REACH_UNKNOWN };

static const struct {
    unsigned long magic;
    const char *name;
    enum reach reach;
} file_systems[] = {
    {TMPFS_MAGIC, "tmpfs", REACH_LOCAL},       {RAMFS_MAGIC, "ramfs", REACH_LOCAL},
    {EXT4_SUPER_MAGIC, "ext4", REACH_LOCAL},   {0x58465342, "xfs", REACH_LOCAL},
    {BTRFS_SUPER_MAGIC, "btrfs", REACH_LOCAL}, {OVERLAYFS_SUPER_MAGIC, "overlay", REACH_LOCAL},
    {F2FS_SUPER_MAGIC, "f2fs", REACH_LOCAL},   {0x2fc12fc1, "zfs", REACH_LOCAL},
    {NFS_SUPER_MAGIC, "NFS", REACH_NETWORK},   {SMB_SUPER_MAGIC, "SMB", REACH_NETWORK},
    {0xff534d42, "CIFS", REACH_NETWORK},       {0xfe534d42, "SMB", REACH_NETWORK},
    {0x00c36400, "Ceph", REACH_NETWORK},       {AFS_SUPER_MAGIC, "AFS", REACH_NETWORK},
    {0x0bd00bd0, "Lustre", REACH_NETWORK},     {0x01161970, "GFS2", REACH_NETWORK},
};

static void describe_file_system(struct finding *finding, unsigned long magic) {
    for (size_t i = 0; i < sizeof(file_systems) / sizeof(file_systems[0]); i++)
        if (file_systems[i].magic == magic) {
            if (file_systems[i].reach == REACH_LOCAL)
                found(finding, STATE_OK, "%s%s", file_systems[i].name,
                      magic == TMPFS_MAGIC ? ": goes with the machine, as topics do" : ", which is local");
            else
                found(finding, STATE_PROBLEM,
                      "%s, over a network: other machines see topics that they cannot join, and "
                      "locks ask a server",
                      file_systems[i].name);
            return;
        }
    found(finding, STATE_NOTE, "of an unknown kind (0x%lx): it has to be of this machine alone", magic);
}

void look_at_file_system(struct finding *finding, const struct patient *patient) {
    char path[4200];
    struct statfs kind;
    struct statvfs state;
    if (patient->refusal[0]) {
        found(finding, STATE_NOTE, "not looked at: see directory");
        return;
    }
    if (!nearest_directory(path, sizeof(path), patient))
        keep_parent(path);
    if (statfs(path, &kind) != 0 || statvfs(path, &state) != 0) {
        found(finding, STATE_NOTE, "%s: %s", path, strerror(errno));
        return;
    }
    describe_file_system(finding, (unsigned long)kind.f_type & 0xffffffff);
    if (finding->state != STATE_OK)
        advise(finding, "choose a directory in /run or /tmp with TARN_DIR");
    if (state.f_flag & ST_RDONLY) {
        found(finding, STATE_PROBLEM, "%s is mounted read-only: no topic can be made", path);
        advise(finding, "choose another directory with TARN_DIR or --directory");
    } else if (state.f_bavail == 0 || (state.f_files && state.f_favail == 0)) {
        found(finding, STATE_PROBLEM, "the file system of %s has no %s left for topic files", path,
              state.f_bavail ? "inodes" : "space");
        advise(finding, "make room there, or choose another directory with TARN_DIR or --directory");
    }
}

/* ---- namespaces ----------------------------------------------------------------------------------------------- */

/* Inodes of the machine's first ones: include/linux/proc_ns.h of the kernel. */
static const struct {
    const char *name;
    ino_t first;
} namespaces[] = {{"ipc", 0xefffffff}, {"pid", 0xeffffffc}, {"user", 0xeffffffd}, {"time", 0xeffffffa}};

void look_at_namespaces(struct finding *finding, const struct patient *patient) {
    char path[64], own[64] = "";
    struct stat state;
    size_t used = 0;
    for (size_t i = 0; i < sizeof(namespaces) / sizeof(namespaces[0]); i++) {
        snprintf(path, sizeof(path), "/proc/self/ns/%s", namespaces[i].name);
        if (stat(path, &state) == 0 && state.st_ino != namespaces[i].first)
            used += (size_t)snprintf(own + used, sizeof(own) - used, "%s%s", used ? ", " : "", namespaces[i].name);
    }
    if (patient->probe.ipc_namespace == 0) {
        found(finding, STATE_NOTE,
              "/proc does not tell the namespaces: who seems to be there is not told from the dead");
        advise(finding, "mount /proc");
    } else if (used) {
        found(finding, STATE_NOTE, "in a container, or the like, with namespaces of its own: %s", own);
        advise(finding,
               "to meet others they have to share the topic directory and the IPC namespace (docker: --ipc=host "
               "or --ipc=container:NAME, and --volume /run/tarn:/run/tarn)");
    } else {
        found(finding, STATE_OK, "the machine's own, no container");
    }
}

/* ---- who is there --------------------------------------------------------------------------------------------- */

void look_at_topics(struct finding *finding, const struct patient *patient) {
    const struct inspect_topic *bad = NULL;
    uint32_t in_use = 0, count = 0;
    if (!patient->domain) {
        found(finding, STATE_NOTE, "not looked at: see directory");
        return;
    }
    for (uint32_t i = 0; i < patient->domain->topic_count; i++) {
        const struct inspect_topic *topic = &patient->domain->topics[i];
        in_use += topic->in_use;
        count += topic->problem != NULL;
        bad = bad || !topic->problem ? bad : topic;
    }
    if (!bad) {
        found(finding, STATE_OK, "%" PRIu32 " in use", in_use);
        return;
    }
    found(finding, STATE_PROBLEM, "%" PRIu32 " of %" PRIu32 " cannot be looked into; first '%s': %s", count,
          patient->domain->topic_count, bad->name, bad->problem);
    advise(finding, "%s",
           strstr(bad->problem, "IPC namespace")
               ? "let both sides share an IPC namespace, or give them different directories"
           : strstr(bad->problem, "user")
               ? "the directory's owner, group and mode decide who may: 'chgrp' and 'chmod' it, or ask its owner"
           : strstr(bad->problem, "plain file")
               ? "tarn did not make it: remove it from the directory"
               : "end who uses it ('tarn ls' has what is known), with one version of tarn for all; then it is made "
                 "anew");
}

static uint32_t count_dead(const struct inspect_domain *domain, uint32_t *ret_alive, uint32_t *ret_elsewhere) {
    uint32_t dead = 0;
    *ret_alive = *ret_elsewhere = 0;
    for (uint32_t i = 0; i < domain->topic_count; i++)
        for (uint32_t j = 0; j < domain->topics[i].participant_count; j++) {
            const struct inspect_participant *who = &domain->topics[i].participants[j];
            dead += who->life == INSPECT_DEAD;
            *ret_alive += who->life == INSPECT_ALIVE;
            *ret_elsewhere += who->life == INSPECT_ALIVE && !who->same_pid_namespace;
        }
    return dead;
}

void look_at_participants(struct finding *finding, const struct patient *patient) {
    uint32_t alive, elsewhere;
    if (!patient->domain) {
        found(finding, STATE_NOTE, "not looked at: see directory");
        return;
    }
    count_dead(patient->domain, &alive, &elsewhere);
    if (elsewhere)
        found(finding, STATE_OK,
              "%" PRIu32 ", of whom %" PRIu32 " are in other pid namespaces: their pids are of there", alive,
              elsewhere);
    else
        found(finding, STATE_OK, "%" PRIu32, alive);
}

void look_at_left(struct finding *finding, const struct patient *patient) {
    uint32_t alive, elsewhere;
    if (!patient->domain) {
        found(finding, STATE_NOTE, "not looked at: see directory");
        return;
    }
    uint32_t dead = count_dead(patient->domain, &alive, &elsewhere);
    if (!dead && !patient->left.topics && !patient->left.segments) {
        found(finding, STATE_OK, "nothing that the dead have left");
        return;
    }
    found(finding, STATE_NOTE,
          "left by the dead: topic files that nobody is in: %" PRIu32 "; places in others: %" PRIu32
          "; segments that nobody attaches: %" PRIu32,
          patient->left.topics, dead, patient->left.segments);
    advise(finding, "'tarn gc' sweeps it; so does whoever uses these topics next");
}

/* ---- logging out ---------------------------------------------------------------------------------------------- */

/* Whether a line of the file sets it; the last one counts. */
static void read_remove_ipc(const char *path, bool *removes) {
    char line[256], value[16];
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, " RemoveIPC = %15s", value) == 1)
            *removes = strchr("yYtT1", value[0]) || strcasecmp(value, "on") == 0;
    if (file)
        fclose(file);
}

static void read_remove_ipc_below(const char *directory, bool *removes) {
    struct dirent **entries;
    char path[512];
    int count = scandir(directory, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        const char *dot = strrchr(entries[i]->d_name, '.');
        snprintf(path, sizeof(path), "%s/%s", directory, entries[i]->d_name);
        if (dot && strcmp(dot, ".conf") == 0)
            read_remove_ipc(path, removes);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

void look_at_logout(struct finding *finding, const struct patient *patient) {
    bool removes = true; /* logind's default */
    (void)patient;
    if (access("/run/systemd/seats", F_OK) != 0) {
        found(finding, STATE_OK, "no logind that removes what users leave");
        return;
    }
    read_remove_ipc("/etc/systemd/logind.conf", &removes);
    read_remove_ipc_below("/usr/lib/systemd/logind.conf.d", &removes);
    read_remove_ipc_below("/run/systemd/logind.conf.d", &removes);
    read_remove_ipc_below("/etc/systemd/logind.conf.d", &removes);
    found(finding, STATE_OK,
          removes ? "RemoveIPC=yes, which does no harm: tarn's memory has no name to remove it by"
                  : "RemoveIPC=no: nothing is removed at logout");
}
