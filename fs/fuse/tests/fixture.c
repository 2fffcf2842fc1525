// SPDX-License-Identifier: GPL-2.0
/* The mount, notifications, and what is checked after every test */

#include <linux/bvec.h>
#include <linux/fs_context.h>
#include <linux/highmem.h>
#include <linux/iopoll.h>
#include <linux/moduleparam.h>
#include <linux/namei.h>
#include <linux/prandom.h>
#include <linux/uio.h>

#include <kunit/resource.h>
#include <kunit/test-bug.h>

#include "fixture.h"

static unsigned int fuse_fx_seed;
module_param_named(seed, fuse_fx_seed, uint, 0444);
MODULE_PARM_DESC(seed, "Shuffle the parameters of the tests, unless it is 0");

/* A notification that was made */
struct fuse_fx_call {
	struct list_head list;
	u64 parent;	/* nodeid of the directory; 0 of FUSE_NOTIFY_INC_EPOCH */
	u64 seq;	/* of the server when it started: what it told earlier is stale */
	u64 end;	/* of the server when it ended, or U64_MAX */
	u64 found_seq;	/* told->seq of the name then, if it found something, or U64_MAX */
	char name[];	/* or "" if it was about the node @parent itself, maybe a file */
};

const char *fuse_fx_left_behind;

static const char * const fuse_fx_properties[] = {
	"not fresh", "collateral", "not quiet", "not balanced", "not serial", "waits",
	"the server complains",
};

bool fuse_fx_broken(struct fuse_fixture *fx, enum fuse_fx_property property,
		    const char *fmt, ...)
{
	struct fuse_fx_score *score = fx->score ?: &fx->own_score;
	bool first = !test_and_set_bit(property, &fx->broken);
	struct va_format text = { .fmt = fmt };
	va_list args;

	score->broken[property] += first;
	if (!first || score->said++ >= 2) {
		kunit_set_failure(fx->test);
		return false;
	}
	va_start(args, fmt);
	text.va = &args;
	KUNIT_FAIL(fx->test, "%s%s%s: %pV", fx->title ?: "", fx->title ? "\n" : "",
		   fuse_fx_properties[property], &text);
	va_end(args);
	return false;
}

void fuse_fx_shuffle(void *params, size_t nr, size_t size)
{
	struct rnd_state random;
	char *last, *other;

	prandom_seed_state(&random, fuse_fx_seed);
	for (; fuse_fx_seed && nr > 1; nr--) {
		last = params + (nr - 1) * size;
		other = params + prandom_u32_state(&random) % nr * size;
		for (size_t k = 0; k < size; k++)
			swap(last[k], other[k]);
	}
}

/* The file system type: what fs/fuse/virtio_fs.c is for virtiofs. */

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

	return fuse_fill_super_common(sb, &ctx) ?: fuse_send_init(get_fuse_mount_super(sb));
}

static int fuse_fx_get_tree(struct fs_context *fsc)
{
	struct fuse_chan *fch __free(fuse_chan_free) = fuse_chan_new();
	struct fuse_mount *fm __free(kfree) = kzalloc_obj(*fm);
	struct fuse_conn *fc __free(kfree) = kzalloc_obj(*fc);
	struct fuse_fixture *fx = fsc->fs_private;
	int err;

	if (!fch || !fc || !fm)
		return -ENOMEM;
	fuse_iqueue_init(&fch->iq, &fuse_fake_iqueue_ops, fx->server);
	fuse_conn_init(fc, fm, fsc->user_ns, no_free_ptr(fch));
	fc->release = fuse_free_conn;
	fc->auto_submounts = true;

	/* From here on, they go with the super block, or with this. */
	retain_and_null_ptr(fc);
	fsc->s_fs_info = no_free_ptr(fm);
	err = get_tree_nodev(fsc, fuse_fx_fill_super);
	if (fsc->s_fs_info)
		fuse_mount_destroy(fsc->s_fs_info);
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

static struct file_system_type fuse_fx_fs_type = {
	.owner			= THIS_MODULE,
	.name			= "fuse_kunit",
	.init_fs_context	= fuse_fx_init_fs_context,
};

/*
 * Depth first, until @check says that something is wrong. Nobody else changes the dcache:
 * no other thread of the test runs, and the server is idle.
 */
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
	return fuse_fx_broken(fx, FUSE_FX_BALANCED, "'%pd' is still locked", dentry);
}

