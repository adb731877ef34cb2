// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Shows that a module built for a kernel of the VM matrix loads there: /proc/net/amb_vmtest tells
 * which kernel it was built for, and which one it runs in.
 */
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/utsname.h>
#include <net/net_namespace.h>
#include <generated/utsrelease.h>

static int show(struct seq_file *s, void *unused)
{
	seq_printf(s, "%s %s\n", UTS_RELEASE, init_utsname()->release);
	return 0;
}

static int __init amb_vmtest_init(void)
{
	return proc_create_single("amb_vmtest", 0444, init_net.proc_net, show) ? 0 : -ENOMEM;
}

static void __exit amb_vmtest_exit(void)
{
	remove_proc_entry("amb_vmtest", init_net.proc_net);
}

module_init(amb_vmtest_init);
module_exit(amb_vmtest_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Self-test of the VM matrix");
