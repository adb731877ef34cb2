// SPDX-License-Identifier: GPL-2.0
/*
 * Requests. Generic netlink runs them one at a time (parallel_ops is not set) in process context,
 * and holds the module meanwhile; each finds its connection by number and holds a reference while
 * it works. Dumps remember the number they came to, and hold nothing between two calls: each
 * message is of its moment, and what lives all the while is told once.
 */
#include <linux/module.h>
#include <net/genetlink.h>
#include <net/sock.h>

#include "compat.h"
#include "conn.h"
#include "event.h"
#include "genl.h"
#include "h2frame.h"
#include "main.h"
#include "mib.h"
#include "stream.h"
#include "tx.h"

/* Not const for kernels before 6.6. */
static struct netlink_range_validation window_range = { .max = HBONE_H2_WINDOW_MAX };
static struct netlink_range_validation stream_range = {
	.min = 1,
	.max = HBONE_H2_STREAM_MAX,
};

static struct netlink_range_validation frame_range = {
	.min = HBONE_H2_FRAME_MIN,
	.max = HBONE_H2_FRAME_MAX,
};

static struct netlink_range_validation fd_range = { .max = INT_MAX };
static struct netlink_range_validation_signed recv_range = { .min = 1, .max = INT_MAX };

static const struct nla_policy set_policy[HBONE_SET_MAX + 1] = {
	[HBONE_SET_INITIAL_WINDOW] = NLA_POLICY_FULL_RANGE(NLA_U32, &window_range),
	[HBONE_SET_MAX_FRAME] = NLA_POLICY_FULL_RANGE(NLA_U32, &frame_range),
	[HBONE_SET_MAX_STREAMS] = NLA_POLICY_RANGE(NLA_U32, 1, HBONE_STREAMS_MAX),
};

static const struct nla_policy conn_add_policy[HBONE_A_MAX + 1] = {
	[HBONE_A_VERSION] = { .type = NLA_U32 },
	[HBONE_A_FD] = NLA_POLICY_FULL_RANGE(NLA_U32, &fd_range),
	[HBONE_A_FLAGS] = NLA_POLICY_MASK(NLA_U32, HBONE_F_SERVER),
	[HBONE_A_LOCAL] = NLA_POLICY_NESTED(set_policy),
	[HBONE_A_PEER] = NLA_POLICY_NESTED(set_policy),
	[HBONE_A_SEND_WINDOW] = { .type = NLA_S32 },
	[HBONE_A_RECV_WINDOW] = NLA_POLICY_FULL_RANGE_SIGNED(NLA_S32, &recv_range),
	[HBONE_A_LAST_LOCAL] = NLA_POLICY_FULL_RANGE(NLA_U32, &window_range),
	[HBONE_A_LAST_PEER] = NLA_POLICY_FULL_RANGE(NLA_U32, &window_range),
	[HBONE_A_INPUT] = { .type = NLA_BINARY, .len = HBONE_INPUT_MAX },
};

static const struct nla_policy conn_policy[HBONE_A_MAX + 1] = {
	[HBONE_A_CONN] = { .type = NLA_U32 },
};

static const struct nla_policy conn_del_policy[HBONE_A_MAX + 1] = {
	[HBONE_A_CONN] = { .type = NLA_U32 },
	[HBONE_A_ERROR] = { .type = NLA_U32 },
};

static const struct nla_policy conn_drain_policy[HBONE_A_MAX + 1] = {
	[HBONE_A_CONN] = { .type = NLA_U32 },
	[HBONE_A_FLAGS] = NLA_POLICY_MASK(NLA_U32, HBONE_F_FINAL),
};

static const struct nla_policy stream_add_policy[HBONE_A_MAX + 1] = {
	[HBONE_A_CONN] = { .type = NLA_U32 },
	[HBONE_A_STREAM] = NLA_POLICY_FULL_RANGE(NLA_U32, &stream_range),
	[HBONE_A_FD] = NLA_POLICY_FULL_RANGE(NLA_U32, &fd_range),
	[HBONE_A_COOKIE] = { .type = NLA_U64 },
	[HBONE_A_NOTE] = { .type = NLA_BINARY, .len = HBONE_NOTE_MAX },
};

