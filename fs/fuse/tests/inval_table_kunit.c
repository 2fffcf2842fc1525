// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of fuse_reverse_inval_entry(): the decision table
 *
 * Each test is a row of the table: something that a name can be in the cache. Its
 * parameters are the directories that the name can be in times the notifications
 * that can come for it: "renamed.delete_other". A row says for each notification
 * what it returns and what becomes of the entry; it makes no difference where
 * the directory is.
 *
 * fuse_inval_table_delete_stale has the rows to which it may make a difference
 * that the connection is one with delete_stale, as virtiofs has it.
 */

#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/hash.h>
#include <linux/namei.h>
#include <linux/stringhash.h>

#include <kunit/resource.h>
#include <kunit/test.h>
#include <kunit/thread.h>

#include "fixture.h"

enum table_parent {
	IN_ROOT,
	IN_SUBDIRECTORY,
	IN_DEEP,
	IN_RENAMED,	/* after the entry was cached, as all below */
	IN_MOVED,	/* to another directory */
	IN_UNHASHED,	/* invalidated itself, but alive */
	TABLE_PARENTS
};

static const char * const table_parents[] = {
	"root", "subdirectory", "deep", "renamed", "moved", "unhashed",
};

enum table_notification {
	INVAL,
	EXPIRE,
	DELETE,		/* of the node that has the name */
	DELETE_OTHER,	/* of another one */
	DELETE_EXPIRE,	/* in no message, only a flag of the function */
	DELETE_OTHER_EXPIRE,
	TABLE_NOTIFICATIONS
};

static const char * const table_notifications[] = {
	"inval", "expire", "delete", "delete_other", "delete_expire",
	"delete_other_expire",
};

/* What becomes of the entry. */
enum table_fate {
	KEPT,		/* hashed, but the next lookup asks the server */
	DROPPED,	/* not hashed any more */
	DELETED,	/* dropped, or negative, and its node has no links left */
};

/**
 * struct table_want - What a notification has to do
 * @answer: what it returns
 * @fate: what becomes of the entry
 */
struct table_want {
	int answer;
	enum table_fate fate;
};

/* What most kinds of entry have in common. */
static const struct table_want want_negative[TABLE_NOTIFICATIONS] = {
	[INVAL]		= { 0, DROPPED },
	[EXPIRE]	= { 0, KEPT },
	[DELETE]	= { 0, DROPPED },
	[DELETE_OTHER]	= { 0, DROPPED },
	[DELETE_EXPIRE]	= { 0, KEPT },
	[DELETE_OTHER_EXPIRE] = { 0, KEPT },
};

static const struct table_want want_positive[TABLE_NOTIFICATIONS] = {
	[INVAL]		= { 0, DROPPED },
	[EXPIRE]	= { 0, KEPT },
	[DELETE]	= { 0, DELETED },
	[DELETE_OTHER]	= { -ENOENT, DROPPED },
	[DELETE_EXPIRE]	= { 0, DELETED },
	[DELETE_OTHER_EXPIRE] = { -ENOENT, KEPT },
};

/* A directory that cannot be emptied: its name is stale, but it lives on. */
static const struct table_want want_busy[TABLE_NOTIFICATIONS] = {
	[INVAL]		= { 0, DROPPED },
	[EXPIRE]	= { 0, KEPT },
	[DELETE]	= { -ENOTEMPTY, DROPPED },
	[DELETE_OTHER]	= { -ENOENT, DROPPED },
	[DELETE_EXPIRE]	= { -ENOTEMPTY, KEPT },
	[DELETE_OTHER_EXPIRE] = { -ENOENT, KEPT },
};

/* Nothing that a notification could be about: nothing changes. */
static const struct table_want want_untouched[TABLE_NOTIFICATIONS] = {
	[INVAL]		= { -ENOENT, KEPT },
	[EXPIRE]	= { -ENOENT, KEPT },
	[DELETE]	= { -ENOENT, KEPT },
	[DELETE_OTHER]	= { -ENOENT, KEPT },
	[DELETE_EXPIRE]	= { -ENOENT, KEPT },
	[DELETE_OTHER_EXPIRE] = { -ENOENT, KEPT },
};

