// SPDX-License-Identifier: GPL-2.0
/*
 * hbone.ko: HTTP/2 CONNECT tunnels over kernel TLS, from the SETTINGS on. What it does for user
 * space is told in include/uapi/linux/hbone.h.
 *
 * Who holds what:
 *   - each connection holds a reference to the module, so it cannot be unloaded in use;
 *   - a connection does not hold its network namespace: the namespace ends it, and waits for that
 *     (hbone_conn_end_all). Sockets of user space, which connections hold, hold theirs; so that
 *     wait is for connections whose sockets are of other namespaces, of its own and of no other's
 *     (struct hbone_net, nconns);
 *   - work runs on one workqueue, drained last, but for what gets a connection to its end
 *     (abort_work), which end_work waits for. conn.c says why all of it ends.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/netlink.h>
#include <linux/notifier.h>
#include <linux/workqueue.h>
#include <net/genetlink.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>

#include "buffer.h"
#include "conn.h"
#include "genl.h"
#include "main.h"
#include "mib.h"

struct workqueue_struct *hbone_main_wq;

unsigned int hbone_main_orphan_seconds = 60;
module_param_named(orphan_seconds, hbone_main_orphan_seconds, uint, 0644);
MODULE_PARM_DESC(orphan_seconds,
		 "seconds that a connection without owner and streams lives on, at least 1");

static unsigned int net_id __read_mostly;

struct hbone_net *hbone_main_net(const struct net *net)
{
	return net_generic(net, net_id);
}

static int __net_init net_init(struct net *net)
{
	struct hbone_net *hn = hbone_main_net(net);
	int err;

	hn->net = net;
	hn->next_id = 0;
	atomic_set(&hn->nconns, 0);
	mutex_init(&hn->lock);
	xa_init_flags(&hn->conns, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
	hn->mib = alloc_percpu(struct hbone_mib);
	if (!hn->mib)
		return -ENOMEM;
	err = hbone_mib_init(net);
	if (err)
		goto err_free_mib;
	return 0;

err_free_mib:
	free_percpu(hn->mib);
	return err;
}

static void __net_exit net_exit(struct net *net)
{
	struct hbone_net *hn = hbone_main_net(net);

	hbone_conn_end_all(hn);
	xa_destroy(&hn->conns);
	hbone_mib_uninit(net);
	free_percpu(hn->mib);
}

static struct pernet_operations net_ops = {
	.init = net_init,
	.exit = net_exit,
	.id = &net_id,
	.size = sizeof(struct hbone_net),
};

/* A netlink socket closed: it may have been an owner's. Process context. */
static int netlink_event(struct notifier_block *nb, unsigned long event, void *ptr)
{
	struct netlink_notify *n = ptr;

	if (event == NETLINK_URELEASE && n->protocol == NETLINK_GENERIC)
		hbone_conn_owner_gone(hbone_main_net(n->net), n->portid);
	return NOTIFY_DONE;
}

static struct notifier_block netlink_notifier = {
	.notifier_call = netlink_event,
};

static int __init hbone_init(void)
{
	int err;

	err = hbone_buffer_init();
	if (err)
		return err;
	err = -ENOMEM;
	hbone_main_wq = alloc_workqueue("hbone", WQ_UNBOUND, 0);
	if (!hbone_main_wq)
		goto err_uninit_buffer;
	err = register_pernet_subsys(&net_ops);
	if (err)
		goto err_destroy_wq;
	err = netlink_register_notifier(&netlink_notifier);
	if (err)
		goto err_unregister_pernet;
	err = hbone_genl_init();
	if (err)
		goto err_unregister_notifier;
	pr_info("HBONE tunnels over kernel TLS, interface %u\n", HBONE_GENL_VERSION);
	return 0;

err_unregister_notifier:
	netlink_unregister_notifier(&netlink_notifier);
err_unregister_pernet:
	unregister_pernet_subsys(&net_ops);
err_destroy_wq:
	destroy_workqueue(hbone_main_wq);
err_uninit_buffer:
	hbone_buffer_uninit();
	return err;
}

static void __exit hbone_exit(void)
{
	hbone_genl_uninit();
	netlink_unregister_notifier(&netlink_notifier);
	unregister_pernet_subsys(&net_ops);
	destroy_workqueue(hbone_main_wq);
	hbone_buffer_uninit();
}

module_init(hbone_init);
module_exit(hbone_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("HBONE tunnels over kernel TLS");
MODULE_ALIAS_GENL_FAMILY(HBONE_GENL_NAME);
