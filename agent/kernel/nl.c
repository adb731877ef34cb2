// SPDX-License-Identifier: GPL-2.0-or-later
/* libnl, as the rest of kernel/ uses it. */
#include "nl.h"

#include "base/cleanup.h"

#include <errno.h>

int amb_nl_errno(int code)
{
	switch (-code) {
	case 0:
		return 0;
	case NLE_EXIST:
		return -EEXIST;
	case NLE_OBJ_NOTFOUND:
		return -ENOENT;
	case NLE_NOMEM:
		return -ENOMEM;
	case NLE_PERM:
		return -EPERM;
	case NLE_NOACCESS:
		return -EACCES;
	case NLE_NODEV:
		return -ENODEV;
	case NLE_AF_NOSUPPORT:
		return -EAFNOSUPPORT;
	case NLE_OPNOTSUPP:
		return -EOPNOTSUPP;
	default:
		return -EIO;
	}
}

int amb_nl_open(struct nl_sock **out)
{
	_cleanup_nl_ struct nl_sock *sock = nl_socket_alloc();
	int err;

	if (!sock)
		return -ENOMEM;
	err = amb_nl_errno(nl_connect(sock, NETLINK_ROUTE));
	if (err)
		return err;
	*out = take_ptr(sock);
	return 0;
}
