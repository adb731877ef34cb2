// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What an update changed. A listener that keeps something for each address, or each service, has
 * to look at those that are listed here and at no others, however large the mesh is: at what an
 * object says now, and at what it said before.
 */
#include "change.h"

#include "table.h"

#include <stdlib.h>
#include <string.h>

#define ROOM_FIRST 16

static void give_up(struct amb_change *c)
{
	amb_change_release(c);
	c->told.many = true;
}

/* Room for one more of @size bytes in *@list, of @n entries. False: the lists are given up. */
static bool room(struct amb_change *c, void **list, size_t size, size_t n, size_t *cap)
{
	void *v;

	if (c->told.many)
		return false;
	if (n < *cap)
		return true;
	v = n < AMB_STATE_TOLD_MAX ? reallocarray(*list, n ? n * 2 : ROOM_FIRST, size) : NULL;
	if (!v) {
		give_up(c);
		return false;
	}
	*list = v;
	*cap = n ? n * 2 : ROOM_FIRST;
	return true;
}

static void add_addr(struct amb_change *c, const struct amb_addr *addr)
{
	if (!room(c, (void **)&c->addrs, sizeof(*addr), c->told.naddrs, &c->capaddrs))
		return;
	c->addrs[c->told.naddrs++] = *addr;
	c->told.addrs = c->addrs;
}

static void add_name(struct amb_change *c, amb_str name)
{
	if (!room(c, (void **)&c->names, sizeof(name), c->told.nnames, &c->capnames))
		return;
	c->names[c->told.nnames++] = amb_str_get(name);
	c->told.names = c->names;
}

void amb_change_workload(struct amb_change *c, const struct amb_state *st,
			 const struct amb_workload *w)
{
	uint32_t i;

	c->told.workloads = true;
	if (w->node == st->node)
		c->told.local = true;
	for (i = 0; w->network == st->network && i < w->naddrs; i++)
		add_addr(c, &w->addrs[i]);
	for (i = 0; i < w->nservices; i++)
		add_name(c, w->services[i].service);
}

void amb_change_service(struct amb_change *c, const struct amb_state *st,
			const struct amb_service *s)
{
	uint32_t i;

	c->told.services = true;
	add_name(c, s->key);
	for (i = 0; i < s->nvips; i++) {
		if (s->vips[i].network != st->network)
			continue;
		if (amb_state_vip_is_host(&s->vips[i]))
			add_addr(c, &s->vips[i].addr);
		else
			c->told.ranges = true;
	}
}

void amb_change_release(struct amb_change *c)
{
	while (c->told.nnames)
		amb_str_put(c->names[--c->told.nnames]);
	free(c->names);
	free(c->addrs);
	c->names = NULL;
	c->addrs = NULL;
	c->capnames = c->capaddrs = 0;
	c->told.naddrs = 0;
	c->told.names = NULL;
	c->told.addrs = NULL;
}