static const struct nla_policy stream_del_policy[HBONE_A_MAX + 1] = {
	[HBONE_A_CONN] = { .type = NLA_U32 },
	[HBONE_A_STREAM] = NLA_POLICY_FULL_RANGE(NLA_U32, &stream_range),
	[HBONE_A_ERROR] = { .type = NLA_U32 },
};

static const struct nla_policy stream_get_policy[HBONE_A_MAX + 1] = {
	[HBONE_A_CONN] = { .type = NLA_U32 },
	[HBONE_A_STREAM] = NLA_POLICY_FULL_RANGE(NLA_U32, &stream_range),
};

static const struct nla_policy frame_send_policy[HBONE_A_MAX + 1] = {
	[HBONE_A_CONN] = { .type = NLA_U32 },
	[HBONE_A_FRAME] = { .type = NLA_BINARY, .len = HBONE_FRAME_SEND_MAX },
};

static struct hbone_conn *conn_of(struct genl_info *info)
{
	struct hbone_conn *c;

	if (GENL_REQ_ATTR_CHECK(info, HBONE_A_CONN))
		return ERR_PTR(-EINVAL);
	c = hbone_conn_get(hbone_main_net(genl_info_net(info)),
			   nla_get_u32(info->attrs[HBONE_A_CONN]));
	if (c && !hbone_conn_ending(c))
		return c;
	if (c)
		hbone_conn_put(c);
	NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[HBONE_A_CONN], "no such connection");
	return ERR_PTR(-ENOENT);
}

static struct hbone_stream *stream_of(struct hbone_conn *c, struct genl_info *info)
{
	struct hbone_stream *s;

	if (GENL_REQ_ATTR_CHECK(info, HBONE_A_STREAM))
		return ERR_PTR(-EINVAL);
	s = hbone_stream_get(c, nla_get_u32(info->attrs[HBONE_A_STREAM]));
	/* One that is about to go was told to be gone. */
	if (s && !hbone_stream_is(s, HBONE_STREAM_CLOSED))
		return s;
	if (s)
		hbone_stream_put(s);
	NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[HBONE_A_STREAM], "no such stream");
	return ERR_PTR(-ENOENT);
}

static u32 u32_or(struct genl_info *info, int attr, u32 otherwise)
{
	return info->attrs[attr] ? nla_get_u32(info->attrs[attr]) : otherwise;
}

static struct sk_buff *answer_new(struct genl_info *info, u8 cmd, size_t size, void **head)
{
	struct sk_buff *skb = genlmsg_new(size, GFP_KERNEL);

	if (!skb)
		return NULL;
	*head = genlmsg_put_reply(skb, info, &hbone_genl_family, 0, cmd);
	return skb;
}

static int answer(struct sk_buff *skb, void *head, struct genl_info *info, int err)
{
	if (err) {
		nlmsg_free(skb);
		return err;
	}
	genlmsg_end(skb, head);
	err = genlmsg_reply(skb, info);
	/* The caller's socket is full; EAGAIN is to say that there is nothing to tell. */
	return err == -EAGAIN ? -ENOBUFS : err;
}

/* --- connections ----------------------------------------------------------------------------- */

static int parse_settings(struct nlattr *nest, struct hbone_settings *set,
			  struct netlink_ext_ack *extack)
{
	struct nlattr *a[HBONE_SET_MAX + 1] = {};
	int err;

	set->initial_window = HBONE_H2_WINDOW;
	set->max_frame = HBONE_H2_FRAME_MIN;
	set->max_streams = HBONE_STREAMS_MAX;
	if (!nest)
		return 0;
	err = nla_parse_nested(a, HBONE_SET_MAX, nest, set_policy, extack);
	if (err)
		return err;
	if (a[HBONE_SET_INITIAL_WINDOW])
		set->initial_window = nla_get_u32(a[HBONE_SET_INITIAL_WINDOW]);
	if (a[HBONE_SET_MAX_FRAME])
		set->max_frame = nla_get_u32(a[HBONE_SET_MAX_FRAME]);
	if (a[HBONE_SET_MAX_STREAMS])
		set->max_streams = nla_get_u32(a[HBONE_SET_MAX_STREAMS]);
	return 0;
}

