/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Cases of amb-hbone; each ends the program when something is wrong. */
#ifndef SELFTESTS_HBONE_CASES_H
#define SELFTESTS_HBONE_CASES_H

/* bytes.c: that they arrive */
void case_sizes(void);
void case_chunks(void);
void case_many(void);
void case_starved(void);
void case_split(void);
void case_padded(void);
void case_early(void);
void case_slow_reader(void);
void case_late_reader(void);
void case_slow_window(void);
void case_settings(void);

/* abuse.c: peers that do what they should not */
void case_errors(void);
void case_floods(void);
void case_refused(void);
void case_mutated(void);

/* control.c: TLS records that are not data */
void case_control(void);

/* life.c: ends, resets, owners */
void case_resets(void);
void case_close_under_load(void);
void case_adopt(void);
void case_orphan(void);
void case_key(void);
void case_abi(void);
/* Streams with traffic, until killed. */
void case_hold(void);

/* last.c: what was taken before a connection's end */
void case_last_frames(void);
void case_last_bytes(void);
void case_last_netns(void);
void case_last_unread(void);

/* drain.c: connections that peers are to leave */
void case_drain(void);

/* kept.c: what streams cost, and what is kept for them */
void case_notes(void);
void case_idle(void);
void case_dropped(void);

/* shared.c: sockets that others prepared, hold, or have in another namespace */
void case_linger(void);
void case_netns(void);

/* paid.c: who pays for that */
void case_paid(void);

/* memory.c: that there is none */
void case_no_memory(void);

#endif