/**
 * struct table_entry - The entry of a test
 * @fx: the fixture
 * @parent: what the directory is like
 * @notification: what is notified
 * @dir: the directory
 * @dir_nodeid: its nodeid
 * @prefix: its path, with a slash at the end if it is not the root
 * @path: the path of the entry
 * @name: the last component of that
 * @nodeid: nodeid of the entry, 0 if it is negative
 * @held: its dentry if somebody uses it, else NULL
 */
struct table_entry {
	struct fuse_fixture *fx;
	enum table_parent parent;
	enum table_notification notification;
	struct dentry *dir;
	u64 dir_nodeid;
	char prefix[32];
	char path[48];
	const char *name;
	u64 nodeid;
	struct dentry *held;
};

/*
 * The parameters count through the directories and the notifications. They are
 * registered as an array, so that kunit.py is told how many there are.
 */
static void table_description(struct kunit *test, const void *param, char *desc)
{
	unsigned int i = *(const u8 *)param;

	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s.%s",
		 table_parents[i / TABLE_NOTIFICATIONS],
		 table_notifications[i % TABLE_NOTIFICATIONS]);
}

static int table_register(struct kunit *test, unsigned int nr)
{
	u8 *params = kunit_kmalloc(test, nr, GFP_KERNEL);
	unsigned int i;

	if (!params)
		return -ENOMEM;
	for (i = 0; i < nr; i++)
		params[i] = i;
	fuse_fx_shuffle(params, nr, sizeof(*params));
	kunit_register_params_array(test, params, nr, table_description);
	return 0;
}

static int table_all(struct kunit *test)
{
	return table_register(test, TABLE_PARENTS * TABLE_NOTIFICATIONS);
}

/* Only the notifications, for a test that makes its own directory. */
static int table_notified(struct kunit *test)
{
	return table_register(test, TABLE_NOTIFICATIONS);
}

#define TABLE_CASE(_row, _params) \
	KUNIT_CASE_PARAM_WITH_INIT(_row, kunit_array_gen_params, _params, NULL)

static void table_set_path(struct table_entry *e, const char *prefix)
{
	strscpy(e->prefix, prefix);
	snprintf(e->path, sizeof(e->path), "%s%s", prefix, e->name);
}

/* The path of something near the entry; @buf is where to put it. */
static const char *table_path(struct table_entry *e, char buf[64], const char *name)
{
	snprintf(buf, 64, "%s%s", e->prefix, name);
	return buf;
}

/* Make the directory as it is when the entry gets cached. */
static struct table_entry *table_begin(struct kunit *test)
{
	struct table_entry *e = kunit_kzalloc(test, sizeof(*e), GFP_KERNEL);
	unsigned int param = test->param_value ? *(const u8 *)test->param_value : 0;
	struct fuse_fixture *fx = test->priv;

	KUNIT_ASSERT_NOT_NULL(test, e);
	e->fx = fx;
	e->parent = param / TABLE_NOTIFICATIONS;
	e->notification = param % TABLE_NOTIFICATIONS;
	e->name = "entry";
	e->dir = fx->mnt->mnt_root;
	e->dir_nodeid = FUSE_ROOT_ID;

	switch (e->parent) {
	case IN_ROOT:
		table_set_path(e, "");
		break;
	case IN_DEEP:
		fuse_fake_add(fx->server, "a", S_IFDIR | 0755);
		fuse_fake_add(fx->server, "a/b", S_IFDIR | 0755);
		fuse_fake_add(fx->server, "a/b/c", S_IFDIR | 0755);
		e->dir_nodeid = fuse_fake_add(fx->server, "a/b/c/d", S_IFDIR | 0755);
		e->dir = fuse_fx_hold(fx, "a/b/c/d");
		table_set_path(e, "a/b/c/d/");
		break;
	default:
		e->dir_nodeid = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
		e->dir = fuse_fx_hold(fx, "dir");
		table_set_path(e, "dir/");
	}
	fuse_fx_add_neighbours(fx, e->prefix);
	return e;
}

