// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of fuse_reverse_inval_entry() while a request is not answered yet: the answer is
 * from before the notification, or the task that sent the request holds a lock. Each test fills
 * the cache, stops a request at the fake server, notifies, has the answer arrive, and looks again.
 */

#include <linux/namei.h>
#include <linux/sched/signal.h>

#include "fixture.h"

/* A call, and what is notified while a request of it is at the server. */
struct late_param {
	const char *name;
	int (*call)(struct fuse_fx_op *op);
	const char *path[2];
	u32 opcode;		/* of the request */
	unsigned int flags;	/* of the call */
	bool there;		/* the server has "dir/file" before the call */
	bool known;		/* and the kernel knows that, or that there is none */
	u32 notification;	/* flags */
	const char *notified;	/* if that is not "dir/file" */
	bool epoch;		/* if it is FUSE_NOTIFY_INC_EPOCH */
	bool unseen;		/* nothing is cached for what is notified */
	bool first;		/* the kernel knows the node, before "dir/file" is a link to it */
	bool reused;		/* then, or later, "dir/file" is the next generation of the node */
	bool unlinked;		/* by the client, instead of a notification */
};

struct late {
	struct dentry *dir;
	struct dentry *file;		/* what is cached for "dir/file", if it is known */
	u64 nodeid;			/* of "dir/file", if it is there */
	struct fuse_fx_op notify;
	struct rw_semaphore *rwsem;	/* that it waits for: the call holds it */
	struct fuse_fake_hook *hold;	/* its request, until this is unhooked */
	struct kunit_thread *caller;
	struct kunit_thread *server;	/* if it notifies in notify_sleeps() */
};

/* Make the call, until its request is stopped. */
static struct late late_begin(struct kunit *test, const struct late_param *param,
			      enum fuse_fake_stop stop)
{
	const char *notified = param->notified ?: "dir/file";
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op call = {
		.path = { param->path[0], param->path[1] }, .flags = param->flags,
	};
	u64 dir = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	struct late late = {
		.dir	= fuse_fx_hold(fx, "dir"),
		.notify	= {
			.fx	= fx,
			.path	= { kbasename(notified) },
			.flags	= param->notification,
			.parent	= strchr(notified, '/') ? dir : FUSE_ROOT_ID,
		},
	};

	/* Only an exchange can give a name of a file to a directory. */
	fuse_fake_add(fx->server, "dir/other",
		      param->flags == RENAME_EXCHANGE ? S_IFDIR | 0755 : S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/other"), 0);
	if (param->there)
		late.nodeid = fuse_fake_add(fx->server, "link", S_IFREG | 0644);
	if (param->first)
		FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "link"), 0);
	if (param->first && param->reused) {
		fuse_fake_remove(fx->server, "link");
		fuse_fake_reuse(fx->server, late.nodeid, "dir/file");
	} else if (param->there) {
		fuse_fake_link(fx->server, "link", "dir/file");
	}
	if (param->known) {
		FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/file"), param->there ? 0 : -ENOENT);
		FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "link"), param->there ? 0 : -ENOENT);
		late.file = fuse_fx_hold_cached(fx, late.dir, "file");
	} else if (param->notified) {
		/* Before the request is sent, this makes no difference. */
		FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, dir, "file"), -ENOENT);
	}
	late.rwsem = &d_inode(param->opcode == FUSE_SETATTR ? late.file : late.dir)->i_rwsem;
	/* With LOOKUP_REVAL there is a LOOKUP of the directory first. */
	late.hold = fuse_fake_hold(fx->server, param->opcode, param->flags == LOOKUP_REVAL, stop);
	late.caller = fuse_fx_run_to(fx, param->call, &call, late.hold);
	return late;
}

/* In a thread: stat() hangs if a notification waits, or did not release a lock. */
static struct kunit_thread *run_stat(struct fuse_fixture *fx, const char *path)
{
	struct fuse_fx_op stat = { .path = { path } };

	return fuse_fx_run(fx, fuse_fx_do_stat, &stat);
}

static const struct late_param late_params[] = {
	{ "lookup", fuse_fx_do_stat, { "dir/file" }, FUSE_LOOKUP },
	{ "lookup expire", fuse_fx_do_stat, { "dir/file" }, FUSE_LOOKUP,
	  .notification = FUSE_EXPIRE_ONLY },
	{ "revalidate", fuse_fx_do_stat, { "dir/file" }, FUSE_LOOKUP, LOOKUP_REVAL, true, true },
	{ "revalidate expire", fuse_fx_do_stat, { "dir/file" }, FUSE_LOOKUP, LOOKUP_REVAL, true,
	  true, FUSE_EXPIRE_ONLY },
	{ "readdirplus", fuse_fx_do_readdir, { "dir" }, FUSE_READDIRPLUS, 0, true, true },
	{ "create", fuse_fx_do_open, { "dir/file" }, FUSE_CREATE, O_CREAT | O_RDWR },
	{ "mknod", fuse_fx_do_mknod, { "dir/file" }, FUSE_MKNOD },
	{ "mkdir", fuse_fx_do_mkdir, { "dir/file" }, FUSE_MKDIR },
	{ "symlink", fuse_fx_do_symlink, { "dir/file" }, FUSE_SYMLINK },
	{ "link", fuse_fx_do_link, { "dir/other", "dir/file" }, FUSE_LINK },
	{ "rename", fuse_fx_do_rename, { "dir/other", "dir/file" }, FUSE_RENAME },
	{ "exchange", fuse_fx_do_rename, { "dir/other", "dir/file" }, FUSE_RENAME2,
	  RENAME_EXCHANGE, true, true },
};

