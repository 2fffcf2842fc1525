// SPDX-License-Identifier: GPL-2.0
/*
 * A mounted FUSE file system with a fake server behind it
 */

#include <linux/bvec.h>
#include <linux/dcache.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/highmem.h>
#include <linux/moduleparam.h>
#include <linux/mount.h>
#include <linux/namei.h>
#include <linux/path.h>
#include <linux/prandom.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/stat.h>
#include <linux/uio.h>

#include <kunit/mount.h>
#include <kunit/resource.h>
#include <kunit/test.h>
#include <kunit/test-bug.h>
#include <kunit/thread.h>

#include "../dev.h"
#include "../fuse_i.h"
#include "../fuse_dev_i.h"
#include "export.h"
#include "fixture.h"

/* The same numbers every time, unless one asks for others: a verdict should last. */
#define FUSE_FX_SEED	1
static unsigned int fuse_fx_seed_arg = FUSE_FX_SEED;
module_param_named(seed, fuse_fx_seed_arg, uint, 0444);
MODULE_PARM_DESC(seed, "What random numbers and the order of parameters start from");

/**
 * struct fuse_fx_call - A notification that was made
 * @list: entry in the fixture's list
 * @parent: nodeid of the directory
 * @seq: the server's counter when the call started: what the kernel was told
 *	earlier is stale
 * @name: the name
 */
struct fuse_fx_call {
	struct list_head list;
	u64 parent;
	u64 seq;
	char name[];
};

struct fuse_fx_held {
	struct list_head list;
	struct dentry *dentry;
	struct inode *inode;
};

struct fuse_fx_file {
	struct list_head list;
	struct file *file;
};

struct fuse_fx_thread {
	struct list_head list;
	struct kunit_thread *thread;
	int (*call)(struct fuse_fx_op *op);
	struct fuse_fx_op op;
};

/*
 * A property does not hold. The first ones lead to the mistake, and a report of
 * a screenful is not read.
 */
static __printf(2, 3) void fuse_fx_broken(struct fuse_fixture *fx, const char *fmt, ...)
{
	char text[160];
	va_list args;

	if (atomic_inc_return(&fx->broken) > 2)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	KUNIT_FAIL(fx->test, "%s", text);
}

static struct fuse_conn *fuse_fx_conn(struct fuse_fixture *fx)
{
	return get_fuse_conn_super(fx->mnt->mnt_sb);
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

/*
 * System calls.
 */

static int fuse_fx_lookup(struct fuse_fixture *fx, const char *name, unsigned int flags,
			  struct path *path)
{
	return vfs_path_lookup(fx->mnt->mnt_root, fx->mnt, name, flags, path);
}

/* The directory that @name is in; @last is set to what follows the last slash. */
static int fuse_fx_parent(struct fuse_fixture *fx, const char *name, struct path *dir,
			  struct qstr *last)
{
	const char *slash = strrchr(name, '/');
	char *parent;
	int err;

	if (!slash) {
		*last = QSTR(name);
		*dir = (struct path) { .mnt = fx->mnt, .dentry = fx->mnt->mnt_root };
		path_get(dir);
		return 0;
	}
	*last = QSTR(slash + 1);
	parent = kmemdup_nul(name, slash - name, GFP_KERNEL);
	if (!parent)
		return -ENOMEM;
	err = fuse_fx_lookup(fx, parent, LOOKUP_DIRECTORY, dir);
	kfree(parent);
	return err;
}

static int fuse_fx_is_node(struct inode *inode, void *nodeid)
{
	return get_node_id(inode) == *(u64 *)nodeid;
}

/* A dentry of what the kernel knows as @nodeid, or NULL. */
static struct dentry *fuse_fx_find_node(struct fuse_fixture *fx, u64 nodeid)
{
	struct inode *inode = ilookup5(fx->mnt->mnt_sb, nodeid, fuse_fx_is_node, &nodeid);
	struct dentry *dentry = inode ? d_find_alias(inode) : NULL;

	iput(inode);
	return dentry;
}

struct dentry *fuse_fx_lookup_at(struct fuse_fixture *fx, u64 nodeid, const char *name)
{
	struct dentry *dir = fuse_fx_find_node(fx, nodeid), *dentry;
	struct path path;
	int err;

