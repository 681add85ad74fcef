/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The life of a topic file and its roster (F1 in src/core/topic.h): PROCESSES processes join and leave, LIVES times
 * each, and KILLS of them are killed between any two system calls. Each has its own slot byte; claiming is in reap.pml.
 *
 * Each atomic block is one system call: they are sequentially consistent, so there are no store buffers here. A killed
 * process lets go of its memory first and of its locks later, as in the kernel; or a stray child keeps its slot's byte
 * locked for ever. Verified with pan -E: the killed do not end.
 *
 * Checked: participants of one topic have one roster; the file of a live participant is never unlinked; a joiner is
 * told no error; when the others have left or died, the next one joins at the second try at the latest.
 *
 * Broken variants: SWEEPER_LEAVES_OPEN (the header is not closed before the look at the locks), JOINER_TRUSTS (it does
 * not look again); ATTACH_FAILURE_IS_FINAL, SECOND_LOOK_DECIDES: see README.md. JOINER_TRUSTS_PATH (it does not look at
 * the path again) is none: tarn never unlinks a file whose header is open, so that look is for files that somebody else
 * deletes.
 */
#ifndef PROCESSES
#define PROCESSES 2
#endif
#ifndef LIVES
#define LIVES 2
#endif
#ifndef KILLS
#define KILLS 1
#endif
#define LAST PROCESSES /* joins when all others have ended */
#define ALL (PROCESSES + 1)
#define FILES (ALL + 1)
#define ROSTERS (ALL + 1)
#define NONE 255

typedef File {
    bool open;       /* the header's state; a fresh file is empty, which is like closed without a roster */
    byte roster;     /* named in the header; NONE */
    byte master;     /* who has that lock; NONE */
    byte locked      /* set of processes: slot bytes */
};
File file[FILES];
byte path = NONE;          /* inode of the topic's file */
byte attached[ROSTERS];    /* set of processes. A roster is gone when the last detaches */

/* processes: descriptor, roster that is attached or was read from a header */
byte fd[ALL] = NONE;
byte mine[ALL] = NONE;
byte seen[ALL] = NONE;
bool joined[ALL];
bool alive[ALL] = true;
bool ended[ALL];

hidden byte q;

#define BIT(p) (1 << (p))
#define IN_USE(f) (file[f].locked & ~BIT(me)) /* topic_file_in_use: one's own locks are not seen */

/* An id or inode that nobody can mistake: a nonce takes care of the others. */
inline fresh_roster(ret)
{
    ret = 0;
    do
    :: ret < ROSTERS ->
        q = 0;
        do
        :: q < ALL && seen[q] != ret && mine[q] != ret -> q++
        :: else -> break
        od;
        if
        :: q == ALL && attached[ret] == 0 ->
            q = 0;
            do
            :: q < FILES && file[q].roster != ret -> q++
            :: else -> break
            od;
            if
            :: q == FILES -> break
            :: else -> ret++
            fi
        :: else -> ret++
        fi
    :: else -> break
    od;
    q = 0;
    assert(ret < ROSTERS)
}

inline fresh_file(ret)
{
    ret = 0;
    do
    :: ret < FILES ->
        q = 0;
        do
        :: q < ALL && fd[q] != ret -> q++
        :: else -> break
        od;
        if
        :: q == ALL && path != ret -> break
        :: else -> ret++
        fi
    :: else -> break
    od;
    q = 0;
    assert(ret < FILES)
}

inline check_joined() /* me has just joined */
{
    joined[me] = true;
    assert(path == fd[me]);
    q = 0;
    do
    :: q < ALL -> assert(!(joined[q] && alive[q]) || (fd[q] == fd[me] && mine[q] == mine[me])); q++
    :: else -> break
    od;
    q = 0
}

inline unlink() /* the file at the path, whichever it is */
{
    q = 0;
    do
    :: q < ALL -> assert(!(joined[q] && alive[q] && fd[q] == path)); q++
    :: else -> break
    od;
    q = 0;
    path = NONE
}

