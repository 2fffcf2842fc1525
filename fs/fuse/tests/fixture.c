// SPDX-License-Identifier: GPL-2.0
/*
 * A mounted FUSE file system with a fake server behind it
 */

#include <linux/dcache.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/moduleparam.h>
#include <linux/mount.h>
#include <linux/namei.h>
#include <linux/path.h>
#include <linux/prandom.h>
#include <linux/slab.h>
#include <linux/stat.h>

#include <kunit/mount.h>
#include <kunit/resource.h>
#include <kunit/test.h>
#include <kunit/test-bug.h>
#include <kunit/thread.h>

#include "../dev.h"
#include "../fuse_dev_i.h"
#include "fixture_i.h"

/* The seed is the same every time, unless fuse_kunit.seed= says otherwise. */
#define FUSE_FX_SEED	1
static unsigned int fuse_fx_seed = FUSE_FX_SEED;
module_param_named(seed, fuse_fx_seed, uint, 0444);
MODULE_PARM_DESC(seed, "What random numbers and the order of parameters start from");

static char fuse_fx_left[64];

const char *fuse_fx_left_behind(void)
{
	return *fuse_fx_left ? fuse_fx_left : NULL;
}

static const char * const fuse_fx_properties[] = {
	"not fresh", "collateral", "not quiet", "not balanced", "not serial", "waits",
	"the server complains",
};

bool fuse_fx_broken(struct fuse_fixture *fx, enum fuse_fx_property property,
		    const char *fmt, ...)
{
	bool first = !test_and_set_bit(property, &fx->broken);
	struct fuse_fx_score *score = fx->score;
	char text[200];
	va_list args;

	if (score) {
		score->broken[property] += first;
		if (!first || score->said++ >= 2) {
			kunit_set_failure(fx->test);
			return false;
		}
	} else if (!first || hweight_long(fx->broken) > 2) {
		return false;
	}
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	KUNIT_FAIL(fx->test, "%s%s%s: %s", fx->title ?: "", fx->title ? "\n" : "",
		   fuse_fx_properties[property], text);
	return false;
}

/*
 * The file system type: what fs/fuse/virtio_fs.c is for virtiofs.
 */

static int fuse_fx_fill_super(struct super_block *sb, struct fs_context *fsc)
{
	struct fuse_fs_context ctx = {
		.rootmode		= S_IFDIR,
		.default_permissions	= true,
		.allow_other		= true,
		.max_read		= UINT_MAX,
		.destroy		= true,
		.no_control		= true,
	};
	int err;

	err = fuse_fill_super_common(sb, &ctx);
	if (err)
		return err;
	return fuse_send_init(get_fuse_mount_super(sb));
}

/* Mounted a second time, it is the same super block. */
static int fuse_fx_get_tree_again(struct fs_context *fsc)
{
	struct fuse_fixture *fx = fsc->fs_private;
	struct super_block *sb = fx->mnt->mnt_sb;

	atomic_inc(&sb->s_active);
	down_write(&sb->s_umount);
	fsc->root = dget(sb->s_root);
	return 0;
}

static int fuse_fx_get_tree(struct fs_context *fsc)
{
	struct fuse_fixture *fx = fsc->fs_private;
	struct fuse_chan *fch __free(fuse_chan_free) = fuse_chan_new();
	struct fuse_mount *fm;
	struct fuse_conn *fc;
	int err;

	if (fx->mnt)
		return fuse_fx_get_tree_again(fsc);

	fc = kzalloc_obj(*fc);
	fm = kzalloc_obj(*fm);
	if (!fch || !fc || !fm) {
		kfree(fm);
		kfree(fc);
		return -ENOMEM;
	}
	fuse_iqueue_init(&fch->iq, &fuse_fake_iqueue_ops, fx->server);
	fuse_conn_init(fc, fm, fsc->user_ns, no_free_ptr(fch));
	fc->release = fuse_free_conn;
	fc->delete_stale = fx->delete_stale;
	fc->auto_submounts = true;

	fsc->s_fs_info = fm;
	err = get_tree_nodev(fsc, fuse_fx_fill_super);
	/* Still here if no super block has taken it over. */
	if (fsc->s_fs_info)
		fuse_mount_destroy(fm);
	return err;
}

