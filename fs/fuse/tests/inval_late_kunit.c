// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of fuse_reverse_inval_entry() while a request is not answered yet: the
 * answer is from before the notification, or the task that sent the request holds a lock.
 *
 * Each test fills the cache, stops a request at the fake server, notifies, has the
 * answer arrive, and looks again. What the fixture checks after every test is
 * in fixture.h. fuse_inval_race_all does the same at every point of many calls.
 */

#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/namei.h>

#include <kunit/test.h>
#include <kunit/thread.h>

#include "fixture.h"

/* Join a thread, and expect what its call returns. */
static void expect_return(struct fuse_fixture *fx, struct kunit_thread *thread, const char *call,
			  int expected)
{
	int err;

	if (kunit_thread_join(thread, &err) && err != expected)
		KUNIT_FAIL(fx->test, "%s returns %s, not %s", call, fuse_fx_errname(err),
			   fuse_fx_errname(expected));
}

/* The answers arrive. */
static void let_go(struct fuse_fixture *fx, struct kunit_thread *thread)
{
	fuse_fake_let_go(fx->server);
	KUNIT_EXPECT_TRUE(fx->test, kunit_thread_join(thread, NULL));
}

/* Notify while a request is stopped, and see that it does not wait for that. */
static void notify_meanwhile(struct fuse_fixture *fx, struct fuse_fx_op notify, int expected)
{
	struct kunit_thread *server = fuse_fx_run(fx, fuse_fx_do_notify, &notify);

	if (kunit_thread_wait(server) != KUNIT_THREAD_ENDED) {
		/* With several processors it may only sleep for a moment. */
		kunit_thread_set_limit(server, num_online_cpus() > 1 ? HZ : 0);
		if (!kunit_thread_join(server, NULL)) {
			KUNIT_FAIL(fx->test,
				   "the notification waits for an answer that is on its way");
			fuse_fake_let_go(fx->server);
		}
		kunit_thread_set_limit(server, KUNIT_THREAD_LIMIT);
		KUNIT_ASSERT_TRUE(fx->test, kunit_thread_join(server, NULL));
	}
	expect_return(fx, server, "the notification", expected);
}

/* Stat in a thread, because it hangs if a notification waits or lost a lock. */
static int stat_meanwhile(struct fuse_fixture *fx, const char *path)
{
	struct fuse_fx_op stat = { .path = { path } };
	int err = 0;

	KUNIT_ASSERT_TRUE(fx->test,
			  kunit_thread_join(fuse_fx_run(fx, fuse_fx_do_stat, &stat), &err));
	return err;
}

/* A call whose answer is on its way when the server notifies. */
struct late_param {
	const char *name;
	int (*call)(struct fuse_fx_op *op);
	const char *path[2];
	unsigned int flags;
	u32 opcode;
	bool there;	/* the server has "dir/config" before the call */
	bool known;	/* and the kernel knows it */
	u32 notification;
};

/* Make the call; the directory is held, and its nodeid returned. */
static u64 late_begin(struct kunit *test, const struct late_param *param,
		      struct kunit_thread **caller)
{
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op call = {
		.path	= { param->path[0], param->path[1] },
		.flags	= param->flags,
	};
	u64 dir = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);

	fuse_fake_add(fx->server, "other", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "other"), 0);
	fuse_fx_hold(fx, "dir");
	if (param->there)
		fuse_fake_add(fx->server, "dir/config", S_IFREG | 0644);
	if (param->known)
		FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/config"), 0);
	*caller = fuse_fx_run_to(fx, param->call, &call, param->opcode, FUSE_FAKE_STOP_BEHIND);
	return dir;
}