inline close_fd()
{
    file[fd[me]].locked = file[fd[me]].locked & ~BIT(me);
    if
    :: file[fd[me]].master == me -> file[fd[me]].master = NONE
    :: else
    fi;
    fd[me] = NONE;
    seen[me] = NONE
}

inline detach()
{
    attached[mine[me]] = attached[mine[me]] & ~BIT(me);
    mine[me] = NONE
}

#define MASTER_UNLOCK file[fd[me]].master = NONE

proctype process(byte me; byte lives) provided (alive[me])
{
    byte tries, fresh;
again: /* join_new, topic_file_open */
    atomic {
        if
        :: fd[me] != NONE -> close_fd()
        :: else
        fi;
        tries++;
        if
        :: me != LAST -> tries = 0
        :: else
        fi;
        assert(tries <= 2) /* the last one: nobody is in its way */
    }
    if
    :: atomic { path != NONE -> fd[me] = path }
    :: atomic { path == NONE -> skip };
        atomic { /* make_file: O_EXCL */
            if
            :: path == NONE ->
                fresh_file(fresh);
                path = fresh;
                fd[me] = fresh;
                fresh = 0;
                file[path].open = false;
                file[path].roster = NONE;
                file[path].master = NONE;
                file[path].locked = 0
            :: else -> goto again
            fi
        }
    fi;
join_living:
    atomic {
        if
        :: file[fd[me]].open -> seen[me] = file[fd[me]].roster
        :: else -> goto settle
        fi
    }
    atomic {
        if
        :: !IN_USE(fd[me]) -> goto settle
        :: else
        fi
    }
    atomic { /* attach_roster */
        if
        :: attached[seen[me]] -> attached[seen[me]] = attached[seen[me]] | BIT(me); mine[me] = seen[me]
        :: else -> goto settle
        fi
    }
    atomic { file[fd[me]].locked = file[fd[me]].locked | BIT(me) } /* claim, lock_slot */
#ifdef JOINER_TRUSTS
    atomic { check_joined(); goto living }
#endif
    /* F1 */
    atomic {
        if
#ifdef JOINER_TRUSTS_PATH
        :: file[fd[me]].open && file[fd[me]].roster == mine[me] -> check_joined(); goto living
#else
        :: file[fd[me]].open && file[fd[me]].roster == mine[me] -> skip
#endif
        :: else -> goto let_go
        fi
    }
    atomic {
        if
        :: path == fd[me] -> check_joined(); goto living
        :: else
        fi
    }
let_go:
    atomic { file[fd[me]].locked = file[fd[me]].locked & ~BIT(me) } /* forget_slot */
    atomic { detach() }
settle:
    atomic { /* try_master */
        if
        :: file[fd[me]].master == NONE -> file[fd[me]].master = me; seen[me] = NONE
        :: file[fd[me]].master != NONE -> seen[me] = NONE; goto join_living /* with the file that was opened before */
        fi
    }
    atomic {
        if
        :: path != fd[me] -> MASTER_UNLOCK; goto again
        :: else
        fi
    }
    atomic {
        if
        :: IN_USE(fd[me]) -> goto settle_in_use
        :: else
        fi
    }
#ifndef SWEEPER_LEAVES_OPEN
    atomic { file[fd[me]].open = false } /* close_header */
    atomic {
        if
        :: IN_USE(fd[me]) -> skip
        :: else -> goto create
        fi
    }
    atomic { file[fd[me]].open = (file[fd[me]].roster != NONE) }
#ifdef SECOND_LOOK_DECIDES
    assert(IN_USE(fd[me])); /* else: told that the file cannot be written */
#endif
    atomic { MASTER_UNLOCK; goto again }
#endif
create: /* create_roster */
    atomic { file[fd[me]].open = false; file[fd[me]].roster = NONE }
    atomic { fresh_roster(fresh); mine[me] = fresh; attached[fresh] = BIT(me); fresh = 0 }
    atomic { file[fd[me]].open = true; file[fd[me]].roster = mine[me] }
    atomic { file[fd[me]].locked = file[fd[me]].locked | BIT(me); check_joined() } /* claim */
    atomic { MASTER_UNLOCK; goto living }
settle_in_use:
    atomic {
        seen[me] = file[fd[me]].roster;
        if
        :: seen[me] == NONE -> MASTER_UNLOCK; goto again
        :: seen[me] != NONE && !attached[seen[me]] ->
#ifdef ATTACH_FAILURE_IS_FINAL
            assert(false); /* told that the topic lives in another IPC namespace */
#endif
            goto create /* settle_in_use: nobody alive has it, the locks are those of the dying, or of stray children */
        :: else -> attached[seen[me]] = attached[seen[me]] | BIT(me); mine[me] = seen[me]
        fi
    }
    atomic { detach() }
    atomic { file[fd[me]].open = true }
    atomic { MASTER_UNLOCK; goto again }

living:
    tries = 0;
    /* topic_leave */
    atomic { joined[me] = false; file[fd[me]].locked = file[fd[me]].locked & ~BIT(me) }
    atomic { detach() }
    atomic {
        if
        :: IN_USE(fd[me]) -> goto left
        :: else
        fi
    }
    atomic { /* topic_file_sweep */
        if
        :: file[fd[me]].master != NONE -> goto left
        :: else -> file[fd[me]].master = me
        fi
    }
    atomic {
        if
        :: path != fd[me] -> goto swept
        :: else
        fi
    }
    atomic { /* delete_if_unused */
        if
        :: IN_USE(fd[me]) -> goto swept
        :: else
        fi
    }
#ifndef SWEEPER_LEAVES_OPEN
    atomic { file[fd[me]].open = false }
    atomic {
        if
        :: !IN_USE(fd[me]) -> goto delete
        :: else
        fi
    }
    atomic { file[fd[me]].open = (file[fd[me]].roster != NONE); goto swept }
#endif
delete:
    atomic { unlink() }
swept:
    atomic { MASTER_UNLOCK }
left:
    atomic {
        close_fd();
        lives--;
        if
        :: lives > 0 -> goto again
        :: else -> ended[me] = true
        fi
    }
}

