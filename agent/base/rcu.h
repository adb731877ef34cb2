/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * liburcu (memb flavour), with what ThreadSanitizer needs to see the order that it gives:
 * the library itself is not instrumented. Every thread that reads registers once.
 *
 *   writer: fill object; AMB_RCU_RELEASE(obj); publish; call_rcu(&obj->rcu, reclaim)
 *   reader: amb_rcu_read_lock(); obj = look up; AMB_RCU_ACQUIRE(obj); ...; amb_rcu_read_unlock()
 *   reclaim callback: AMB_RCU_RECLAIM(); free
 */
#ifndef AMB_RCU_H
#define AMB_RCU_H

#define URCU_API_MAP
#include <urcu/urcu-memb.h>
#include <urcu/rculfhash.h>

#if defined(__SANITIZE_THREAD__)
#define AMB_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define AMB_TSAN 1
#endif
#endif

#ifdef AMB_TSAN
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
extern char amb_rcu_fence;
#define AMB_RCU_RELEASE(p) __tsan_release((void *)(p))
#define AMB_RCU_ACQUIRE(p) __tsan_acquire((void *)(p))
#define AMB_RCU_RECLAIM() __tsan_acquire(&amb_rcu_fence)
#define AMB_RCU_UNLOCKED() __tsan_release(&amb_rcu_fence)
#else
#define AMB_RCU_RELEASE(p) ((void)(p))
#define AMB_RCU_ACQUIRE(p) ((void)(p))
#define AMB_RCU_RECLAIM() ((void)0)
#define AMB_RCU_UNLOCKED() ((void)0)
#endif

static inline void amb_rcu_read_lock(void)
{
	urcu_memb_read_lock();
}

static inline void amb_rcu_read_unlock(void)
{
	AMB_RCU_UNLOCKED();
	urcu_memb_read_unlock();
}

#endif