static const struct fs_context_operations fuse_fx_context_ops = {
	.get_tree	= fuse_fx_get_tree,
};

static int fuse_fx_init_fs_context(struct fs_context *fsc)
{
	if (fsc->purpose == FS_CONTEXT_FOR_SUBMOUNT)
		return fuse_init_fs_context_submount(fsc);
	fsc->fs_private = kunit_get_current_test()->priv;
	fsc->ops = &fuse_fx_context_ops;
	return 0;
}

static void fuse_fx_kill_sb(struct super_block *sb)
{
	struct fuse_mount *fm = get_fuse_mount_super(sb);

	if (sb->s_root && fuse_mount_remove(fm))
		fuse_conn_destroy(fm);
	kill_anon_super(sb);
	fuse_mount_destroy(fm);
}

static struct file_system_type fuse_fx_fs_type = {
	.owner			= THIS_MODULE,
	.name			= "fuse_kunit",
	.init_fs_context	= fuse_fx_init_fs_context,
	.kill_sb		= fuse_fx_kill_sb,
};

int fuse_fx_do_walk_mounts(struct fuse_fx_op *op)
{
	struct fs_context *fsc = fs_context_for_mount(&fuse_fx_fs_type, 0);
	struct vfsmount *mnt;
	struct dentry *dentry;

	if (IS_ERR(fsc))
		return PTR_ERR(fsc);
	mnt = fc_mount(fsc);
	put_fs_context(fsc);
	if (IS_ERR(mnt))
		return PTR_ERR(mnt);
	dentry = mount_subtree(mnt, op->path[0]);
	if (!IS_ERR(dentry)) {
		struct super_block *sb = dentry->d_sb;

		dput(dentry);
		deactivate_locked_super(sb);
	}
	return PTR_ERR_OR_ZERO(dentry);
}

void fuse_fx_shuffle(void *params, size_t nr, size_t size)
{
	struct rnd_state random;
	char *param = params;
	size_t i, j, k;

	prandom_seed_state(&random, fuse_fx_seed);
	for (i = nr; fuse_fx_seed != FUSE_FX_SEED && i > 1; i--) {
		j = prandom_u32_state(&random) % i;
		for (k = 0; k < size; k++)
			swap(param[(i - 1) * size + k], param[j * size + k]);
	}
}

/*
 * What is checked at the end of a test.
 */

static bool fuse_fx_check_ref(struct fuse_fixture *fx, struct dentry *dentry)
{
	int refs = d_count(dentry), inode_refs = 0;
	struct fuse_fx_held *held;
	char text[100];

	refs -= hlist_count_nodes(&dentry->d_children);
	if (IS_ROOT(dentry))
		refs -= fx->root_refs;
	if (d_really_is_positive(dentry))
		inode_refs = icount_read_once(d_inode(dentry)) -
			     hlist_count_nodes(&d_inode(dentry)->i_dentry);
	list_for_each_entry(held, &fx->held, list) {
		refs -= held->dentry == dentry;
		inode_refs -= held->inode && held->inode == d_inode(dentry);
	}
	if (!refs && !inode_refs)
		return true;
	fuse_fx_describe(text, sizeof(text), dentry);
	return fuse_fx_broken(fx, FUSE_FX_BALANCED,
			      "%s: %d references to it and %d to its inode too many", text, refs,
			      inode_refs);
}

/*
 * Look a name up in whatever the kernel has for its directory.
 *
 * Returns the dentry, or NULL if nobody can look it up any more.
 */
static struct dentry *fuse_fx_look_again(struct fuse_fixture *fx, u64 parent, const char *name)
{
	struct dentry *dir = fuse_fx_find_node(fx, parent), *dentry;