static bool fuse_fx_check_locks(struct fuse_fixture *fx)
{
	if (rwsem_is_locked(&fuse_fx_conn(fx)->killsb))
		return fuse_fx_broken(fx, FUSE_FX_BALANCED, "killsb is still held");
	return fuse_fx_check_tree(fx, fx->mnt->mnt_root, fuse_fx_check_lock);
}

/* Notifications. Threads make them, too. */

int fuse_fx_send(struct fuse_fixture *fx, enum fuse_notify_code code, const void *data,
		 size_t size, const char *name)
{
	size_t all = size + (name ? strlen(name) + 1 : 0);
	struct fuse_fake_hook quiet = { .task = current };
	struct iov_iter iter;
	struct folio *folio;
	struct bio_vec bvec;
	int err;

	/* What a server writes reaches fuse_notify() as pages, not as an address. */
	folio = folio_alloc(GFP_KERNEL, get_order(max(all, 1)));
	KUNIT_ASSERT_NOT_NULL(fx->test, folio);
	memcpy_to_folio(folio, 0, data, size);
	if (name)
		memcpy_to_folio(folio, size, name, all - size);
	bvec_set_folio(&bvec, folio, all, 0);
	iov_iter_bvec(&iter, ITER_SOURCE, &bvec, 1, all);
	fuse_fake_hook(fx->server, &quiet);
	err = fuse_kunit_notify(fuse_fx_conn(fx), code, &iter);
	fuse_fake_unhook(&quiet);
	KUNIT_EXPECT_EQ_MSG(fx->test, folio_ref_count(folio), 1,
			    "not balanced: the kernel keeps the message");
	folio_put(folio);
	if (quiet.requests)
		fuse_fx_broken(fx, FUSE_FX_QUIET, "the notification for '%s' sent %s",
			       name ?: "a message", fuse_fake_opname(quiet.first));
	/* A lock that was not released would hang the test. But a thread may hold it. */
	if (list_empty(&fx->threads) && !fx->score && !fuse_fx_check_locks(fx))
		__kunit_abort(fx->test);
	return err;
}

/*
 * As fuse_fx_send(), and note it: what is cached for path[0], or below it, is stale then. Without
 * a name, it is about the node @parent, or about all names if that is 0.
 */
static int fuse_fx_send_noted(struct fuse_fx_op *op, enum fuse_notify_code code,
			      const void *data, size_t size)
{
	const char *name = op->path[0] ?: "";
	size_t name_size = strlen(name) + 1;
	struct fuse_fx_call *call = kzalloc_flex(*call, name, name_size);
	bool below = !(op->flags & FUSE_EXPIRE_ONLY);
	struct fuse_fixture *fx = op->fx;
	struct fuse_fake_name *told;
	int err;

	KUNIT_ASSERT_NOT_NULL(fx->test, call);
	call->parent = op->parent;
	call->end = U64_MAX;
	call->found_seq = U64_MAX;
	memcpy(call->name, name, name_size);
	scoped_guard(mutex, &fx->server->tree) {
		call->seq = fx->server->seq;
		list_add_tail(&call->list, &fx->calls);
	}
	fuse_fake_take_back(fx->server, op->parent, name, below);
	err = fuse_fx_send(fx, code, data, size, op->path[0]);
	/* It may also have dropped what was cached for the name meanwhile. */
	fuse_fake_take_back(fx->server, op->parent, name, below);
	if (!op->parent)
		fuse_fake_take_back_node(fx->server, 0);
	told = fuse_fake_told(fx->server, op->parent, name);
	scoped_guard(mutex, &fx->server->tree) {
		call->end = fx->server->seq;
		if (op->parent && err != -ENOENT)
			call->found_seq = told->seq;
	}
	return err;
}

int fuse_fx_do_notify(struct fuse_fx_op *op)
{
	size_t len = strlen(op->path[0]);
	struct fuse_notify_inval_entry_out inval = { op->parent, len, op->flags };
	struct fuse_notify_delete_out delete = { op->parent, op->child, len };

	return op->child ? fuse_fx_send_noted(op, FUSE_NOTIFY_DELETE, &delete, sizeof(delete)) :
			   fuse_fx_send_noted(op, FUSE_NOTIFY_INVAL_ENTRY, &inval, sizeof(inval));
}