KUNIT_ARRAY_PARAM_DESC(late, late_params, name);

/*
 * The server answers, and before the answer arrives the name appears or is removed, and
 * is notified. The caller gets that answer, but the next one has to ask.
 */
static void late_answer(struct kunit *test)
{
	const struct late_param *param = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct kunit_thread *server;
	struct late late = late_begin(test, param, FUSE_FAKE_STOP_BEHIND);
	bool there = fuse_fake_told(fx->server, late.notify.parent, "file")->nodeid;

	if (there)
		fuse_fake_remove(fx->server, "dir/file");
	else
		fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	server = fuse_fx_run(fx, fuse_fx_do_notify, &late.notify);
	/* It may wait for the reply: only what is cached then is tested. */
	kunit_thread_wait(server);
	fuse_fake_let_go(fx->server);
	kunit_thread_join(late.caller, NULL);
	kunit_thread_join(server, NULL);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/file"), there ? -ENOENT : 0);
	/* What is renamed meanwhile may lose its timeout under its new name, too. */
	if (param->call == fuse_fx_do_rename)
		fuse_fake_take_back(fx->server, late.notify.parent, "other", false);
}

/* Calls whose answers have attributes: of the directory, or of a node. */
static const struct late_param late_attributes_params[] = {
	{ "directory", fuse_fx_do_getattr, { "dir" }, FUSE_GETATTR, 0, true, true },
	{ "lookup", fuse_fx_do_open, { "dir/file" }, FUSE_LOOKUP, O_RDWR, true },
	{ "readdirplus", fuse_fx_do_readdir, { "dir" }, FUSE_READDIRPLUS, 0, true },
	{ "create", fuse_fx_do_open, { "dir/file" }, FUSE_CREATE, O_CREAT | O_RDWR },
	{ "mknod", fuse_fx_do_mknod, { "dir/file" }, FUSE_MKNOD },
	{ "mkdir", fuse_fx_do_mkdir, { "dir/file" }, FUSE_MKDIR },
	{ "symlink", fuse_fx_do_symlink, { "dir/file" }, FUSE_SYMLINK },
	{ "link", fuse_fx_do_link, { "dir/other", "dir/file" }, FUSE_LINK },
	{ "evicted lookup", fuse_fx_do_open, { "dir/file" }, FUSE_LOOKUP, O_RDWR, true,
	  .notified = "link" },
	{ "evicted readdirplus", fuse_fx_do_readdir, { "dir" }, FUSE_READDIRPLUS, 0, true,
	  .notified = "link" },
	{ "evicted create", fuse_fx_do_open, { "dir/file" }, FUSE_CREATE, O_CREAT | O_RDWR,
	  .notified = "link" },
	{ "evicted mknod", fuse_fx_do_mknod, { "dir/file" }, FUSE_MKNOD, .notified = "link" },
	{ "unseen lookup", fuse_fx_do_open, { "dir/file" }, FUSE_LOOKUP, O_RDWR, true,
	  .notified = "link", .unseen = true },
	{ "unseen create", fuse_fx_do_open, { "dir/file" }, FUSE_CREATE, O_CREAT | O_RDWR,
	  .notified = "link", .unseen = true },
	{ "unlinked", fuse_fx_do_open, { "dir/file" }, FUSE_LOOKUP, O_RDWR, true,
	  .notified = "link", .unlinked = true },
	{ "last link", fuse_fx_do_open, { "dir/file" }, FUSE_LOOKUP, O_RDWR, true,
	  .notified = "link", .first = true },
	{ "another generation", fuse_fx_do_open, { "dir/file" }, FUSE_LOOKUP, O_RDWR, true,
	  .first = true, .reused = true },
};

KUNIT_ARRAY_PARAM_DESC(late_attributes, late_attributes_params, name);

/*
 * Attributes in an answer are stale if a name in the directory, or the nodeid, is notified before
 * the answer arrives; or if another link of the node is removed, cached or not, even if its inode
 * is evicted then, and the answer makes a new one; or if the answer is about the next generation
 * of the node. But whoever has asked for the mode of a directory, for a permission check, gets
 * it, and the next one need not ask: no name changes that.
 */
