// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A directory of manifests as a set of objects, the last good state of each.
 *
 * A load makes new lists of files and objects beside the old ones and swaps them at the end, so
 * that running out of memory half way changes nothing. An object with an error is taken from
 * the old table, by its identity. When a file is no YAML, or one of its objects does not say who
 * it is, nothing of that file is believed to be gone.
 */
#include "manifest_set.h"

#include "base/cleanup.h"
#include "base/util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A file changed this shortly before it was read may change again under the same time stamp. */
#define RACY_NS 1000000000ll

struct file {
	char *path;
	const char *name; /* last part of it */
	struct timespec mtime, ctime;
	off_t size;
	ino_t ino;
	dev_t dev;
	bool racy;
	struct amb_mobj **objs; /* a reference each */
	uint32_t n, cap;
	struct amb_mproblems problems;
};

struct amb_mset {
	char *dir;
	struct file **files; /* by name */
	uint32_t nfiles;
	struct amb_mtable table; /* borrows objects and paths from the files */
	bool loaded; /* once at least */
	struct amb_arena scratch, temp;
};

/* A load under way. */
struct load {
	struct amb_mset *set;
	struct file **files;
	uint32_t nfiles, nobjects;
	struct amb_mtable table;
	struct amb_mproblems *problems;
};

static void file_free(struct file *f)
{
	uint32_t i;

	if (!f)
		return;
	for (i = 0; i < f->n; i++)
		amb_mobj_put(f->objs[i]);
	free(f->objs);
	free(f->path);
	amb_mproblems_clear(&f->problems);
	free(f);
}

static void tell(struct amb_mproblems *to, const char *file, uint32_t line, const char *object,
		 const char *reason)
{
	const struct amb_manifest_problem p = { true, file, line, object, "", reason };

	amb_mproblems_add(to, &p);
}

static int file_add(struct file *f, struct amb_mobj *o)
{
	if (f->n == f->cap) {
		uint32_t cap = f->cap ? f->cap * 2 : 4;
		struct amb_mobj **objs = realloc(f->objs, cap * sizeof(*objs));

		if (!objs)
			return -ENOMEM;
		f->objs = objs;
		f->cap = cap;
	}
	f->objs[f->n++] = o;
	return 0;
}

static struct file *file_new(const char *dir, const char *name)
{
	struct file *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	if (asprintf(&f->path, "%s/%s", dir, name) < 0) {
		free(f);
		return NULL;
	}
	f->name = f->path + strlen(dir) + 1;
	return f;
}

/* Takes over all objects of the file's former state. */
static int keep_all(struct file *f, const struct file *old)
{
	uint32_t i;

	for (i = 0; i < f->n; i++)
		amb_mobj_put(f->objs[i]);
	f->n = 0;
	for (i = 0; old && i < old->n; i++) {
		if (file_add(f, old->objs[i]))
			return -ENOMEM;
		amb_mobj_get(old->objs[i]);
	}
	return 0;
}

/* Takes over those of them that are not there now. */
static int keep_missing(struct file *f, const struct file *old)
{
	struct amb_mtable now = { 0 };
	uint32_t i;
	int err = 0;

	for (i = 0; i < f->n && !err; i++)
		err = amb_mtable_add(&now, f->objs[i], f->path);
	for (i = 0; old && i < old->n && !err; i++) {
		const struct amb_mobj *o = old->objs[i];

		if (amb_mtable_find(&now, o->kind, o->ns, o->name))
			continue;
		err = file_add(f, old->objs[i]);
		if (!err)
			amb_mobj_get(old->objs[i]);
	}
	amb_mtable_free(&now);
	return err;
}

#define UNKNOWN_MAX 32 /* kinds of a file that are not known and told */

struct unknown {
	uint32_t n;
	char what[UNKNOWN_MAX][160];
};