void fuse_fx_notify_meanwhile(struct fuse_fixture *fx, struct fuse_fx_op notify, int expected)
{
	struct kunit_thread *server = fuse_fx_run(fx, fuse_fx_do_notify, &notify);
	unsigned long limit = jiffies + (num_online_cpus() > 1 ? HZ : 0);

	/* With several processors it may only sleep for a moment. */
	while (kunit_thread_wait(server) != KUNIT_THREAD_ENDED && time_before(jiffies, limit))
		cond_resched();
	if (kunit_thread_wait(server) != KUNIT_THREAD_ENDED) {
		KUNIT_FAIL(fx->test, "the notification waits for an answer that is on its way");
		fuse_fake_let_go(fx->server);
	}
	fuse_fx_join(fx, server, "the notification", expected);
}

int fuse_fx_do_inval_inode(struct fuse_fx_op *op)
{
	struct fuse_notify_inval_inode_out message = { .ino = op->parent };

	return fuse_fx_send_noted(op, FUSE_NOTIFY_INVAL_INODE, &message, sizeof(message));
}

int fuse_fx_do_inc_epoch(struct fuse_fx_op *op)
{
	struct fuse_fx_op all = { .fx = op->fx };
	int err;

	op->fx->new_epoch = true;
	err = fuse_fx_send_noted(&all, FUSE_NOTIFY_INC_EPOCH, NULL, 0);
	/* With fuse.inval_wq= a work item drops all that is unused, also what is cached later. */
	flush_work(&fuse_fx_conn(op->fx)->epoch_work);
	return err;
}

/* What is checked at the end of a test. */

static const char *fuse_fx_describe(struct dentry *dentry, char text[100])
{
	struct inode *inode = d_inode(dentry);

	snprintf(text, 100, "'%pd' (%s, %s, count %d; nodeid %llu, count %d)", dentry,
		 d_unhashed(dentry) ? "unhashed" : "hashed", inode ? "positive" : "negative",
		 d_count(dentry), inode ? get_node_id(inode) : 0,
		 inode ? icount_read_once(inode) : 0);
	return text;
}

static bool fuse_fx_check_ref(struct fuse_fixture *fx, struct dentry *dentry)
{
	int refs = d_count(dentry) - hlist_count_nodes(&dentry->d_children);
	struct inode *inode = d_inode(dentry);
	struct fuse_fx_held *held;
	int inode_refs = 0;
	char text[100];

	if (IS_ROOT(dentry))
		refs -= fx->root_refs;
	if (inode)
		inode_refs = icount_read_once(inode) - hlist_count_nodes(&inode->i_dentry);
	list_for_each_entry(held, &fx->held, list) {
		refs -= held->dentry == dentry;
		inode_refs -= held->inode && held->inode == inode;
	}
	if (!refs && !inode_refs)
		return true;
	return fuse_fx_broken(fx, FUSE_FX_BALANCED,
			      "%s: %d references to it and %d to its inode too many",
			      fuse_fx_describe(dentry, text), refs, inode_refs);
}

/* What a name leads to now, or NULL if nobody can look it up any more. */
static struct dentry *fuse_fx_look_again(struct fuse_fixture *fx, u64 parent, const char *name)
{
	struct dentry *dentry = fuse_fx_lookup_at(fx, parent, name);
	int err = PTR_ERR_OR_ZERO(dentry);

	/* Nobody can look up what is no name, such as the "/" of O_TMPFILE. */
	if (err && err != -ESTALE && err != -ENAMETOOLONG && err != -EACCES)
		fuse_fx_broken(fx, FUSE_FX_FRESH, "a lookup of '%s' in nodeid %llu returns %s",
			       name, parent, fuse_fx_errname(err));
	return err ? NULL : dentry;
}

static void fuse_fx_check_no_collateral(struct fuse_fixture *fx)
{
	struct fuse_fake_name *told;

	list_for_each_entry(told, &fx->server->names, list) {
		u64 parent = told->parent, seq = told->seq;
		struct dentry *dentry __free(fuse_fx_dput) =
			told->cached ? fuse_fx_look_again(fx, parent, told->name) : NULL;

		if (dentry && told->seq != seq)
			fuse_fx_broken(fx, FUSE_FX_NO_COLLATERAL,
				       "'%s' in nodeid %llu is not cached any more",
				       told->name, parent);
	}
}

