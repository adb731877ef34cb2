// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Interception by nftables.
 *
 * All chains stand in one table of our own name. istio-cni's nftables variant uses
 * istio-ambient-nat, -mangle and -raw; if we used those, removing ours could take a CNI's rules
 * from a pod that it enrolled meanwhile, and the pod would talk in clear. A table of our own
 * can be replaced and deleted whole, which is atomic and needs no list of what is inside.
 *
 * libnftables and libnl work in a child process. They open their netlink sockets in the caller's
 * namespace, and the first set of rules costs 2.3 MB of memory that is never given back
 * (measured with libnftables 1.0.6), a quarter of what an idle agent may have. Fork, routes and
 * rules take 4 ms in a pod without a table, 20 ms where one has to go.
 *
 * A second table, where a CNI has written the rules, leads past them what has AMB_DIRECT_MARK. The
 * kernel asks all translating chains of a hook in the order of their priorities and stops at the
 * first that has set up a translation: ours comes before any CNI's and translates an address into
 * itself. Only the first packet of a connection is asked about, and the answer is the tracked
 * connection's: what lives is not touched when rules are written anew, or ours go.
 */
#include "nft.h"

#include "netns.h"
#include "route.h"

#include "base/cleanup.h"
#include "base/util.h"

#include <nftables/libnftables.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_SECONDS 60 /* removal waits for grace periods of RCU: 3 s seen under a flood */

#define PROBE_V4 "169.254.7.127" /* of kubelet's probes, after the host's SNAT */
#define PROBE_V6 "fd16:9254:7127:1337:ffff:ffff:ffff:ffff"

/* Marks: 0x539 is AMB_MARK, on the agent's sockets; 0x111 AMB_ROUTE_MARK, 0x13a AMB_DIRECT_MARK. */
#define OURS "meta mark & 0xfff == 0x539 "
#define NOT_OURS "meta mark & 0xfff != 0x539 "
#define TCP "meta l4proto tcp "

enum need {
	NEED_V4 = 0,
	NEED_V6 = 1 << 0,
	NEED_DNS = 1 << 1,
	NEED_INBOUND = 1 << 2, /* not in ingress mode */
};

struct rule {
	unsigned int need;
	const char *text;
};

/* The order within a chain is the meaning: ztunnel-interop 3.7. */
static const struct rule nat_prerouting[] = {
	{ NEED_INBOUND, "ip saddr " PROBE_V4 " " TCP "accept" },
	{ NEED_INBOUND, "ip daddr != 127.0.0.1 tcp dport != 15008 " NOT_OURS "redirect to :15006" },
	{ NEED_INBOUND | NEED_V6, "ip6 saddr " PROBE_V6 " " TCP "accept" },
	{ NEED_INBOUND | NEED_V6,
	  "ip6 daddr != ::1 tcp dport != 15008 " NOT_OURS "redirect to :15006" },
};

static const struct rule nat_output[] = {
	{ NEED_V4, "ip daddr " PROBE_V4 " " TCP "accept" },
	{ NEED_V6, "ip6 daddr " PROBE_V6 " " TCP "accept" },
	{ NEED_DNS, "meta nfproto ipv4 oifname != lo udp dport 53 " NOT_OURS "redirect to :15053" },
	{ NEED_DNS | NEED_V6,
	  "meta nfproto ipv6 oifname != lo udp dport 53 " NOT_OURS "redirect to :15053" },
	{ NEED_DNS, "ip daddr != 127.0.0.1 tcp dport 53 " NOT_OURS "redirect to :15053" },
	{ NEED_DNS | NEED_V6, "ip6 daddr != ::1 tcp dport 53 " NOT_OURS "redirect to :15053" },
	{ NEED_V4, TCP "meta mark & 0xfff == 0x111 accept" },
	{ NEED_V4, "ip daddr != 127.0.0.1 oifname lo accept" },
	{ NEED_V6, "ip6 daddr != ::1 oifname lo accept" },
	{ NEED_V4, "ip daddr != 127.0.0.1 " TCP NOT_OURS "redirect to :15001" },
	{ NEED_V6, "ip6 daddr != ::1 " TCP NOT_OURS "redirect to :15001" },
};

