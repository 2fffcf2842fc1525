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
	TABLE_NOTIFICATIONS
};

static const char * const table_notifications[] = {
	"inval", "expire", "delete", "delete_other",
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
};

static const struct table_want want_positive[TABLE_NOTIFICATIONS] = {
	[INVAL]		= { 0, DROPPED },
	[EXPIRE]	= { 0, KEPT },
	[DELETE]	= { 0, DELETED },
	[DELETE_OTHER]	= { -ENOENT, DROPPED },
};

/* A directory that cannot be emptied: its name is stale, but it lives on. */
static const struct table_want want_busy[TABLE_NOTIFICATIONS] = {
	[INVAL]		= { 0, DROPPED },
	[EXPIRE]	= { 0, KEPT },
	[DELETE]	= { -ENOTEMPTY, DROPPED },
	[DELETE_OTHER]	= { -ENOENT, DROPPED },
};

/* Nothing that a notification could be about: nothing changes. */
static const struct table_want want_untouched[TABLE_NOTIFICATIONS] = {
	[INVAL]		= { -ENOENT, KEPT },
	[EXPIRE]	= { -ENOENT, KEPT },
	[DELETE]	= { -ENOENT, KEPT },
	[DELETE_OTHER]	= { -ENOENT, KEPT },
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

#define TABLE_CASE(_case, _params) \
	KUNIT_CASE_PARAM_WITH_INIT(_case, kunit_array_gen_params, _params, NULL)

/* The case that has the name of a row in table_rows. */
#define TABLE_ROW(_row) {								\
	.name = #_row, .run_case = table_row, .generate_params = kunit_array_gen_params, \
	.param_init = table_all, .module_name = KBUILD_MODNAME,			\
}

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
		/* Not held, the entry would be dropped with the directory. */
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
	/* A flag that the kernel does not know is ignored. */
	u32 flags = e->notification == EXPIRE ? FUSE_EXPIRE_ONLY :
		    e->notification == INVAL ? BIT(31) : 0;
	u64 child = 0;

	/* A negative entry has no node; any nodeid does for a delete. */
	if (e->notification == DELETE)
		child = e->nodeid ?: 4711;
	else if (e->notification == DELETE_OTHER)
		child = e->nodeid + BIT_ULL(32);
	return fuse_fx_notify(e->fx, e->dir_nodeid, child, e->name, flags);
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

	/* With delete_stale an expired dentry is dropped at once, unless it is in use. */
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
	e->held = fuse_fx_hold_cached(e->fx, e->dir, e->name);
	KUNIT_ASSERT_NOT_NULL(e->fx->test, e->held);
}

/* Why the server is to be asked again, whatever the notification says. */
enum table_stale {
	FRESH,
	EXPIRED,	/* the server has said before that the name is stale */
	TIMED_OUT,	/* the timeout has run out by itself */
	OLD_EPOCH,	/* the server has said that everything is stale */
};

/* What the entry is: the names are those of the cases. */
static const struct table_row {
	const char *name;
	umode_t type;			/* 0: it is cached as absent */
	bool held;			/* it is in use */
	enum table_stale stale;
	const char *below;		/* what is cached below it, from "entry/" on */
	bool held_below;		/* and in use */
} table_rows[] = {
	{ "negative",			0,	  false },
	{ "negative_held",		0,	  true },
	{ "negative_expired",		0,	  true,  EXPIRED },
	{ "negative_old_epoch",		0,	  false, OLD_EPOCH },
	{ "file",			S_IFREG,  false },
	{ "file_held",			S_IFREG,  true },
	{ "file_expired",		S_IFREG,  true,  EXPIRED },
	{ "file_timed_out",		S_IFREG,  true,  TIMED_OUT },
	{ "file_old_epoch",		S_IFREG,  true,  OLD_EPOCH },
	{ "directory",			S_IFDIR,  false },
	{ "directory_held",		S_IFDIR,  true },
	/* Names in it that are cached as absent do not prevent a delete. */
	{ "directory_negative_child",	S_IFDIR,  true,  FRESH, "entry/none" },
	/* Nor does what nobody uses, however deep it is. */
	{ "directory_unused_children",	S_IFDIR,  true,  FRESH, "entry/sub/file" },
	{ "directory_held_child",	S_IFDIR,  true,  FRESH, "entry/file", true },
	/* One that is in use far below keeps everything above it. */
	{ "directory_held_below",	S_IFDIR,  true,  FRESH, "entry/sub/file", true },
};