/* Is what the kernel has for a name from after the notification that started at @seq? */
static void fuse_fx_check_name(struct fuse_fixture *fx, u64 parent, const char *name, u64 seq)
{
	struct dentry *dentry __free(fuse_fx_dput) = fuse_fx_look_again(fx, parent, name);
	struct fuse_fake_name *told;
	char text[100];
	u64 nodeid;

	if (!dentry)
		return;
	nodeid = d_is_positive(dentry) ? get_node_id(d_inode(dentry)) : 0;
	told = fuse_fake_told(fx->server, parent, name);
	if (told->seq <= seq)
		fuse_fx_broken(fx, FUSE_FX_FRESH,
			       "%s in nodeid %llu is from before the notification",
			       fuse_fx_describe(dentry, text), parent);
	else if (told->cached && told->nodeid != nodeid)
		fuse_fx_broken(fx, FUSE_FX_FRESH,
			       "%s in nodeid %llu is not nodeid %llu, which was told last",
			       fuse_fx_describe(dentry, text), parent, told->nodeid);
}

/* The same of the attributes of a node, and of the listing of a directory. */
static void fuse_fx_check_node(struct fuse_fixture *fx, u64 nodeid, bool names, u64 seq)
{
	struct path path __free(path_put) = {
		.mnt	= mntget(fx->mnt),
		.dentry	= fuse_fx_find_node(fx, nodeid),
	};
	const char *what = "stat()";
	struct kstat stat;
	struct file *file;
	bool stale;
	int err;

	/* What is no directory has no names. */
	if (!path.dentry || (names && !d_is_dir(path.dentry)) || IS_DEADDIR(d_inode(path.dentry)))
		return;
	err = vfs_getattr(&path, &stat, STATX_BASIC_STATS, 0);
	stale = fuse_fake_seq(fx->server, nodeid, FUSE_FAKE_ATTR) <= seq;
	if (!err && !stale && fx->server->cache_dir && d_is_dir(path.dentry)) {
		what = "a listing";
		file = dentry_open(&path, O_RDONLY | O_DIRECTORY, current_cred());
		err = PTR_ERR_OR_ZERO(file);
		if (!err) {
			fuse_fx_read_dir(file, "");
			fuse_fx_close_file(file);
		}
		stale = fuse_fake_seq(fx->server, nodeid, FUSE_FAKE_LISTING) <= seq;
	}
	if (err || stale)
		fuse_fx_broken(fx, FUSE_FX_FRESH, "%s of nodeid %llu returns %s", what, nodeid,
			       err ? fuse_fx_errname(err) : "what is from before the notification");
}

/*
 * After a rename, the new name has the answer that the old name had. That is stale if the
 * old name was notified later, and the notification
 *  - ended before the server answered the RENAME (so for INC_EPOCH, too),
 *  - found an entry while that was still the last answer about the old name,
 *  - or found the entry of this node, as the test says in fx->found_nodeid.
 */
static void fuse_fx_check_renamed(struct fuse_fixture *fx, struct fuse_fake_name *told)
{
	const struct fuse_fake_name *from = told->from;
	struct fuse_fx_call *call;
	bool about, stale = false;

	list_for_each_entry(call, &fx->calls, list) {
		about = !call->parent ||
			(call->parent == from->parent && !strcmp(call->name, from->name));
		if (about && told->from_seq <= call->seq)
			stale |= call->end < told->seq || call->found_seq == told->from_seq ||
				 (told->nodeid && told->nodeid == fx->found_nodeid);
	}
	if (stale)
		fuse_fx_check_name(fx, told->parent, told->name, told->seq);
}

static void fuse_fx_check_fresh(struct fuse_fixture *fx)
{
	struct fuse_fake_name *told;
	struct fuse_fx_call *call;

	list_for_each_entry(told, &fx->server->names, list)
		if (told->from)
			fuse_fx_check_renamed(fx, told);
	list_for_each_entry(call, &fx->calls, list) {
		if (*call->name)
			fuse_fx_check_name(fx, call->parent, call->name, call->seq);
		if (call->parent)
			continue;
		/* For all names: children before their directories. */
		list_for_each_entry_reverse(told, &fx->server->names, list)
			if (told->seq && told->seq <= call->seq)
				fuse_fx_check_name(fx, told->parent, told->name, call->seq);
	}
	list_for_each_entry(call, &fx->calls, list)
		fuse_fx_check_node(fx, call->parent, *call->name, call->seq);
}