static void late_attributes(struct kunit *test)
{
	const struct late_param *param = test->param_value;
	bool directory = param->opcode == FUSE_GETATTR;
	struct fuse_fixture *fx = test->priv;
	unsigned int asked;
	struct late late = late_begin(test, param, FUSE_FAKE_STOP_BEHIND);
	u64 node = fuse_fake_told(fx->server, get_node_id(d_inode(late.dir)), "file")->nodeid;

	if (directory) {
		/* As that of the root, before anybody has asked. */
		d_inode(late.dir)->i_mode = S_IFDIR;
		FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, late.notify.parent, "file"), 0);
	} else if (!param->notified) {
		FUSE_EXPECT_ERR(test, fuse_fx_inval_inode(fx, node),
				param->opcode == FUSE_LINK || param->reused ? 0 : -ENOENT);
	} else {
		if (!param->there)
			fuse_fake_link(fx->server, "dir/file", "link");
		if (!param->unseen)
			FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "link"), 0);
		if (!param->unlinked)
			fuse_fake_remove(fx->server, "link");
		FUSE_EXPECT_ERR(test, param->unlinked ? fuse_fx_unlink(fx, "link") :
				fuse_fx_notify(fx, FUSE_ROOT_ID, node, "link", 0),
				param->unseen ? -ENOENT : 0);
		KUNIT_ASSERT_NULL(test, fuse_fx_find_node(fx, node));
	}
	asked = fuse_fake_requests(fx->server, FUSE_GETATTR);
	fuse_fake_let_go(fx->server);
	kunit_thread_join(late.caller, NULL);
	/* An open asks for the mode first: of a new inode, nothing is valid. */
	if (param->opcode == FUSE_LOOKUP)
		KUNIT_EXPECT_EQ(test, fuse_fake_requests(fx->server, FUSE_GETATTR), asked + 1);
	if (directory) {
		KUNIT_EXPECT_EQ(test, d_inode(late.dir)->i_mode, S_IFDIR | 0755);
		KUNIT_EXPECT_EQ(test, fuse_fx_asks_attr(fx, late.dir, STATX_MODE), 0);
	}
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, directory ? "dir" : "dir/file"), 0);
	KUNIT_EXPECT_EQ(test, fuse_fake_requests(fx->server, FUSE_GETATTR), asked + 1);
	/* The old generation is asked for again. */
	if (param->reused)
		fuse_fake_take_back(fx->server, FUSE_ROOT_ID, "link", false);
}

static struct late_look {
	struct inode *inode;
	loff_t size;		/* the new one */
	bool old;		/* another one was valid */
} late_look;

/* Would a stat() take an old size for valid? */
static void look_at_size(void *data)
{
	struct late_look *look = data;
	struct fuse_inode *fi = look->inode ? get_fuse_inode(look->inode) : NULL;

	if (fi && !time_before64(READ_ONCE(fi->i_time), get_jiffies_64()))
		look->old |= !(READ_ONCE(fi->inval_mask) & STATX_SIZE) &&
		     i_size_read(look->inode) != look->size;
}

/*
 * While an answer arrives, a stat() on another processor never takes an old attribute for valid:
 * those that are outdated in the answer stay invalid, the others become valid after they are set.
 */
static void valid_last(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op chmod = { .path = { "link" } };
	struct late late;

	kunit_points_need(test);
	late = late_begin(test, &late_attributes_params[0], FUSE_FAKE_STOP_BEHIND);
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, late.notify.parent, "file"), 0);
	late_look = (struct late_look) { d_inode(late.dir), -1 };
	kunit_points_look(test, look_at_size, &late_look);
	fuse_fake_let_go(fx->server);
	fuse_fx_join(fx, late.caller, "getattr", 0);
	KUNIT_EXPECT_FALSE(test, late_look.old);

	fx->server->file_size++;
	FUSE_EXPECT_ERR(test, fuse_fx_inval_inode(fx, late.nodeid), 0);
	late_look = (struct late_look) { d_inode(late.file), fx->server->file_size };
	KUNIT_EXPECT_EQ(test, fuse_fx_asks(fx, FUSE_GETATTR, "link"), 1);
	/* The same for the answer to a SETATTR. */
	fx->server->file_size++;
	FUSE_EXPECT_ERR(test, fuse_fx_inval_inode(fx, late.nodeid), 0);
	late_look.size = fx->server->file_size;
	FUSE_EXPECT_ERR(test, FUSE_FX_CALL(chmod, fx, .path = { "link" }), 0);
	KUNIT_EXPECT_EQ(test, d_inode(late.file)->i_mode, S_IFREG | 0700);
	KUNIT_EXPECT_EQ(test, fuse_fx_asks(fx, FUSE_GETATTR, "link"), 0);
	/* Nothing in an older answer to that is valid, also while the next GETATTR arrives. */
	late.hold = fuse_fake_hold(fx->server, FUSE_SETATTR, 0, FUSE_FAKE_STOP_BEHIND);
	late.caller = fuse_fx_run_to(fx, fuse_fx_do_chmod, &chmod, late.hold);
	fx->server->file_size++;
	FUSE_EXPECT_ERR(test, fuse_fx_inval_inode(fx, late.nodeid), 0);
	late_look.size = fx->server->file_size;
	fuse_fake_let_go(fx->server);
	fuse_fx_join(fx, late.caller, "chmod", 0);
	KUNIT_EXPECT_EQ(test, fuse_fx_asks(fx, FUSE_GETATTR, "link"), 1);
	KUNIT_EXPECT_FALSE(test, late_look.old);
	late_look.inode = NULL;		/* It goes with the mount. */
}

/* Who asks for the attributes of a file, before a delete of one of its links. */
static const struct late_param late_links_params[] = {
	{ "cached", fuse_fx_do_getattr, { "link" }, FUSE_GETATTR, 0, true, true },
	{ "not cached", fuse_fx_do_getattr, { "link" }, FUSE_GETATTR, 0, true, true,
	  .notified = "third", .unseen = true },
	{ "last", fuse_fx_do_getattr, { "dir/other" }, FUSE_GETATTR, 0, true, true,
	  .notified = "dir/other" },
};

KUNIT_ARRAY_PARAM_DESC(late_links, late_links_params, name);

/*
 * Who has sent a GETATTR before that gets the answer, a permission check say. But how many
 * links are left is asked for again; if it was the last link, the answer is discarded.
 */
