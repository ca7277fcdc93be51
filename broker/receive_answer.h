/* SPDX-License-Identifier: Apache-2.0 */
/*
 * receive_answer.h - the answer of a receive, and what becomes of it when its connection ends.
 *
 * A session notes of each answer where it ends in what was queued. When it closes, answers that the kernel
 * was not given whole are given back at once; what the kernel had and the peer never read comes back when
 * its lease expires.
 *
 * Memory:  40 bytes an answer until the session's next receive finds it sent. Owner: the session.
 * Threads: the session's core.
 */
#ifndef BROKER_RECEIVE_ANSWER_H
#define BROKER_RECEIVE_ANSWER_H

struct call;
struct core;
struct session;

/* Answers a call at home, and ends it. */
void receive_answer(struct call *call);

/* What was leased to a call that cannot be answered is given back. */
void receive_give_back(struct call *call, struct core *at);

/* Gives back the ranges and runs of a call, whose leases stay; `at` is where the call is. */
void receive_drop(struct call *call, struct core *at);

/* Forgets which answers were sent. */
void receive_prune(struct session *session);

#endif
