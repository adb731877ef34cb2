// SPDX-License-Identifier: GPL-2.0
/*
 * Buffers. One for each CPU is kept once it was needed: memory that comes from the page allocator
 * is cleared on many a kernel, which for a message of some bytes would be most of the work. Kept
 * ones are the module's own; all others are charged to who the connection's work is charged to.
 * Each connection has given back its own before it is freed (conn_free), and holds the module until
 * then: so at hbone_buffer_uninit all that are kept are idle.
 */
#include <linux/cpumask.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "buffer.h"

#define BUFFER_GFP (GFP_KERNEL | __GFP_NOWARN | __GFP_COMP)

static DEFINE_SPINLOCK(lock);
static struct page **idle; /* kept, and not borrowed */
static unsigned int nidle, nkept, most;

/* 1: one that is kept; 0: none is idle, but one more may be; -1: nor that. */
static int take_kept(struct hbone_buffer *buf)
{
	int ret = -1;

	spin_lock(&lock);
	if (nidle) {
		buf->page = idle[--nidle];
		ret = 1;
	} else if (nkept < most) {
		nkept++;
		ret = 0;
	}
	spin_unlock(&lock);
	return ret;
}

static bool get_kept(struct hbone_buffer *buf)
{
	int ret = take_kept(buf);

	if (!ret) {
		buf->page = alloc_pages(BUFFER_GFP | __GFP_NORETRY, get_order(HBONE_BUFFER_SIZE));
		if (buf->page)
			return true;
		spin_lock(&lock);
		nkept--;
		spin_unlock(&lock);
	}
	return ret > 0;
}

static bool get_other(struct hbone_buffer *buf)
{
	buf->page = alloc_pages(BUFFER_GFP | __GFP_ACCOUNT | __GFP_NORETRY, get_order(buf->size));
	if (buf->page)
		return true;
	buf->size = HBONE_BUFFER_LEAST;
	buf->page =
		alloc_pages(BUFFER_GFP | __GFP_ACCOUNT | __GFP_RETRY_MAYFAIL, get_order(buf->size));
	return buf->page;
}

bool hbone_buffer_get(struct hbone_buffer *buf)
{
	buf->size = HBONE_BUFFER_SIZE;
	buf->kept = get_kept(buf);
	return buf->kept || get_other(buf);
}

void hbone_buffer_put(struct hbone_buffer *buf)
{
	if (!buf->page)
		return;
	if (buf->kept) {
		spin_lock(&lock);
		idle[nidle++] = buf->page;
		spin_unlock(&lock);
	} else {
		__free_pages(buf->page, get_order(buf->size));
	}
	buf->page = NULL;
}

int hbone_buffer_init(void)
{
	most = num_possible_cpus();
	idle = kcalloc(most, sizeof(struct page *), GFP_KERNEL);
	return idle ? 0 : -ENOMEM;
}

void hbone_buffer_uninit(void)
{
	while (nidle)
		__free_pages(idle[--nidle], get_order(HBONE_BUFFER_SIZE));
	kfree(idle);
}