static void late_links(struct kunit *test)
{
	const struct late_param *param = test->param_value;
	bool last = param->notified && !param->unseen;
	struct fuse_fixture *fx = test->priv;
	struct late late = late_begin(test, param, FUSE_FAKE_STOP_BEHIND);
	struct dentry *file = last ? fuse_fx_hold(fx, "dir/other") : late.file;

	d_inode(file)->i_mode = S_IFREG;
	fuse_fake_remove(fx->server, last ? "dir/other" : "dir/file");
	late.notify.child = get_node_id(d_inode(file));
	FUSE_EXPECT_ERR(test, fuse_fx_do_notify(&late.notify), param->unseen ? -ENOENT : 0);
	if (!last && !param->unseen)
		KUNIT_EXPECT_EQ(test, d_inode(file)->i_nlink, 1);
	fuse_fake_let_go(fx->server);
	fuse_fx_join(fx, late.caller, "getattr", 0);
	KUNIT_EXPECT_EQ(test, d_inode(file)->i_mode, last ? S_IFREG : S_IFREG | 0644);
	if (!last) {
		KUNIT_EXPECT_EQ(test, fuse_fx_asks_attr(fx, file, STATX_SIZE), 0);
		KUNIT_EXPECT_EQ(test, fuse_fx_asks(fx, FUSE_GETATTR, "link"), 1);
	}
	KUNIT_EXPECT_EQ(test, d_inode(file)->i_nlink, !last);
}

static const struct link_param {
	const char *name;
	bool removed;		/* another link is, so that i_nlink is the same afterwards */
	bool looked_at;
	bool answered;		/* the LINK is, before the GETATTR */
	bool third;		/* another GETATTR, from before the LINK, is answered last */
} link_params[] = {
	{ "more links", false, true },
	{ "as many links", true, true },
	{ "not looked at", false, false },
	{ "answered first", false, true, true },
	{ "third answer", false, true, .third = true },
};

KUNIT_ARRAY_PARAM_DESC(link, link_params, name);

/*
 * The answer to a GETATTR arrives before that to a LINK. Whichever was made first, no old
 * attributes stay cached.
 */
static void link_overtaken(struct kunit *test)
{
	static const struct late_param link = {
		"link", fuse_fx_do_link, { "dir/file", "dir/new" }, FUSE_LINK, 0, true, true
	};
	const struct link_param *param = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op getattr = { fx, .path = { "dir/file" } };
	struct kunit_thread *third = NULL;
	struct late late = late_begin(test, &link, param->answered ? FUSE_FAKE_STOP_BEHIND :
								     FUSE_FAKE_STOP_BEFORE);

	fx->server->file_size += param->answered;
	FUSE_EXPECT_ERR(test, fuse_fx_do_getattr(&getattr), 0);
	if (param->third)
		third = fuse_fx_run_to(fx, fuse_fx_do_getattr, &getattr,
				       fuse_fake_hold(fx->server, FUSE_GETATTR, 0,
						      FUSE_FAKE_STOP_BEHIND));
	fx->server->file_size += !param->answered;
	if (param->removed)
		fuse_fake_remove(fx->server, "link");
	fuse_fake_unhook(late.hold);
	fuse_fx_join(fx, late.caller, "link", 0);
	fuse_fake_let_go(fx->server);
	if (third)
		fuse_fx_join(fx, third, "getattr", 0);
	if (param->looked_at) {
		/* Which of the two answers is newer is not known: none is valid. */
		KUNIT_EXPECT_EQ(test, fuse_fx_asks_attr(fx, late.file, STATX_UID), 1);
		FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/file"), 0);
		KUNIT_EXPECT_EQ(test, d_inode(late.file)->i_nlink, param->removed ? 2 : 3);
		KUNIT_EXPECT_EQ(test, i_size_read(d_inode(late.file)), fx->server->file_size);
	}
	/* unlink() does not count an old i_nlink down to 0: link() would fail. */
	FUSE_EXPECT_ERR(test, fuse_fx_unlink(fx, "dir/file"), 0);
	if (!param->removed)
		FUSE_EXPECT_ERR(test, fuse_fx_unlink(fx, "link"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_link(fx, "dir/new", "dir/third"), 0);
	/* If nobody asked since the node was notified, the answer to the MKNOD is enough. */
	FUSE_EXPECT_ERR(test, fuse_fx_inval_inode(fx, fx->server->last_nodeid + 1), -ENOENT);
	FUSE_EXPECT_ERR(test, fuse_fx_mknod(fx, "made"), 0);
	KUNIT_EXPECT_EQ(test, fuse_fx_asks(fx, FUSE_GETATTR, "made"), 0);
}

/*
 * An outdated LOOKUP leads to a directory that is cached under another name by now: its
 * dentry is not moved back. The LOOKUP is sent once more, but only once, because a
 * server may notify whenever it is asked. An outdated listing does not move it, either.
 */
static void late_answer_moved(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op call = { .path = { "dir/old" } }, old = { .path = { "old" } };
	struct fuse_fake_hook *hold, *again;
	struct kunit_thread *caller;
	unsigned int lookups;

	old.parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "dir/old", S_IFDIR | 0755);
	fuse_fx_hold(fx, "dir");
	hold = fuse_fake_hold(fx->server, FUSE_LOOKUP, 0, FUSE_FAKE_STOP_BEHIND);
	caller = fuse_fx_run_to(fx, fuse_fx_do_stat, &call, hold);
	fuse_fake_link(fx->server, "dir/old", "dir/new");
	fuse_fake_remove(fx->server, "dir/old");
	fuse_fx_notify_meanwhile(fx, old, -ENOENT);
	fuse_fx_join(fx, run_stat(fx, "dir/new"), "stat", 0);
	fuse_fake_add(fx->server, "dir/old", S_IFDIR | 0755);
	again = fuse_fake_hold(fx->server, FUSE_LOOKUP, 0, FUSE_FAKE_STOP_BEHIND);
	fuse_fake_unhook(hold);
	fuse_fake_hold_wait(again);
	fuse_fake_remove(fx->server, "dir/old");
	fuse_fx_notify_meanwhile(fx, old, -ENOENT);
	lookups = fuse_fake_requests(fx->server, FUSE_LOOKUP);
	fuse_fake_unhook(again);
	fuse_fx_join(fx, caller, "stat", 0);
	KUNIT_EXPECT_EQ(test, fuse_fake_requests(fx->server, FUSE_LOOKUP), lookups);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/old"), -ENOENT);

	fuse_fake_link(fx->server, "dir/new", "dir/old");
	fuse_fake_remove(fx->server, "dir/new");
	hold = fuse_fake_hold(fx->server, FUSE_READDIRPLUS, 0, FUSE_FAKE_STOP_BEHIND);
	call.path[0] = "dir";
	caller = fuse_fx_run_to(fx, fuse_fx_do_readdir, &call, hold);
	fuse_fake_link(fx->server, "dir/old", "dir/new");
	fuse_fake_remove(fx->server, "dir/old");
	fuse_fx_notify_meanwhile(fx, old, 0);
	fuse_fake_unhook(hold);
	kunit_thread_join(caller, NULL);
	KUNIT_EXPECT_EQ(test, fuse_fx_asks(fx, FUSE_LOOKUP, "dir/new"), 0);
}