static void tell_unknown(struct file *f, struct unknown *u, const char *what, uint32_t line)
{
	const struct amb_manifest_problem p = { false, f->path, line, "", "", NULL };
	struct amb_manifest_problem told = p;
	char reason[200];
	uint32_t i;

	for (i = 0; i < u->n; i++)
		if (!strcmp(u->what[i], what))
			return;
	if (u->n == UNKNOWN_MAX)
		return;
	snprintf(u->what[u->n++], sizeof(u->what[0]), "%s", what);
	snprintf(reason, sizeof(reason), "%s is not used here, ignored", what);
	told.reason = reason;
	amb_mproblems_add(&f->problems, &told);
}

static bool is_policy(enum amb_mobj_kind kind)
{
	return kind == AMB_MOBJ_AUTHORIZATIONPOLICY || kind == AMB_MOBJ_PEERAUTHENTICATION;
}

/* Denies mesh-wide for what cannot be read of a file and may be a policy. */
static int deny_mesh(struct load *l, struct file *f)
{
	struct amb_mobj_read read = { .scratch = &l->set->scratch, .temp = &l->set->temp };
	char name[300];
	struct amb_mobj *o;
	uint32_t i;

	snprintf(name, sizeof(name), "unreadable-%s", f->name);
	for (i = 0; i < f->n; i++)
		if (f->objs[i]->stand_in && !strcmp(f->objs[i]->name, name))
			return 0;
	o = amb_mobj_stand_in(&read, AMB_MOBJ_AUTHORIZATIONPOLICY, "", name, NULL, 0);
	if (!o || file_add(f, o)) {
		amb_mobj_put(o);
		return -ENOMEM;
	}
	return 0;
}

/* A policy without a last good state fails closed. */
static int add_stand_in(struct amb_mobj_read *read, struct file *f, const struct amb_yaml *doc)
{
	struct amb_mobj *o =
		amb_mobj_stand_in(read, read->kind, read->ns, read->name, doc, doc->line);

	if (!o || file_add(f, o)) {
		amb_mobj_put(o);
		return -ENOMEM;
	}
	return 0;
}

static bool had_policy(const struct file *old)
{
	uint32_t i;

	for (i = 0; old && i < old->n; i++)
		if (is_policy(old->objs[i]->kind))
			return true;
	return false;
}

/* What could not be told apart in a file. */
struct blind {
	bool text; /* something that is no YAML, or no object */
	bool policy; /* a policy that does not say who it is */
	bool unnamed; /* any object that does not */
};