/* Do to the directory what is done after the entry was cached. */
static void table_change_parent(struct table_entry *e)
{
	struct fuse_fixture *fx = e->fx;
	struct dentry *entry;

	switch (e->parent) {
	case IN_RENAMED:
		FUSE_ASSERT_ERR(fx->test, fuse_fx_rename(fx, "dir", "renamed", 0), 0);
		table_set_path(e, "renamed/");
		break;
	case IN_MOVED:
		FUSE_ASSERT_ERR(fx->test, fuse_fx_mkdir(fx, "elsewhere"), 0);
		FUSE_ASSERT_ERR(fx->test, fuse_fx_rename(fx, "dir", "elsewhere/dir", 0), 0);
		table_set_path(e, "elsewhere/dir/");
		break;
	case IN_UNHASHED:
		/* What nobody uses would go along. */
		entry = try_lookup_noperm(&QSTR(e->name), e->dir);
		FUSE_EXPECT_ERR(fx->test, fuse_fx_inval(fx, FUSE_ROOT_ID, "dir"), 0);
		dput(entry);
		KUNIT_EXPECT_TRUE(fx->test, d_unhashed(e->dir));
		break;
	default:
		break;
	}
}

static int table_notify(struct table_entry *e)
{
	bool expire = e->notification == EXPIRE || e->notification >= DELETE_EXPIRE;
	u64 child = 0;

	/* A negative entry has no node; any number does for a delete. */
	if (e->notification == DELETE || e->notification == DELETE_EXPIRE)
		child = e->nodeid ?: 4711;
	else if (e->notification == DELETE_OTHER || e->notification == DELETE_OTHER_EXPIRE)
		child = e->nodeid + BIT_ULL(32);
	return fuse_fx_notify(e->fx, e->dir_nodeid, child, e->name,
			      expire ? FUSE_EXPIRE_ONLY : 0);
}

/* Is the entry what it has to be after the notification? */
static void table_expect(struct table_entry *e, int answer, const char *what, bool is, bool wanted)
{
	if (is != wanted)
		KUNIT_FAIL(e->fx->test, "'%s' is %s%s after %s, which returned %s", e->name,
			   is ? "" : "not ", what, table_notifications[e->notification],
			   fuse_fx_errname(answer));
}

/* Notify, and see whether it did what it has to. */
static void table_judge(struct table_entry *e, const struct table_want *want)
{
	const char *what = table_notifications[e->notification];
	enum table_fate fate = want[e->notification].fate;
	int wanted = want[e->notification].answer;
	struct fuse_fixture *fx = e->fx;
	unsigned int cached;
	struct inode *inode;
	int answer;

	KUNIT_EXPECT_TRUE_MSG(fx->test, fuse_fx_cached(fx, e->dir, e->name), "before %s", what);
	answer = table_notify(e);
	if (answer != wanted)
		KUNIT_FAIL(fx->test, "%s returns %s, not %s", what, fuse_fx_errname(answer),
			   fuse_fx_errname(wanted));
	cached = fuse_fx_cached(fx, e->dir, e->name);

	/* What has expired goes at once then, unless it is in use. */
	if (fate == KEPT && fx->delete_stale && !e->held)
		fate = DROPPED;
	if (fate != DELETED)
		table_expect(e, answer, "hashed", cached, fate == KEPT);
	table_expect(e, answer, "hashed and positive", cached & FUSE_FX_POSITIVE,
		     fate == KEPT && e->nodeid);

	inode = e->held ? d_inode(e->held) : NULL;
	if (!inode)
		return;
	table_expect(e, answer, "without links", !inode->i_nlink, fate == DELETED);
	table_expect(e, answer, "S_DEAD", IS_DEADDIR(inode),
		     fate == DELETED && S_ISDIR(inode->i_mode));
	table_expect(e, answer, "DCACHE_CANT_MOUNT", cant_mount(e->held), fate == DELETED);
}

static void table_end(struct table_entry *e, const struct table_want *want)
{
	table_change_parent(e);
	table_judge(e, want);
}

/* Have the server make the entry, and the kernel look at it. */
static void table_add(struct table_entry *e, umode_t mode)
{
	e->nodeid = fuse_fake_add(e->fx->server, e->path, mode);
	FUSE_ASSERT_ERR(e->fx->test, fuse_fx_stat(e->fx, e->path), 0);
}

static void table_hold(struct table_entry *e)
{
	e->held = fuse_fx_hold(e->fx, e->path);
}