/* The entry is renamed, or asked for again, before an old answer about it arrives. */
static const struct late_param overtaking_params[] = {
	{ "asked again", fuse_fx_do_stat, { "dir/file" }, FUSE_LOOKUP, LOOKUP_REVAL, true, true,
	  FUSE_EXPIRE_ONLY },
	{ "renamed", fuse_fx_do_stat, { "dir/file" }, FUSE_LOOKUP, LOOKUP_REVAL, true, true,
	  FUSE_EXPIRE_ONLY, "dir/new" },
	{ "moved", fuse_fx_do_stat, { "dir/file" }, FUSE_LOOKUP, LOOKUP_REVAL, true, true,
	  FUSE_EXPIRE_ONLY, "file" },
	{ "replaced", fuse_fx_do_readdir, { "dir" }, FUSE_READDIRPLUS, 0, true },
	{ "reused", fuse_fx_do_readdir, { "dir" }, FUSE_READDIRPLUS, 0, true, .reused = true },
	{ "epoch", fuse_fx_do_readdir, { "dir" }, FUSE_READDIRPLUS, 0, true, true, .epoch = true },
	{ "new epoch", fuse_fx_do_readdir, { "dir" }, FUSE_READDIRPLUS, 0, true, .epoch = true },
};

KUNIT_ARRAY_PARAM_DESC(overtaking, overtaking_params, name);

/*
 * The old answer does not take the place of a newer one about the same name, is not
 * believed of the name that the entry has by then, and does not drop it.
 */
static void late_answer_overtaken(struct kunit *test)
{
	const struct late_param *param = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct late late = late_begin(test, param, FUSE_FAKE_STOP_BEHIND);

	if (param->notified)
		FUSE_EXPECT_ERR(test, fuse_fx_rename(fx, "dir/file", param->notified, 0), 0);
	if (!param->known) {
		fuse_fake_remove(fx->server, "dir/file");
		if (param->reused) {
			fuse_fake_remove(fx->server, "link");
			fuse_fake_reuse(fx->server, late.nodeid, "dir/file");
		} else {
			fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
		}
	}
	if (param->epoch)
		FUSE_EXPECT_ERR(test, fuse_fx_inc_epoch(fx), 0);
	else
		fuse_fx_notify_meanwhile(fx, late.notify, param->known ? 0 : -ENOENT);
	if (!param->notified)
		fuse_fx_join(fx, run_stat(fx, "dir/file"), "stat", 0);
	fuse_fake_let_go(fx->server);
	kunit_thread_join(late.caller, NULL);
}

/* The same while an old listing waits for the LOOKUP of a name in it. */
static void late_answer_waits(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op readdir = { .path = { "dir" } }, inval = { .path = { "sub" } };
	struct kunit_thread *lists, *looks;
	struct fuse_fake_hook *listing;

	inval.parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "dir/sub", S_IFDIR | 0755);
	fuse_fx_hold(fx, "dir");
	listing = fuse_fake_hold(fx->server, FUSE_READDIRPLUS, 0, FUSE_FAKE_STOP_BEHIND);
	lists = fuse_fx_run_to(fx, fuse_fx_do_readdir, &readdir, listing);
	fuse_fake_hold(fx->server, FUSE_LOOKUP, 0, FUSE_FAKE_STOP_BEFORE);
	looks = run_stat(fx, "dir/sub");
	kunit_thread_wait(looks);
	fuse_fake_unhook(listing);
	KUNIT_EXPECT_EQ(test, kunit_thread_wait(lists), KUNIT_THREAD_SLEEPS);
	fuse_fake_remove(fx->server, "dir/sub");
	fuse_fake_add(fx->server, "dir/sub", S_IFDIR | 0755);
	fuse_fx_notify_meanwhile(fx, inval, -ENOENT);
	fuse_fake_let_go(fx->server);
	fuse_fx_join(fx, looks, "stat", 0);
	kunit_thread_join(lists, NULL);
	KUNIT_EXPECT_EQ(test, fuse_fx_asks(fx, FUSE_LOOKUP, "dir/sub"), 0);
}