static const struct late_param late_params[] = {
	{ "lookup", fuse_fx_do_stat, { "dir/config" }, 0, FUSE_LOOKUP },
	{ "lookup expire", fuse_fx_do_stat, { "dir/config" }, 0, FUSE_LOOKUP,
	  .notification = FUSE_EXPIRE_ONLY },
	{ "revalidate", fuse_fx_do_stat, { "dir/config" }, LOOKUP_REVAL, FUSE_LOOKUP, true, true },
	{ "revalidate expire", fuse_fx_do_stat, { "dir/config" }, LOOKUP_REVAL, FUSE_LOOKUP, true,
	  true, FUSE_EXPIRE_ONLY },
	{ "readdirplus", fuse_fx_do_readdir, { "dir" }, 0, FUSE_READDIRPLUS, true, true },
	{ "create", fuse_fx_do_open, { "dir/config" }, O_CREAT | O_RDWR, FUSE_CREATE },
	{ "mknod", fuse_fx_do_mknod, { "dir/config" }, 0, FUSE_MKNOD },
	{ "mkdir", fuse_fx_do_mkdir, { "dir/config" }, 0, FUSE_MKDIR },
	{ "symlink", fuse_fx_do_symlink, { "dir/config" }, 0, FUSE_SYMLINK },
	{ "link", fuse_fx_do_link, { "other", "dir/config" }, 0, FUSE_LINK },
	{ "rename", fuse_fx_do_rename, { "other", "dir/config" }, 0, FUSE_RENAME },
	{ "exchange", fuse_fx_do_rename, { "other", "dir/config" }, RENAME_EXCHANGE,
	  FUSE_RENAME2, true, true },
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
	struct fuse_fx_op notify = { .path = { "config" }, .flags = param->notification };
	struct kunit_thread *caller, *server;
	bool there;

	notify.parent = late_begin(test, param, &caller);
	there = fuse_fake_find(fx->server, notify.parent, "config");
	if (there)
		fuse_fake_remove(fx->server, "dir/config");
	else
		fuse_fake_add(fx->server, "dir/config", S_IFREG | 0644);
	server = fuse_fx_run(fx, fuse_fx_do_notify, &notify);
	/* It may wait for the reply: only what is cached then is tested. */
	kunit_thread_wait(server);
	let_go(fx, caller);
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(server, NULL));
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/config"), there ? -ENOENT : 0);
	/* What is renamed meanwhile may lose its timeout under its new name, too. */
	if (param->call == fuse_fx_do_rename)
		fuse_fake_take_back(fx->server, FUSE_ROOT_ID, "other", false);
}

/* Attributes of the directory that were asked for before a notification are not cached. */
static void late_attributes(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op getattr = { .path = { "dir" } };
	struct kunit_thread *caller;
	u64 dir;

	dir = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/file"), 0);

	caller = fuse_fx_run_to(fx, fuse_fx_do_getattr, &getattr, FUSE_GETATTR,
				FUSE_FAKE_STOP_BEHIND);
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, dir, "file"), 0);
	let_go(fx, caller);
	KUNIT_EXPECT_EQ(test, fuse_fx_getattrs(fx, "dir"), 1);
}

/* Calls whose answers make a node known, or tell of one that is known. */
static const struct late_param late_node_params[] = {
	{ "lookup", fuse_fx_do_open, { "dir/config" }, O_RDWR, FUSE_LOOKUP, true },
	{ "readdirplus", fuse_fx_do_readdir, { "dir" }, 0, FUSE_READDIRPLUS, true },
	{ "create", fuse_fx_do_open, { "dir/config" }, O_CREAT | O_RDWR, FUSE_CREATE },
	{ "mknod", fuse_fx_do_mknod, { "dir/config" }, 0, FUSE_MKNOD },
	{ "mkdir", fuse_fx_do_mkdir, { "dir/config" }, 0, FUSE_MKDIR },
	{ "symlink", fuse_fx_do_symlink, { "dir/config" }, 0, FUSE_SYMLINK },
	{ "link", fuse_fx_do_link, { "other", "dir/config" }, 0, FUSE_LINK },
};

KUNIT_ARRAY_PARAM_DESC(late_node, late_node_params, name);

/* The attributes in an answer are stale if the nodeid is notified before the answer arrives. */
static void late_node(struct kunit *test)
{
	const struct late_param *param = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct path path = { .mnt = fx->mnt };
	struct kunit_thread *caller;
	unsigned int asked;
	struct kstat stat;
	u64 node;

	node = fuse_fake_find(fx->server, late_begin(test, param, &caller), "config");
	FUSE_EXPECT_ERR(test, fuse_fx_inval_inode(fx, node),
			param->opcode == FUSE_LINK ? 0 : -ENOENT);
	/* An open may be the first who asks. */
	asked = fuse_fake_requests(fx->server, FUSE_GETATTR);
	let_go(fx, caller);

	path.dentry = fuse_fx_hold_cached(fx, fuse_fx_hold(fx, "dir"), "config");
	KUNIT_ASSERT_NOT_NULL(test, path.dentry);
	FUSE_EXPECT_ERR(test, vfs_getattr(&path, &stat, STATX_BASIC_STATS, 0), 0);
	KUNIT_EXPECT_EQ(test, fuse_fake_requests(fx->server, FUSE_GETATTR), asked + 1);
}

/*
 * Link a file, which is asked about before the server makes the link. If it had @other,
 * which the server then removes, i_nlink is the same afterwards.
 */