	if (!dir)
		return NULL;
	/* In a removed directory nothing is ever looked up again. */
	if (d_is_dir(dir) && !IS_DEADDIR(d_inode(dir)))
		dentry = lookup_noperm_unlocked(&QSTR(name), dir);
	else
		dentry = NULL;
	dput(dir);
	return IS_ERR(dentry) ? NULL : dentry;
}

static void fuse_fx_check_no_collateral(struct fuse_fixture *fx)
{
	struct fuse_fake_told *told;
	struct dentry *dentry;
	u64 seq;

	list_for_each_entry(told, &fx->server->told, list) {
		seq = told->seq;
		if (!told->cached)
			continue;
		dentry = fuse_fx_look_again(fx, told->parent, told->name);
		if (dentry && told->seq != seq)
			fuse_fx_broken(fx, FUSE_FX_NO_COLLATERAL,
				       "'%s' in nodeid %llu is not cached any more",
				       told->name, told->parent);
		dput(dentry);
	}
}

/* Is what the kernel has for a name from after the notification that started at @seq? */
static void fuse_fx_check_name(struct fuse_fixture *fx, u64 parent, const char *name, u64 seq)
{
	struct dentry *dentry = fuse_fx_look_again(fx, parent, name);
	struct fuse_fake_told *told;
	char text[100];

	if (!dentry)
		return;
	told = fuse_fake_told(fx->server, parent, name);
	if (!told || told->seq <= seq) {
		fuse_fx_describe(text, sizeof(text), dentry);
		fuse_fx_broken(fx, FUSE_FX_FRESH,
			       "%s in nodeid %llu is from before the notification",
			       text, parent);
	} else if (told->cached && told->nodeid !=
		   (d_is_positive(dentry) ? get_node_id(d_inode(dentry)) : 0)) {
		fuse_fx_describe(text, sizeof(text), dentry);
		fuse_fx_broken(fx, FUSE_FX_FRESH,
			       "%s in nodeid %llu is not nodeid %llu, which was told last",
			       text, parent, told->nodeid);
	}
	dput(dentry);
}

/* The same of the attributes of a node, and of the listing of a directory. */
static void fuse_fx_check_node(struct fuse_fixture *fx, const struct fuse_fx_call *call)
{
	u64 nodeid = call->parent, seq = call->seq;
	struct path path = { .mnt = fx->mnt };
	struct kstat stat;
	struct file *file;
	int err;

	path.dentry = fuse_fx_find_node(fx, nodeid);
	if (!path.dentry)
		return;
	/* What is no directory has no names. */
	if ((*call->name && !d_is_dir(path.dentry)) || IS_DEADDIR(d_inode(path.dentry)))
		goto put;
	vfs_getattr(&path, &stat, STATX_BASIC_STATS, 0);
	if (fuse_fake_seq(fx->server, nodeid, FUSE_FAKE_ATTR) <= seq)
		fuse_fx_broken(fx, FUSE_FX_FRESH,
			       "the attributes of nodeid %llu are from before the notification",
			       nodeid);
	if (!fx->server->cache_dir || !d_is_dir(path.dentry))
		goto put;
	file = dentry_open(&path, O_RDONLY | O_DIRECTORY, current_cred());
	if (IS_ERR(file))
		goto put;
	fuse_fx_read_dir(file, "", &err);
	fuse_fx_close_file(file);
	if (fuse_fake_seq(fx->server, nodeid, FUSE_FAKE_LISTING) <= seq)
		fuse_fx_broken(fx, FUSE_FX_FRESH,
			       "the listing of nodeid %llu is from before the notification",
			       nodeid);
put:
	dput(path.dentry);
}

/*
 * A rename takes an answer about the old name along to the new one. There it is stale if a
 * notification of the old name ended before the server answered the RENAME; or if it found
 * something, and nobody had asked for the old name again, so it was this entry; or if the
 * test knows that it was, as in an exchange, which tells both names.
 */