/* Notifications that leave the dentry in place, and those that are about something else. */
static const struct late_param kept_params[] = {
	{ "expired", fuse_fx_do_stat, { "dir/file" }, FUSE_LOOKUP, .there = true,
	  .notification = FUSE_EXPIRE_ONLY },
	{ "elsewhere", fuse_fx_do_stat, { "dir/file" }, FUSE_LOOKUP, .there = true,
	  .notified = "file" },
	{ "known", fuse_fx_do_readdir, { "dir" }, FUSE_READDIRPLUS, 0, true, true,
	  .notified = "file" },
};

KUNIT_ARRAY_PARAM_DESC(kept, kept_params, name);

/*
 * What a lookup has found is not dropped: it is asked for again if that was notified. What was
 * cached before stays valid.
 */
static void late_answer_kept(struct kunit *test)
{
	const struct late_param *param = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct dentry *file;
	struct late late = late_begin(test, param, FUSE_FAKE_STOP_BEHIND);
	char name[8];

	fuse_fx_notify_meanwhile(fx, late.notify, -ENOENT);
	/* Another name in this directory, too: else the version of the name does not matter. */
	late.notify.path[0] = "new";
	late.notify.parent = get_node_id(d_inode(late.dir));
	fuse_fx_notify_meanwhile(fx, late.notify, -ENOENT);
	late.notify.path[0] = name;
	/* Some share their version with the name that is known. */
	for (int i = 0; param->known && i < 2048; i++) {
		snprintf(name, sizeof(name), "%d", i);
		FUSE_EXPECT_ERR(test, fuse_fx_do_notify(&late.notify), -ENOENT);
	}
	fuse_fake_let_go(fx->server);
	kunit_thread_join(late.caller, NULL);
	file = fuse_fx_hold_cached(fx, late.dir, "file");
	if (!param->notified)
		FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/file"), 0);
	if (param->known)
		KUNIT_EXPECT_EQ(test, fuse_fx_asks(fx, FUSE_LOOKUP, "dir/file"), 0);
	KUNIT_EXPECT_FALSE(test, d_unhashed(file));
}

/*
 * A name that leads to another node now is notified while RENAME of it is at the server. An
 * answer from before that is not believed of the new name, though that was not notified.
 */
static void late_answer_renamed(struct kunit *test)
{
	struct fuse_fx_op rename = { .path = { "dir/file", "dir/new" } };
	struct fuse_fixture *fx = test->priv;
	struct fuse_fake_hook *hold;
	struct kunit_thread *renames;
	struct late late = late_begin(test, &overtaking_params[0], FUSE_FAKE_STOP_BEHIND);

	hold = fuse_fake_hold(fx->server, FUSE_RENAME, 0, FUSE_FAKE_STOP_BEFORE);
	renames = fuse_fx_run_to(fx, fuse_fx_do_rename, &rename, hold);
	fuse_fake_remove(fx->server, "dir/file");
	fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	fuse_fx_notify_meanwhile(fx, late.notify, 0);
	fuse_fake_unhook(hold);
	fuse_fx_join(fx, renames, "rename", 0);
	fuse_fake_let_go(fx->server);
	kunit_thread_join(late.caller, NULL);
	KUNIT_EXPECT_NE(test, fuse_fx_asks(fx, FUSE_LOOKUP, "dir/new"), 0);
}

/* Calls that hold a lock which a delete takes: that of the directory, or of the node. */
static const struct late_param delete_params[] = {
	{ "mkdir", fuse_fx_do_mkdir, { "dir/new" }, FUSE_MKDIR, 0, true, true },
	{ "chmod", fuse_fx_do_chmod, { "dir/file" }, FUSE_SETATTR, 0, true, true },
};

KUNIT_ARRAY_PARAM_DESC(delete, delete_params, name);

/* Notify in a thread. Returns true if it waits for the lock; a fix need not wait for it. */
static bool notify_sleeps(struct fuse_fixture *fx, struct late *late, u64 nodeid)
{
	late->notify.child = nodeid;
	late->server = fuse_fx_run(fx, fuse_fx_do_notify, &late->notify);
	return kunit_thread_sleeps_on_rwsem(late->server, late->rwsem);
}

/*
 * While a delete waits for i_rwsem of the directory, the name is stale already. While it
 * waits for that of the inode, it holds that of the directory: a stat() waits, and both end.
 */
static void delete_waits(struct kunit *test)
{
	const struct late_param *param = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct kunit_thread *looks;
	struct late late = late_begin(test, param, FUSE_FAKE_STOP_BEFORE);
	unsigned int lookups = fuse_fake_requests(fx->server, FUSE_LOOKUP);

	notify_sleeps(fx, &late, late.nodeid);
	looks = run_stat(fx, "dir/file");
	if (param->opcode == FUSE_MKDIR)
		kunit_thread_join(looks, NULL);
	else
		kunit_thread_sleeps_on_rwsem(looks, &d_inode(late.dir)->i_rwsem);
	fuse_fake_let_go(fx->server);
	fuse_fx_join(fx, late.caller, param->name, 0);
	fuse_fx_join(fx, late.server, "the delete", 0);
	fuse_fx_join(fx, looks, "stat", 0);
	KUNIT_EXPECT_EQ(test, fuse_fake_requests(fx->server, FUSE_LOOKUP), lookups + 1);
}

