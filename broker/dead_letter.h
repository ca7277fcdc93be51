/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dead_letter.h - messages that a group has given up, on their way to its topic of dead letters.
 *
 * The dead letters of a group are the topic %DLQ%GROUP, of which queue n lies in shard n. So a dead letter is
 * appended to the very log that has its origin, and that one record does both: its extra says what it was
 * (proto/dead_letter_extra.h), which the view takes as settled.
 *
 * One after the other: a range of groups->dying is read (what the group's filter does not want of it is
 * settled), appended, and gone when the log has it. Where the topic is not there it is asked for, and what
 * waits for it is put aside, so that other groups' go on; where the log has no room it is tried again after a second. What cannot be read any more is counted as skipped, and
 * the broker's log says so.
 *
 * Memory:  one message a shard, at most MESSAGE_BYTES_MAX. Owner: the shard.
 * Threads: the shard's core.
 */
#ifndef BROKER_DEAD_LETTER_H
#define BROKER_DEAD_LETTER_H

struct dead_letters;
struct groups;
struct shard;

struct dead_letters *dead_letters_create(struct shard *shard);

/* The log is closed. NULL is allowed. */
void dead_letters_destroy(struct dead_letters *dead);

/* Something is dying, or may go on. */
void dead_letters_go_on(struct groups *groups);

/* What was put aside is tried again with the next turn: what it was may be gone by then. */
void dead_letters_look_again(struct groups *groups);

/* The log is about to be closed: nothing begins any more. */
void dead_letters_stop(struct groups *groups);

#endif
