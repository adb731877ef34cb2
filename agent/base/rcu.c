// SPDX-License-Identifier: GPL-2.0-or-later
/* What ThreadSanitizer synchronises on in place of liburcu's grace periods. */
#include "rcu.h"

#ifdef AMB_TSAN
char amb_rcu_fence;
#else
typedef int amb_rcu_not_empty;
#endif
