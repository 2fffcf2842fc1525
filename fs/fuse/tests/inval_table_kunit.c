// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of fuse_reverse_inval_entry(): the decision table
 *
 * Each row is a state that a name can have in the cache. It is tried in several directories,
 * with each notification: "held.renamed.delete_other". The directory makes no difference,
 * unless it has delete_stale or its nodeid was given to another one.
 */

#include <linux/fs_context.h>
#include <linux/hash.h>
#include <linux/namei.h>

#include "fixture.h"

enum table_parent {
	IN_ROOT,
	IN_DELETE_STALE, /* the root of a connection with delete_stale, as virtiofs has it */
	IN_DEEP,	/* "a/dir", as all below when the entry gets cached */
	IN_RENAMED,	/* to another name in another directory */
	IN_UNHASHED,	/* invalidated itself, but alive */
	IN_REMOVED,	/* this one and the next only for rows that say so */
	IN_REUSED,	/* the server has given its nodeid to another directory */
	TABLE_PARENTS
};

static const char * const table_parents[] = {
	"root", "delete_stale", "deep", "renamed", "unhashed", "removed", "reused",
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

static const struct table_row {
	const char *test;		/* the case that it belongs to */
	const char *name;
	umode_t type;			/* 0: it is cached as absent */
	bool held;			/* it is in use */
	const char *below;		/* what is cached below it, */
	bool held_below;		/* and in use */
	bool mounted;			/* something is mounted there, or on the entry */
	bool expired;			/* the server has said before that the name is stale, */
	bool old_epoch;			/* or that everything is, */
	bool open;			/* or it is an open file */
	bool timed_out;			/* or the timeout has run out by itself */
	unsigned int parents;		/* as bits; 0 is those that are alive */
} table_rows[] = {
	{ "negative_notified",	"unused",	0,	 false },
	{ "negative_notified",	"held",		0,	 true },
	{ "negative_notified",	"expired",	0,	 true,	.expired = true },
	{ "negative_notified",	"old_epoch",	0,	 false,	.old_epoch = true },
	{ "positive_notified",	"unused",	S_IFREG, false },
	{ "positive_notified",	"held",		S_IFREG, true },
	{ "positive_notified",	"open",		S_IFREG, true,	.open = true },
	{ "positive_notified",	"expired",	S_IFREG, true,	.expired = true },
	{ "positive_notified",	"old_epoch",	S_IFREG, true,	.old_epoch = true },
	{ "positive_notified",	"timed_out",	S_IFREG, true,	.timed_out = true,
	  .parents = BIT(IN_ROOT) },
	{ "directory_notified",	"unused",	S_IFDIR, false },
	{ "directory_notified",	"held",		S_IFDIR, true },
	/* Names in it that are cached as absent do not prevent a delete. */
	{ "directory_notified",	"negative_child", S_IFDIR, true, "entry/none" },
	/* Nor does what nobody uses, however deep it is. */
	{ "directory_notified",	"unused_child",	S_IFDIR, true,	"entry/sub/file" },
	{ "directory_notified",	"held_child",	S_IFDIR, true,	"entry/file", true },
	/* One that is in use far below keeps everything above it. */
	{ "directory_notified",	"held_below",	S_IFDIR, true,	"entry/sub/file", true },
	{ "generation",		"held",		S_IFREG, true },
	{ "parent_removed_negative", "held",	0,	 true,	.parents = BIT(IN_REMOVED) },
	{ "parent_removed_file", "held",	S_IFREG, true,	.parents = BIT(IN_REMOVED) },
	{ "parent_removed_directory", "held",	S_IFDIR, true,	.parents = BIT(IN_REMOVED) },
	{ "parent_generation",	"held",		S_IFREG, true,	.parents = BIT(IN_REUSED) },
	/* What is mounted below it is a child in use, until it is detached. */
	{ "mount_below",	"held",		S_IFDIR, true,	"entry/sub", .mounted = true,
	  .parents = BIT(IN_ROOT) },
	{ "mount_point",	"held",		S_IFDIR, true,	.mounted = true,
	  .parents = BIT(IN_ROOT) },
};

/* The parameter of a test, and the entry that table_begin() makes of it */
struct table_entry {
	const struct table_row *row;
	enum table_parent parent;
	enum table_notification notification;

	struct fuse_fixture *fx;
	struct dentry *dir;
	u64 dir_nodeid;
	u64 nodeid;		/* 0 if it is negative */
	struct dentry *held;	/* its dentry if somebody uses it, else NULL */
};

static void table_description(struct kunit *test, const void *param, char *desc)
{
	const struct table_entry *e = param;

	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s.%s.%s", e->row->name,
		 table_parents[e->parent], table_notifications[e->notification]);
}