static void fuse_fx_check_renamed(struct fuse_fixture *fx, struct fuse_fake_told *told)
{
	bool stale = told->from_seq <= fx->epoch_seq && fx->epoch_end < told->seq;
	struct fuse_fx_call *call;

	list_for_each_entry(call, &fx->calls, list)
		if (call->parent == told->from->parent && !strcmp(call->name, told->from->name) &&
		    told->from_seq <= call->seq)
			stale |= call->end < told->seq || call->found_seq == told->from_seq ||
				 (told->nodeid && told->nodeid == fx->found_nodeid);
	if (stale)
		fuse_fx_check_name(fx, told->parent, told->name, told->seq);
}

static void fuse_fx_check_fresh(struct fuse_fixture *fx)
{
	struct fuse_fake_told *told;
	struct fuse_fx_call *call;

	list_for_each_entry(told, &fx->server->told, list)
		if (told->from)
			fuse_fx_check_renamed(fx, told);
	list_for_each_entry(call, &fx->calls, list)
		if (*call->name)
			fuse_fx_check_name(fx, call->parent, call->name, call->seq);
	/* After FUSE_NOTIFY_INC_EPOCH every name is stale. Children before their directories. */
	list_for_each_entry_reverse(told, &fx->server->told, list)
		if (told->seq <= fx->epoch_seq)
			fuse_fx_check_name(fx, told->parent, told->name, fx->epoch_seq);
	list_for_each_entry(call, &fx->calls, list)
		fuse_fx_check_node(fx, call);
}

/* Other mounts end some time after they are gone from the namespace. */
static bool fuse_fx_check_mounts(struct fuse_fixture *fx)
{
	struct super_block *sb = fx->mnt->mnt_sb;
	unsigned long limit = jiffies + KUNIT_THREAD_LIMIT;

	while (atomic_read(&sb->s_active) > 1 || !list_is_singular(&fuse_fx_conn(fx)->mounts)) {
		if (time_after(jiffies, limit))
			return fuse_fx_broken(fx, FUSE_FX_BALANCED,
					      "something is still mounted");
		schedule_timeout_uninterruptible(1);
	}
	return true;
}

/* All that is left in the dcache can go, and the kernel forgets every node. */
static bool fuse_fx_check_empty(struct fuse_fixture *fx)
{
	struct dentry *root = fx->mnt->mnt_root;
	u64 nodeid, nlookup;

	shrink_dcache_parent(root);
	fuse_fake_settle(fx->server);
	if (!hlist_empty(&root->d_children))
		return fuse_fx_broken(fx, FUSE_FX_BALANCED, "the dcache cannot be emptied");
	nodeid = fuse_fake_known(fx->server, &nlookup);
	if (nodeid)
		return fuse_fx_broken(fx, FUSE_FX_BALANCED,
				      "nodeid %llu (%llu lookups) is still in use",
				      nodeid, nlookup);
	if (icount_read_once(d_inode(root)) != 1)
		return fuse_fx_broken(fx, FUSE_FX_BALANCED,
				      "the root inode has %u references instead of 1",
				      icount_read_once(d_inode(root)));
	return true;
}

static void fuse_fx_check_complaint(struct fuse_fixture *fx)
{
	char complaint[FUSE_FAKE_COMPLAINT];

	if (fuse_fake_complaint(fx->server, complaint))
		fuse_fx_broken(fx, FUSE_FX_SERVER, "%s", complaint);
}

static bool fuse_fx_check(struct fuse_fixture *fx)
{
	struct fuse_fx_held *held;
	struct fuse_fx_thread *t;
	bool ok = true;

	fuse_fake_let_go(fx->server);
	list_for_each_entry(t, &fx->threads, list)
		ok &= t->thread && kunit_thread_join(t->thread, NULL);
	fuse_fx_check_complaint(fx);
	if (ok)
		fuse_fake_settle(fx->server);

	/* Anything else would wait for a lock that is not free. */
	if (!ok || !fuse_fx_check_locks(fx)) {
		strscpy(fuse_fx_left, fx->test->name);
		return false;
	}
	if (!fuse_fx_check_mounts(fx))
		return false;
	list_for_each_entry(held, &fx->held, list)
		if (held->file)
			fuse_fx_close_file(held->file);
	fuse_fx_check_no_collateral(fx);
	fuse_fx_check_fresh(fx);
	if (!fuse_fx_check_tree(fx, fx->mnt->mnt_root, fuse_fx_check_ref))
		return false;
	list_for_each_entry(held, &fx->held, list) {
		dput(held->dentry);
		iput(held->inode);
	}
	ok = fuse_fx_check_empty(fx);
	/* Again: a FORGET too many comes late. */
	fuse_fx_check_complaint(fx);
	return ok;
}