static int parse_conn(struct genl_info *info, struct hbone_conn_params *p)
{
	int err;

	if (GENL_REQ_ATTR_CHECK(info, HBONE_A_VERSION) || GENL_REQ_ATTR_CHECK(info, HBONE_A_FD) ||
	    GENL_REQ_ATTR_CHECK(info, HBONE_A_SEND_WINDOW) ||
	    GENL_REQ_ATTR_CHECK(info, HBONE_A_RECV_WINDOW))
		return -EINVAL;
	if (nla_get_u32(info->attrs[HBONE_A_VERSION]) != HBONE_GENL_VERSION) {
		NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[HBONE_A_VERSION],
				    "another version of this interface");
		return -EPROTONOSUPPORT;
	}
	p->fd = nla_get_u32(info->attrs[HBONE_A_FD]);
	p->server = u32_or(info, HBONE_A_FLAGS, 0) & HBONE_F_SERVER;
	p->send_window = nla_get_s32(info->attrs[HBONE_A_SEND_WINDOW]);
	p->recv_window = nla_get_s32(info->attrs[HBONE_A_RECV_WINDOW]);
	p->last_local = u32_or(info, HBONE_A_LAST_LOCAL, 0);
	p->last_peer = u32_or(info, HBONE_A_LAST_PEER, 0);
	p->owner = info->snd_portid;
	if (info->attrs[HBONE_A_INPUT]) {
		p->input = nla_data(info->attrs[HBONE_A_INPUT]);
		p->input_len = nla_len(info->attrs[HBONE_A_INPUT]);
	}
	err = parse_settings(info->attrs[HBONE_A_LOCAL], &p->local, info->extack);
	return err ?: parse_settings(info->attrs[HBONE_A_PEER], &p->peer, info->extack);
}

/* Nobody was told its number, so nobody would end it. */
static void conn_unknown(struct hbone_net *hn, u32 id)
{
	struct hbone_conn *c = hbone_conn_get(hn, id);

	if (!c)
		return;
	hbone_conn_end(c, HBONE_REASON_REQUEST, HBONE_H2_NO_ERROR, 0);
	hbone_conn_put(c);
}

static int conn_add(struct sk_buff *skb, struct genl_info *info)
{
	struct hbone_net *hn = hbone_main_net(genl_info_net(info));
	struct hbone_conn_params p = {};
	struct sk_buff *reply;
	void *head;
	int id, err;

	err = parse_conn(info, &p);
	if (err)
		return err;
	/* Before there is a connection that nobody would know. */
	reply = answer_new(info, HBONE_CMD_CONN_ADD, NLMSG_DEFAULT_SIZE, &head);
	if (!reply)
		return -ENOMEM;
	id = hbone_conn_create(hn, &p, info->extack);
	err = answer(reply, head, info, id < 0 ? id : nla_put_u32(reply, HBONE_A_CONN, id));
	if (err && id > 0)
		conn_unknown(hn, id);
	return err;
}

static int conn_own(struct sk_buff *skb, struct genl_info *info)
{
	struct hbone_conn *c = conn_of(info);

	if (IS_ERR(c))
		return PTR_ERR(c);
	hbone_conn_own(c, info->snd_portid);
	hbone_conn_put(c);
	return 0;
}

static int conn_del(struct sk_buff *skb, struct genl_info *info)
{
	struct hbone_conn *c = conn_of(info);

	if (IS_ERR(c))
		return PTR_ERR(c);
	hbone_conn_end(c, HBONE_REASON_REQUEST, u32_or(info, HBONE_A_ERROR, HBONE_H2_NO_ERROR), 0);
	hbone_conn_put(c);
	return 0;
}