/* The rows of a case, with each directory and each notification */
static int table_init(struct kunit *test)
{
	const unsigned int max = ARRAY_SIZE(table_rows) * TABLE_PARENTS * TABLE_NOTIFICATIONS;
	struct table_entry *params = kunit_kcalloc(test, max, sizeof(*params), GFP_KERNEL);
	unsigned int i, nr = 0;

	if (!params)
		return -ENOMEM;
	for (i = 0; i < max; i++) {
		const struct table_row *row = &table_rows[i / TABLE_NOTIFICATIONS / TABLE_PARENTS];
		enum table_parent parent = i / TABLE_NOTIFICATIONS % TABLE_PARENTS;

		if (strcmp(row->test, test->name) ||
		    !(BIT(parent) & (row->parents ?: BIT(IN_REMOVED) - 1)))
			continue;
		params[nr].row = row;
		params[nr].parent = parent;
		params[nr++].notification = i % TABLE_NOTIFICATIONS;
	}
	fuse_fx_shuffle(params, nr, sizeof(*params));
	kunit_register_params_array(test, params, nr, table_description);
	return nr ? 0 : -ENOENT;
}

#define TABLE_CASE(_name, _run) {							\
	.name = #_name, .run_case = _run, .generate_params = kunit_array_gen_params,	\
	.param_init = table_init, .module_name = KBUILD_MODNAME,			\
}