/* Reads the documents. 0 also when some are broken; -EBADMSG when the file as a whole is. */
static int read_documents(struct load *l, struct file *f, int fd, struct blind *blind)
{
	struct amb_yaml_reader *r = amb_yaml_open(fd, NULL, 0);
	struct amb_mobj_read read = { .file = f->path,
				      .report = amb_mproblems_add,
				      .ctx = &f->problems,
				      .scratch = &l->set->scratch,
				      .temp = &l->set->temp };
	struct unknown unknown = { 0 };
	const struct amb_yaml *doc;
	const char *list_kind;
	int err = -ENOMEM;

	while (r && (err = amb_yaml_next(r, &doc, &list_kind))) {
		const struct amb_mref *last;
		uint32_t line;

		if (err < 0) {
			const char *why = amb_yaml_problem(r, &line);

			if (err == -ENOMEM)
				break;
			tell(&f->problems, f->path, line, "", why);
			blind->text = true;
			if (err == -EINVAL)
				continue;
			err = -EBADMSG;
			break;
		}
		err = 0;
		read.kind = AMB_MOBJ_MAX;
		switch (amb_mobj_read(&read, doc, list_kind)) {
		case AMB_MOBJ_OK:
			if (l->nobjects + f->n >= AMB_MANIFEST_OBJECTS_MAX) {
				amb_mobj_put(read.obj);
				tell(&f->problems, f->path, doc->line, read.object,
				     "more than 262144 objects");
				err = -EBADMSG;
				break;
			}
			err = file_add(f, read.obj);
			if (err)
				amb_mobj_put(read.obj);
			break;
		case AMB_MOBJ_BROKEN:
			if (!read.named) {
				blind->unnamed = true;
				blind->policy |= is_policy(read.kind);
				break;
			}
			last = amb_mtable_find(&l->set->table, read.kind, read.ns, read.name);
			if (is_policy(read.kind) && (!last || last->obj->stand_in)) {
				err = add_stand_in(&read, f, doc);
				break;
			}
			if (!last)
				break;
			err = file_add(f, last->obj);
			if (!err)
				amb_mobj_get(last->obj);
			break;
		case AMB_MOBJ_UNKNOWN:
			tell_unknown(f, &unknown, read.what, doc->line);
			break;
		case AMB_MOBJ_IGNORED:
			break;
		default:
			err = -ENOMEM;
			break;
		}
		if (err)
			break;
	}
	amb_yaml_close(r);
	return err;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool unchanged(const struct file *f, const struct stat *st)
{
	return f && !f->racy && f->ino == st->st_ino && f->dev == st->st_dev &&
	       f->size == st->st_size && same_time(&f->mtime, &st->st_mtim) &&
	       same_time(&f->ctime, &st->st_ctim);
}

static void remember(struct file *f, const struct stat *st)
{
	struct timespec now;

	f->ino = st->st_ino;
	f->dev = st->st_dev;
	f->size = st->st_size;
	f->mtime = st->st_mtim;
	f->ctime = st->st_ctim;
	clock_gettime(CLOCK_REALTIME, &now);
	f->racy = (now.tv_sec - st->st_ctim.tv_sec) * 1000000000ll +
			  (now.tv_nsec - st->st_ctim.tv_nsec) <
		  RACY_NS;
}

static struct file *find_file(const struct amb_mset *s, const char *name)
{
	uint32_t lo = 0, hi = s->nfiles;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;
		int c = strcmp(s->files[mid]->name, name);

		if (!c)
			return s->files[mid];
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* A file that is as it was: another list of the same objects. */
static struct file *file_again(const struct amb_mset *s, const struct file *old)
{
	struct file *f = file_new(s->dir, old->name);

	if (!f)
		return NULL;
	if (keep_all(f, old)) {
		file_free(f);
		return NULL;
	}
	f->ino = old->ino;
	f->dev = old->dev;
	f->size = old->size;
	f->mtime = old->mtime;
	f->ctime = old->ctime;
	f->racy = old->racy;
	amb_mproblems_merge(&f->problems, &old->problems);
	return f;
}

/* Reads a file, unless it is as it was. 1: no file of ours; 0 or -ENOMEM. */
static int load_file(struct load *l, const char *name, struct file **out)
{
	const struct file *old = find_file(l->set, name);
	_cleanup_fd_ int fd = -1;
	struct file *f = file_new(l->set->dir, name);
	struct blind blind = { 0 };
	struct stat st;
	int err;

	if (!f)
		return -ENOMEM;
	fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT) {
		file_free(f);
		return 1;
	}
	if (fd < 0 || fstat(fd, &st)) {
		tell(&f->problems, f->path, 0, "", strerror(errno));
		err = keep_all(f, old);
		blind.text = true;
		goto done;
	}
	if (!S_ISREG(st.st_mode)) {
		file_free(f);
		return 1;
	}
	if (unchanged(old, &st)) {
		file_free(f);
		*out = file_again(l->set, old);
		return *out ? 0 : -ENOMEM;
	}
	remember(f, &st);
	err = read_documents(l, f, fd, &blind);
	if (err == -EBADMSG)
		err = keep_all(f, old);
	else if (!err && (blind.unnamed || blind.text))
		err = keep_missing(f, old);
done:
	/* Without a last good state, what cannot be read may have been a policy. */
	if (!err && ((blind.text && !l->set->loaded) || (blind.policy && !had_policy(old))))
		err = deny_mesh(l, f);
	if (err) {
		file_free(f);
		return err;
	}
	*out = f;
	return 0;
}

static int wanted(const struct dirent *e)
{
	const char *dot = strrchr(e->d_name, '.');

	/* Hidden ones are editors' files and the "..data" of mounted ConfigMaps. */
	return e->d_name[0] != '.' && dot &&
	       (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml") || !strcmp(dot, ".json"));
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void tell_double(struct load *l, struct file *f, const struct amb_mobj *lost,
			const struct amb_mobj *kept, const char *where)
{
	char object[400], reason[512];

	snprintf(object, sizeof(object), "%s %s%s%s", amb_mobj_kind_text(lost->kind), lost->ns,
		 *lost->ns ? "/" : "", lost->name);
	snprintf(reason, sizeof(reason), "is also at %.400s:%u, which is used", where, kept->line);
	tell(l->problems, f->path, lost->line, object, reason);
}

/* Enters a file's objects. Of two with one name that one stays which was there before. */
static int enter(struct load *l, struct file *f)
{
	uint32_t i;
	int err;

	for (i = 0; i < f->n; i++) {
		struct amb_mobj *o = f->objs[i];
		const struct amb_mref *other, *before;
		struct amb_mref *row;

		other = amb_mtable_find(&l->table, o->kind, o->ns, o->name);
		if (!other) {
			err = amb_mtable_add(&l->table, o, f->path);
			if (err)
				return err;
			continue;
		}
		if (other->obj == o)
			continue; /* kept for one of two broken copies, or both */
		before = amb_mtable_find(&l->set->table, o->kind, o->ns, o->name);
		row = &l->table.rows[other - l->table.rows];
		if (before && !strcmp(before->file, f->path) && strcmp(before->file, row->file)) {
			struct file loser = { .path = (char *)row->file };

			tell_double(l, &loser, row->obj, o, f->path);
			row->obj = o;
			row->file = f->path;
		} else {
			tell_double(l, f, o, row->obj, row->file);
		}
	}
	l->nobjects += f->n;
	return 0;
}

static void load_free(struct load *l)
{
	uint32_t i;

	for (i = 0; i < l->nfiles; i++)
		file_free(l->files[i]);
	free(l->files);
	amb_mtable_free(&l->table);
}

static int load_names(struct load *l, struct dirent **names, int n)
{
	int i, err;

	l->files = calloc((size_t)n + 1, sizeof(*l->files));
	if (!l->files)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		struct file *f;

		if (l->nfiles == AMB_MANIFEST_FILES_MAX) {
			tell(l->problems, l->set->dir, 0, "", "more than 4096 files");
			return -E2BIG;
		}
		err = load_file(l, names[i]->d_name, &f);
		if (err < 0)
			return err;
		if (err)
			continue;
		l->files[l->nfiles++] = f;
		amb_mproblems_merge(l->problems, &f->problems);
		err = enter(l, f);
		if (err)
			return err;
	}
	return 0;
}

int amb_mset_load(struct amb_mset *s, struct amb_mproblems *problems)
{
	struct load l = { .set = s, .problems = problems }, old;
	struct dirent **names = NULL;
	int n, i, err;

	n = scandir(s->dir, &names, wanted, by_name);
	if (n < 0) {
		err = errno;
		tell(problems, s->dir, 0, "", strerror(err));
		return -err;
	}
	err = load_names(&l, names, n);
	for (i = 0; i < n; i++)
		free(names[i]);
	free(names);
	amb_arena_free(&s->scratch);
	amb_arena_free(&s->temp);
	if (err) {
		load_free(&l);
		return err;
	}
	old = (struct load){ .files = s->files, .nfiles = s->nfiles, .table = s->table };
	s->files = l.files;
	s->nfiles = l.nfiles;
	s->table = l.table;
	s->loaded = true;
	load_free(&old);
	return 0;
}

const struct amb_mtable *amb_mset_table(const struct amb_mset *s)
{
	return &s->table;
}

uint32_t amb_mset_files(const struct amb_mset *s)
{
	return s->nfiles;
}

struct amb_mset *amb_mset_create(const char *dir)
{
	struct amb_mset *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->dir = strdup(dir);
	if (!s->dir) {
		free(s);
		return NULL;
	}
	return s;
}

void amb_mset_destroy(struct amb_mset *s)
{
	struct load l;

	if (!s)
		return;
	l = (struct load){ .files = s->files, .nfiles = s->nfiles, .table = s->table };
	load_free(&l);
	amb_arena_free(&s->scratch);
	amb_arena_free(&s->temp);
	free(s->dir);
	free(s);
}
