// SPDX-License-Identifier: GPL-2.0-or-later
/* The little of io_uring that a connect needs: one ring, one entry, no library. */
#include "bypass.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ENTRIES 1

static uint32_t *at(void *ring, uint32_t offset)
{
	return (uint32_t *)((char *)ring + offset);
}

static int submit(int ring, const struct io_uring_params *p, void *map, struct io_uring_sqe *sqe,
		  int fd, const struct sockaddr_storage *to, socklen_t len)
{
	struct io_uring_cqe *cqe = (struct io_uring_cqe *)((char *)map + p->cq_off.cqes);

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_CONNECT;
	sqe->fd = fd;
	sqe->addr = (uintptr_t)to;
	sqe->off = len;
	*at(map, p->sq_off.array) = 0;
	__atomic_store_n(at(map, p->sq_off.tail), 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		return -errno;
	if (__atomic_load_n(at(map, p->cq_off.tail), __ATOMIC_ACQUIRE) != 1)
		return -EIO;
	return cqe->res;
}

int uring_connect(int fd, const struct sockaddr_storage *to, socklen_t len)
{
	struct io_uring_params p = { 0 };
	struct io_uring_sqe *sqes;
	size_t room, entries;
	int ring, ret;
	void *map;

	ring = syscall(SYS_io_uring_setup, ENTRIES, &p);
	if (ring < 0)
		return errno == EPERM ? -ENOSYS : -errno;
	room = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	if (p.sq_off.array + p.sq_entries * sizeof(uint32_t) > room)
		room = p.sq_off.array + p.sq_entries * sizeof(uint32_t);
	entries = p.sq_entries * sizeof(*sqes);
	map = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	sqes = mmap(NULL, entries, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	/* Both rings in one mapping: since 5.4. */
	if (map == MAP_FAILED || sqes == MAP_FAILED || !(p.features & IORING_FEAT_SINGLE_MMAP))
		ret = -ENOSYS;
	else
		ret = submit(ring, &p, map, sqes, fd, to, len);
	if (map != MAP_FAILED)
		munmap(map, room);
	if (sqes != MAP_FAILED)
		munmap(sqes, entries);
	close(ring);
	return ret;
}