static int conn_drain(struct sk_buff *skb, struct genl_info *info)
{
	struct hbone_conn *c = conn_of(info);

	if (IS_ERR(c))
		return PTR_ERR(c);
	hbone_conn_drain(c, u32_or(info, HBONE_A_FLAGS, 0) & HBONE_F_FINAL ?
				    HBONE_CONN_GOAWAY_FINAL :
				    HBONE_CONN_GOAWAY_SOON);
	hbone_conn_put(c);
	return 0;
}

static int conn_get(struct sk_buff *skb, struct genl_info *info)
{
	struct hbone_conn *c = conn_of(info);
	struct sk_buff *reply;
	void *head;
	int err = -ENOMEM;

	if (IS_ERR(c))
		return PTR_ERR(c);
	reply = answer_new(info, HBONE_CMD_CONN_GET, NLMSG_DEFAULT_SIZE, &head);
	if (reply)
		err = answer(reply, head, info, hbone_event_put_conn(reply, c));
	hbone_conn_put(c);
	return err;
}

/* The longest must fit where there is nothing else, or dumps would end there. */
static_assert(HBONE_NOTE_MAX + 512 <= NLMSG_DEFAULT_SIZE);

static int put_stream(struct sk_buff *skb, struct hbone_stream *s)
{
	int err = hbone_event_put_stream(skb, s);

	if (err || !hbone_stream_is(s, HBONE_STREAM_ATTACHED) || !s->note)
		return err;
	return nla_put(skb, HBONE_A_NOTE, s->note_len, s->note);
}

/* One message of a dump; 0 when there was room. */
static int dump_one(struct sk_buff *skb, struct netlink_callback *cb, u8 cmd, struct hbone_conn *c,
		    struct hbone_stream *s)
{
	void *head = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq,
				 &hbone_genl_family, NLM_F_MULTI, cmd);
	int err;

	if (!head)
		return -EMSGSIZE;
	err = s ? put_stream(skb, s) : hbone_event_put_conn(skb, c);
	if (err)
		genlmsg_cancel(skb, head);
	else
		genlmsg_end(skb, head);
	return err;
}

static int conn_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct hbone_net *hn = hbone_main_net(sock_net(cb->skb->sk));
	unsigned long id = cb->args[0];
	struct hbone_conn *c;
	int err = 0;

	for (; !err && (c = hbone_conn_get_next(hn, &id)); id += !err) {
		err = dump_one(skb, cb, HBONE_CMD_CONN_GET, c, NULL);
		hbone_conn_put(c);
	}
	cb->args[0] = id;
	return skb->len;
}

/* --- streams --------------------------------------------------------------------------------- */

static int attach(struct hbone_conn *c, struct genl_info *info)
{
	struct hbone_stream_params p = { .fd = nla_get_u32(info->attrs[HBONE_A_FD]) };
	struct hbone_stream *s;
	int err;

	if (info->attrs[HBONE_A_COOKIE])
		p.cookie = nla_get_u64(info->attrs[HBONE_A_COOKIE]);
	if (info->attrs[HBONE_A_NOTE]) {
		p.note = nla_data(info->attrs[HBONE_A_NOTE]);
		p.note_len = nla_len(info->attrs[HBONE_A_NOTE]);
	}
	s = stream_of(c, info);
	if (IS_ERR(s))
		return PTR_ERR(s);
	err = hbone_stream_attach(s, &p, info->extack);
	if (!err && hbone_stream_is(s, HBONE_STREAM_CLOSED)) {
		NL_SET_ERR_MSG(info->extack, "the stream was closed meanwhile");
		err = -ECONNRESET;
	}
	hbone_stream_put(s);
	return err;
}

static int stream_add(struct sk_buff *skb, struct genl_info *info)
{
	struct hbone_conn *c;
	int err;

	if (GENL_REQ_ATTR_CHECK(info, HBONE_A_STREAM) || GENL_REQ_ATTR_CHECK(info, HBONE_A_FD))
		return -EINVAL;
	c = conn_of(info);
	if (IS_ERR(c))
		return PTR_ERR(c);
	err = attach(c, info);
	hbone_conn_put(c);
	return err;
}