static void negative(struct kunit *test)
{
	struct table_entry *e = table_begin(test);

	FUSE_EXPECT_ERR(test, fuse_fx_stat(e->fx, e->path), -ENOENT);
	table_end(e, want_negative);
}

static void negative_held(struct kunit *test)
{
	struct table_entry *e = table_begin(test);

	FUSE_EXPECT_ERR(test, fuse_fx_stat(e->fx, e->path), -ENOENT);
	e->held = fuse_fx_hold_cached(e->fx, e->dir, e->name);
	KUNIT_ASSERT_NOT_NULL(test, e->held);
	table_end(e, want_negative);
}

/* The server has said before that the name is stale. */
static void negative_expired(struct kunit *test)
{
	struct table_entry *e = table_begin(test);

	FUSE_EXPECT_ERR(test, fuse_fx_stat(e->fx, e->path), -ENOENT);
	e->held = fuse_fx_hold_cached(e->fx, e->dir, e->name);
	KUNIT_ASSERT_NOT_NULL(test, e->held);
	FUSE_EXPECT_ERR(test, fuse_fx_expire(e->fx, e->dir_nodeid, e->name), 0);
	table_end(e, want_negative);
}

/* The server has said that everything is stale. */
static void negative_old_epoch(struct kunit *test)
{
	struct table_entry *e = table_begin(test);

	FUSE_EXPECT_ERR(test, fuse_fx_stat(e->fx, e->path), -ENOENT);
	table_change_parent(e);
	fuse_fx_inc_epoch(e->fx);
	table_judge(e, want_negative);
}

static void file(struct kunit *test)
{
	struct table_entry *e = table_begin(test);

	table_add(e, S_IFREG | 0644);
	table_end(e, want_positive);
}

static void file_held(struct kunit *test)
{
	struct table_entry *e = table_begin(test);

	table_add(e, S_IFREG | 0644);
	table_hold(e);
	table_end(e, want_positive);
}

/* Who has it open goes on. */
static void file_open(struct kunit *test)
{
	struct table_entry *e = table_begin(test);
	struct kstat stat;
	struct file *file;

	table_add(e, S_IFREG | 0644);
	file = fuse_fx_open(e->fx, e->path, O_RDONLY);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	e->held = file->f_path.dentry;
	table_end(e, want_positive);
	FUSE_EXPECT_ERR(test, vfs_getattr(&file->f_path, &stat, STATX_BASIC_STATS,
					  AT_STATX_FORCE_SYNC), 0);
	KUNIT_EXPECT_EQ(test, stat.ino, e->nodeid);
}

static void file_expired(struct kunit *test)
{
	struct table_entry *e = table_begin(test);

	table_add(e, S_IFREG | 0644);
	table_hold(e);
	FUSE_EXPECT_ERR(test, fuse_fx_expire(e->fx, e->dir_nodeid, e->name), 0);
	table_end(e, want_positive);
}

/* Its timeout has run out by itself. */
static void file_timed_out(struct kunit *test)
{
	struct table_entry *e = table_begin(test);
	unsigned int valid = e->fx->server->entry_valid;

	e->fx->server->entry_valid = 0;
	e->nodeid = fuse_fake_add(e->fx->server, e->path, S_IFREG | 0644);
	table_hold(e);
	e->fx->server->entry_valid = valid;
	table_end(e, want_positive);
}

static void file_old_epoch(struct kunit *test)
{
	struct table_entry *e = table_begin(test);

	table_add(e, S_IFREG | 0644);
	table_hold(e);
	table_change_parent(e);
	fuse_fx_inc_epoch(e->fx);
	table_judge(e, want_positive);
}

/*
 * One of several names: the others are as before. A delete takes all links from
 * the inode, though, also that of a name which is still there: 7.3 as shipped does
 * so as well, and the next answer with attributes puts it right.
 */
static void hard_link(struct kunit *test)
{
	struct table_entry *e = table_begin(test);
	unsigned int lookups;
	char other[64];

	e->nodeid = fuse_fake_add(e->fx->server, e->path, S_IFREG | 0644);
	fuse_fake_link(e->fx->server, e->path, table_path(e, other, "other"));
	FUSE_EXPECT_ERR(test, fuse_fx_stat(e->fx, other), 0);
	table_hold(e);
	table_change_parent(e);
	table_judge(e, want_positive);
	if (e->parent != IN_UNHASHED) {
		FUSE_EXPECT_ERR(test, fuse_fx_stat_asks(e->fx, table_path(e, other, "other"),
							&lookups), 0);
		KUNIT_EXPECT_EQ(test, lookups, 0);
	}
}