/*
 * A server that is killed while its delete waits for a request can exit. Else its /dev/fuse would
 * stay open, and the request would not end before somebody aborts the connection.
 */
static void delete_killed(struct kunit *test)
{
	const struct late_param *param = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct late late = late_begin(test, param, FUSE_FAKE_STOP_BEFORE);

	if (!notify_sleeps(fx, &late, late.nodeid)) {
		fuse_fx_join(fx, late.server, "the delete", 0);
		return;
	}
	send_sig(SIGKILL, late.server->task, 1);
	KUNIT_EXPECT_FALSE(test, kunit_thread_sleeps_on_rwsem(late.server, late.rwsem));
	fuse_fake_let_go(fx->server);
	fuse_fx_join(fx, late.server, "the delete", -EINTR);
	fuse_fx_join(fx, late.caller, param->name, 0);
	KUNIT_EXPECT_EQ(test, d_inode(late.file)->i_nlink, 2);
}

/* What gets i_rwsem of the directory before a delete, or needs none. */
static const struct late_param delete_looked_up_params[] = {
	{ "lookup", fuse_fx_do_stat, { "dir/none" } },
	{ "link", fuse_fx_do_link, { "link", "dir/file" } },
	{ "inval", fuse_fx_do_notify, { "file" } },
};

KUNIT_ARRAY_PARAM_DESC(delete_looked_up, delete_looked_up_params, name);

/*
 * While a delete waits, a lookup leaves a negative entry, link() makes the name again, or another
 * notification unhashes the entry. In the end the file has two links if, and only if, there is a
 * positive entry.
 */
static void delete_looked_up(struct kunit *test)
{
	const struct late_param *param = test->param_value;
	struct fuse_fx_op call = { .path = { param->path[0], param->path[1] } };
	struct fuse_fixture *fx = test->priv;
	struct kunit_thread *first, *looks = NULL;
	struct late late = late_begin(test, &delete_params[0], FUSE_FAKE_STOP_BEFORE);

	fuse_fake_remove(fx->server, "dir/file");
	call.parent = late.notify.parent;
	if (param->call == fuse_fx_do_notify)
		notify_sleeps(fx, &late, late.nodeid);
	first = fuse_fx_run(fx, param->call, &call);
	kunit_thread_sleeps_on_rwsem(first, late.rwsem);
	if (param->call != fuse_fx_do_notify)
		notify_sleeps(fx, &late, late.nodeid);
	/* If the first that waits is a reader, this one is woken with it, before the delete. */
	if (param->call == fuse_fx_do_stat) {
		looks = run_stat(fx, "dir/file");
		kunit_thread_sleeps_on_rwsem(looks, late.rwsem);
	}
	fuse_fake_let_go(fx->server);
	fuse_fx_join(fx, late.caller, "mkdir", 0);
	fuse_fx_join(fx, late.server, "the delete", 0);
	kunit_thread_join(first, NULL);
	if (looks)
		kunit_thread_join(looks, NULL);
	KUNIT_EXPECT_EQ(test, d_inode(late.file)->i_nlink,
			fuse_fx_cached(late.dir, "file") == FUSE_FX_POSITIVE ? 2 : 1);
}

/* What gives the name to another node, or takes it away, while a delete waits. */
static const struct late_param race_delete_params[] = {
	{ "exchange", fuse_fx_do_rename, { "dir/other", "dir/file" }, FUSE_RENAME2,
	  RENAME_EXCHANGE, true, true },
	{ "replace", fuse_fx_do_rename, { "dir/other", "dir/file" }, FUSE_RENAME, 0, true, true },
	{ "rename", fuse_fx_do_rename, { "dir/file", "dir/new" }, FUSE_RENAME, 0, true, true },
	{ "move", fuse_fx_do_rename, { "dir/file", "new" }, FUSE_RENAME, 0, true, true },
	{ "unlink", fuse_fx_do_unlink, { "dir/file" }, FUSE_UNLINK, 0, true, true },
};

KUNIT_ARRAY_PARAM_DESC(race_delete, race_delete_params, name);

/*
 * A delete marks the node that has the name once it holds i_rwsem of the directory. A file
 * that had it before does not lose the link that it has in the end.
 */
static void race_delete(struct kunit *test)
{
	const struct late_param *param = test->param_value;
	bool marks = param->path[1] && !strcmp(param->path[1], "dir/file");
	struct fuse_fixture *fx = test->priv;
	struct late late = late_begin(test, param, FUSE_FAKE_STOP_BEFORE);
	struct dentry *other = fuse_fx_hold_cached(fx, late.dir, "other");
	u64 nodeid = marks ? get_node_id(d_inode(other)) : late.nodeid;

	if (!notify_sleeps(fx, &late, nodeid) && !marks)
		kunit_skip(test, "the delete does not wait");
	fuse_fake_let_go(fx->server);
	fuse_fx_join(fx, late.caller, param->name, 0);
	if (marks || param->call == fuse_fx_do_unlink)
		fuse_fx_join(fx, late.server, "the delete", marks ? 0 : -ENOENT);
	kunit_thread_join(late.server, NULL);
	/* What is renamed meanwhile may lose its timeout under its new name, too. */
	fuse_fake_take_back(fx->server, late.notify.parent, param->flags ? "other" : "new", false);
	fuse_fake_take_back(fx->server, FUSE_ROOT_ID, "new", false);
	KUNIT_EXPECT_EQ(test, d_unhashed(other), marks);
	KUNIT_EXPECT_EQ(test, !!cant_mount(other), marks);
	KUNIT_EXPECT_EQ(test, !d_inode(other)->i_nlink, marks);
	KUNIT_EXPECT_EQ(test, !!IS_DEADDIR(d_inode(other)), marks && d_is_dir(other));
	KUNIT_EXPECT_EQ(test, d_inode(late.file)->i_nlink,
			param->call == fuse_fx_do_unlink || (marks && !param->flags) ? 1 : 2);
	if (param->flags) {
		KUNIT_EXPECT_FALSE(test, d_unhashed(late.file));
		KUNIT_EXPECT_FALSE(test, cant_mount(late.file));
	}
}