static struct dentry *link_overtaken_file(struct fuse_fixture *fx, const char *file,
					  const char *new, const char *other)
{
	struct fuse_fx_op link = { .path = { file, new } };
	struct fuse_fx_op getattr = { fx, .path = { file } };
	struct kunit_thread *caller;
	struct dentry *dentry;

	fuse_fake_add(fx->server, file, S_IFREG | 0644);
	if (other)
		fuse_fake_link(fx->server, file, other);
	dentry = fuse_fx_hold(fx, file);
	caller = fuse_fx_run_to(fx, fuse_fx_do_link, &link, FUSE_LINK, FUSE_FAKE_STOP_BEFORE);
	FUSE_EXPECT_ERR(fx->test, fuse_fx_do_getattr(&getattr), 0);
	fx->server->file_size++;
	if (other)
		fuse_fake_remove(fx->server, other);
	fuse_fake_let_go(fx->server);
	expect_return(fx, caller, "link", 0);
	return dentry;
}

/* A GETATTR that was answered before the LINK does not leave old attributes cached. */
static void link_overtaken(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct path path = { .mnt = fx->mnt };
	struct kstat stat;

	path.dentry = link_overtaken_file(fx, "file", "new", NULL);
	FUSE_EXPECT_ERR(test, vfs_getattr(&path, &stat, STATX_BASIC_STATS, 0), 0);
	KUNIT_EXPECT_EQ(test, stat.nlink, 2);
	KUNIT_EXPECT_EQ(test, stat.size, fx->server->file_size);

	path.dentry = link_overtaken_file(fx, "same", "number", "of links");
	FUSE_EXPECT_ERR(test, vfs_getattr(&path, &stat, STATX_BASIC_STATS, 0), 0);
	KUNIT_EXPECT_EQ(test, stat.size, fx->server->file_size);

	/* If nobody looks, unlink() does not count an old i_nlink down to 0: link() would fail. */
	link_overtaken_file(fx, "one", "two", NULL);
	FUSE_EXPECT_ERR(test, fuse_fx_unlink(fx, "one"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_link(fx, "two", "three"), 0);

	/* But if nobody asked, the answer that comes with the name is enough. */
	FUSE_EXPECT_ERR(test, fuse_fx_mknod(fx, "other"), 0);
	KUNIT_EXPECT_EQ(test, fuse_fx_getattrs(fx, "other"), 0);
}

/* What takes the name away while a delete of it waits; the file has another link. */
static const struct late_param delete_overtaken_params[] = {
	{ "rename", fuse_fx_do_rename, { "dir/config", "dir/new" }, 0, FUSE_RENAME },
	{ "move", fuse_fx_do_rename, { "dir/config", "config" }, 0, FUSE_RENAME },
	{ "unlink", fuse_fx_do_unlink, { "dir/config" }, 0, FUSE_UNLINK },
};

KUNIT_ARRAY_PARAM_DESC(delete_overtaken, delete_overtaken_params, name);

/* The file does not lose the link that it has in the end. */
static void delete_overtaken(struct kunit *test)
{
	const struct late_param *param = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op call = { .path = { param->path[0], param->path[1] } };
	struct fuse_fx_op delete = { .path = { "config" } };
	struct kunit_thread *server, *caller;
	struct dentry *file;

	delete.parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	delete.child = fuse_fake_add(fx->server, "dir/config", S_IFREG | 0644);
	fuse_fake_link(fx->server, "dir/config", "dir/other");
	file = fuse_fx_hold(fx, "dir/config");
	caller = fuse_fx_run_to(fx, param->call, &call, param->opcode, FUSE_FAKE_STOP_BEFORE);
	server = fuse_fx_run(fx, fuse_fx_do_notify, &delete);
	if (kunit_thread_wait(server) == KUNIT_THREAD_ENDED)
		kunit_skip(test, "the delete does not wait");
	fuse_fake_let_go(fx->server);
	expect_return(fx, caller, param->name, 0);
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(server, NULL));
	KUNIT_EXPECT_NE(test, d_inode(file)->i_nlink, 0);
	/* What is renamed meanwhile may lose its timeout under its new name, too. */
	fuse_fake_take_back(fx->server, delete.parent, "new", false);
	fuse_fake_take_back(fx->server, FUSE_ROOT_ID, "config", false);
}

/*
 * A delete may wait for i_rwsem of the entry's inode, and another call for the delete:
 * all of them end.
 */