static void table_row(struct kunit *test)
{
	struct table_entry *e = table_begin(test);
	const struct table_row *row = table_rows;
	unsigned int valid = e->fx->server->entry_valid;
	char path[64];

	while (row < table_rows + ARRAY_SIZE(table_rows) && strcmp(row->name, test->name))
		row++;
	KUNIT_ASSERT_PTR_NE_MSG(test, row, table_rows + ARRAY_SIZE(table_rows), "no such row");
	if (row->stale == TIMED_OUT)
		e->fx->server->entry_valid = 0;
	if (row->type)
		table_add(e, row->type | 0755);
	else
		FUSE_EXPECT_ERR(test, fuse_fx_stat(e->fx, e->path), -ENOENT);
	e->fx->server->entry_valid = valid;
	if (row->held)
		table_hold(e);
	if (row->below && strstr(row->below, "sub"))
		fuse_fake_add(e->fx->server, table_path(e, path, "entry/sub"), S_IFDIR | 0755);
	if (row->below && strstr(row->below, "file"))
		fuse_fake_add(e->fx->server, table_path(e, path, row->below), S_IFREG | 0644);
	if (row->below)
		fuse_fx_stat(e->fx, table_path(e, path, row->below));
	if (row->held_below)
		fuse_fx_hold(e->fx, path);
	if (row->stale == EXPIRED)
		FUSE_EXPECT_ERR(test, fuse_fx_expire(e->fx, e->dir_nodeid, e->name), 0);
	table_change_parent(e);
	if (row->stale == OLD_EPOCH)
		fuse_fx_inc_epoch(e->fx);
	table_judge(e, !row->type ? want_negative : row->held_below ? want_busy : want_positive);
}

/* A file that is open can still be used. */
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

	table_add(e, S_IFREG | 0644);
	table_hold(e);
	fuse_fake_link(e->fx->server, e->path, table_path(e, other, "other"));
	FUSE_EXPECT_ERR(test, fuse_fx_stat(e->fx, other), 0);
	table_change_parent(e);
	table_judge(e, want_positive);
	if (e->parent != IN_UNHASHED) {
		FUSE_EXPECT_ERR(test, fuse_fx_stat_asks(e->fx, table_path(e, other, "other"),
							&lookups), 0);
		KUNIT_EXPECT_EQ(test, lookups, 0);
	}
}

/* A file that the server has replaced by one with the same nodeid. */
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
	/* A delete has no generation: it is about the node that the name leads to. */
	table_end(e, want_positive);
	KUNIT_EXPECT_EQ(test, d_inode(next)->i_nlink, 1);
	KUNIT_EXPECT_FALSE(test, d_unhashed(next));
}

/* Is something mounted on the entry, or on the directory below it? */
static bool table_mounted(struct table_entry *e, const char *below)
{
	if (*below)
		return fuse_fx_cached(e->fx, e->held, "sub") & FUSE_FX_MOUNTPOINT;
	return d_mountpoint(e->held);
}

/*
 * Something is mounted there, in a namespace that lasts while a thread waits for an
 * answer in it. It is detached if the entry is dropped, and stays if that expires. The
 * notifications are sent one after the other, with an entry for each: it takes some ticks
 * until the last of the mounts has ended.
 */
