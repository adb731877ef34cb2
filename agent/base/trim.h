/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Giving memory back after start. */
#ifndef AMB_TRIM_H
#define AMB_TRIM_H

/*
 * Lets go of pages that only the start needed: free heap, and the read-only pages of program
 * and libraries (relocation and initialisation touched most of them; what still runs comes
 * back from the page cache by a minor fault). Any thread, at any time, but worth it once.
 */
void amb_trim(void);

#endif
