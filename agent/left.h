/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Programs that an agent before left, for one that does not use them: they would go on deciding,
 * by verdicts that nobody keeps true. Main thread; leaves it in any network namespace, but for
 * amb_left_remove().
 */
#ifndef AMB_LEFT_H
#define AMB_LEFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct amb_bpf;
struct amb_netns;

/* All of it at once, where a CNI's rules are below: its pods are captured as before. */
void amb_left_remove(const char *dir);

/*
 * For who captures by rules of its own. *@left keeps what is pinned in @dir until the last of its
 * pods has left it, NULL: nothing is. 0, or -errno with a sentence in @err when to begin beside it
 * would be wrong.
 */
int amb_left_find(const char *dir, struct amb_bpf **left, char *err, size_t errlen);

/* The namespace's rules are there, which capture it now. Fine when it was not captured. */
void amb_left_ruled(struct amb_bpf **left, struct amb_netns *ns);
/* It is to be captured no more. */
void amb_left_free(struct amb_bpf **left, struct amb_netns *ns);
/* Sets free whom @wanted does not know. */
void amb_left_sweep(struct amb_bpf **left, bool (*wanted)(void *ctx, uint64_t cookie), void *ctx);
/* With @keep what is left by now stays, else it is removed. */
void amb_left_close(struct amb_bpf *left, bool keep);

#endif