/*
 * What CREATE makes is hashed, even if a notification unhashes the negative dentry: else
 * the open file would be shown as deleted.
 */
static void create_hashed(struct kunit *test)
{
	static const struct late_param create = {
		"open", fuse_fx_do_open, { "dir/file" }, FUSE_CREATE, O_RDWR | O_CREAT, false, true
	};
	struct fuse_fixture *fx = test->priv;
	struct late late = late_begin(test, &create, FUSE_FAKE_STOP_BEFORE);
	bool ended;

	ended = !notify_sleeps(fx, &late, 0);
	fuse_fake_let_go(fx->server);
	fuse_fx_join(fx, late.caller, "open", 0);
	fuse_fx_join(fx, late.server, "the notification", 0);
	/* Its answer is older, so it gets no timeout. What waited has unhashed the new entry. */
	fuse_fake_take_back(fx->server, late.notify.parent, "file", false);
	KUNIT_EXPECT_EQ(test, fuse_fx_cached(late.dir, "file") == FUSE_FX_POSITIVE, ended);
}

static const struct create_param {
	const char *name;
	int flags;
	bool atomic;	/* without that, O_TRUNC is not for the server */
	bool overtaken;
	unsigned int size;
} create_params[] = {
	{ "truncates", O_TRUNC, true, true, 0 },
	{ "not overtaken", O_TRUNC, true, false, 0 },
	/* Which of the two answers is newer is not known: the size stays until it is asked for. */
	{ "does not truncate", 0, true, true, 100 },
	{ "is not told", O_TRUNC, false, true, 100 },
};

KUNIT_ARRAY_PARAM_DESC(create, create_params, name);

/*
 * CREATE opens a file that somebody else has made. It is cached under another name, and a GETATTR
 * that was sent later is answered first. CREATE with O_TRUNC sets i_size, which a write with
 * O_APPEND does not ask the server for, to 0 all the same.
 */
static void create_opens(struct kunit *test)
{
	const struct create_param *param = test->param_value;
	const struct late_param create = {
		"open", fuse_fx_do_open, { "dir/file" }, FUSE_CREATE,
		O_RDWR | O_CREAT | param->flags,
	};
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op getattr = { fx, .path = { "made" } };
	struct dentry *made;
	struct late late;

	fuse_fx_conn(fx)->atomic_o_trunc = param->atomic;
	/* Else open() sends a GETATTR, too, if no attribute is valid after CREATE. */
	fuse_fx_conn(fx)->default_permissions = false;
	fx->server->file_size = 100;
	fuse_fake_add(fx->server, "made", S_IFREG | 0644);
	made = fuse_fx_hold(fx, "made");
	late = late_begin(test, &create, FUSE_FAKE_STOP_BEFORE);
	fuse_fake_link(fx->server, "made", "dir/file");
	if (param->overtaken)
		FUSE_EXPECT_ERR(test, fuse_fx_do_getattr(&getattr), 0);
	fx->server->file_size = 0;
	fuse_fake_unhook(late.hold);
	fuse_fx_join(fx, late.caller, "open", 0);
	KUNIT_EXPECT_EQ(test, i_size_read(d_inode(made)), param->size);
	if (!param->overtaken)
		KUNIT_EXPECT_EQ(test, fuse_fx_asks_attr(fx, made, STATX_SIZE), 0);
}

static struct kunit_case fuse_inval_late_cases[] = {
	KUNIT_CASE_PARAM(late_answer, late_gen_params),
	KUNIT_CASE_PARAM(late_attributes, late_attributes_gen_params),
	KUNIT_CASE(valid_last),
	KUNIT_CASE_PARAM(late_links, late_links_gen_params),
	KUNIT_CASE_PARAM(link_overtaken, link_gen_params),
	KUNIT_CASE(late_answer_moved),
	KUNIT_CASE_PARAM(late_answer_overtaken, overtaking_gen_params),
	KUNIT_CASE(late_answer_waits),
	KUNIT_CASE(late_answer_renamed),
	KUNIT_CASE_PARAM(delete_looked_up, delete_looked_up_gen_params),
	KUNIT_CASE_PARAM(delete_waits, delete_gen_params),
	KUNIT_CASE_PARAM(delete_killed, delete_gen_params),
	KUNIT_CASE_PARAM(race_delete, race_delete_gen_params),
	KUNIT_CASE(create_hashed),
	KUNIT_CASE_PARAM(create_opens, create_gen_params),
	KUNIT_CASE_PARAM(late_answer_kept, kept_gen_params),
	{}
};

static struct kunit_suite fuse_inval_late_suite = {
	.name		= "fuse_inval_late",
	.init		= fuse_fx_init_neighbours,
	.exit		= fuse_fx_exit,
	.test_cases	= fuse_inval_late_cases,
};

kunit_test_suite(fuse_inval_late_suite);