static int stream_del(struct sk_buff *skb, struct genl_info *info)
{
	struct hbone_conn *c = conn_of(info);
	struct hbone_stream *s;

	if (IS_ERR(c))
		return PTR_ERR(c);
	s = stream_of(c, info);
	if (!IS_ERR(s)) {
		hbone_stream_close(s, HBONE_REASON_REQUEST,
				   u32_or(info, HBONE_A_ERROR, HBONE_H2_CANCEL));
		hbone_stream_put(s);
	}
	hbone_conn_put(c);
	return PTR_ERR_OR_ZERO(s);
}

static int stream_get(struct sk_buff *skb, struct genl_info *info)
{
	struct hbone_conn *c = conn_of(info);
	struct hbone_stream *s;
	struct sk_buff *reply;
	void *head;
	int err = -ENOMEM;

	if (IS_ERR(c))
		return PTR_ERR(c);
	s = stream_of(c, info);
	if (IS_ERR(s)) {
		err = PTR_ERR(s);
		goto out_put_conn;
	}
	reply = answer_new(info, HBONE_CMD_STREAM_GET, NLMSG_DEFAULT_SIZE, &head);
	if (reply)
		err = answer(reply, head, info, put_stream(reply, s));
	hbone_stream_put(s);
out_put_conn:
	hbone_conn_put(c);
	return err;
}

static int stream_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct nlattr **attrs = hbone_compat_dump_attrs(cb);
	unsigned long id = cb->args[0];
	struct hbone_stream *s;
	struct hbone_conn *c;
	int err = 0;

	if (!attrs[HBONE_A_CONN]) {
		NL_SET_ERR_MSG(cb->extack, "of which connection?");
		return -EINVAL;
	}
	c = hbone_conn_get(hbone_main_net(sock_net(cb->skb->sk)), nla_get_u32(attrs[HBONE_A_CONN]));
	if (!c) {
		NL_SET_ERR_MSG(cb->extack, "no such connection");
		return -ENOENT;
	}
	for (; !err && (s = hbone_stream_get_next(c, &id)); id += !err) {
		err = dump_one(skb, cb, HBONE_CMD_STREAM_GET, c, s);
		hbone_stream_put(s);
	}
	hbone_conn_put(c);
	cb->args[0] = id;
	return skb->len;
}

/* --- frames ---------------------------------------------------------------------------------- */

/* Only requests take frames, one at a time: it stays the first until drop_frame. */
static struct hbone_frame *first_frame(struct hbone_conn *c)
{
	struct hbone_frame *f;

	spin_lock(&c->lock);
	f = list_first_entry_or_null(&c->frames_in, struct hbone_frame, node);
	spin_unlock(&c->lock);
	return f;
}

/* The owner has it. */
static void drop_frame(struct hbone_conn *c, struct hbone_frame *f)
{
	struct hbone_stream *s = hbone_stream_get(c, f->stream);

	if (s) {
		set_bit(HBONE_STREAM_TOLD, &s->flags);
		hbone_stream_put(s);
	}
	spin_lock(&c->lock);
	list_del(&f->node);
	c->frames_in_bytes -= sizeof(*f) + f->size;
	c->nframes_in--;
	spin_unlock(&c->lock);
	kvfree(f);
}

static int put_frame(struct sk_buff *skb, struct hbone_conn *c, const struct hbone_frame *f)
{
	return nla_put_u32(skb, HBONE_A_CONN, c->id)					 ?:
		       nla_put_u32(skb, HBONE_A_FLAGS, f->refused ? HBONE_F_REFUSED : 0) ?:
		       nla_put(skb, HBONE_A_FRAME, f->len, f->data);
}

