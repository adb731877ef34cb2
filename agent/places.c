// SPDX-License-Identifier: GPL-2.0-or-later
/* Where pods are, as a CNI plugin told. */
#include "places.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct amb_place {
	struct amb_place *next;
	char *path;
	char pod[];
};

static struct amb_place **find(struct amb_places *p, const char *pod)
{
	struct amb_place **at;

	for (at = &p->first; *at && strcmp((*at)->pod, pod); at = &(*at)->next)
		;
	return at;
}

static int add(struct amb_places *p, const char *pod, char *path)
{
	size_t len = strlen(pod) + 1;
	struct amb_place *new;

	if (p->n == AMB_PLACES_MAX)
		return -ENOSPC;
	new = malloc(sizeof(*new) + len);
	if (!new)
		return -ENOMEM;
	memcpy(new->pod, pod, len);
	new->path = path;
	new->next = p->first;
	p->first = new;
	p->n++;
	return 0;
}

int amb_places_set(struct amb_places *p, const char *pod, const char *path)
{
	struct amb_place *old = *find(p, pod);
	char *copy = strdup(path);
	int err;

	if (!copy)
		return -ENOMEM;
	if (old) {
		free(old->path);
		old->path = copy;
		return 0;
	}
	err = add(p, pod, copy);
	if (err)
		free(copy);
	return err;
}

const char *amb_places_get(const struct amb_places *p, const char *pod)
{
	const struct amb_place *place = *find((struct amb_places *)p, pod);

	return place ? place->path : NULL;
}

static void drop(struct amb_places *p, struct amb_place **at)
{
	struct amb_place *place = *at;

	*at = place->next;
	p->n--;
	free(place->path);
	free(place);
}

void amb_places_drop(struct amb_places *p, const char *pod, const char *path)
{
	struct amb_place **at = find(p, pod);

	if (*at && !strcmp((*at)->path, path))
		drop(p, at);
}

void amb_places_uninit(struct amb_places *p)
{
	while (p->first)
		drop(p, &p->first);
}
