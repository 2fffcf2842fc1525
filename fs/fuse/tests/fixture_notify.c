// SPDX-License-Identifier: GPL-2.0
/*
 * Notifications, as calls and as messages, and the locks that they leave behind
 */

#include <linux/bvec.h>
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include <kunit/resource.h>
#include <kunit/test.h>

#include "export.h"
#include "fixture_i.h"

/*
 * Locks. As for all that is checked here, nobody else changes the dcache: no
 * other thread of the test runs, and the server is idle.
 */

/* Depth first, until @check says that something is wrong. */
bool fuse_fx_check_tree(struct fuse_fixture *fx, struct dentry *dentry,
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

bool fuse_fx_check_locks(struct fuse_fixture *fx)
{
	if (rwsem_is_locked(&fuse_fx_conn(fx)->killsb))
		return fuse_fx_broken(fx, FUSE_FX_BALANCED, "killsb is still held");
	return fuse_fx_check_tree(fx, fx->mnt->mnt_root, fuse_fx_check_lock);
}

/*
 * Notifications and threads.
 */

/*
 * What is cached for this name now is stale when the notification is done, and
 * so may be what is cached while it runs: if there is a name, call fuse_fx_noted() then.
 */
static struct fuse_fx_call *fuse_fx_note(struct fuse_fixture *fx, u64 parent, const char *name,
					 bool below)
{
	size_t size = strlen(name) + 1;
	struct fuse_fx_call *call;

	call = kzalloc_flex(*call, name, size);
	if (!call) {
		KUNIT_FAIL(fx->test, "no memory to note a notification");
		return NULL;
	}
	call->parent = parent;
	call->end = U64_MAX;
	call->found_seq = U64_MAX;
	memcpy(call->name, name, size);
	scoped_guard(mutex, &fx->server->tree)
		call->seq = fx->server->seq;
	scoped_guard(spinlock, &fx->lock)
		list_add_tail(&call->list, &fx->calls);
	fuse_fake_take_back(fx->server, parent, name, below);
	return call;
}

/* It may also have dropped what was cached for the name meanwhile. */
static int fuse_fx_noted(struct fuse_fixture *fx, struct fuse_fx_call *call, bool below, int err)
{
	struct fuse_fake_told *told = fuse_fake_told(fx->server, call->parent, call->name);

	fuse_fake_take_back(fx->server, call->parent, call->name, below);
	scoped_guard(mutex, &fx->server->tree) {
		call->end = fx->server->seq;
		if (told && err != -ENOENT)
			call->found_seq = told->seq;
	}
	return err;
}

/* No notification, however it is made, sends a request or keeps a lock. */
static void fuse_fx_check_call(struct fuse_fixture *fx, const struct fuse_fake_hook *quiet,
			       const char *what)
{
	if (quiet->requests)
		fuse_fx_broken(fx, FUSE_FX_QUIET, "the notification for '%s' sent %s", what,
			       fuse_fake_opname(quiet->first));
	/* A lost lock would hang the test; with threads it may be theirs. */
	if (list_empty(&fx->threads) && !fx->score && !fuse_fx_check_locks(fx))
		__kunit_abort(fx->test);
}

/* Send a message that ends with a name, unless that is NULL, as if written to /dev/fuse. */
static int fuse_fx_write(struct fuse_fixture *fx, enum fuse_notify_code code, const void *data,
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
	if (!folio) {
		KUNIT_FAIL(fx->test, "no memory for a message");
		return -ENOMEM;
	}
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
	/* This may end the test. */
	fuse_fx_check_call(fx, &quiet, name ?: "a message");
	return err;
}

int fuse_fx_send(struct fuse_fixture *fx, enum fuse_notify_code code, const void *data,
		 size_t size)
{
	return fuse_fx_write(fx, code, data, size, NULL);
}

int fuse_fx_notify(struct fuse_fixture *fx, u64 parent, u64 child, const char *name,
		   u32 flags)
{
	struct fuse_notify_inval_entry_out inval = {
		.parent		= parent,
		.namelen	= strlen(name),
		.flags		= flags,
	};
	struct fuse_notify_delete_out delete = {
		.parent		= parent,
		.child		= child,
		.namelen	= strlen(name),
	};
	bool below = !(flags & FUSE_EXPIRE_ONLY);
	struct fuse_fx_call *call;
	int err;

	call = fuse_fx_note(fx, parent, name, below);
	if (!call)
		return -ENOMEM;
	err = child ? fuse_fx_write(fx, FUSE_NOTIFY_DELETE, &delete, sizeof(delete), name) :
		      fuse_fx_write(fx, FUSE_NOTIFY_INVAL_ENTRY, &inval, sizeof(inval), name);
	return fuse_fx_noted(fx, call, below, err);
}

int fuse_fx_inc_epoch(struct fuse_fixture *fx)
{
	int err;

	scoped_guard(mutex, &fx->server->tree)
		fx->epoch_seq = fx->server->seq;
	fx->epoch_end = U64_MAX;
	err = fuse_fx_send(fx, FUSE_NOTIFY_INC_EPOCH, NULL, 0);
	fuse_fake_take_back_node(fx->server, 0);
	scoped_guard(mutex, &fx->server->tree)
		fx->epoch_end = fx->server->seq;
	return err;
}

int fuse_fx_inval_inode(struct fuse_fixture *fx, u64 nodeid)
{
	struct fuse_notify_inval_inode_out message = { .ino = nodeid };

	if (!fuse_fx_note(fx, nodeid, "", false))
		return -ENOMEM;
	return fuse_fx_send(fx, FUSE_NOTIFY_INVAL_INODE, &message, sizeof(message));
}

FUSE_FX_DO(notify, fuse_fx_notify(op->fx, op->parent, op->child, op->path[0], op->flags))
FUSE_FX_DO(inval_inode, fuse_fx_inval_inode(op->fx, op->parent))
FUSE_FX_DO(inc_epoch, fuse_fx_inc_epoch(op->fx))