	if (!dir)
		return ERR_PTR(-ESTALE);
	err = vfs_path_lookup(dir, fx->mnt, name, 0, &path);
	dput(dir);
	if (err)
		return ERR_PTR(err);
	dentry = dget(path.dentry);
	path_put(&path);
	return dentry;
}

static int fuse_fx_stat_flags(struct fuse_fixture *fx, const char *name, unsigned int flags)
{
	struct kstat stat;
	struct path path;
	int err;

	err = fuse_fx_lookup(fx, name, flags, &path);
	if (err)
		return err;
	err = vfs_getattr(&path, &stat, STATX_BASIC_STATS, 0);
	path_put(&path);
	return err;
}

u64 fuse_fx_seed(struct kunit *test)
{
	kunit_info(test, "seed %u\n", fuse_fx_seed_arg);
	return fuse_fx_seed_arg;
}

void fuse_fx_shuffle(void *params, size_t nr, size_t size)
{
	struct rnd_state random;
	char *param = params;
	size_t i, j, k;

	prandom_seed_state(&random, fuse_fx_seed_arg);
	for (i = nr; fuse_fx_seed_arg != FUSE_FX_SEED && i > 1; i--) {
		j = prandom_u32_state(&random) % i;
		for (k = 0; k < size; k++)
			swap(param[(i - 1) * size + k], param[j * size + k]);
	}
}

int fuse_fx_stat(struct fuse_fixture *fx, const char *name)
{
	return fuse_fx_stat_flags(fx, name, 0);
}

int fuse_fx_stat_asks(struct fuse_fixture *fx, const char *name, unsigned int *asked)
{
	unsigned int before = fuse_fake_requests(fx->server, FUSE_LOOKUP);
	int err = fuse_fx_stat(fx, name);

	*asked = fuse_fake_requests(fx->server, FUSE_LOOKUP) - before;
	return err;
}

static struct file *fuse_fx_open_file(struct fuse_fixture *fx, const char *name, int flags)
{
	struct path root = { .mnt = fx->mnt, .dentry = fx->mnt->mnt_root };