/*
 * What the agent sends to the app is remembered, so that replies find back to the agent.
 *
 * It has the caller's address and a port that the caller does not know of: when he begins a
 * connection from just there to the same place, the kernel takes it for the agent's, and nobody
 * answers. So he is told that it is refused. That reset is one of the agent's connection to the
 * kernel as well, but unlike the app's, of a port where nobody listens, of one that is up.
 */
static const struct rule mangle_prerouting[] = {
	{ NEED_V4, OURS "ct mark set ct mark & 0xfffff000 | 0x111" },
	{ NEED_V4, "ct mark & 0xfff == 0x111 iifname != lo tcp flags & (fin | syn | rst | ack) == "
		   "syn reject with tcp reset" },
};

static const struct rule mangle_output[] = {
	{ NEED_V4, "ct mark & 0xfff == 0x111 ct status assured tcp flags & (fin | syn | rst | ack) "
		   "== rst | ack tcp sequence 0 accept" },
	{ NEED_V4, "ct mark & 0xfff == 0x111 meta mark set ct mark" },
};

/*
 * Tunnels need neither translation nor marks, and a connection's tracking costs each of their
 * packets more than all our rules. Outgoing ones are told by the agent's mark, so an app that
 * binds 15008 stays captured. Incoming ones can only be told by ports: what begins a connection
 * from port 15008 is tracked, hence redirected, so a stranger cannot pass the capture by that
 * source port (the rest of such a connection meets no translation and is reset).
 *
 * What a listener for redirected connections sends is no tunnel, whatever port it goes to: of two
 * connections that redirection made alike, the kernel moves one to a port that it draws by lot.
 *
 * The agent's DNS queries and the app's may use one port: kept apart by conntrack zone.
 */
static const struct rule raw_prerouting[] = {
	{ NEED_V4, "tcp dport 15008 notrack" },
	{ NEED_V4, "tcp sport 15008 tcp flags & (syn | ack) != syn notrack" },
	{ NEED_DNS, NOT_OURS "udp sport 53 ct zone set 1" },
};

static const struct rule raw_output[] = {
	{ NEED_V4, OURS "tcp dport 15008 tcp sport != { 15001, 15006, 15053 } notrack" },
	{ NEED_V4, OURS "tcp sport 15008 notrack" },
	{ NEED_DNS, OURS "udp dport 53 ct zone set 1" },
};

static const struct rule past_rules[] = {
	{ NEED_V4, "meta mark 0x13a meta nfproto ipv4 dnat ip to ip daddr" },
	{ NEED_V6, "meta mark 0x13a meta nfproto ipv6 dnat ip6 to ip6 daddr" },
};

struct chain {
	const char *name, *type, *hook;
	int priority;
	const struct rule *rules;
	size_t n;
};

static const struct chain capture_chains[] = {
#define CHAIN(name, type, hook, priority)                                                          \
	{                                                                                          \
#name, type, hook, priority, name, AMB_ARRAY_SIZE(name)                            \
	}
	CHAIN(raw_prerouting, "filter", "prerouting", -300),
	CHAIN(raw_output, "filter", "output", -300),
	CHAIN(mangle_prerouting, "filter", "prerouting", -150),
	CHAIN(mangle_output, "route", "output", -150),
	CHAIN(nat_prerouting, "nat", "prerouting", -100),
	CHAIN(nat_output, "nat", "output", -100),
#undef CHAIN
};

/* Before -100, where CNIs translate. */
static const struct chain direct_chains[] = {
	{ "prerouting", "nat", "prerouting", -101, past_rules, AMB_ARRAY_SIZE(past_rules) },
	{ "output", "nat", "output", -101, past_rules, AMB_ARRAY_SIZE(past_rules) },
};

struct table {
	const char *name;
	const struct chain *chains;
	size_t n;
	bool routed; /* has its policy routing beside it */
};

static const struct table capture_table = { "inet ambientd", capture_chains,
					    AMB_ARRAY_SIZE(capture_chains), true };
static const struct table direct_table = { "inet ambientd-direct", direct_chains,
					   AMB_ARRAY_SIZE(direct_chains), false };
/* The first without the routes, which programs need too. */
static const struct table rules_alone = { "inet ambientd", NULL, 0, false };