static void delete_waits(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op mkdir = { .path = { "dir/new" } };
	struct fuse_fx_op delete = { .path = { "file" } };
	struct fuse_fx_op chmod = { .path = { "dir/file" } };
	struct kunit_thread *server, *caller, *changer;
	struct dentry *dir, *file;

	delete.parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	delete.child = fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	dir = fuse_fx_hold(fx, "dir");
	file = fuse_fx_hold(fx, "dir/file");

	changer = fuse_fx_run_to(fx, fuse_fx_do_chmod, &chmod, FUSE_SETATTR,
				 FUSE_FAKE_STOP_BEFORE);
	server = fuse_fx_run(fx, fuse_fx_do_notify, &delete);
	/* A fix whose delete does not wait has to be right as well. */
	kunit_thread_sleeps_on_rwsem(server, &d_inode(file)->i_rwsem);
	caller = fuse_fx_run(fx, fuse_fx_do_mkdir, &mkdir);
	kunit_thread_sleeps_on_rwsem(caller, &d_inode(dir)->i_rwsem);

	fuse_fake_let_go(fx->server);
	expect_return(fx, changer, "chmod", 0);
	expect_return(fx, server, "the delete", 0);
	expect_return(fx, caller, "mkdir", 0);
}

/* What a delete waits for. */
static const struct delete_killed_param {
	const char *name;
	int (*call)(struct fuse_fx_op *op);
	const char *path;
	u32 opcode;
} delete_killed_params[] = {
	{ "directory", fuse_fx_do_mkdir, "dir/new", FUSE_MKDIR },
	{ "node", fuse_fx_do_chmod, "dir/file", FUSE_SETATTR },
};

KUNIT_ARRAY_PARAM_DESC(delete_killed, delete_killed_params, name);

/*
 * A server that is killed while its delete waits for a request can exit. Else its
 * /dev/fuse would stay open, and the request would not end before somebody aborts the
 * connection.
 */
static void delete_killed(struct kunit *test)
{
	const struct delete_killed_param *param = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op call = { .path = { param->path } };
	struct fuse_fx_op delete = { .path = { "file" } };
	struct kunit_thread *server, *caller;
	struct dentry *dir, *file;
	struct inode *inode;

	delete.parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	delete.child = fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	dir = fuse_fx_hold(fx, "dir");
	file = fuse_fx_hold(fx, "dir/file");
	inode = d_inode(param->opcode == FUSE_MKDIR ? dir : file);
	caller = fuse_fx_run_to(fx, param->call, &call, param->opcode, FUSE_FAKE_STOP_BEFORE);
	server = fuse_fx_run(fx, fuse_fx_do_notify, &delete);
	/* A fix whose delete does not wait is right as well. */
	if (!kunit_thread_sleeps_on_rwsem(server, &inode->i_rwsem)) {
		expect_return(fx, server, "the delete", 0);
		return;
	}
	kunit_thread_kill(server);
	KUNIT_EXPECT_FALSE(test, kunit_thread_sleeps_on_rwsem(server, &inode->i_rwsem));
	fuse_fake_let_go(fx->server);
	expect_return(fx, server, "the delete", -EINTR);
	expect_return(fx, caller, param->name, 0);
	KUNIT_EXPECT_NE(test, d_inode(file)->i_nlink, 0);
}

/* Calls that overtake an old answer about the entry, which is revalidated. */
static const struct overtaking_param {
	const char *name;
	const char *to;		/* it is renamed to this */
} overtaking_params[] = {
	{ "asked again", "dir/file" },
	{ "renamed", "dir/new" },
	{ "moved", "out/file" },
};

KUNIT_ARRAY_PARAM_DESC(overtaking, overtaking_params, name);

/*
 * The old answer neither takes the place of a newer one about the same name, nor is it
 * believed of the name that the entry has by then.
 */
