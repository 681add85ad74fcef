/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Named points, for tests: between the two halves of an edge that others may see in between, and where a comment says
 * "killed here". In a normal build POINT(name) is nothing. In one with -DTARN_POINTS=ON it calls points.c:
 *
 *   TARN_POINTS_SEED=n        delays whoever gets there: yields, spins or sleeps some microseconds, as n, the thread, the
 *                             point and how often it was passed decide. The same n makes the same choices again
 *   TARN_POINTS_KILL=name:n   kills the process when it gets there for the nth time
 *
 * The list is in the order of a message's life, then of a participant's. Each name is used at one place.
 */
#ifndef TARN_BASE_POINTS_H
#define TARN_BASE_POINTS_H

#define POINT_LIST(X)                                                                                                  \
    /* the log: L1, L2 */                                                                                              \
    X(record_not_committed)                                                                                            \
    X(record_committed)                                                                                                \
    X(extent_not_valid)                                                                                                \
    X(extent_valid)                                                                                                    \
    X(jump_written)                                                                                                    \
    X(newest_told)                                                                                                     \
    X(loan_entered_again)                                                                                              \
    X(loan_valid_again)                                                                                                \
    /* retiring: H1, H2 */                                                                                             \
    X(reclaim_fenced)                                                                                                  \
    X(oldest_told)                                                                                                     \
    X(extent_retired)                                                                                                  \
    X(extent_detached)                                                                                                 \
    X(retiring_fenced)                                                                                                 \
    X(cells_read)                                                                                                      \
    /* holds and words: H1, R2, R3, R4, T1 */                                                                          \
    X(word_lowered)                                                                                                    \
    X(cell_named)                                                                                                      \
    X(cell_fenced)                                                                                                     \
    X(cell_moved)                                                                                                      \
    X(cell_not_cleared)                                                                                                \
    X(cell_cleared)                                                                                                    \
    X(return_begun)                                                                                                    \
    X(hold_parted)                                                                                                     \
    X(word_not_raised)                                                                                                 \
    X(cursor_told)                                                                                                     \
    /* queues: Q1, Q2 */                                                                                               \
    X(cell_not_written)                                                                                                \
    X(cell_written)                                                                                                    \
    X(claim_not_made)                                                                                                  \
    X(claim_made)                                                                                                      \
    X(job_over)                                                                                                        \
    X(job_not_counted)                                                                                                 \
    X(first_told)                                                                                                      \
    X(worker_joining)                                                                                                  \
    X(worker_live)                                                                                                     \
    X(put_not_rung)                                                                                                    \
    X(producer_live)                                                                                                   \
    X(producer_left)                                                                                                   \
    /* a blackboard's keys: K1, K2, K3 */                                                                              \
    X(key_hashed)                                                                                                      \
    X(key_named)                                                                                                       \
    X(key_held)                                                                                                        \
    X(key_given_up)                                                                                                    \
    X(version_told)                                                                                                    \
    X(place_told)                                                                                                      \
    X(pair_owned)                                                                                                      \
    X(pair_filled)                                                                                                     \
    X(current_told)                                                                                                    \
    X(board_bell_not_looked_at)                                                                                        \
    X(writer_live)                                                                                                     \
    X(writer_leaving_said)                                                                                             \
    X(reader_live)                                                                                                     \
    X(reader_leaving_said)                                                                                             \
    /* bell, doorbell, interrupting, space: B1, I1, S1 */                                                              \
    X(bell_armed)                                                                                                      \
    X(bell_not_looked_at)                                                                                              \
    X(own_bell_won)                                                                                                    \
    X(bell_won)                                                                                                        \
    X(doorbell_made_known)                                                                                             \
    X(doorbell_drained)                                                                                                \
    X(doorbell_armed)                                                                                                  \
    X(doorbell_not_rung)                                                                                               \
    X(interrupt_said)                                                                                                  \
    X(wanted_told)                                                                                                     \
    X(space_not_looked_at)                                                                                             \
    X(space_won)                                                                                                       \
    /* blocks and segments */                                                                                          \
    X(block_taken)                                                                                                     \
    X(block_cleared)                                                                                                   \
    X(block_linked)                                                                                                    \
    X(chain_not_published)                                                                                             \
    X(chain_published)                                                                                                 \
    X(segment_made)                                                                                                    \
    X(segment_marked)                                                                                                  \
    X(segment_not_referred_to)                                                                                         \
    X(segment_referred_to)                                                                                             \
    X(type_written)                                                                                                    \
    /* events: E1 to E3 */                                                                                             \
    X(ids_raised)                                                                                                      \
    X(segments_not_told)                                                                                               \
    X(event_raised)                                                                                                    \
    X(death_not_marked)                                                                                                \
    X(death_not_counted)                                                                                               \
    X(death_counted)                                                                                                   \
    X(death_marked)                                                                                                    \
    /* the topic file: F1 */                                                                                           \
    X(file_made)                                                                                                       \
    X(master_taken)                                                                                                    \
    X(header_closed)                                                                                                   \
    X(roster_not_made)                                                                                                 \
    X(roster_not_told)                                                                                                 \
    X(roster_told)                                                                                                     \
    X(joiner_locked)                                                                                                   \
    X(file_not_deleted)                                                                                                \
    /* claiming, joining, leaving, repairing: R1 */                                                                    \
    X(slot_locked)                                                                                                     \
    X(slot_not_counted)                                                                                                \
    X(incarnation_raised)                                                                                              \
    X(slot_opening)                                                                                                    \
    X(slot_identified)                                                                                                 \
    X(joining_said)                                                                                                    \
    X(live_said)                                                                                                       \
    X(watching_said)                                                                                                   \
    X(notifier_live)                                                                                                   \
    X(address_written)                                                                                                 \
    X(publisher_live)                                                                                                  \
    X(keeper_joining)                                                                                                  \
    X(keeper_live)                                                                                                     \
    X(keeping_told)                                                                                                    \
    X(keeping_ended)                                                                                                   \
    X(change_counted)                                                                                                  \
    X(leaving_said)                                                                                                    \
    X(repair_locked)                                                                                                   \
    X(repair_leaving_said)                                                                                             \
    X(end_noted)                                                                                                       \
    X(cells_emptied)                                                                                                   \
    X(publisher_over)                                                                                                  \
    X(publisher_freed)                                                                                                 \
    X(publisher_kept)                                                                                                  \
    X(subscriber_over)                                                                                                 \
    X(subscriber_freed)                                                                                                \
    X(repair_not_rung)

#define POINT_NAME(name) POINT_##name,
enum point { POINT_LIST(POINT_NAME) POINT_COUNT };

#if defined(TARN_POINTS)
#include <stdatomic.h>
#include <stdint.h>

void point_reached(enum point point);

/* As the variables would say it, for a process that has passed points before. Either may be NULL. */
void points_set(const char *seed, const char *kill);

extern const char *const point_names[POINT_COUNT];
extern _Atomic uint32_t *point_counts; /* counts of passages, if a test wants to have them; else NULL */

#define POINT(name) point_reached(POINT_##name)
#else
#define POINT(name) ((void)POINT_##name)
#endif

#endif
