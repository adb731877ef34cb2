/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file of revocation lists (CRL_PATH): read at the start and whenever it changes. */
#ifndef AMB_CRL_FILE_H
#define AMB_CRL_FILE_H

struct amb_crl_file;
struct amb_loop;

/*
 * Reads @path into proxy/crl.h; a file that is not there yet is no lists. @changed is called on
 * @loop when there are others. NULL: errno, and why in @err: to serve as if nothing was revoked,
 * because the lists cannot be read, would be wrong.
 */
struct amb_crl_file *amb_crl_file_create(struct amb_loop *loop, const char *path,
					 void (*changed)(void *ctx), void *ctx, char *err,
					 unsigned int errlen);
void amb_crl_file_destroy(struct amb_crl_file *f);

#endif