static void late_answer_overtaken(struct kunit *test)
{
	const struct overtaking_param *param = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op revalidate = { .path = { "dir/file" }, .flags = LOOKUP_REVAL };
	struct kunit_thread *caller;
	u64 dir, out;

	dir = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	out = fuse_fake_add(fx->server, "out", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/file"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "out"), 0);

	caller = fuse_fx_run_to(fx, fuse_fx_do_stat, &revalidate, FUSE_LOOKUP,
				FUSE_FAKE_STOP_BEHIND);
	if (strcmp(param->to, "dir/file"))
		FUSE_EXPECT_ERR(test, fuse_fx_rename(fx, "dir/file", param->to, 0), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_notify(fx, param->to[0] == 'o' ? out : dir, 0,
					     kbasename(param->to), FUSE_EXPIRE_ONLY), 0);
	/* If it has kept its name, it is asked for and cached again. */
	if (!strcmp(param->to, "dir/file"))
		FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/file"), 0);
	let_go(fx, caller);
}

/* A new entry is only asked for again, if its answer is old: it is not dropped. */
static void late_answer_kept(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op stat = { .path = { "dir/file" } };
	struct fuse_fx_op expire = { .path = { "file" }, .flags = FUSE_EXPIRE_ONLY };
	struct kunit_thread *caller;
	struct dentry *dir, *file;

	expire.parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	dir = fuse_fx_hold(fx, "dir");
	caller = fuse_fx_run_to(fx, fuse_fx_do_stat, &stat, FUSE_LOOKUP,
				FUSE_FAKE_STOP_BEHIND);
	notify_meanwhile(fx, expire, -ENOENT);
	let_go(fx, caller);
	file = fuse_fx_hold_cached(fx, dir, "file");
	KUNIT_ASSERT_NOT_NULL(test, file);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/file"), 0);
	KUNIT_EXPECT_FALSE(test, d_unhashed(file));
}

/* An answer on its way is cached, if no notification came that makes it stale. */
static void late_answer_beside(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op stat = { .path = { "dir/file" } };
	struct fuse_fx_op other = { .path = { "other" } };
	struct kunit_thread *caller, *server;

	other.parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	fuse_fx_hold(fx, "dir");
	/* The name itself, but before it is asked for. */
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, other.parent, "file"), -ENOENT);
	caller = fuse_fx_run_to(fx, fuse_fx_do_stat, &stat, FUSE_LOOKUP,
				FUSE_FAKE_STOP_BEHIND);
	/* The same name in another directory. */
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, "file"), -ENOENT);
	/* Another name in this directory: that may wait. */
	server = fuse_fx_run(fx, fuse_fx_do_notify, &other);
	kunit_thread_wait(server);
	let_go(fx, caller);
	expect_return(fx, server, "the notification", -ENOENT);
}

/* An old answer to READDIRPLUS does not set a dentry back to the epoch of the request. */
static void late_epoch(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op readdir = { .path = { "dir" } };
	struct kunit_thread *caller;

	fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/file"), 0);
	caller = fuse_fx_run_to(fx, fuse_fx_do_readdir, &readdir, FUSE_READDIRPLUS,
				FUSE_FAKE_STOP_BEHIND);
	FUSE_EXPECT_ERR(test, fuse_fx_inc_epoch(fx), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/file"), 0);
	let_go(fx, caller);
}

/*
 * An outdated LOOKUP leads to a directory that is cached under another name by now: its
 * dentry is not moved back. The LOOKUP is sent once more, but only once, because a
 * server may notify whenever it is asked.
 */
static void late_answer_moved(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op stat = { .path = { "dir/old" } };
	struct fuse_fx_op old = { .path = { "old" } };
	struct fuse_fake_hook *hold, *again;
	struct kunit_thread *caller;
	unsigned int lookups;

	old.parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "dir/old", S_IFDIR | 0755);
	fuse_fx_hold(fx, "dir");
	hold = fuse_fake_hold(fx->server, FUSE_LOOKUP, FUSE_FAKE_STOP_BEHIND);
	caller = fuse_fx_run(fx, fuse_fx_do_stat, &stat);
	fuse_fake_hold_wait(hold);
	fuse_fake_rename(fx->server, "dir/old", "dir/new");
	notify_meanwhile(fx, old, -ENOENT);
	FUSE_EXPECT_ERR(test, stat_meanwhile(fx, "dir/new"), 0);
	fuse_fake_add(fx->server, "dir/old", S_IFDIR | 0755);
	again = fuse_fake_hold(fx->server, FUSE_LOOKUP, FUSE_FAKE_STOP_BEHIND);
	fuse_fake_unhook(hold);
	fuse_fake_hold_wait(again);
	fuse_fake_remove(fx->server, "dir/old");
	notify_meanwhile(fx, old, -ENOENT);
	lookups = fuse_fake_requests(fx->server, FUSE_LOOKUP);
	fuse_fake_unhook(again);
	expect_return(fx, caller, "stat", 0);
	KUNIT_EXPECT_EQ(test, fuse_fake_requests(fx->server, FUSE_LOOKUP), lookups);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/old"), -ENOENT);
}

/* An old listing leads to a node that has been replaced: the new one stays cached. */
static void late_answer_replaced(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op readdir = { .path = { "dir" } };
	struct fuse_fx_op inval = { .path = { "file" } };
	struct kunit_thread *caller;

	inval.parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	caller = fuse_fx_run_to(fx, fuse_fx_do_readdir, &readdir, FUSE_READDIRPLUS,
				FUSE_FAKE_STOP_BEHIND);
	fuse_fake_remove(fx->server, "dir/file");
	fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	notify_meanwhile(fx, inval, -ENOENT);
	FUSE_EXPECT_ERR(test, stat_meanwhile(fx, "dir/file"), 0);
	let_go(fx, caller);
}

static const bool late_listings[] = { false, true };

static void late_listing_desc(const bool *empty, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s", *empty ? "empty" : "with a name");
}