/* The path of something near the entry, before the directory is changed */
static const char *table_path(struct table_entry *e, const char *name)
{
	char *path = kunit_kzalloc(e->fx->test, 64, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(e->fx->test, path);
	snprintf(path, 64, "%s%s", e->parent < IN_DEEP ? "" : "a/dir/", name);
	return path;
}

/* Make the directory, and have the entry cached in it. */
static struct table_entry table_begin(struct kunit *test)
{
	struct table_entry e = *(const struct table_entry *)test->param_value;
	const struct table_row *row = e.row;
	struct fuse_fixture *fx = test->priv;

	e.fx = fx;
	e.dir = fx->mnt->mnt_root;
	e.dir_nodeid = FUSE_ROOT_ID;
	fuse_fx_conn(fx)->delete_stale = e.parent == IN_DELETE_STALE;
	if (e.parent >= IN_DEEP) {
		fuse_fake_add(fx->server, "a", S_IFDIR | 0755);
		e.dir_nodeid = fuse_fake_add(fx->server, "a/dir", S_IFDIR | 0755);
		e.dir = fuse_fx_hold(fx, "a/dir");
	}
	/* Only what is empty, but for the entry, can be removed. */
	fuse_fx_add_neighbours(fx, e.parent < IN_REMOVED ? table_path(&e, "") : "");
	if (row->type)
		e.nodeid = fuse_fake_add(fx->server, table_path(&e, "entry"),
					 row->mounted && !row->below ? FUSE_FAKE_SUBMOUNT :
					 row->type | 0755);
	if (S_ISDIR(row->type)) {
		fuse_fake_add(fx->server, table_path(&e, "entry/file"), S_IFREG | 0644);
		fuse_fake_add(fx->server, table_path(&e, "entry/sub"),
			      row->mounted ? FUSE_FAKE_SUBMOUNT : S_IFDIR | 0755);
		fuse_fake_add(fx->server, table_path(&e, "entry/sub/file"), S_IFREG | 0644);
	}
	if (row->timed_out)
		fx->server->entry_valid = 0;
	FUSE_ASSERT_ERR(test, fuse_fx_stat(fx, table_path(&e, "entry")), row->type ? 0 : -ENOENT);
	if (row->held)
		e.held = fuse_fx_hold_cached(fx, e.dir, "entry");
	fx->server->entry_valid = FUSE_FAKE_VALID;
	if (row->below)
		fuse_fx_stat(fx, table_path(&e, row->below));
	if (row->held_below)
		fuse_fx_hold(fx, table_path(&e, row->below));
	if (row->open)
		fuse_fx_open(fx, table_path(&e, "entry"), O_RDONLY);
	if (row->expired)
		FUSE_EXPECT_ERR(test, fuse_fx_expire(fx, e.dir_nodeid, "entry"), 0);
	return e;
}

/* Do to the directory what is done after the entry was cached. */
static void table_change_parent(struct table_entry *e)
{
	/* Not held, the entry would be dropped with the directory. */
	struct dentry *entry __free(fuse_fx_dput) = try_lookup_noperm(&QSTR("entry"), e->dir);
	struct fuse_fixture *fx = e->fx;

	if (e->parent >= IN_REMOVED && e->nodeid)
		fuse_fake_remove(fx->server, "a/dir/entry");
	if (e->parent == IN_RENAMED) {
		FUSE_EXPECT_ERR(fx->test, fuse_fx_rename(fx, "a/dir", "renamed", 0), 0);
	} else if (e->parent == IN_UNHASHED) {
		fuse_fx_inval(fx, get_node_id(d_inode(e->dir->d_parent)), "dir");
		KUNIT_EXPECT_TRUE(fx->test, d_unhashed(e->dir));
	} else if (e->parent == IN_REMOVED) {
		FUSE_EXPECT_ERR(fx->test, fuse_fx_rmdir(fx, "a/dir"), 0);
		KUNIT_EXPECT_TRUE(fx->test, IS_DEADDIR(d_inode(e->dir)));
	} else if (e->parent == IN_REUSED) {
		fuse_fake_remove(fx->server, "a/dir");
		fuse_fake_reuse(fx->server, e->dir_nodeid, "a/next");
		KUNIT_EXPECT_PTR_NE(fx->test, fuse_fx_hold(fx, "a/next"), e->dir);
	}
}

static int table_notify(struct table_entry *e)
{
	/* A flag that the kernel does not know is ignored. */
	u32 flags = e->notification == EXPIRE ? FUSE_EXPIRE_ONLY : BIT(31);
	u64 child = 0;

	/* A negative entry has no node; any nodeid does for a delete. */
	if (e->notification == DELETE)
		child = e->nodeid ?: 4711;
	else if (e->notification == DELETE_OTHER)
		child = e->nodeid + BIT_ULL(32);
	return fuse_fx_notify(e->fx, e->dir_nodeid, child, "entry", flags);
}

/* What the notification has to return */
static int table_answer(struct table_entry *e)
{
	/* It is about the other directory. */
	if (e->parent == IN_REUSED)
		return -ENOENT;
	if (!e->nodeid)
		return 0;
	/* After these errors the name is stale all the same. */
	if (e->notification == DELETE_OTHER)
		return -ENOENT;
	return e->notification == DELETE && e->row->held_below ? -ENOTEMPTY : 0;
}

/* Is the entry what it has to be after the notification? */
static void table_expect(struct table_entry *e, const char *what, bool is, bool wanted)
{
	if (is != wanted)
		KUNIT_FAIL(e->fx->test, "'entry' is %s%s after %s", is ? "" : "not ", what,
			   table_notifications[e->notification]);
}

/* Change the directory, notify, and look at the entry. */
static void table_end(struct table_entry *e)
{
	struct inode *inode = e->held ? d_inode(e->held) : NULL;
	struct fuse_fixture *fx = e->fx;
	int answer = table_answer(e);
	/* Its node has no links left: it is dropped, or negative. */
	bool deleted = e->notification == DELETE && e->nodeid && !answer;
	/* Still hashed: it has only expired, or the other directory was notified. */
	bool kept = e->notification == EXPIRE || e->parent == IN_REUSED;
	enum fuse_fx_cached cached;

	/* With delete_stale an expired dentry is dropped at once, unless it is in use. */
	if (e->parent == IN_DELETE_STALE && !e->held)
		kept = false;
	table_change_parent(e);
	if (e->row->old_epoch)
		fuse_fx_inc_epoch(fx);
	KUNIT_EXPECT_TRUE_MSG(fx->test, fuse_fx_cached(e->dir, "entry"), "not cached before");
	FUSE_FX_ERR(KUNIT_FAIL, fx->test, table_notifications[e->notification], table_notify(e),
		    answer);
	cached = fuse_fx_cached(e->dir, "entry");
	if (!deleted)
		table_expect(e, "hashed", cached, kept);
	table_expect(e, "hashed and positive", cached == FUSE_FX_POSITIVE, kept && e->nodeid);
	if (!inode)
		return;
	table_expect(e, "without links", !inode->i_nlink, deleted);
	table_expect(e, "S_DEAD", IS_DEADDIR(inode), deleted && S_ISDIR(inode->i_mode));
	table_expect(e, "DCACHE_CANT_MOUNT", cant_mount(e->held), deleted);
	/* What nobody uses below it is dropped with it. */
	if (e->row->below && !e->row->held_below && !e->row->mounted && !kept)
		table_expect(e, "with something cached below it",
			     fuse_fx_cached(e->held, "sub") ||
			     fuse_fx_cached(e->held, "none"), false);
	/* There is a next generation of the node. */
	if (fuse_is_bad(inode))
		return;
	/* Only the server knows how many links are left, if it has removed one elsewhere. */
	table_expect(e, "without valid attributes",
		     fuse_fx_asks_attr(fx, e->held, STATX_BASIC_STATS),
		     e->parent == IN_REUSED && e->notification == DELETE);
}

static void table_run(struct kunit *test)
{
	struct table_entry e = table_begin(test);

	table_end(&e);
}

/*
 * A file that the server has replaced by one with the same nodeid. A delete has no
 * generation: it is about the node that the name leads to.
 */
static void generation(struct kunit *test)
{
	struct table_entry e = table_begin(test);
	const char *path = table_path(&e, "next");
	struct dentry *next;

	fuse_fake_remove(e.fx->server, table_path(&e, "entry"));
	fuse_fake_reuse(e.fx->server, e.nodeid, path);
	next = fuse_fx_hold(e.fx, path);
	KUNIT_EXPECT_PTR_NE(test, d_inode(next), d_inode(e.held));
	table_end(&e);
	KUNIT_EXPECT_EQ(test, d_inode(next)->i_nlink, 1);
	KUNIT_EXPECT_FALSE(test, d_unhashed(next));
}

/*
 * Mount the file system once more, in a private namespace, and walk along a path
 * through submounts, which are mounted until the call returns.
 */
static int table_walk_mounts(struct fuse_fx_op *op)
{
	struct super_block *sb = op->fx->mnt->mnt_sb;
	struct fs_context *fsc = fs_context_for_mount(sb->s_type, 0);
	struct vfsmount *mnt;
	struct dentry *dentry;

	if (IS_ERR(fsc))
		return PTR_ERR(fsc);
	atomic_inc(&sb->s_active);
	fsc->root = dget(sb->s_root);
	mnt = vfs_create_mount(fsc);
	put_fs_context(fsc);
	if (IS_ERR(mnt))
		return PTR_ERR(mnt);
	dentry = mount_subtree(mnt, op->path[0]);
	if (IS_ERR(dentry))
		return PTR_ERR(dentry);
	sb = dentry->d_sb;
	dput(dentry);
	deactivate_locked_super(sb);
	return 0;
}

static bool table_mounted(struct table_entry *e)
{
	struct dentry *dentry __free(fuse_fx_dput) =
		e->row->below ? try_lookup_noperm(&QSTR("sub"), e->held) : dget(e->held);

	return dentry && d_mountpoint(dentry);
}

/*
 * Something is mounted there, in a namespace that lasts while a thread waits for an
 * answer in it. It is detached if the entry is dropped, and stays if that expires.
 */
static void table_mount(struct kunit *test)
{
	struct table_entry e = table_begin(test);
	struct fuse_fx_op walk = { .path = { e.row->below ? "entry/sub/none" : "entry/none" } };
	struct kunit_thread *thread;

	thread = fuse_fx_run_to(e.fx, table_walk_mounts, &walk,
				fuse_fake_hold(e.fx->server, FUSE_LOOKUP, 0,
					       FUSE_FAKE_STOP_BEFORE));
	KUNIT_EXPECT_TRUE(test, table_mounted(&e));
	table_end(&e);
	KUNIT_EXPECT_EQ(test, table_mounted(&e), e.notification == EXPIRE);
	fuse_fake_let_go(e.fx->server);
	fuse_fx_join(e.fx, thread, "the walk", -ENOENT);
}

/* FUSE_NAME_MAX is for connections with enough pages per request. */
static const unsigned int table_lengths[] = {
	1, DNAME_INLINE_LEN - 1, DNAME_INLINE_LEN, DNAME_INLINE_LEN + 1, NAME_MAX, NAME_MAX + 1,
	FUSE_NAME_LOW_MAX, FUSE_NAME_LOW_MAX + 1, FUSE_NAME_MAX, FUSE_NAME_MAX + 1,
};

static void table_length_desc(const unsigned int *length, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%u bytes", *length);
}

KUNIT_ARRAY_PARAM(table_length, table_lengths, table_length_desc);

static void name_length(struct kunit *test)
{
	unsigned int length = *(const unsigned int *)test->param_value;
	int too_long = length <= FUSE_NAME_MAX ? 0 : -ENAMETOOLONG;
	char *name = kunit_kzalloc(test, length + 1, GFP_KERNEL);
	struct fuse_fixture *fx = test->priv;

	KUNIT_ASSERT_NOT_NULL(test, name);
	memset(name, 'n', length);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, name), too_long ?: -ENOENT);
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, name), too_long);
	if (too_long)
		return;
	fuse_fake_add(fx->server, name, S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, name), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, name), 0);
	KUNIT_EXPECT_FALSE(test, fuse_fx_cached(fx->mnt->mnt_root, name));
}