static void write_chain(FILE *f, const struct chain *c, unsigned int have)
{
	bool open = false;
	size_t i;

	for (i = 0; i < c->n; i++) {
		if (c->rules[i].need & ~have)
			continue;
		/* A base chain without rules would only cost every packet a little. */
		if (!open)
			fprintf(f, "chain %s {\ntype %s hook %s priority %d; policy accept;\n",
				c->name, c->type, c->hook, c->priority);
		open = true;
		fprintf(f, "%s\n", c->rules[i].text);
	}
	if (open)
		fputs("}\n", f);
}

/*
 * The commands of one transaction. First try to @create the table: deleting one, even an empty
 * one, makes the kernel wait for an RCU grace period (10 to 25 ms). Else the old table away,
 * should there be one; "add" before "delete" because deleting what is not there is an error.
 */
static char *write_commands(const struct table *t, const struct amb_nft_config *config, bool create)
{
	unsigned int have = NEED_V4;
	char *text = NULL;
	size_t len, i;
	FILE *f;

	f = open_memstream(&text, &len);
	if (!f)
		return NULL;
	if (create)
		fprintf(f, "create table %s\n", t->name);
	else
		fprintf(f, "add table %s\ndelete table %s\n", t->name, t->name);
	if (config) {
		have |= config->ipv6 ? NEED_V6 : 0;
		have |= config->dns_capture ? NEED_DNS : 0;
		have |= config->ingress_mode ? 0 : NEED_INBOUND;
		fprintf(f, "table %s {\n", t->name);
		for (i = 0; i < t->n; i++)
			write_chain(f, &t->chains[i], have);
		fputs("}\n", f);
	}
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}

/* libnftables says what went wrong in words only. */
static int error_of(const char *text)
{
	static const int known[] = { EEXIST, EPERM, ENOMEM, ENOBUFS, EBUSY };
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(known); i++) {
		if (strstr(text, strerror(known[i])))
			return -known[i];
	}
	return -EOPNOTSUPP;
}

static int run_commands(const struct table *t, const struct amb_nft_config *config, bool create,
			char *err, size_t errlen)
{
	_cleanup_free_ char *commands = write_commands(t, config, create);
	struct nft_ctx *ctx;
	const char *said;
	int code = 0;

	if (!commands)
		return -ENOMEM;
	ctx = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!ctx)
		return -ENOMEM;
	nft_ctx_buffer_output(ctx);
	nft_ctx_buffer_error(ctx);
	if (nft_run_cmd_from_buffer(ctx, commands)) {
		said = nft_ctx_get_error_buffer(ctx);
		code = error_of(said);
		/* The first line; the others quote our own rules. */
		snprintf(err, errlen, "nftables: %.*s", (int)strcspn(said, "\n"), said);
	}
	nft_ctx_free(ctx);
	return code;
}

/* What the child says. Smaller than PIPE_BUF, so it arrives whole. */
struct answer {
	int code;
	char text[160];
};

/* Replies need their way before the first connection is captured, so routes come first. */
static int install_here(const struct table *t, const struct amb_nft_config *config,
			struct answer *a)
{
	int added = 0, err;

	if (t->routed)
		added = amb_route_install(config->ipv6, a->text, sizeof(a->text));
	if (added < 0)
		return added;
	err = run_commands(t, config, true, a->text, sizeof(a->text));
	if (err == -EEXIST)
		err = run_commands(t, config, false, a->text, sizeof(a->text));
	/* Routes of an earlier agent go with its rules, which are still there. */
	if (err && added)
		(void)amb_route_remove();
	return err;
}

static int remove_here(const struct table *t, struct answer *a)
{
	int err, err2;

	err = run_commands(t, NULL, false, a->text, sizeof(a->text));
	err2 = t->routed ? amb_route_remove() : 0;
	return err ? err : err2;
}

enum job { JOB_INSTALL, JOB_REMOVE };