KUNIT_ARRAY_PARAM(late_listing, late_listings, late_listing_desc);

/*
 * Two listings fill the cache at the same time, one of them asked for before the
 * notification: that one does not go into the cache, even if it is the first to arrive. Nor
 * does an empty one say that the cache is complete.
 */
static void late_listing(struct kunit *test)
{
	bool empty = *(const bool *)test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op readdir = { .path = { "dir" } };
	struct fuse_fx_op inval = { .path = { empty ? "other" : "file" } };
	struct fuse_fake_hook *hold, *hold_new;
	struct kunit_thread *old, *new;

	fx->server->cache_dir = true;
	inval.parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	if (!empty)
		fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, empty ? "dir" : "dir/file"), 0);
	hold = fuse_fake_hold(fx->server, FUSE_READDIRPLUS, FUSE_FAKE_STOP_BEHIND);
	old = fuse_fx_run(fx, fuse_fx_do_readdir, &readdir);
	fuse_fake_hold_wait(hold);
	if (!empty)
		fuse_fake_remove(fx->server, "dir/file");
	fuse_fake_add(fx->server, "dir/other", S_IFREG | 0644);
	notify_meanwhile(fx, inval, empty ? -ENOENT : 0);
	hold_new = fuse_fake_hold(fx->server, FUSE_READDIRPLUS, FUSE_FAKE_STOP_BEFORE);
	new = fuse_fx_run(fx, fuse_fx_do_readdir, &readdir);
	fuse_fake_hold_wait(hold_new);
	fuse_fake_unhook(hold);
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(old, NULL));
	fuse_fake_unhook(hold_new);
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(new, NULL));
	KUNIT_EXPECT_FALSE(test, fuse_fx_lists(fx, "dir", "file"));
	KUNIT_EXPECT_TRUE(test, fuse_fx_lists(fx, "dir", "other"));
}

/*
 * A listing began before the notification, and part of it is in the cache. One that begins
 * afterwards does not go on there.
 */
static void late_listing_rest(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op readdir = { .path = { "dir", "file" } };
	struct fuse_fx_op inval = { .path = { "file" } };
	struct fuse_fake_hook *hold, *hold_new;
	struct kunit_thread *old, *new;

	fx->server->cache_dir = true;
	inval.parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "dir/first", S_IFREG | 0644);
	fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	fuse_fx_hold(fx, "dir");
	/* OPENDIR, READDIRPLUS, and what asks for the rest */
	hold = fuse_fake_hold(fx->server, 0, FUSE_FAKE_STOP_BEFORE);
	hold->skip = 2;
	old = fuse_fx_run(fx, fuse_fx_do_readdir, &readdir);
	fuse_fake_hold_wait(hold);
	fuse_fake_remove(fx->server, "dir/file");
	notify_meanwhile(fx, inval, 0);
	hold_new = fuse_fake_hold(fx->server, FUSE_READDIRPLUS, FUSE_FAKE_STOP_BEFORE);
	new = fuse_fx_run(fx, fuse_fx_do_readdir, &readdir);
	fuse_fake_hold_wait(hold_new);
	fuse_fake_unhook(hold);
	expect_return(fx, old, "a listing with 'file'", 1);
	fuse_fake_unhook(hold_new);
	expect_return(fx, new, "a listing without 'file'", 0);
}

/* Two listings at the same time, and no notification: the first that ends fills the cache. */
static void listings_at_once(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op readdir = { .path = { "dir", "file" } };
	struct fuse_fake_hook *hold;
	struct kunit_thread *first;
	unsigned int asked;

	fx->server->cache_dir = true;
	fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	fuse_fx_hold(fx, "dir");
	hold = fuse_fake_hold(fx->server, FUSE_READDIRPLUS, FUSE_FAKE_STOP_BEHIND);
	first = fuse_fx_run(fx, fuse_fx_do_readdir, &readdir);
	fuse_fake_hold_wait(hold);
	fuse_fx_run_to(fx, fuse_fx_do_readdir, &readdir, FUSE_READDIRPLUS,
		       FUSE_FAKE_STOP_BEHIND);
	fuse_fake_unhook(hold);
	expect_return(fx, first, "the first listing", 1);
	asked = fuse_fake_requests(fx->server, FUSE_READDIRPLUS) +
		fuse_fake_requests(fx->server, FUSE_READDIR);
	KUNIT_EXPECT_TRUE(test, fuse_fx_lists(fx, "dir", "file"));
	KUNIT_EXPECT_EQ(test, fuse_fake_requests(fx->server, FUSE_READDIRPLUS) +
			fuse_fake_requests(fx->server, FUSE_READDIR), asked);
}