/* A file that the server has replaced by one of the same number. */
static void generation(struct kunit *test)
{
	struct table_entry *e = table_begin(test);
	struct dentry *next;
	char other[64];

	table_add(e, S_IFREG | 0644);
	table_hold(e);
	fuse_fake_remove(e->fx->server, e->path);
	fuse_fake_reuse(e->fx->server, e->nodeid, table_path(e, other, "other"));
	next = fuse_fx_hold(e->fx, other);
	KUNIT_EXPECT_PTR_NE(test, d_inode(next), d_inode(e->held));
	/* A delete says no generation: it is about the name's own node, not the next. */
	table_end(e, want_positive);
	KUNIT_EXPECT_EQ(test, d_inode(next)->i_nlink, 1);
	KUNIT_EXPECT_FALSE(test, d_unhashed(next));
}

static void directory(struct kunit *test)
{
	struct table_entry *e = table_begin(test);

	table_add(e, S_IFDIR | 0755);
	table_end(e, want_positive);
}

static void directory_held(struct kunit *test)
{
	struct table_entry *e = table_begin(test);

	table_add(e, S_IFDIR | 0755);
	table_hold(e);
	table_end(e, want_positive);
}

/* Names in it that are cached as absent do not keep it. */
static void directory_negative_child(struct kunit *test)
{
	struct table_entry *e = table_begin(test);
	char child[64];

	table_add(e, S_IFDIR | 0755);
	table_hold(e);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(e->fx, table_path(e, child, "entry/none")), -ENOENT);
	table_end(e, want_positive);
}

/* Nor does what nobody uses, however deep it is. */
static void directory_unused_children(struct kunit *test)
{
	struct table_entry *e = table_begin(test);
	char child[64];

	table_add(e, S_IFDIR | 0755);
	table_hold(e);
	fuse_fake_add(e->fx->server, table_path(e, child, "entry/sub"), S_IFDIR | 0755);
	fuse_fake_add(e->fx->server, table_path(e, child, "entry/sub/file"), S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(e->fx, child), 0);
	table_end(e, want_positive);
}

static void directory_held_child(struct kunit *test)
{
	struct table_entry *e = table_begin(test);
	char child[64];

	table_add(e, S_IFDIR | 0755);
	table_hold(e);
	fuse_fake_add(e->fx->server, table_path(e, child, "entry/file"), S_IFREG | 0644);
	fuse_fx_hold(e->fx, child);
	table_end(e, want_busy);
}

/* One that is in use far below keeps everything above it. */
static void directory_held_below(struct kunit *test)
{
	struct table_entry *e = table_begin(test);
	char child[64];

	table_add(e, S_IFDIR | 0755);
	table_hold(e);
	fuse_fake_add(e->fx->server, table_path(e, child, "entry/sub"), S_IFDIR | 0755);
	fuse_fake_add(e->fx->server, table_path(e, child, "entry/sub/file"), S_IFREG | 0644);
	fuse_fx_hold(e->fx, child);
	table_end(e, want_busy);
}

/*
 * Something is mounted on @mountpoint, in a namespace that lasts while somebody
 * waits for an answer in there.
 */
static struct kunit_thread *table_mount(struct table_entry *e, const char *mountpoint,
					const char *below)
{
	struct fuse_fx_op walk = { .path = { below } };
	struct kunit *test = e->fx->test;
	struct kunit_thread *thread;

	fuse_fake_submount(e->fx->server, mountpoint);
	FUSE_ASSERT_ERR(test, fuse_fx_stat(e->fx, mountpoint), 0);
	thread = fuse_fx_run_to(e->fx, fuse_fx_do_walk_mounts, &walk, FUSE_LOOKUP,
				FUSE_FAKE_STOP_BEFORE);
	return thread;
}