static int frame_recv(struct sk_buff *skb, struct genl_info *info)
{
	struct hbone_conn *c = conn_of(info);
	struct hbone_frame *f;
	struct sk_buff *reply;
	void *head;
	int err = -EAGAIN;

	if (IS_ERR(c))
		return PTR_ERR(c);
	f = first_frame(c);
	if (!f) {
		NL_SET_ERR_MSG(info->extack, "no frame waits");
		goto out_put_conn;
	}
	err = -ENOMEM;
	reply = answer_new(info, HBONE_CMD_FRAME_RECV, NLMSG_DEFAULT_SIZE + f->len, &head);
	if (!reply)
		goto out_put_conn;
	err = answer(reply, head, info, put_frame(reply, c, f));
	if (!err)
		drop_frame(c, f);
out_put_conn:
	hbone_conn_put(c);
	return err;
}

static void say_unsent(struct netlink_ext_ack *extack, int err)
{
	switch (err) {
	case -EINVAL:
		NL_SET_ERR_MSG(extack, "not one whole header block of a stream that may have it");
		break;
	case -ENOENT:
		NL_SET_ERR_MSG(extack, "no such stream");
		break;
	case -EBUSY:
		NL_SET_ERR_MSG(extack, "our direction ended, or its application is to end it");
		break;
	case -ESHUTDOWN:
		NL_SET_ERR_MSG(extack, "the peer takes no new streams here");
		break;
	case -ENOSPC:
		NL_SET_ERR_MSG(extack, "the peer has as many streams as it allows");
		break;
	case -EAGAIN:
		NL_SET_ERR_MSG(extack, "too much waits for the peer");
		break;
	}
}

static int frame_send(struct sk_buff *skb, struct genl_info *info)
{
	struct hbone_conn *c;
	int err;

	if (GENL_REQ_ATTR_CHECK(info, HBONE_A_FRAME))
		return -EINVAL;
	c = conn_of(info);
	if (IS_ERR(c))
		return PTR_ERR(c);
	err = hbone_tx_headers(c, nla_data(info->attrs[HBONE_A_FRAME]),
			       nla_len(info->attrs[HBONE_A_FRAME]));
	say_unsent(info->extack, err);
	hbone_conn_put(c);
	return err;
}

/* --- the family ------------------------------------------------------------------------------ */

#define OP(name, run, dump, its_policy)                                                            \
	{                                                                                          \
		.cmd = HBONE_CMD_##name, .doit = run, .dumpit = dump, .policy = its_policy,        \
		.maxattr = HBONE_A_MAX, .flags = GENL_UNS_ADMIN_PERM,                              \
	}

static const struct genl_ops ops[] = {
	OP(CONN_ADD, conn_add, NULL, conn_add_policy),
	OP(CONN_OWN, conn_own, NULL, conn_policy),
	OP(CONN_DEL, conn_del, NULL, conn_del_policy),
	OP(CONN_DRAIN, conn_drain, NULL, conn_drain_policy),
	OP(CONN_GET, conn_get, conn_dump, conn_policy),
	OP(STREAM_ADD, stream_add, NULL, stream_add_policy),
	OP(STREAM_DEL, stream_del, NULL, stream_del_policy),
	OP(STREAM_GET, stream_get, stream_dump, stream_get_policy),
	OP(FRAME_RECV, frame_recv, NULL, conn_policy),
	OP(FRAME_SEND, frame_send, NULL, frame_send_policy),
};

static const struct genl_multicast_group groups[] = {
	{ .name = HBONE_GENL_GROUP, .flags = GENL_MCAST_CAP_NET_ADMIN },
};

struct genl_family hbone_genl_family __ro_after_init = {
	.name = HBONE_GENL_NAME,
	.version = HBONE_GENL_VERSION,
	.netnsok = true,
	.module = THIS_MODULE,
	.ops = ops,
	.n_ops = ARRAY_SIZE(ops),
	.mcgrps = groups,
	.n_mcgrps = ARRAY_SIZE(groups),
};

int __init hbone_genl_init(void)
{
	return genl_register_family(&hbone_genl_family);
}

void hbone_genl_uninit(void)
{
	genl_unregister_family(&hbone_genl_family);
}