/* Of two names with the same hash, the one that is meant is dropped. */
static void hash_collision(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct dentry *root = fx->mnt->mnt_root;
	const unsigned int bits = 18;
	u32 *seen = kvcalloc(BIT(bits), sizeof(*seen), GFP_KERNEL);
	u32 hash, i, *slot;
	char one[9], two[9];

	KUNIT_ASSERT_NOT_NULL(test, seen);
	for (i = 1; i < BIT(24); i++) {
		snprintf(two, sizeof(two), "%08x", i);
		hash = full_name_hash(root, two, 8);
		slot = &seen[hash_32(hash, bits)];
		snprintf(one, sizeof(one), "%08x", *slot);
		if (*slot && full_name_hash(root, one, 8) == hash)
			break;
		*slot = i;
	}
	kvfree(seen);
	KUNIT_ASSERT_LT(test, i, BIT(24));
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, one), -ENOENT);
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, two), -ENOENT);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, two), -ENOENT);

	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, one), 0);
	KUNIT_EXPECT_FALSE(test, fuse_fx_cached(root, one));
	KUNIT_EXPECT_TRUE(test, fuse_fx_cached(root, two));
}

/* Of the fake server: what it complains about, and that it knows what the kernel holds. */
static void fake_server(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	u64 nodeid = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	struct dentry *dir;

	KUNIT_EXPECT_EQ(test, fuse_fake_known(fx->server), 0);
	dir = fuse_fx_hold(fx, "dir");
	fuse_fake_remove(fx->server, "dir");
	KUNIT_EXPECT_EQ(test, fuse_fake_known(fx->server), nodeid);

	FUSE_EXPECT_ERR(test, vfs_listxattr(dir, NULL, 0), -EOPNOTSUPP);
	KUNIT_EXPECT_STREQ(test, fx->server->complaint, "opcode 23 is unknown here");
	fx->server->complaint[0] = 0;
}

static struct kunit_case fuse_inval_table_cases[] = {
	TABLE_CASE(negative_notified, table_run),
	TABLE_CASE(positive_notified, table_run),
	TABLE_CASE(directory_notified, table_run),
	TABLE_CASE(generation, generation),
	TABLE_CASE(mount_point, table_mount),
	TABLE_CASE(mount_below, table_mount),
	TABLE_CASE(parent_removed_negative, table_run),
	TABLE_CASE(parent_removed_file, table_run),
	TABLE_CASE(parent_removed_directory, table_run),
	TABLE_CASE(parent_generation, table_run),
	KUNIT_CASE_PARAM(name_length, table_length_gen_params),
	KUNIT_CASE(hash_collision),
	KUNIT_CASE(fake_server),
	{}
};

static struct kunit_suite fuse_inval_table_suite = {
	.name		= "fuse_inval_table",
	.init		= fuse_fx_init,
	.exit		= fuse_fx_exit,
	.test_cases	= fuse_inval_table_cases,
};

kunit_test_suite(fuse_inval_table_suite);
