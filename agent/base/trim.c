// SPDX-License-Identifier: GPL-2.0-or-later
/* Giving memory back after start. */
#include "trim.h"

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

/* Only segments that were never writable: RELRO pages hold what the linker wrote there. */
static int drop_segments(struct dl_phdr_info *info, size_t size, void *ctx)
{
	uintptr_t page = sysconf(_SC_PAGESIZE);
	int i;

	(void)size;
	(void)ctx;
	for (i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uintptr_t from = info->dlpi_addr + ph->p_vaddr;
		uintptr_t to = (from + ph->p_memsz) & ~(page - 1);

		from = (from + page - 1) & ~(page - 1);
		if (ph->p_type == PT_LOAD && !(ph->p_flags & PF_W) && from < to)
			madvise((void *)from, to - from, MADV_DONTNEED);
	}
	return 0;
}

void amb_trim(void)
{
	malloc_trim(0);
	dl_iterate_phdr(drop_segments, NULL);
}