/* A delete waits for the directory's lock, but the name is stale at once. */
static void delete_parent_locked(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op mkdir = { .path = { "dir/new" } };
	struct fuse_fx_op delete = { .path = { "file" } };
	struct kunit_thread *server, *caller;
	unsigned int lookups;
	struct dentry *dir;

	delete.parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	delete.child = fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	dir = fuse_fx_hold(fx, "dir");
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/file"), 0);
	caller = fuse_fx_run_to(fx, fuse_fx_do_mkdir, &mkdir, FUSE_MKDIR,
				FUSE_FAKE_STOP_BEFORE);
	server = fuse_fx_run(fx, fuse_fx_do_notify, &delete);
	kunit_thread_sleeps_on_rwsem(server, &d_inode(dir)->i_rwsem);
	lookups = fuse_fake_requests(fx->server, FUSE_LOOKUP);
	FUSE_EXPECT_ERR(test, stat_meanwhile(fx, "dir/file"), 0);
	KUNIT_EXPECT_EQ(test, fuse_fake_requests(fx->server, FUSE_LOOKUP), lookups + 1);
	fuse_fake_let_go(fx->server);
	expect_return(fx, server, "the delete", 0);
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(caller, NULL));
}

/* What gets i_rwsem of the directory before a delete. */
static const struct late_param delete_looked_up_params[] = {
	{ "lookup", fuse_fx_do_stat, { "dir/none" } },
	{ "link", fuse_fx_do_link, { "dir/other", "dir/file" } },
};

KUNIT_ARRAY_PARAM_DESC(delete_looked_up, delete_looked_up_params, name);

/*
 * While a delete waits, a lookup leaves a negative entry, or link() makes the name again.
 * In the end i_nlink is 0 if, and only if, there is no positive entry.
 */
static void delete_looked_up(struct kunit *test)
{
	const struct late_param *param = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op mkdir = { .path = { "dir/new" } };
	struct fuse_fx_op call = { .path = { param->path[0], param->path[1] } };
	struct fuse_fx_op stat = { .path = { "dir/file" } };
	struct fuse_fx_op delete = { .path = { "file" } };
	struct kunit_thread *server, *caller, *first, *looks;
	struct rw_semaphore *rwsem;
	struct dentry *dir, *file;

	delete.parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	delete.child = fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	fuse_fake_link(fx->server, "dir/file", "dir/other");
	dir = fuse_fx_hold(fx, "dir");
	file = fuse_fx_hold(fx, "dir/file");
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/other"), 0);
	fuse_fake_remove(fx->server, "dir/file");
	rwsem = &d_inode(dir)->i_rwsem;
	caller = fuse_fx_run_to(fx, fuse_fx_do_mkdir, &mkdir, FUSE_MKDIR,
				FUSE_FAKE_STOP_BEFORE);
	first = fuse_fx_run(fx, param->call, &call);
	kunit_thread_sleeps_on_rwsem(first, rwsem);
	server = fuse_fx_run(fx, fuse_fx_do_notify, &delete);
	kunit_thread_sleeps_on_rwsem(server, rwsem);
	/* If the first that waits is a reader, this one is woken with it, before the delete. */
	looks = fuse_fx_run(fx, fuse_fx_do_stat, &stat);
	kunit_thread_sleeps_on_rwsem(looks, rwsem);
	fuse_fake_let_go(fx->server);
	expect_return(fx, caller, "mkdir", 0);
	expect_return(fx, server, "the delete", 0);
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(first, NULL));
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(looks, NULL));
	KUNIT_EXPECT_EQ(test, !!d_inode(file)->i_nlink,
			!!(fuse_fx_cached(fx, dir, "file") & FUSE_FX_POSITIVE));
}

static const unsigned int rename_flags[] = { RENAME_EXCHANGE, 0 };

static void rename_flags_desc(const unsigned int *flags, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s", *flags ? "exchange" : "over");
}

KUNIT_ARRAY_PARAM(rename_flags, rename_flags, rename_flags_desc);