/* Kills KILLS processes, each at any time; its memory goes before its locks. */
proctype killer()
{
    byte me, kills;
    do
    :: kills == KILLS -> break
    :: kills < KILLS ->
        atomic {
            me = 0;
            do
            :: me < PROCESSES - 1 -> me++
            :: break
            od;
            if
            :: ended[me] || !alive[me] -> kills = KILLS; me = 0; break
            :: else -> alive[me] = false
            fi
        }
        atomic {
            if
            :: mine[me] != NONE -> detach()
            :: else
            fi
        }
        atomic {
            if
            :: fd[me] != NONE -> close_fd()
            :: fd[me] != NONE && (file[fd[me]].locked & BIT(me)) && file[fd[me]].master != me ->
                fd[me] = NONE; /* a stray child keeps its lock for ever */
                seen[me] = NONE
            :: else
            fi;
            joined[me] = false;
            ended[me] = true;
            me = 0;
            kills++
        }
    od
}

init {
    byte n;
    atomic {
        do
        :: n < FILES -> file[n].roster = NONE; file[n].master = NONE; n++
        :: else -> break
        od;
        n = 0;
        do
        :: n < PROCESSES -> run process(n, LIVES); n++
        :: else -> break
        od;
        n = 0;
        run killer()
    }
    do /* waits for all */
    :: atomic { n < PROCESSES && ended[n] -> n++ }
    :: atomic { n == PROCESSES -> n = 0; break }
    :: timeout -> assert(false) /* somebody is kept out */
    od;
    run process(LAST, 1);
    if
    :: ended[LAST]
    :: timeout -> assert(false)
    fi
}