static void table_unmount(struct table_entry *e, struct kunit_thread *thread)
{
	struct kunit *test = e->fx->test;
	int err;

	fuse_fake_let_go(e->fx->server);
	KUNIT_ASSERT_TRUE(test, kunit_thread_join(thread, &err));
	KUNIT_EXPECT_EQ(test, err, -ENOENT);
}

/*
 * The notifications one after the other, and an entry for each: it takes some ticks
 * until the last of the mounts has ended.
 */
static void table_each_notification(struct kunit *test, void (*row)(struct table_entry *e))
{
	struct table_entry *e = table_begin(test);

	for (e->notification = 0; e->notification < TABLE_NOTIFICATIONS; e->notification++) {
		e->name = table_notifications[e->notification];
		table_set_path(e, "");
		row(e);
	}
}

/* What is mounted on the entry goes with it, but expiring it changes no mount. */
static void mount_point_row(struct table_entry *e)
{
	static const struct table_want want[TABLE_NOTIFICATIONS] = {
		[INVAL]		= { 0, DROPPED },
		[EXPIRE]	= { 0, KEPT },
		[DELETE]	= { 0, DELETED },
		[DELETE_OTHER]	= { -ENOENT, DROPPED },
		[DELETE_EXPIRE]	= { -EBUSY, KEPT },
		[DELETE_OTHER_EXPIRE] = { -ENOENT, KEPT },
	};
	struct kunit *test = e->fx->test;
	struct kunit_thread *thread;
	struct dentry *entry;
	char below[64];

	snprintf(below, sizeof(below), "%s/none", e->path);
	e->nodeid = fuse_fake_add(e->fx->server, e->path, S_IFDIR | 0755);
	thread = table_mount(e, e->path, below);
	table_hold(e);
	entry = fuse_fx_hold(e->fx, e->path);
	KUNIT_EXPECT_TRUE(test, d_mountpoint(entry));

	table_judge(e, want);
	table_expect(e, want[e->notification].answer, "mounted on", d_mountpoint(entry),
		     want[e->notification].fate == KEPT);
	table_unmount(e, thread);
}

static void mount_point(struct kunit *test)
{
	table_each_notification(test, mount_point_row);
}

/* Below the entry, it is a child in use until it is detached. */
static void mount_below_row(struct table_entry *e)
{
	static const struct table_want want[TABLE_NOTIFICATIONS] = {
		[INVAL]		= { 0, DROPPED },
		[EXPIRE]	= { 0, KEPT },
		[DELETE]	= { 0, DELETED },
		[DELETE_OTHER]	= { -ENOENT, DROPPED },
		[DELETE_EXPIRE]	= { -ENOTEMPTY, KEPT },
		[DELETE_OTHER_EXPIRE] = { -ENOENT, KEPT },
	};
	struct kunit *test = e->fx->test;
	struct kunit_thread *thread;
	char sub[56], below[64];
	struct dentry *entry;

	snprintf(sub, sizeof(sub), "%s/sub", e->path);
	snprintf(below, sizeof(below), "%s/none", sub);
	table_add(e, S_IFDIR | 0755);
	table_hold(e);
	entry = fuse_fx_hold(e->fx, e->path);
	fuse_fake_add(e->fx->server, sub, S_IFDIR | 0755);
	thread = table_mount(e, sub, below);
	KUNIT_EXPECT_TRUE(test, fuse_fx_cached(e->fx, entry, "sub") & FUSE_FX_MOUNTPOINT);

	table_judge(e, want);
	table_expect(e, want[e->notification].answer, "with a mount below",
		     fuse_fx_cached(e->fx, entry, "sub") & FUSE_FX_MOUNTPOINT,
		     want[e->notification].fate == KEPT);
	table_unmount(e, thread);
}

static void mount_below(struct kunit *test)
{
	table_each_notification(test, mount_below_row);
}

/*
 * The directory has been removed, but a dentry in it is in use. A notification does
 * the same to it as in any other directory.
 */
static void table_remove_parent(struct kunit *test, struct table_entry *e,
				const struct table_want *want)
{
	FUSE_EXPECT_ERR(test, fuse_fx_rmdir(e->fx, "dir"), 0);
	KUNIT_EXPECT_TRUE(test, IS_DEADDIR(d_inode(e->dir)));
	table_judge(e, want);
}

static struct table_entry *table_begin_in_dir(struct kunit *test)
{
	struct table_entry *e = table_begin(test);