static void table_mount(struct kunit *test, const char *below)
{
	struct table_entry *e = table_begin(test);
	struct fuse_fixture *fx = e->fx;
	char mountpoint[64], inside[72];
	struct fuse_fx_op walk = { .path = { inside } };
	struct kunit_thread *thread;
	int result;

	for (e->notification = 0; e->notification < TABLE_NOTIFICATIONS; e->notification++) {
		e->name = table_notifications[e->notification];
		table_set_path(e, "");
		snprintf(mountpoint, sizeof(mountpoint), "%s%s", e->path, below);
		snprintf(inside, sizeof(inside), "%s/none", mountpoint);
		e->nodeid = fuse_fake_add(fx->server, e->path, S_IFDIR | 0755);
		if (*below)
			fuse_fake_add(fx->server, mountpoint, S_IFDIR | 0755);
		fuse_fake_submount(fx->server, mountpoint);
		FUSE_ASSERT_ERR(test, fuse_fx_stat(fx, mountpoint), 0);
		table_hold(e);
		thread = fuse_fx_run_to(fx, fuse_fx_do_walk_mounts, &walk, FUSE_LOOKUP,
					FUSE_FAKE_STOP_BEFORE);
		KUNIT_EXPECT_TRUE(test, table_mounted(e, below));

		table_judge(e, want_positive);
		table_expect(e, want_positive[e->notification].answer, "mounted on",
			     table_mounted(e, below), e->notification == EXPIRE);
		fuse_fake_let_go(fx->server);
		KUNIT_ASSERT_TRUE(test, kunit_thread_join(thread, &result));
		KUNIT_EXPECT_EQ(test, result, -ENOENT);
	}
}

static void mount_point(struct kunit *test)
{
	table_mount(test, "");
}

/* Below the entry, it is a child in use until it is detached. */
static void mount_below(struct kunit *test)
{
	table_mount(test, "/sub");
}

static struct table_entry *table_begin_in_dir(struct kunit *test)
{
	struct table_entry *e = table_begin(test);

	e->dir_nodeid = fuse_fake_add(e->fx->server, "dir", S_IFDIR | 0755);
	e->dir = fuse_fx_hold(e->fx, "dir");
	table_set_path(e, "dir/");
	return e;
}

/*
 * The directory has been removed, but a dentry in it is in use. A notification does
 * the same to it as in any other directory.
 */
static void table_parent_removed(struct kunit *test, umode_t type)
{
	struct table_entry *e = table_begin_in_dir(test);

	if (type)
		table_add(e, type | 0755);
	else
		FUSE_EXPECT_ERR(test, fuse_fx_stat(e->fx, e->path), -ENOENT);
	table_hold(e);
	if (type)
		fuse_fake_remove(e->fx->server, e->path);
	FUSE_EXPECT_ERR(test, fuse_fx_rmdir(e->fx, "dir"), 0);
	KUNIT_EXPECT_TRUE(test, IS_DEADDIR(d_inode(e->dir)));
	table_judge(e, type ? want_positive : want_negative);
}

static void parent_removed_negative(struct kunit *test)
{
	table_parent_removed(test, 0);
}

static void parent_removed_file(struct kunit *test)
{
	table_parent_removed(test, S_IFREG);
}

static void parent_removed_directory(struct kunit *test)
{
	table_parent_removed(test, S_IFDIR);
}

/*
 * The nodeid of the directory belongs to another one by now, which is the one
 * that is meant. What is cached in the old one is not found any more.
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

/* The inode of the directory is in use, but it has no alias. */
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
		FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, name), param->lookup);
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
	TABLE_ROW(negative),
	TABLE_ROW(negative_held),
	TABLE_ROW(negative_expired),
	TABLE_ROW(negative_old_epoch),
	TABLE_ROW(file),
	TABLE_ROW(file_held),
	TABLE_CASE(file_open, table_all),
	TABLE_ROW(file_expired),
	TABLE_ROW(file_timed_out),
	TABLE_ROW(file_old_epoch),
	TABLE_CASE(hard_link, table_all),
	TABLE_CASE(generation, table_all),
	TABLE_ROW(directory),
	TABLE_ROW(directory_held),
	TABLE_ROW(directory_negative_child),
	TABLE_ROW(directory_unused_children),
	TABLE_ROW(directory_held_child),
	TABLE_ROW(directory_held_below),
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
	TABLE_ROW(negative),
	TABLE_ROW(negative_held),
	TABLE_ROW(file),
	TABLE_ROW(file_held),
	TABLE_CASE(file_open, table_all),
	TABLE_ROW(directory),
	TABLE_ROW(directory_held),
	TABLE_ROW(directory_held_child),
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
