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
#include <linux/mount.h>
#include <linux/namei.h>
#include <linux/path.h>
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
};

struct fuse_fx_file {
	struct list_head list;
	struct file *file;
};

struct fuse_fx_thread {
	struct list_head list;
	struct kunit_thread *thread;
	struct fuse_fx_op op;
};

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

static int fuse_fx_get_tree(struct fs_context *fsc)
{
	struct fuse_chan *fch __free(fuse_chan_free) = fuse_chan_new();
	struct fuse_mount *fm;
	struct fuse_conn *fc;
	int err;

	fc = kzalloc_obj(*fc);
	fm = kzalloc_obj(*fm);
	if (!fch || !fc || !fm) {
		kfree(fm);
		kfree(fc);
		return -ENOMEM;
	}
	fuse_iqueue_init(&fch->iq, &fuse_fake_iqueue_ops, fsc->fs_private);
	fuse_conn_init(fc, fm, fsc->user_ns, no_free_ptr(fch));
	fc->release = fuse_free_conn;

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
	struct fuse_fixture *fx = kunit_get_current_test()->priv;

	fsc->fs_private = fx->server;
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

static int fuse_fx_lookup(struct fuse_fixture *fx, const char *name, struct path *path)
{
	return vfs_path_lookup(fx->mnt->mnt_root, fx->mnt, name, 0, path);
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
	err = fuse_fx_lookup(fx, parent, dir);
	kfree(parent);
	return err;
}

int fuse_fx_stat(struct fuse_fixture *fx, const char *name)
{
	struct kstat stat;
	struct path path;
	int err;

	err = fuse_fx_lookup(fx, name, &path);
	if (err)
		return err;
	err = vfs_getattr(&path, &stat, STATX_BASIC_STATS, 0);
	path_put(&path);
	return err;
}

int fuse_fx_stat_asks(struct fuse_fixture *fx, const char *name, unsigned int *asked)
{
	unsigned int before = fuse_fake_requests(fx->server, FUSE_LOOKUP);
	int err = fuse_fx_stat(fx, name);

	*asked = fuse_fake_requests(fx->server, FUSE_LOOKUP) - before;
	return err;
}

struct file *fuse_fx_open(struct fuse_fixture *fx, const char *name, int flags)
{
	struct path root = { .mnt = fx->mnt, .dentry = fx->mnt->mnt_root };
	struct fuse_fx_file *f = kunit_kzalloc(fx->test, sizeof(*f), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(fx->test, f);
	f->file = file_open_root(&root, name, flags, flags & O_CREAT ? 0644 : 0);
	if (!IS_ERR(f->file))
		list_add_tail(&f->list, &fx->files);
	return f->file;
}

static void fuse_fx_close_file(struct fuse_fx_file *f)
{
	struct file *file = f->file;

	list_del(&f->list);
	if (file->f_op->flush)
		file->f_op->flush(file, NULL);
	/* fput() would leave the rest to a work item, as this is a kernel thread. */
	__fput_sync(file);
}

void fuse_fx_close(struct fuse_fixture *fx, struct file *file)
{
	struct fuse_fx_file *f;

	list_for_each_entry(f, &fx->files, list) {
		if (f->file == file) {
			fuse_fx_close_file(f);
			return;
		}
	}
	KUNIT_FAIL(fx->test, "this file is not open");
}

int fuse_fx_mkdir(struct fuse_fixture *fx, const char *name)
{
	struct dentry *dentry;
	struct path dir;
	struct qstr last;
	int err;

	err = fuse_fx_parent(fx, name, &dir, &last);
	if (err)
		return err;
	dentry = start_creating(&nop_mnt_idmap, dir.dentry, &last);
	if (!IS_ERR(dentry))
		dentry = vfs_mkdir(&nop_mnt_idmap, d_inode(dir.dentry), dentry, 0755, NULL);
	err = PTR_ERR_OR_ZERO(dentry);
	end_creating(dentry);
	path_put(&dir);
	return err;
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

int fuse_fx_rename(struct fuse_fixture *fx, const char *old, const char *new,
		   unsigned int flags)
{
	struct renamedata rd = { .mnt_idmap = &nop_mnt_idmap, .flags = flags };
	struct path olddir, newdir;
	struct qstr oldlast, newlast;
	int err;

	err = fuse_fx_parent(fx, old, &olddir, &oldlast);
	if (err)
		return err;
	err = fuse_fx_parent(fx, new, &newdir, &newlast);
	if (err)
		goto put_olddir;
	rd.old_parent = olddir.dentry;
	rd.new_parent = newdir.dentry;
	err = start_renaming(&rd, 0, &oldlast, &newlast);
	if (!err) {
		err = vfs_rename(&rd);
		end_renaming(&rd);
	}
	path_put(&newdir);
put_olddir:
	path_put(&olddir);
	return err;
}

/*
 * What the dcache holds.
 */

static struct dentry *fuse_fx_hold_dentry(struct fuse_fixture *fx, struct dentry *dentry)
{
	struct fuse_fx_held *held = kunit_kzalloc(fx->test, sizeof(*held), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(fx->test, held);
	held->dentry = dentry;
	list_add_tail(&held->list, &fx->held);
	return dentry;
}

struct dentry *fuse_fx_hold(struct fuse_fixture *fx, const char *name)
{
	struct dentry *dentry;
	struct path path;

	KUNIT_ASSERT_EQ_MSG(fx->test, fuse_fx_lookup(fx, name, &path), 0, "lookup of %s", name);
	dentry = dget(path.dentry);
	path_put(&path);
	return fuse_fx_hold_dentry(fx, dentry);
}

struct dentry *fuse_fx_hold_cached(struct fuse_fixture *fx, struct dentry *dir,
				   const char *name)
{
	struct dentry *dentry = try_lookup_noperm(&QSTR(name), dir);

	return IS_ERR_OR_NULL(dentry) ? NULL : fuse_fx_hold_dentry(fx, dentry);
}

bool fuse_fx_cached(struct fuse_fixture *fx, struct dentry *dir, const char *name)
{
	struct dentry *dentry = try_lookup_noperm(&QSTR(name), dir);

	if (IS_ERR_OR_NULL(dentry))
		return false;
	dput(dentry);
	return true;
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
	KUNIT_FAIL(fx->test, "not balanced: '%pd' is still locked", dentry);
	return false;
}

static bool fuse_fx_check_locks(struct fuse_fixture *fx)
{
	if (rwsem_is_locked(&fuse_fx_conn(fx)->killsb)) {
		KUNIT_FAIL(fx->test, "not balanced: killsb is still held");
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
		KUNIT_FAIL(fx->test, "not quiet: the notification for '%s' sent opcode %u",
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

struct kunit_thread *fuse_fx_run(struct fuse_fixture *fx, int (*fn)(void *op),
				 const struct fuse_fx_op *op)
{
	struct fuse_fx_thread *t = kzalloc_obj(*t);

	KUNIT_ASSERT_NOT_NULL(fx->test, t);
	t->op = *op;
	t->op.fx = fx;
	/* First of all, so that nothing of it is freed while the thread runs. */
	list_add_tail(&t->list, &fx->threads);
	t->thread = kunit_thread_run(fx->test, "fuse_fx", fn, &t->op);
	return t->thread;
}

int fuse_fx_do_mkdir(void *data)
{
	struct fuse_fx_op *op = data;

	return fuse_fx_mkdir(op->fx, op->path);
}

int fuse_fx_do_rmdir(void *data)
{
	struct fuse_fx_op *op = data;

	return fuse_fx_rmdir(op->fx, op->path);
}

int fuse_fx_do_rename(void *data)
{
	struct fuse_fx_op *op = data;

	return fuse_fx_rename(op->fx, op->path, op->path2, 0);
}

int fuse_fx_do_unlink(void *data)
{
	struct fuse_fx_op *op = data;

	return fuse_fx_unlink(op->fx, op->path);
}

int fuse_fx_do_inval(void *data)
{
	struct fuse_fx_op *op = data;

	return fuse_fx_inval(op->fx, op->parent, op->path);
}

/*
 * The other properties.
 */

static bool fuse_fx_check_ref(struct fuse_fixture *fx, struct dentry *dentry)
{
	int refs = d_count(dentry);
	struct fuse_fx_held *held;

	refs -= hlist_count_nodes(&dentry->d_children);
	if (IS_ROOT(dentry))
		refs -= fx->root_refs;
	list_for_each_entry(held, &fx->held, list)
		refs -= held->dentry == dentry;
	if (!refs)
		return true;
	KUNIT_FAIL(fx->test, "not balanced: '%pd' (%s, %s) has %d references too many",
		   dentry, d_unhashed(dentry) ? "unhashed" : "hashed",
		   d_really_is_negative(dentry) ? "negative" : "positive", refs);
	return false;
}

static int fuse_fx_is_node(struct inode *inode, void *nodeid)
{
	return get_node_id(inode) == *(u64 *)nodeid;
}

/* Look a name up in whatever the kernel has for its directory. */
static bool fuse_fx_look_again(struct fuse_fixture *fx, u64 parent, const char *name)
{
	struct dentry *dir, *dentry;
	struct inode *inode;

	inode = ilookup5(fx->mnt->mnt_sb, parent, fuse_fx_is_node, &parent);
	if (!inode)
		return false;
	dir = d_find_alias(inode);
	iput(inode);
	if (!dir)
		return false;
	/* In a removed directory nothing is ever looked up again. */
	if (d_is_dir(dir) && !IS_DEADDIR(d_inode(dir)))
		dentry = lookup_noperm_unlocked(&QSTR(name), dir);
	else
		dentry = ERR_PTR(-ENOENT);
	dput(dir);
	if (IS_ERR(dentry))
		return false;
	dput(dentry);
	return true;
}

static void fuse_fx_check_no_collateral(struct fuse_fixture *fx)
{
	struct fuse_fake_told *told;
	u64 seq;

	list_for_each_entry(told, &fx->server->told, list) {
		seq = told->seq;
		if (!told->cached || !fuse_fx_look_again(fx, told->parent, told->name))
			continue;
		if (told->seq == seq)
			continue;
		KUNIT_FAIL(fx->test, "collateral: '%s' in nodeid %llu is not cached any more",
			   told->name, told->parent);
	}
}

static void fuse_fx_check_fresh(struct fuse_fixture *fx)
{
	struct fuse_fake_told *told;
	struct fuse_fx_call *call;

	list_for_each_entry(call, &fx->calls, list) {
		if (!fuse_fx_look_again(fx, call->parent, call->name))
			continue;
		told = fuse_fake_told(fx->server, call->parent, call->name);
		if (told && told->seq > call->seq)
			continue;
		KUNIT_FAIL(fx->test, "not fresh: '%s' in nodeid %llu comes from before the call",
			   call->name, call->parent);
	}
}

/* All that is left in the dcache can go, and the kernel forgets every node. */
static bool fuse_fx_check_empty(struct fuse_fixture *fx)
{
	struct dentry *root = fx->mnt->mnt_root;
	u64 nodeid, nlookup;

	shrink_dcache_parent(root);
	fuse_fake_settle(fx->server);
	if (!hlist_empty(&root->d_children)) {
		KUNIT_FAIL(fx->test, "not balanced: the dcache cannot be emptied");
		return false;
	}
	nodeid = fuse_fake_known(fx->server, &nlookup);
	if (nodeid) {
		KUNIT_FAIL(fx->test, "not balanced: nodeid %llu (%llu lookups) is still in use",
			   nodeid, nlookup);
		return false;
	}
	if (icount_read_once(d_inode(root)) != 1) {
		KUNIT_FAIL(fx->test, "not balanced: the root inode has %u references instead of 1",
			   icount_read_once(d_inode(root)));
		return false;
	}
	return true;
}

static void fuse_fx_check_complaint(struct fuse_fixture *fx)
{
	char complaint[FUSE_FAKE_COMPLAINT];

	if (fuse_fake_complaint(fx->server, complaint))
		KUNIT_FAIL(fx->test, "the server complains: %s", complaint);
}

static bool fuse_fx_check(struct fuse_fixture *fx)
{
	struct fuse_fx_held *held;
	struct fuse_fx_file *f, *next;
	struct fuse_fx_thread *t;
	bool ok = true;

	fuse_fake_let_go(fx->server);
	list_for_each_entry(t, &fx->threads, list)
		ok &= t->thread && kunit_thread_join(t->thread, NULL);
	fuse_fx_check_complaint(fx);
	if (!ok)
		return false;
	fuse_fake_settle(fx->server);

	/* Anything else would wait for a lock that is not free. */
	if (!fuse_fx_check_locks(fx))
		return false;
	list_for_each_entry_safe(f, next, &fx->files, list)
		fuse_fx_close_file(f);
	fuse_fx_check_no_collateral(fx);
	fuse_fx_check_fresh(fx);
	if (!fuse_fx_check_tree(fx, fx->mnt->mnt_root, fuse_fx_check_ref))
		return false;
	list_for_each_entry(held, &fx->held, list)
		dput(held->dentry);
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

	if (!fx)
		return;
	if (!fx->mnt || fuse_fx_check(fx)) {
		fuse_fx_free(fx);
		return;
	}
	/* What is lost is lost; leave the kernel in a state for the next test. */
	kunit_kern_mount_leak(test, fx->mnt);
	fuse_fake_server_leak(fx->server);
}

int fuse_fx_init(struct kunit *test)
{
	struct fuse_fixture *fx = kzalloc_obj(*fx);
	struct vfsmount *mnt;

	if (!fx)
		return -ENOMEM;
	/* From here on, fuse_fx_exit() takes care of it. */
	test->priv = fx;
	fx->test = test;
	spin_lock_init(&fx->lock);
	INIT_LIST_HEAD(&fx->calls);
	INIT_LIST_HEAD(&fx->held);
	INIT_LIST_HEAD(&fx->files);
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