	e->dir_nodeid = fuse_fake_add(e->fx->server, "dir", S_IFDIR | 0755);
	e->dir = fuse_fx_hold(e->fx, "dir");
	table_set_path(e, "dir/");
	return e;
}

static void parent_removed_negative(struct kunit *test)
{
	struct table_entry *e = table_begin_in_dir(test);

	FUSE_EXPECT_ERR(test, fuse_fx_stat(e->fx, e->path), -ENOENT);
	e->held = fuse_fx_hold_cached(e->fx, e->dir, e->name);
	KUNIT_ASSERT_NOT_NULL(test, e->held);
	table_remove_parent(test, e, want_negative);
}

static void parent_removed_file(struct kunit *test)
{
	struct table_entry *e = table_begin_in_dir(test);

	table_add(e, S_IFREG | 0644);
	table_hold(e);
	fuse_fake_remove(e->fx->server, e->path);
	table_remove_parent(test, e, want_positive);
}

static void parent_removed_directory(struct kunit *test)
{
	struct table_entry *e = table_begin_in_dir(test);

	table_add(e, S_IFDIR | 0755);
	table_hold(e);
	fuse_fake_remove(e->fx->server, e->path);
	table_remove_parent(test, e, want_positive);
}

/*
 * The number of the directory belongs to another one by now, which is the one
 * that is meant. What is cached in the old one is out of reach.
 */
static void parent_generation(struct kunit *test)
{
	struct table_entry *e = table_begin_in_dir(test);

	table_add(e, S_IFREG | 0644);
	table_hold(e);
	fuse_fake_remove(e->fx->server, "dir");
	fuse_fake_reuse(e->fx->server, e->dir_nodeid, "next");
	KUNIT_EXPECT_PTR_NE(test, fuse_fx_hold(e->fx, "next"), e->dir);
	table_judge(e, want_untouched);
}

/* The directory is in use, but there is no dentry that leads to it. */
static void parent_without_alias(struct kunit *test)
{
	struct table_entry *e = table_begin(test);
	struct inode *inode;
	u64 dir;

	dir = fuse_fake_add(e->fx->server, "dir", S_IFDIR | 0755);
	FUSE_ASSERT_ERR(test, fuse_fx_stat(e->fx, "dir"), 0);
	inode = fuse_fx_hold_inode(e->fx, "dir");
	FUSE_EXPECT_ERR(test, fuse_fx_inval(e->fx, FUSE_ROOT_ID, "dir"), 0);
	KUNIT_EXPECT_TRUE(test, hlist_empty(&inode->i_dentry));

	e->dir_nodeid = dir;
	FUSE_EXPECT_ERR(test, table_notify(e), -ENOENT);
}

/*
 * Names of many lengths: around DNAME_INLINE_LEN, NAME_MAX, FUSE_NAME_LOW_MAX, and
 * FUSE_NAME_MAX, which a connection with enough pages per request allows.
 */
static const struct table_length {
	unsigned int length;
	int lookup;
} table_lengths[] = {
	{ 1, 0 },
	{ DNAME_INLINE_LEN - 1, 0 },
	{ DNAME_INLINE_LEN, 0 },
	{ DNAME_INLINE_LEN + 1, 0 },
	{ NAME_MAX, 0 },
	{ NAME_MAX + 1, 0 },
	{ 1024, 0 },
	{ 1025, 0 },
	{ PATH_MAX - 1, 0 },
	{ PATH_MAX, -ENAMETOOLONG },
};

static void table_length_desc(const struct table_length *length, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%u bytes", length->length);
}

KUNIT_ARRAY_PARAM(table_length, table_lengths, table_length_desc);

static void name_length(struct kunit *test)
{
	const struct table_length *param = test->param_value;
	struct fuse_fixture *fx = test->priv;
	char *name = kunit_kzalloc(test, param->length + 1, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, name);
	memset(name, 'n', param->length);
	if (param->lookup) {
		FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, name), param->lookup);
		FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, name), -ENOENT);
		return;
	}
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, name), -ENOENT);
	fuse_fake_add(fx->server, name, S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, name), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, name), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, name), 0);
	KUNIT_EXPECT_FALSE(test, fuse_fx_cached(fx, fx->mnt->mnt_root, name));
}