/* A delete marks the node that has the name once it holds i_rwsem of the directory. */
static void race_delete(struct kunit *test)
{
	const unsigned int *flags = test->param_value;
	struct fuse_fx_op rename = { .path = { "dir/new", "dir/old" }, .flags = *flags };
	struct fuse_fx_op delete = { .path = { "old" } };
	struct fuse_fixture *fx = test->priv;
	struct kunit_thread *server, *caller;
	struct dentry *dir, *old, *new;

	delete.parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fx_add_neighbours(fx, "dir/");
	fuse_fake_add(fx->server, "dir/old", S_IFDIR | 0755);
	delete.child = fuse_fake_add(fx->server, "dir/new", S_IFDIR | 0755);
	dir = fuse_fx_hold(fx, "dir");
	old = fuse_fx_hold(fx, "dir/old");
	new = fuse_fx_hold(fx, "dir/new");

	caller = fuse_fx_run_to(fx, fuse_fx_do_rename, &rename, *flags ? FUSE_RENAME2 : FUSE_RENAME,
				FUSE_FAKE_STOP_BEFORE);
	server = fuse_fx_run(fx, fuse_fx_do_notify, &delete);
	/* If it ends without waiting, it has to be right as well. */
	kunit_thread_sleeps_on_rwsem(server, &d_inode(dir)->i_rwsem);
	fuse_fake_let_go(fx->server);
	expect_return(fx, caller, "the rename of 'new' to 'old'", 0);
	expect_return(fx, server, "the delete of 'old', which waited for it,", 0);
	/* What is renamed meanwhile may lose its timeout under its new name, too. */
	fuse_fake_take_back(fx->server, delete.parent, "new", false);
	KUNIT_EXPECT_TRUE(test, d_unhashed(new));
	KUNIT_EXPECT_TRUE(test, IS_DEADDIR(d_inode(new)));
	KUNIT_EXPECT_TRUE(test, cant_mount(new));
	KUNIT_EXPECT_EQ(test, d_inode(new)->i_nlink, 0);
	if (!*flags)
		return;
	KUNIT_EXPECT_FALSE(test, d_unhashed(old));
	KUNIT_EXPECT_FALSE(test, IS_DEADDIR(d_inode(old)));
	KUNIT_EXPECT_FALSE(test, cant_mount(old));
	KUNIT_EXPECT_NE(test, d_inode(old)->i_nlink, 0);
}

/*
 * What CREATE makes is hashed, even if a notification unhashes the negative dentry: else
 * the open file would be shown as deleted.
 */
static void create_hashed(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op create = { .path = { "dir/new" }, .flags = O_RDWR | O_CREAT };
	struct fuse_fx_op inval = { .path = { "new" } };
	struct kunit_thread *server, *caller;
	struct dentry *dir;
	bool ended;

	inval.parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/new"), -ENOENT);
	dir = fuse_fx_hold(fx, "dir");
	caller = fuse_fx_run_to(fx, fuse_fx_do_open, &create, FUSE_CREATE,
				FUSE_FAKE_STOP_BEFORE);
	server = fuse_fx_run(fx, fuse_fx_do_notify, &inval);
	ended = !kunit_thread_sleeps_on_rwsem(server, &d_inode(dir)->i_rwsem);
	fuse_fake_let_go(fx->server);
	expect_return(fx, caller, "open", 0);
	expect_return(fx, server, "the notification", 0);
	/*
	 * The answer to CREATE is older than the notification: no timeout. If the
	 * notification waited, it has unhashed the new entry.
	 */
	fuse_fake_take_back(fx->server, inval.parent, "new", false);
	KUNIT_EXPECT_EQ(test, !!(fuse_fx_cached(fx, dir, "new") & FUSE_FX_POSITIVE), ended);
}

static struct kunit_case fuse_inval_late_cases[] = {
	KUNIT_CASE_PARAM(late_answer, late_gen_params),
	KUNIT_CASE(late_attributes),
	KUNIT_CASE_PARAM(late_node, late_node_gen_params),
	KUNIT_CASE(link_overtaken),
	KUNIT_CASE(late_answer_moved),
	KUNIT_CASE(late_answer_replaced),
	KUNIT_CASE_PARAM(late_answer_overtaken, overtaking_gen_params),
	KUNIT_CASE(late_answer_kept),
	KUNIT_CASE(late_answer_beside),
	KUNIT_CASE(late_epoch),
	KUNIT_CASE_PARAM(late_listing, late_listing_gen_params),
	KUNIT_CASE(late_listing_rest),
	KUNIT_CASE(listings_at_once),
	KUNIT_CASE(delete_parent_locked),
	KUNIT_CASE_PARAM(delete_looked_up, delete_looked_up_gen_params),
	KUNIT_CASE_PARAM(delete_overtaken, delete_overtaken_gen_params),
	KUNIT_CASE(delete_waits),
	KUNIT_CASE_PARAM(delete_killed, delete_killed_gen_params),
	KUNIT_CASE_PARAM(race_delete, rename_flags_gen_params),
	KUNIT_CASE(create_hashed),
	{}
};

static struct kunit_suite fuse_inval_late_suite = {
	.name		= "fuse_inval_late",
	.init		= fuse_fx_init_neighbours,
	.exit		= fuse_fx_exit,
	.test_cases	= fuse_inval_late_cases,
};

kunit_test_suite(fuse_inval_late_suite);