	return file_open_root(&root, name, flags, flags & O_CREAT ? 0644 : 0);
}

static void fuse_fx_close_file(struct file *file)
{
	if (file->f_op->flush)
		file->f_op->flush(file, NULL);
	/* fput() would leave the rest to a work item, as this is a kernel thread. */
	__fput_sync(file);
}

struct file *fuse_fx_open(struct fuse_fixture *fx, const char *name, int flags)
{
	struct fuse_fx_file *f = kunit_kzalloc(fx->test, sizeof(*f), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(fx->test, f);
	f->file = fuse_fx_open_file(fx, name, flags);
	if (!IS_ERR(f->file))
		list_add_tail(&f->list, &fx->files);
	return f->file;
}

void fuse_fx_close(struct fuse_fixture *fx, struct file *file)
{
	struct fuse_fx_file *f;

	list_for_each_entry(f, &fx->files, list) {
		if (f->file == file) {
			list_del(&f->list);
			fuse_fx_close_file(file);
			return;
		}
	}
	KUNIT_FAIL(fx->test, "this file is not open");
}

static int fuse_fx_make(struct fuse_fixture *fx, const char *name, umode_t mode)
{
	struct dentry *dentry;
	struct path dir;
	struct qstr last;
	int err;

	err = fuse_fx_parent(fx, name, &dir, &last);
	if (err)
		return err;
	dentry = start_creating(&nop_mnt_idmap, dir.dentry, &last);
	err = PTR_ERR_OR_ZERO(dentry);
	if (!err && S_ISDIR(mode)) {
		dentry = vfs_mkdir(&nop_mnt_idmap, d_inode(dir.dentry), dentry, mode, NULL);
		err = PTR_ERR_OR_ZERO(dentry);
	} else if (!err) {
		err = vfs_mknod(&nop_mnt_idmap, d_inode(dir.dentry), dentry, mode, 0, NULL);
	}
	end_creating(dentry);
	path_put(&dir);
	return err;
}

int fuse_fx_mkdir(struct fuse_fixture *fx, const char *name)
{
	return fuse_fx_make(fx, name, S_IFDIR | 0755);
}

int fuse_fx_mknod(struct fuse_fixture *fx, const char *name)
{
	return fuse_fx_make(fx, name, S_IFREG | 0644);
}

static int fuse_fx_remove(struct fuse_fixture *fx, const char *name, bool rmdir)
{
	struct dentry *dentry;
	struct path dir;
	struct qstr last;
	int err;

	err = fuse_fx_parent(fx, name, &dir, &last);
	if (err)
		return err;
	dentry = start_removing(&nop_mnt_idmap, dir.dentry, &last);
	err = PTR_ERR_OR_ZERO(dentry);
	if (!err && rmdir)
		err = vfs_rmdir(&nop_mnt_idmap, d_inode(dir.dentry), dentry, NULL);
	else if (!err)
		err = vfs_unlink(&nop_mnt_idmap, d_inode(dir.dentry), dentry, NULL);
	end_removing(dentry);
	path_put(&dir);
	return err;
}

int fuse_fx_rmdir(struct fuse_fixture *fx, const char *name)
{
	return fuse_fx_remove(fx, name, true);
}

int fuse_fx_unlink(struct fuse_fixture *fx, const char *name)
{
	return fuse_fx_remove(fx, name, false);
}

int fuse_fx_link(struct fuse_fixture *fx, const char *old, const char *new)
{
	struct path target, dir;
	struct dentry *dentry;
	struct qstr last;
	int err;

	err = fuse_fx_lookup(fx, old, 0, &target);
	if (err)
		return err;
	err = fuse_fx_parent(fx, new, &dir, &last);
	if (err)
		goto put_target;
	dentry = start_creating(&nop_mnt_idmap, dir.dentry, &last);
	err = PTR_ERR_OR_ZERO(dentry);
	if (!err)
		err = vfs_link(target.dentry, &nop_mnt_idmap, d_inode(dir.dentry), dentry, NULL);
	end_creating(dentry);
	path_put(&dir);
put_target:
	path_put(&target);
	return err;
}

/* One more rename between two directories that are locked already. */
static int fuse_fx_rename_locked(struct renamedata *rd, struct qstr *old, struct qstr *new)
{
	int err;

	rd->old_dentry = lookup_noperm(old, rd->old_parent);
	if (IS_ERR(rd->old_dentry))
		return PTR_ERR(rd->old_dentry);
	rd->new_dentry = lookup_noperm(new, rd->new_parent);
	err = PTR_ERR_OR_ZERO(rd->new_dentry);
	if (!err) {
		err = d_is_negative(rd->old_dentry) ? -ENOENT : vfs_rename(rd);
		dput(rd->new_dentry);
	}
	dput(rd->old_dentry);
	return err;
}

static bool fuse_fx_same_dir(const char *a, const char *b)
{
	size_t len = kbasename(a) - a;

	return len == kbasename(b) - b && !strncmp(a, b, len);
}

/*
 * Rename @path[0] to @path[1]. When @path[2] is set, rename that to @path[3]
 * before any lock is released; both renames are between the same directories, in
 * one direction or the other.
 */
static int fuse_fx_renames(struct fuse_fixture *fx, const char * const path[4],
			   unsigned int flags, unsigned int flags2)
{
	struct renamedata rd = { .mnt_idmap = &nop_mnt_idmap, .flags = flags };
	struct path olddir, newdir;
	struct qstr oldlast, newlast;
	int err;

	err = fuse_fx_parent(fx, path[0], &olddir, &oldlast);
	if (err)
		return err;
	err = fuse_fx_parent(fx, path[1], &newdir, &newlast);
	if (err)
		goto put_olddir;
	rd.old_parent = olddir.dentry;
	rd.new_parent = newdir.dentry;
	err = start_renaming(&rd, 0, &oldlast, &newlast);
	if (err)
		goto put_newdir;
	err = vfs_rename(&rd);
	if (!err && path[2]) {
		struct renamedata second = rd;

		oldlast = QSTR(kbasename(path[2]));
		newlast = QSTR(kbasename(path[3]));
		second.flags = flags2;
		if (!fuse_fx_same_dir(path[2], path[0]))
			swap(second.old_parent, second.new_parent);
		err = fuse_fx_rename_locked(&second, &oldlast, &newlast);
	}
	end_renaming(&rd);
put_newdir:
	path_put(&newdir);
put_olddir:
	path_put(&olddir);
	return err;
}

int fuse_fx_rename(struct fuse_fixture *fx, const char *old, const char *new,
		   unsigned int flags)
{
	const char *path[4] = { old, new };

	return fuse_fx_renames(fx, path, flags, 0);
}

/*
 * What the dcache holds.
 */

static struct dentry *fuse_fx_find(struct dentry *dir, const char *name)
{
	struct dentry *dentry = try_lookup_noperm(&QSTR(name), dir);