#define COLLISION_BITS	18

/* Two names of eight characters that have one hash in the root. */
static void table_collide(struct fuse_fixture *fx, char one[9], char two[9])
{
	u32 *seen = kvcalloc(BIT(COLLISION_BITS), sizeof(*seen), GFP_KERNEL);
	unsigned int hash, i;

	KUNIT_ASSERT_NOT_NULL(fx->test, seen);
	for (i = 1; i; i++) {
		snprintf(two, 9, "%08x", i);
		hash = full_name_hash(fx->mnt->mnt_root, two, 8);
		if (seen[hash_32(hash, COLLISION_BITS)]) {
			snprintf(one, 9, "%08x", seen[hash_32(hash, COLLISION_BITS)]);
			if (full_name_hash(fx->mnt->mnt_root, one, 8) == hash)
				break;
		}
		seen[hash_32(hash, COLLISION_BITS)] = i;
	}
	kvfree(seen);
	KUNIT_ASSERT_NE(fx->test, i, 0);
}

static void hash_collision(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	char one[9], two[9];

	table_collide(fx, one, two);
	KUNIT_EXPECT_STRNEQ(test, one, two);
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, one), -ENOENT);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, one), -ENOENT);
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, two), -ENOENT);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, two), -ENOENT);

	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, one), 0);
	KUNIT_EXPECT_FALSE(test, fuse_fx_cached(fx, fx->mnt->mnt_root, one));
	KUNIT_EXPECT_TRUE(test, fuse_fx_cached(fx, fx->mnt->mnt_root, two));
}

static struct kunit_case fuse_inval_table_cases[] = {
	TABLE_CASE(negative, table_all),
	TABLE_CASE(negative_held, table_all),
	TABLE_CASE(negative_expired, table_all),
	TABLE_CASE(negative_old_epoch, table_all),
	TABLE_CASE(file, table_all),
	TABLE_CASE(file_held, table_all),
	TABLE_CASE(file_open, table_all),
	TABLE_CASE(file_expired, table_all),
	TABLE_CASE(file_timed_out, table_all),
	TABLE_CASE(file_old_epoch, table_all),
	TABLE_CASE(hard_link, table_all),
	TABLE_CASE(generation, table_all),
	TABLE_CASE(directory, table_all),
	TABLE_CASE(directory_held, table_all),
	TABLE_CASE(directory_negative_child, table_all),
	TABLE_CASE(directory_unused_children, table_all),
	TABLE_CASE(directory_held_child, table_all),
	TABLE_CASE(directory_held_below, table_all),
	KUNIT_CASE(mount_point),
	KUNIT_CASE(mount_below),
	TABLE_CASE(parent_removed_negative, table_notified),
	TABLE_CASE(parent_removed_file, table_notified),
	TABLE_CASE(parent_removed_directory, table_notified),
	TABLE_CASE(parent_generation, table_notified),
	TABLE_CASE(parent_without_alias, table_notified),
	KUNIT_CASE_PARAM(name_length, table_length_gen_params),
	KUNIT_CASE(hash_collision),
	{}
};

/* Those to which delete_stale makes a difference, or might. */
static struct kunit_case fuse_inval_table_stale_cases[] = {
	TABLE_CASE(negative, table_all),
	TABLE_CASE(negative_held, table_all),
	TABLE_CASE(file, table_all),
	TABLE_CASE(file_held, table_all),
	TABLE_CASE(file_open, table_all),
	TABLE_CASE(directory, table_all),
	TABLE_CASE(directory_held, table_all),
	TABLE_CASE(directory_held_child, table_all),
	{}
};

static struct kunit_suite fuse_inval_table_suite = {
	.name		= "fuse_inval_table",
	.init		= fuse_fx_init,
	.exit		= fuse_fx_exit,
	.test_cases	= fuse_inval_table_cases,
};

static struct kunit_suite fuse_inval_table_stale_suite = {
	.name		= "fuse_inval_table_delete_stale",
	.init		= fuse_fx_init_delete_stale,
	.exit		= fuse_fx_exit,
	.test_cases	= fuse_inval_table_stale_cases,
};

kunit_test_suites(&fuse_inval_table_suite, &fuse_inval_table_stale_suite);