static void fuse_fx_free(struct fuse_fixture *fx)
{
	struct fuse_fx_thread *t, *next_thread;
	struct fuse_fx_call *call, *next_call;

	list_for_each_entry_safe(t, next_thread, &fx->threads, list)
		kfree(t);
	list_for_each_entry_safe(call, next_call, &fx->calls, list)
		kfree(call);
	kfree(fx);
}

void fuse_fx_exit(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	bool ok;

	if (!fx)
		return;
	ok = !fx->mnt || fuse_fx_check(fx);
	if (fx->again && test->status == KUNIT_FAILURE)
		kunit_info(test, "alone: %s\n", fx->again);
	if (ok) {
		fuse_fx_free(fx);
		return;
	}
	/* To unmount would hang or crash: leave mount and server behind. */
	kunit_kern_mount_leak(test, fx->mnt);
	fuse_fake_server_leak(fx->server);
}

static int fuse_fx_set_up(struct kunit *test, bool delete_stale)
{
	struct fuse_fixture *fx = kzalloc_obj(*fx);
	struct file_system_type *fuse;
	struct vfsmount *mnt;

	if (!fx)
		return -ENOMEM;
	if (fuse_fx_left_behind()) {
		kfree(fx);
		kunit_skip(test, "%s left a lock or a thread behind", fuse_fx_left);
	}
	/* If FUSE calls d_move() itself, then for this file system type, too. */
	fuse = get_fs_type("fuse");
	if (fuse) {
		fuse_fx_fs_type.fs_flags = fuse->fs_flags & FS_RENAME_DOES_D_MOVE;
		module_put(fuse->owner);
	}
	/* From here on, fuse_fx_exit() takes care of it. */
	test->priv = fx;
	fx->test = test;
	fx->delete_stale = delete_stale;
	spin_lock_init(&fx->lock);
	INIT_LIST_HEAD(&fx->calls);
	INIT_LIST_HEAD(&fx->held);
	INIT_LIST_HEAD(&fx->threads);
	fx->server = fuse_fake_server_start(test);

	mnt = kunit_kern_mount(test, &fuse_fx_fs_type);
	if (IS_ERR(mnt))
		return PTR_ERR(mnt);
	fx->mnt = mnt;
	/* INIT is answered in the background. */
	fuse_fake_settle(fx->server);
	fx->root_refs = d_count(mnt->mnt_root);
	return 0;
}

int fuse_fx_init(struct kunit *test)
{
	return fuse_fx_set_up(test, false);
}

int fuse_fx_init_delete_stale(struct kunit *test)
{
	return fuse_fx_set_up(test, true);
}

void fuse_fx_add_neighbours(struct fuse_fixture *fx, const char *dir)
{
	static const char * const names[] = { "file", "link", "dir", "dir/below", "absent" };
	char path[ARRAY_SIZE(names)][32];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		snprintf(path[i], sizeof(path[i]), "%s~%s", dir, names[i]);
	fuse_fake_add(fx->server, path[0], S_IFREG | 0644);
	fuse_fake_link(fx->server, path[0], path[1]);
	fuse_fake_add(fx->server, path[2], S_IFDIR | 0755);
	fuse_fake_add(fx->server, path[3], S_IFREG | 0644);
	for (i = 0; i < ARRAY_SIZE(names); i++)
		FUSE_ASSERT_ERR(fx->test, fuse_fx_stat(fx, path[i]), i < 4 ? 0 : -ENOENT);
}

int fuse_fx_init_neighbours(struct kunit *test)
{
	int err = fuse_fx_init(test);

	if (!err)
		fuse_fx_add_neighbours(test->priv, "");
	return err;
}