	return IS_ERR(dentry) ? NULL : dentry;
}

/* Takes over the references. */
static void fuse_fx_keep(struct fuse_fixture *fx, struct dentry *dentry, struct inode *inode)
{
	struct fuse_fx_held *held = kunit_kzalloc(fx->test, sizeof(*held), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(fx->test, held);
	held->dentry = dentry;
	held->inode = inode;
	list_add_tail(&held->list, &fx->held);
}

struct dentry *fuse_fx_hold(struct fuse_fixture *fx, const char *name)
{
	struct dentry *dentry;
	struct path path;

	KUNIT_ASSERT_EQ_MSG(fx->test, fuse_fx_lookup(fx, name, 0, &path), 0, "lookup of %s", name);
	dentry = dget(path.dentry);
	path_put(&path);
	fuse_fx_keep(fx, dentry, NULL);
	return dentry;
}

struct inode *fuse_fx_hold_inode(struct fuse_fixture *fx, const char *name)
{
	struct inode *inode;
	struct path path;

	KUNIT_ASSERT_EQ_MSG(fx->test, fuse_fx_lookup(fx, name, 0, &path), 0, "lookup of %s", name);
	inode = d_inode(path.dentry);
	ihold(inode);
	path_put(&path);
	fuse_fx_keep(fx, NULL, inode);
	return inode;
}

struct dentry *fuse_fx_hold_cached(struct fuse_fixture *fx, struct dentry *dir,
				   const char *name)
{
	struct dentry *dentry = fuse_fx_find(dir, name);

	if (dentry)
		fuse_fx_keep(fx, dentry, NULL);
	return dentry;
}

bool fuse_fx_cached(struct fuse_fixture *fx, struct dentry *dir, const char *name)
{
	struct dentry *dentry = fuse_fx_find(dir, name);

	dput(dentry);
	return dentry;
}

bool fuse_fx_cached_positive(struct fuse_fixture *fx, struct dentry *dir, const char *name)
{
	struct dentry *dentry = fuse_fx_find(dir, name);
	bool positive = dentry && d_really_is_positive(dentry);

	dput(dentry);
	return positive;
}

bool fuse_fx_cached_mountpoint(struct fuse_fixture *fx, struct dentry *dir, const char *name)
{
	struct dentry *dentry = fuse_fx_find(dir, name);
	bool mountpoint = dentry && d_mountpoint(dentry);

	dput(dentry);
	return mountpoint;
}

int fuse_fx_describe(char *buf, size_t size, struct dentry *dentry)
{
	struct inode *inode;

	if (!dentry)
		return scnprintf(buf, size, "not cached");
	inode = d_inode(dentry);
	if (!inode)
		return scnprintf(buf, size, "'%pd' (%s, negative, count %d)", dentry,
				 d_unhashed(dentry) ? "unhashed" : "hashed", d_count(dentry));
	return scnprintf(buf, size, "'%pd' (%s, positive, count %d; nodeid %llu, count %u)",
			 dentry, d_unhashed(dentry) ? "unhashed" : "hashed", d_count(dentry),
			 get_node_id(inode), icount_read_once(inode));
}

/*
 * Locks. As for all that is checked here, nobody else changes the dcache: no
 * other thread of the test runs, and the server is idle.
 */

/* Depth first, until @check says that something is wrong. */
static bool fuse_fx_check_tree(struct fuse_fixture *fx, struct dentry *dentry,
			       bool (*check)(struct fuse_fixture *, struct dentry *))
{
	struct dentry *child;

	hlist_for_each_entry(child, &dentry->d_children, d_sib)
		if (!fuse_fx_check_tree(fx, child, check))
			return false;
	return check(fx, dentry);
}

static bool fuse_fx_check_lock(struct fuse_fixture *fx, struct dentry *dentry)
{
	if (d_really_is_negative(dentry) || !inode_is_locked(d_inode(dentry)))
		return true;
	fuse_fx_broken(fx, "not balanced: '%pd' is still locked", dentry);
	return false;
}

static bool fuse_fx_check_locks(struct fuse_fixture *fx)
{
	if (rwsem_is_locked(&fuse_fx_conn(fx)->killsb)) {
		fuse_fx_broken(fx, "not balanced: killsb is still held");
		return false;
	}
	return fuse_fx_check_tree(fx, fx->mnt->mnt_root, fuse_fx_check_lock);
}

/*
 * Notifications and threads.
 */

/*
 * What is cached for this name now is stale when the notification is done, and
 * so may be what is cached while it runs: call fuse_fake_take_back() after it too.
 */
static int fuse_fx_note(struct fuse_fixture *fx, u64 parent, const char *name, bool below)
{
	size_t size = strlen(name) + 1;
	struct fuse_fx_call *call;

	call = kzalloc_flex(*call, name, size);
	if (!call) {
		KUNIT_FAIL(fx->test, "no memory to note a notification");
		return -ENOMEM;
	}
	call->parent = parent;
	memcpy(call->name, name, size);
	scoped_guard(mutex, &fx->server->tree)
		call->seq = fx->server->seq;
	scoped_guard(spinlock, &fx->lock)
		list_add_tail(&call->list, &fx->calls);
	fuse_fake_take_back(fx->server, parent, name, below);
	return 0;
}

/* No notification, however it is made, sends a request or keeps a lock. */
static void fuse_fx_check_call(struct fuse_fixture *fx, const struct fuse_fake_quiet *quiet,
			       const char *what)
{
	if (quiet->requests)
		fuse_fx_broken(fx, "not quiet: the notification for '%s' sent opcode %u",
			       what, quiet->opcode);
	/* Do not run into a lock that was lost; while others run it may be theirs. */
	if (list_empty(&fx->threads))
		KUNIT_ASSERT_TRUE(fx->test, fuse_fx_check_locks(fx));
}

int fuse_fx_notify(struct fuse_fixture *fx, u64 parent, u64 child, const char *name,
		   u32 flags)
{
	bool below = !(flags & FUSE_EXPIRE_ONLY);
	struct fuse_conn *fc = fuse_fx_conn(fx);
	struct qstr qname = QSTR(name);
	struct fuse_fake_quiet quiet;
	int err;

	err = fuse_fx_note(fx, parent, name, below);
	if (err)
		return err;
	fuse_fake_quiet_begin(fx->server, &quiet);
	down_read(&fc->killsb);
	err = fuse_kunit_reverse_inval_entry(fc, parent, child, &qname, flags);
	up_read(&fc->killsb);
	fuse_fake_quiet_end(fx->server, &quiet);
	/* It may as well have hit what the name came to be in the meantime. */
	fuse_fake_take_back(fx->server, parent, name, below);
	fuse_fx_check_call(fx, &quiet, name);
	return err;
}

int fuse_fx_write(struct fuse_fixture *fx, enum fuse_notify_code code,
		  struct iov_iter *data)
{
	struct fuse_fake_quiet quiet;
	int err;

	fuse_fake_quiet_begin(fx->server, &quiet);
	err = fuse_kunit_notify(fuse_fx_conn(fx), code, data);
	fuse_fake_quiet_end(fx->server, &quiet);
	fuse_fx_check_call(fx, &quiet, "a message");
	return err;
}

int fuse_fx_send_malformed(struct fuse_fixture *fx, const struct fuse_fx_msg *msg)
{
	struct iov_iter iter;
	struct folio *folio;
	struct bio_vec bvec;
	int err;

	/* What a server writes reaches fuse_notify() as pages, not as an address. */
	folio = folio_alloc(GFP_KERNEL, get_order(max(msg->offset + msg->size, 1)));
	if (!folio) {
		KUNIT_FAIL(fx->test, "no memory for a message");
		return -ENOMEM;
	}
	memcpy_to_folio(folio, msg->offset, msg->data, msg->size);
	bvec_set_folio(&bvec, folio, msg->size, msg->offset);
	iov_iter_bvec(&iter, ITER_SOURCE, &bvec, 1, msg->size);
	err = fuse_fx_write(fx, msg->code, &iter);
	KUNIT_EXPECT_EQ_MSG(fx->test, folio_ref_count(folio), 1,
			    "not balanced: the kernel keeps the message");
	folio_put(folio);
	return err;
}

int fuse_fx_send(struct fuse_fixture *fx, const struct fuse_fx_msg *msg)
{
	int err;

	err = fuse_fx_note(fx, msg->parent, msg->name, msg->below);
	if (err)
		return err;
	err = fuse_fx_send_malformed(fx, msg);
	fuse_fake_take_back(fx->server, msg->parent, msg->name, msg->below);
	return err;
}

struct fuse_fx_msg *fuse_fx_msg(struct fuse_fixture *fx, enum fuse_notify_code code,
				u64 parent, u64 child, const char *name, u32 flags)
{
	const struct fuse_notify_inval_entry_out inval = {
		.parent		= parent,
		.namelen	= strlen(name),
		.flags		= flags,
	};
	const struct fuse_notify_delete_out delete = {
		.parent		= parent,
		.child		= child,
		.namelen	= strlen(name),
		.padding	= flags,
	};
	bool is_delete = code == FUSE_NOTIFY_DELETE;
	size_t header = is_delete ? sizeof(delete) : sizeof(inval);
	size_t size = header + strlen(name) + 1;
	struct fuse_fx_msg *msg;

	msg = kunit_kzalloc(fx->test, sizeof(*msg), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(fx->test, msg);
	msg->data = kunit_kzalloc(fx->test, size + SZ_64K, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(fx->test, msg->data);
	if (is_delete)
		memcpy(msg->data, &delete, header);
	else
		memcpy(msg->data, &inval, header);
	memcpy(msg->data + header, name, strlen(name));
	msg->code = code;
	msg->parent = parent;
	msg->name = name;
	msg->below = is_delete || !(flags & FUSE_EXPIRE_ONLY);
	msg->size = size;
	return msg;
}

void fuse_fx_inc_epoch(struct fuse_fixture *fx)
{
	struct iov_iter nothing;

	iov_iter_kvec(&nothing, ITER_SOURCE, NULL, 0, 0);
	KUNIT_EXPECT_EQ(fx->test, fuse_fx_write(fx, FUSE_NOTIFY_INC_EPOCH, &nothing), 0);
	fuse_fake_take_back_all(fx->server);
}

/*
 * Threads.
 */

static int fuse_fx_thread(void *data)
{
	struct fuse_fx_thread *t = data;
	struct fuse_fixture *fx = t->op.fx;
	int err;

	if (!t->op.upon.change)
		return t->call(&t->op);
	fuse_fake_upon_begin(fx->server, &t->op.upon);
	err = t->call(&t->op);
	if (!fuse_fake_upon_end(fx->server, &t->op.upon))
		KUNIT_FAIL(fx->test, "opcode %u did not come, so that '%s' was not changed",
			   t->op.upon.opcode, t->op.upon.path);
	return err;
}

struct kunit_thread *fuse_fx_run(struct fuse_fixture *fx, int (*call)(struct fuse_fx_op *op),
				 const struct fuse_fx_op *op)
{
	struct fuse_fx_thread *t = kzalloc_obj(*t);

	KUNIT_ASSERT_NOT_NULL(fx->test, t);
	t->call = call;
	t->op = *op;
	t->op.fx = fx;
	/* First of all, so that nothing of it is freed while the thread runs. */
	list_add_tail(&t->list, &fx->threads);
	t->thread = kunit_thread_run(fx->test, "fuse_fx", fuse_fx_thread, t);
	return t->thread;
}

int fuse_fx_do_stat(struct fuse_fx_op *op)
{
	return fuse_fx_stat_flags(op->fx, op->path[0], op->flags);
}

int fuse_fx_do_mknod(struct fuse_fx_op *op)
{
	return fuse_fx_mknod(op->fx, op->path[0]);
}

int fuse_fx_do_mkdir(struct fuse_fx_op *op)
{
	return fuse_fx_mkdir(op->fx, op->path[0]);
}

int fuse_fx_do_link(struct fuse_fx_op *op)
{
	return fuse_fx_link(op->fx, op->path[0], op->path[1]);
}

int fuse_fx_do_unlink(struct fuse_fx_op *op)
{
	return fuse_fx_unlink(op->fx, op->path[0]);
}

int fuse_fx_do_rmdir(struct fuse_fx_op *op)
{
	return fuse_fx_rmdir(op->fx, op->path[0]);
}

int fuse_fx_do_rename(struct fuse_fx_op *op)
{
	return fuse_fx_rename(op->fx, op->path[0], op->path[1], op->flags);
}

int fuse_fx_do_two_renames(struct fuse_fx_op *op)
{
	return fuse_fx_renames(op->fx, op->path, op->flags, op->flags2);
}

static bool fuse_fx_filldir(struct dir_context *ctx, const char *name, int namelen,
			    loff_t offset, u64 ino, unsigned int type)
{
	return true;
}

int fuse_fx_do_readdir(struct fuse_fx_op *op)
{
	struct dir_context ctx = { .actor = fuse_fx_filldir };
	struct file *file;
	int err;

	file = fuse_fx_open_file(op->fx, op->path[0], O_RDONLY | O_DIRECTORY);
	if (IS_ERR(file))
		return PTR_ERR(file);
	err = iterate_dir(file, &ctx);
	fuse_fx_close_file(file);
	return err;
}

int fuse_fx_do_notify(struct fuse_fx_op *op)
{
	return fuse_fx_notify(op->fx, op->parent, op->child, op->path[0], op->flags);
}

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

static int fuse_fx_gate_thread(void *data)
{
	struct fuse_fx_gate *gate = data;
	struct inode *dir = d_inode(gate->dir);

	gate->queues = !(gate->shared ? inode_trylock_shared(dir) : inode_trylock(dir));
	complete(&gate->tried);
	if (gate->queues && gate->shared)
		inode_lock_shared_nested(dir, I_MUTEX_PARENT);
	else if (gate->queues)
		inode_lock_nested(dir, I_MUTEX_PARENT);
	complete(&gate->locked);
	/* The limit is for a test that has gone wrong. */
	wait_for_completion_timeout(&gate->open, KUNIT_THREAD_LIMIT);
	if (gate->shared)
		inode_unlock_shared(dir);
	else
		inode_unlock(dir);
	return 0;
}

static void fuse_fx_gate_wait_for(struct fuse_fixture *fx, struct fuse_fx_gate *gate,
				  struct completion *done)
{
	KUNIT_ASSERT_TRUE_MSG(fx->test, wait_for_completion_timeout(done, KUNIT_THREAD_LIMIT),
			      "nobody unlocks '%pd'", gate->dir);
}

struct fuse_fx_gate *fuse_fx_gate(struct fuse_fixture *fx, struct dentry *dir, bool shared)
{
	struct fuse_fx_gate *gate = kzalloc_obj(*gate);

	KUNIT_ASSERT_NOT_NULL(fx->test, gate);
	gate->dir = dir;
	gate->shared = shared;
	init_completion(&gate->tried);
	init_completion(&gate->locked);
	init_completion(&gate->open);
	list_add_tail(&gate->list, &fx->gates);
	gate->thread = kunit_thread_run(fx->test, "fuse_fx_gate", fuse_fx_gate_thread, gate);
	fuse_fx_gate_wait_for(fx, gate, &gate->tried);
	if (gate->queues)
		KUNIT_ASSERT_TRUE(fx->test, kunit_thread_sleeps_on_rwsem(gate->thread,
									 &d_inode(dir)->i_rwsem));
	return gate;
}

void fuse_fx_gate_wait(struct fuse_fixture *fx, struct fuse_fx_gate *gate)
{
	fuse_fx_gate_wait_for(fx, gate, &gate->locked);
}

void fuse_fx_gate_open(struct fuse_fx_gate *gate)
{
	complete(&gate->open);
}

/*
 * The other properties.
 */

static bool fuse_fx_check_ref(struct fuse_fixture *fx, struct dentry *dentry)
{
	int refs = d_count(dentry);
	struct fuse_fx_held *held;
	char text[100];

	refs -= hlist_count_nodes(&dentry->d_children);
	if (IS_ROOT(dentry))
		refs -= fx->root_refs;
	list_for_each_entry(held, &fx->held, list)
		refs -= held->dentry == dentry;
	if (!refs)
		return true;
	fuse_fx_describe(text, sizeof(text), dentry);
	fuse_fx_broken(fx, "not balanced: %s has %d references too many", text, refs);
	return false;
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
			fuse_fx_broken(fx, "collateral: '%s' in nodeid %llu is not cached any more",
				       told->name, told->parent);
		dput(dentry);
	}
}

static void fuse_fx_check_fresh(struct fuse_fixture *fx)
{
	struct fuse_fake_told *told;
	struct fuse_fx_call *call;
	struct dentry *dentry;
	char text[100];

	list_for_each_entry(call, &fx->calls, list) {
		dentry = fuse_fx_look_again(fx, call->parent, call->name);
		if (!dentry)
			continue;
		told = fuse_fake_told(fx->server, call->parent, call->name);
		if (!told || told->seq <= call->seq) {
			fuse_fx_describe(text, sizeof(text), dentry);
			fuse_fx_broken(fx, "not fresh: %s in nodeid %llu is from before the call",
				       text, call->parent);
		}
		dput(dentry);
	}
}

/* Other mounts end some time after they are gone from the namespace. */
static bool fuse_fx_check_mounts(struct fuse_fixture *fx)
{
	struct super_block *sb = fx->mnt->mnt_sb;
	unsigned long limit = jiffies + KUNIT_THREAD_LIMIT;

	while (atomic_read(&sb->s_active) > 1 || !list_is_singular(&fuse_fx_conn(fx)->mounts)) {
		if (time_after(jiffies, limit)) {
			fuse_fx_broken(fx, "not balanced: something is still mounted");
			return false;
		}
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
	if (!hlist_empty(&root->d_children)) {
		fuse_fx_broken(fx, "not balanced: the dcache cannot be emptied");
		return false;
	}
	nodeid = fuse_fake_known(fx->server, &nlookup);
	if (nodeid) {
		fuse_fx_broken(fx, "not balanced: nodeid %llu (%llu lookups) is still in use",
			       nodeid, nlookup);
		return false;
	}
	if (icount_read_once(d_inode(root)) != 1) {
		fuse_fx_broken(fx, "not balanced: the root inode has %u references instead of 1",
			       icount_read_once(d_inode(root)));
		return false;
	}
	return true;
}

static void fuse_fx_check_complaint(struct fuse_fixture *fx)
{
	char complaint[FUSE_FAKE_COMPLAINT];

	if (fuse_fake_complaint(fx->server, complaint))
		fuse_fx_broken(fx, "the server complains: %s", complaint);
}

static bool fuse_fx_check(struct fuse_fixture *fx)
{
	struct fuse_fx_held *held;
	struct fuse_fx_file *f, *next;
	struct fuse_fx_gate *gate;
	struct fuse_fx_thread *t;
	bool ok = true;

	/* Who waits for an answer may be in front of a gate. */
	fuse_fake_let_go(fx->server);
	list_for_each_entry(gate, &fx->gates, list)
		fuse_fx_gate_open(gate);
	list_for_each_entry(gate, &fx->gates, list)
		ok &= gate->thread && kunit_thread_join(gate->thread, NULL);
	list_for_each_entry(t, &fx->threads, list)
		ok &= t->thread && kunit_thread_join(t->thread, NULL);
	fuse_fx_check_complaint(fx);
	if (!ok)
		return false;
	fuse_fake_settle(fx->server);

	/* Anything else would wait for a lock that is not free. */
	if (!fuse_fx_check_locks(fx) || !fuse_fx_check_mounts(fx))
		return false;
	list_for_each_entry_safe(f, next, &fx->files, list)
		fuse_fx_close_file(f->file);
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
	struct fuse_fx_gate *gate, *next_gate;

	list_for_each_entry_safe(gate, next_gate, &fx->gates, list)
		kfree(gate);
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
	/* What is lost is lost; leave the kernel in a state for the next test. */
	kunit_kern_mount_leak(test, fx->mnt);
	fuse_fake_server_leak(fx->server);
}

static int fuse_fx_set_up(struct kunit *test, bool delete_stale)
{
	struct fuse_fixture *fx = kzalloc_obj(*fx);
	struct vfsmount *mnt;

	if (!fx)
		return -ENOMEM;
	/* From here on, fuse_fx_exit() takes care of it. */
	test->priv = fx;
	fx->test = test;
	fx->delete_stale = delete_stale;
	spin_lock_init(&fx->lock);
	INIT_LIST_HEAD(&fx->calls);
	INIT_LIST_HEAD(&fx->held);
	INIT_LIST_HEAD(&fx->files);
	INIT_LIST_HEAD(&fx->gates);
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
	char file[32], link[32], subdir[32], below[32], absent[32];

	snprintf(file, sizeof(file), "%s~file", dir);
	snprintf(link, sizeof(link), "%s~link", dir);
	snprintf(subdir, sizeof(subdir), "%s~dir", dir);
	snprintf(below, sizeof(below), "%s~dir/below", dir);
	snprintf(absent, sizeof(absent), "%s~absent", dir);

	fuse_fake_add(fx->server, file, S_IFREG | 0644);
	fuse_fake_link(fx->server, file, link);
	fuse_fake_add(fx->server, subdir, S_IFDIR | 0755);
	fuse_fake_add(fx->server, below, S_IFREG | 0644);
	KUNIT_ASSERT_EQ(fx->test, fuse_fx_stat(fx, file), 0);
	KUNIT_ASSERT_EQ(fx->test, fuse_fx_stat(fx, link), 0);
	KUNIT_ASSERT_EQ(fx->test, fuse_fx_stat(fx, below), 0);
	KUNIT_ASSERT_EQ(fx->test, fuse_fx_stat(fx, absent), -ENOENT);
}