static void __attribute__((noreturn))
child(int fd, struct amb_netns *ns, enum job job, const struct table *t,
      const struct amb_nft_config *config)
{
	struct answer a = { 0 };
	sigset_t none;
	ssize_t n;

	/* Nothing of the agent's signal handling is meant for us. */
	signal(SIGALRM, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(CHILD_SECONDS);
	a.code = amb_netns_enter(ns);
	if (!a.code)
		a.code = job == JOB_INSTALL ? install_here(t, config, &a) : remove_here(t, &a);
	n = write(fd, &a, sizeof(a));
	_exit(n == sizeof(a) ? 0 : 1);
}

static int in_child(struct amb_netns *ns, enum job job, const struct table *t,
		    const struct amb_nft_config *config, struct answer *answer)
{
	_cleanup_fd_ int in = -1, out = -1;
	int fds[2], status;
	ssize_t n;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	in = fds[0];
	out = fds[1];
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid)
		child(out, ns, job, t, config);
	close(take_fd(&out));
	do {
		n = read(in, answer, sizeof(*answer));
	} while (n < 0 && errno == EINTR);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	/* Ended without a word: its deadline, or killed. */
	if (n != sizeof(*answer))
		return -ETIMEDOUT;
	return answer->code;
}

static int install(struct amb_netns *ns, const struct table *t, const struct amb_nft_config *config,
		   char *err, unsigned long errlen)
{
	struct answer answer = { 0 };
	int code = in_child(ns, JOB_INSTALL, t, config, &answer);

	if (code && errlen)
		snprintf(err, errlen, "%s", *answer.text ? answer.text : strerror(-code));
	return code;
}

static int remove_table(struct amb_netns *ns, const struct table *t)
{
	struct answer answer = { 0 };

	return in_child(ns, JOB_REMOVE, t, NULL, &answer);
}

/*
 * 0: it is there, -ENOENT, or -errno. By hand, since a child would cost each pod 4 ms; the kernel
 * answers within send().
 */
static int find_table(struct amb_netns *ns, const struct table *t)
{
	struct {
		struct nlmsghdr nlh;
		struct nfgenmsg nf;
		struct nlattr attr;
		char name[32];
	} ask = {
		.nlh = { .nlmsg_len = sizeof(ask),
			 .nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE,
			 .nlmsg_flags = NLM_F_REQUEST },
		.nf = { .nfgen_family = NFPROTO_INET },
		.attr = { .nla_len = sizeof(ask.attr) + sizeof(ask.name),
			  .nla_type = NFTA_TABLE_NAME },
	};
	struct {
		struct nlmsghdr nlh;
		int error; /* of NLMSG_ERROR */
	} answer;
	_cleanup_fd_ int fd = -1;
	int err = amb_netns_enter(ns);

	if (err)
		return err;
	snprintf(ask.name, sizeof(ask.name), "%s", strchr(t->name, ' ') + 1);
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	if (fd < 0 || send(fd, &ask, sizeof(ask), 0) < 0)
		return -errno;
	if (recv(fd, &answer, sizeof(answer), MSG_DONTWAIT) != sizeof(answer))
		return -EBADMSG;
	return answer.nlh.nlmsg_type == NLMSG_ERROR ? answer.error : 0;
}

int amb_nft_install(struct amb_netns *ns, const struct amb_nft_config *config, char *err,
		    unsigned long errlen)
{
	return install(ns, &capture_table, config, err, errlen);
}

bool amb_nft_has(struct amb_netns *ns)
{
	return !find_table(ns, &capture_table);
}

int amb_nft_remove(struct amb_netns *ns)
{
	return remove_table(ns, &capture_table);
}

int amb_nft_remove_rules(struct amb_netns *ns)
{
	static bool absent; /* of this kernel, which would look for the module each time */
	int err = absent ? -ENOENT : find_table(ns, &rules_alone);

	if (!err)
		return remove_table(ns, &rules_alone);
	absent |= err == -EINVAL || err == -EOPNOTSUPP || err == -EPROTONOSUPPORT;
	return absent || err == -ENOENT ? 0 : err;
}

int amb_nft_direct_install(struct amb_netns *ns, bool ipv6, char *err, unsigned long errlen)
{
	const struct amb_nft_config config = { .ipv6 = ipv6 };

	return install(ns, &direct_table, &config, err, errlen);
}

bool amb_nft_direct_has(struct amb_netns *ns)
{
	return !find_table(ns, &direct_table);
}

int amb_nft_direct_remove(struct amb_netns *ns)
{
	return remove_table(ns, &direct_table);
}