static bool fuse_fx_check(struct fuse_fixture *fx)
{
	struct fuse_fx_held *held;
	struct fuse_fx_op *op;
	u64 nodeid;
	int active, err;
	bool ok = true;

	fuse_fake_let_go(fx->server);
	list_for_each_entry(op, &fx->threads, list)
		ok &= op->thread && kunit_thread_join(op->thread, NULL);
	if (ok)
		flush_work(&fx->server->work);
	/* Anything else would wait for a lock that is not free. */
	if (!ok || !fuse_fx_check_locks(fx)) {
		fuse_fx_left_behind = fx->test->name;
		return false;
	}
	/* Other mounts end some time after they are gone from the namespace. */
	err = poll_timeout_us(active = atomic_read(&fx->mnt->mnt_sb->s_active),
			      active == 1 && list_is_singular(&fuse_fx_conn(fx)->mounts),
			      1000, jiffies_to_usecs(KUNIT_THREAD_LIMIT), false);
	if (err)
		return fuse_fx_broken(fx, FUSE_FX_BALANCED, "something is still mounted");
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
	/* All that is left in the dcache can go, and the kernel forgets every node. */
	shrink_dcache_parent(fx->mnt->mnt_root);
	flush_work(&fx->server->work);
	nodeid = fuse_fake_known(fx->server);
	if (nodeid)
		fuse_fx_broken(fx, FUSE_FX_BALANCED, "nodeid %llu is still in use", nodeid);
	return !nodeid;
}

static void fuse_fx_take_down(void *data)
{
	struct fuse_fx_call *call, *next_call;
	struct fuse_fx_op *op, *next_op;
	struct fuse_fixture *fx = data;

	if (fx->mnt)
		kern_unmount(fx->mnt);
	fuse_fake_server_stop(fx->server);
	list_for_each_entry_safe(op, next_op, &fx->threads, list)
		kfree(op);
	list_for_each_entry_safe(call, next_call, &fx->calls, list)
		kfree(call);
	kfree(fx);
}

void fuse_fx_exit(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;

	if (!fx)
		return;
	/* If it fails, to unmount would hang or crash: leave mount and server behind. */
	if (fx->mnt && !fuse_fx_check(fx))
		kunit_remove_action(test, fuse_fx_take_down, fx);
	if (fx->server->complaint[0])
		fuse_fx_broken(fx, FUSE_FX_SERVER, "%s", fx->server->complaint);
	fx->server->complaint[0] = 0;
	if (fx->again && test->status == KUNIT_FAILURE)
		kunit_info(test, "alone: %s\n", fx->again);
}

void fuse_fx_end(struct kunit *test)
{
	fuse_fx_exit(test);
	test->priv = NULL;
	kunit_cleanup(test);
	current->kunit_test = test;
}

int fuse_fx_init(struct kunit *test)
{
	struct file_system_type *fuse;
	struct fuse_fixture *fx;
	struct vfsmount *mnt;

	if (fuse_fx_left_behind)
		kunit_skip(test, "%s left a lock or a thread behind", fuse_fx_left_behind);
	fuse = get_fs_type("fuse");
	KUNIT_ASSERT_NOT_NULL(test, fuse);
	fuse_fx_fs_type.kill_sb = fuse->kill_sb;
	/* If FUSE calls d_move() itself, then for this file system type, too. */
	fuse_fx_fs_type.fs_flags = fuse->fs_flags & FS_RENAME_DOES_D_MOVE;
	module_put(fuse->owner);

	fx = kzalloc_obj(*fx, GFP_KERNEL | __GFP_NOFAIL);
	fx->test = test;
	fx->server = fuse_fake_server_start(test);
	INIT_LIST_HEAD(&fx->calls);
	INIT_LIST_HEAD(&fx->held);
	INIT_LIST_HEAD(&fx->threads);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, fuse_fx_take_down, fx));
	/* From here on, fuse_fx_exit() takes care of it. */
	test->priv = fx;
	mnt = kern_mount(&fuse_fx_fs_type);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, mnt);
	fx->mnt = mnt;
	/* INIT is answered in the background. */
	flush_work(&fx->server->work);
	fx->root_refs = d_count(mnt->mnt_root);
	return 0;
}

void fuse_fx_add_neighbours(struct fuse_fixture *fx, const char *dir)
{
	static const char * const names[] = { "~file", "~dir", "~dir/below", "~absent" };
	static const umode_t modes[] = { S_IFREG | 0644, S_IFDIR | 0755, S_IFREG | 0644, 0 };
	char path[32];

	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s%s", dir, names[i]);
		if (modes[i])
			fuse_fake_add(fx->server, path, modes[i]);
		FUSE_ASSERT_ERR(fx->test, fuse_fx_stat(fx, path), modes[i] ? 0 : -ENOENT);
	}
}

int fuse_fx_init_neighbours(struct kunit *test)
{
	fuse_fx_init(test);
	fuse_fx_add_neighbours(test->priv, "");
	return 0;
}
