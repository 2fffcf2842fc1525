// SPDX-License-Identifier: GPL-2.0
/*
 * A FUSE server inside the kernel, for tests
 */

#include <linux/err.h>
#include <linux/highmem.h>
#include <linux/limits.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/stat.h>
#include <linux/string.h>

#include <kunit/resource.h>
#include <kunit/test.h>
#include <kunit/thread.h>

#include "../args.h"
#include "../dev.h"
#include "../fuse_dev_i.h"
#include "fake_server_i.h"

/* No test is so slow that a name which it cached runs out by itself. */
#define FUSE_FAKE_VALID		3600

/*
 * Requests. The handlers are called with server->tree held and return an error
 * for the reply.
 */

static const void *fuse_fake_in(struct fuse_req *req, unsigned int arg)
{
	return req->args->in_args[arg].value;
}

static void fuse_fake_out(struct fuse_req *req, unsigned int arg, const void *value, size_t size)
{
	struct fuse_args *args = req->args;
	struct fuse_arg *out = &args->out_args[arg];

	size = min_t(size_t, size, out->size);
	memcpy(out->value, value, size);
	if (args->out_argvar && arg == args->out_numargs - 1)
		out->size = size;
}

static struct fuse_attr fuse_fake_attr(struct fuse_fake_server *server,
				       struct fuse_fake_node *node)
{
	node->attr_seq = ++server->seq;
	return (struct fuse_attr) {
		.ino		= node->nodeid,
		.mode		= node->mode,
		.nlink		= S_ISDIR(node->mode) ? 2 * node->nlink : node->nlink,
		.size		= node->target ? strlen(node->target) :
				  S_ISREG(node->mode) ? server->file_size : 0,
		.blksize	= PAGE_SIZE,
		.flags		= node->submount ? FUSE_ATTR_SUBMOUNT : 0,
	};
}

/* Every entry that the kernel gets counts as one lookup of the node. */
static struct fuse_entry_out fuse_fake_entry(struct fuse_fake_server *server, u64 parent,
					     const char *name, struct fuse_fake_node *node)
{
	node->nlookup++;
	fuse_fake_tell(server, parent, name, node, server->entry_valid);
	return (struct fuse_entry_out) {
		.nodeid		= node->nodeid,
		.generation	= node->generation,
		.entry_valid	= server->entry_valid,
		.attr_valid	= server->attr_valid,
		.attr		= fuse_fake_attr(server, node),
	};
}

static int fuse_fake_do_init(struct fuse_fake_server *server, struct fuse_req *req)
{
	const struct fuse_init_in *in = fuse_fake_in(req, 0);
	struct fuse_init_out out = {
		.major		= FUSE_KERNEL_VERSION,
		.minor		= FUSE_KERNEL_MINOR_VERSION,
		.max_readahead	= in->max_readahead,
		.max_write	= PAGE_SIZE,
		.max_pages	= 16,
		/* What libfuse asks for by default, as far as names go. */
		.flags		= FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES |
				  FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO,
	};

	fuse_fake_out(req, 0, &out, sizeof(out));
	return 0;
}

static int fuse_fake_do_lookup(struct fuse_fake_server *server, struct fuse_req *req,
			       struct fuse_fake_node *dir)
{
	struct fuse_fake_name *n = NULL;
	struct fuse_entry_out out = {};
	char *name;

	/* The one request whose name need not end with a NUL. */
	name = kmemdup_nul(fuse_fake_in(req, 1), req->args->in_args[1].size, GFP_KERNEL);
	if (!name)
		return -ENOMEM;

	n = fuse_fake_name(dir, name);
	if (n) {
		out = fuse_fake_entry(server, dir->nodeid, name, n->node);
	} else {
		fuse_fake_tell(server, dir->nodeid, name, NULL, server->negative_valid);
		out.entry_valid = server->negative_valid;
	}
	kfree(name);
	if (!n && !server->negative_valid)
		return -ENOENT;
	fuse_fake_out(req, 0, &out, sizeof(out));
	return 0;
}

static int fuse_fake_do_attr(struct fuse_fake_server *server, struct fuse_req *req,
			     struct fuse_fake_node *node)
{
	struct fuse_fake_told *told;
	struct fuse_attr_out out;

	if (req->in.h.opcode == FUSE_SETATTR) {
		const struct fuse_setattr_in *in = fuse_fake_in(req, 0);

		if (in->valid & FATTR_MODE) {
			node->mode = (node->mode & S_IFMT) | (in->mode & ~S_IFMT);
			/* Who may look into it has changed: the kernel asks again. */
			list_for_each_entry(told, &server->told, list)
				if (told->nodeid == node->nodeid)
					told->cached = false;
		}
	}
	out = (struct fuse_attr_out) {
		.attr_valid	= server->attr_valid,
		.attr		= fuse_fake_attr(server, node),
	};
	fuse_fake_out(req, 0, &out, sizeof(out));
	return 0;
}

static int fuse_fake_do_make(struct fuse_fake_server *server, struct fuse_req *req,
			     struct fuse_fake_node *dir)
{
	const char *name = fuse_fake_in(req, 1);
	struct fuse_fake_node *node;
	struct fuse_entry_out out;
	umode_t mode;
	int err;

	switch (req->in.h.opcode) {
	case FUSE_CREATE:
		mode = ((const struct fuse_create_in *)fuse_fake_in(req, 0))->mode;
		break;
	case FUSE_MKNOD:
		mode = ((const struct fuse_mknod_in *)fuse_fake_in(req, 0))->mode;
		break;
	case FUSE_MKDIR:
		mode = ((const struct fuse_mkdir_in *)fuse_fake_in(req, 0))->mode | S_IFDIR;
		break;
	default:
		mode = S_IFLNK | 0777;
	}
	err = fuse_fake_make(server, dir, name, mode, &node);
	/* The kernel thought that the name is free, and drops that. */
	if (err == -EEXIST)
		fuse_fake_untell(server, dir->nodeid, name, true);
	if (err)
		return err;
	if (S_ISLNK(mode))
		node->target = kstrdup(fuse_fake_in(req, 2), GFP_KERNEL);

	out = fuse_fake_entry(server, dir->nodeid, name, node);
	fuse_fake_out(req, 0, &out, sizeof(out));
	if (req->in.h.opcode == FUSE_CREATE) {
		struct fuse_open_out open = {};

		fuse_fake_out(req, 1, &open, sizeof(open));
	}
	return 0;
}

static int fuse_fake_do_link(struct fuse_fake_server *server, struct fuse_req *req,
			     struct fuse_fake_node *dir)
{
	const struct fuse_link_in *in = fuse_fake_in(req, 0);
	struct fuse_fake_node *node = fuse_fake_node(server, in->oldnodeid);
	const char *name = fuse_fake_in(req, 1);
	struct fuse_entry_out out;
	int err;

	if (!node)
		return -ESTALE;
	if (!dir->nlink)
		return -ENOENT;
	if (fuse_fake_name(dir, name)) {
		fuse_fake_untell(server, dir->nodeid, name, true);
		return -EEXIST;
	}
	err = fuse_fake_add_name(dir, name, node);
	if (err)
		return err;
	out = fuse_fake_entry(server, dir->nodeid, name, node);
	fuse_fake_out(req, 0, &out, sizeof(out));
	return 0;
}

static int fuse_fake_do_unmake(struct fuse_fake_server *server, struct fuse_req *req,
			       struct fuse_fake_node *dir)
{
	const char *name = fuse_fake_in(req, 1);
	int err = fuse_fake_unmake(dir, name);

	/* If it is not there the kernel drops what it has, too. */
	if (!err || err == -ENOENT)
		fuse_fake_untell(server, dir->nodeid, name, true);
	return err;
}

static int fuse_fake_do_rename(struct fuse_fake_server *server, struct fuse_req *req,
			       struct fuse_fake_node *dir)
{
	const char *oldname = fuse_fake_in(req, 1);
	const char *newname = fuse_fake_in(req, 2);
	struct fuse_fake_node *newdir;
	unsigned int flags = 0;
	u64 nodeid;
	int err;

	if (req->in.h.opcode == FUSE_RENAME2) {
		const struct fuse_rename2_in *in = fuse_fake_in(req, 0);

		nodeid = in->newdir;
		flags = in->flags;
	} else {
		const struct fuse_rename_in *in = fuse_fake_in(req, 0);

		nodeid = in->newdir;
	}
	if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	newdir = fuse_fake_node(server, nodeid);
	if (!newdir)
		return -ESTALE;

	err = fuse_fake_move(dir, oldname, newdir, newname, flags);
	if (!err) {
		fuse_fake_retell(server, dir, oldname, newdir, newname, flags);
	} else if (err == -ENOENT) {
		fuse_fake_untell(server, dir->nodeid, oldname, true);
		fuse_fake_untell(server, newdir->nodeid, newname, true);
	}
	return err;
}

static int fuse_fake_do_open(struct fuse_fake_server *server, struct fuse_req *req)
{
	struct fuse_open_out out = {};

	if (req->in.h.opcode == FUSE_OPENDIR && server->cache_dir)
		out.open_flags = FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE;

	fuse_fake_out(req, 0, &out, sizeof(out));
	return 0;
}

static int fuse_fake_do_readlink(struct fuse_req *req, struct fuse_fake_node *node)
{
	struct fuse_args_pages *ap = container_of(req->args, typeof(*ap), args);

	if (!node->target)
		return -EINVAL;
	memcpy_to_folio(ap->folios[0], 0, node->target, strlen(node->target));
	req->args->out_args[0].size = strlen(node->target);
	return 0;
}

static int fuse_fake_do_readdir(struct fuse_fake_server *server, struct fuse_req *req,
				struct fuse_fake_node *dir)
{
	struct fuse_args_pages *ap = container_of(req->args, typeof(*ap), args);
	const struct fuse_read_in *in = fuse_fake_in(req, 0);
	bool plus = req->in.h.opcode == FUSE_READDIRPLUS;
	/* One page is enough for a test's directory; the rest comes next time. */
	size_t room = min_t(size_t, in->size, PAGE_SIZE), used = 0;
	struct fuse_fake_name *n;
	void *buf;
	u64 off = 0;

	buf = kzalloc(PAGE_SIZE, GFP_KERNEL);
	if (!buf)
		return -ENOMEM;
	if (!in->offset)
		dir->list_seq = ++server->seq;

	list_for_each_entry(n, &dir->names, list) {
		struct fuse_direntplus *dp = buf + used;
		struct fuse_dirent *d = plus ? &dp->dirent : buf + used;
		size_t len = strlen(n->name);
		size_t reclen = FUSE_DIRENT_ALIGN((void *)d - (buf + used) +
						  FUSE_NAME_OFFSET + len);

		/* The offset of an entry is its place in the list. */
		if (off++ < in->offset)
			continue;
		if (used + reclen > room)
			break;
		if (plus)
			dp->entry_out = fuse_fake_entry(server, dir->nodeid, n->name, n->node);
		d->ino = n->node->nodeid;
		d->off = off;
		d->namelen = len;
		d->type = S_DT(n->node->mode);
		memcpy(d->name, n->name, len);
		used += reclen;
	}
	memcpy_to_folio(ap->folios[0], 0, buf, used);
	req->args->out_args[0].size = used;
	kfree(buf);
	return 0;
}

/* There is nothing but zeroes in files, whatever is written. */
static int fuse_fake_do_read(struct fuse_fake_server *server, struct fuse_req *req)
{
	struct fuse_args_pages *ap = container_of(req->args, typeof(*ap), args);
	const struct fuse_read_in *in = fuse_fake_in(req, 0);
	size_t left = in->offset < server->file_size ?
		      min_t(u64, in->size, server->file_size - in->offset) : 0;
	unsigned int i;

	req->args->out_args[0].size = left;
	for (i = 0; i < ap->num_folios && left; i++) {
		size_t len = min_t(size_t, left, ap->descs[i].length);

		folio_zero_range(ap->folios[i], ap->descs[i].offset, len);
		left -= len;
	}
	return 0;
}

static int fuse_fake_do_write(struct fuse_req *req)
{
	const struct fuse_write_in *in = fuse_fake_in(req, 0);
	struct fuse_write_out out = { .size = in->size };

	fuse_fake_out(req, 0, &out, sizeof(out));
	return 0;
}

static int fuse_fake_do_statfs(struct fuse_req *req)
{
	struct fuse_statfs_out out = {
		.st.bsize	= PAGE_SIZE,
		.st.frsize	= PAGE_SIZE,
		.st.namelen	= NAME_MAX,
	};

	fuse_fake_out(req, 0, &out, sizeof(out));
	return 0;
}

static void fuse_fake_do_forget(struct fuse_fake_server *server, u64 nodeid, u64 nlookup)
{
	struct fuse_fake_node *node = fuse_fake_node(server, nodeid);

	if (!node || node->nlookup < nlookup) {
		fuse_fake_complain(server, "%llu lookups of nodeid %llu forgotten, it had %llu",
				   nlookup, nodeid, node ? node->nlookup : 0);
		return;
	}
	node->nlookup -= nlookup;
	fuse_fake_put_node(node);
}

static int fuse_fake_handle(struct fuse_fake_server *server, struct fuse_req *req)
{
	u32 opcode = req->in.h.opcode;
	struct fuse_fake_node *node;

	/* These are about the connection, not about a node. */
	switch (opcode) {
	case FUSE_INIT:
		return fuse_fake_do_init(server, req);
	case FUSE_DESTROY:
		server->destroyed = true;
		return 0;
	}

	node = fuse_fake_node(server, req->in.h.nodeid);
	if (!node) {
		fuse_fake_complain(server, "opcode %u for nodeid %llu, which is forgotten",
				   opcode, req->in.h.nodeid);
		return -ESTALE;
	}

	switch (opcode) {
	case FUSE_LOOKUP:
		return fuse_fake_do_lookup(server, req, node);
	case FUSE_GETATTR:
	case FUSE_SETATTR:
		return fuse_fake_do_attr(server, req, node);
	case FUSE_CREATE:
	case FUSE_MKNOD:
	case FUSE_MKDIR:
	case FUSE_SYMLINK:
		return fuse_fake_do_make(server, req, node);
	case FUSE_LINK:
		return fuse_fake_do_link(server, req, node);
	case FUSE_UNLINK:
	case FUSE_RMDIR:
		return fuse_fake_do_unmake(server, req, node);
	case FUSE_RENAME:
	case FUSE_RENAME2:
		return fuse_fake_do_rename(server, req, node);
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		return fuse_fake_do_open(server, req);
	case FUSE_READLINK:
		return fuse_fake_do_readlink(req, node);
	case FUSE_READDIR:
	case FUSE_READDIRPLUS:
		return fuse_fake_do_readdir(server, req, node);
	case FUSE_READ:
		return fuse_fake_do_read(server, req);
	case FUSE_WRITE:
		return fuse_fake_do_write(req);
	case FUSE_STATFS:
		return fuse_fake_do_statfs(req);
	case FUSE_FORGET:
		/* One that the kernel sends as a request, after a failed link. */
		fuse_fake_do_forget(server, node->nodeid,
				    ((const struct fuse_forget_in *)fuse_fake_in(req, 0))->nlookup);
		return 0;
	case FUSE_ACCESS:
	case FUSE_FALLOCATE:
	case FUSE_FLUSH:
	case FUSE_FSYNC:
	case FUSE_FSYNCDIR:
	case FUSE_NOTIFY_REPLY:
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
	case FUSE_REMOVEXATTR:
	case FUSE_SETXATTR:
		return 0;
	case FUSE_GETXATTR:
		/* O_TRUNC asks for capabilities; many servers have no attributes. */
	case FUSE_LSEEK:
		return -ENOSYS;
	}
	fuse_fake_complain(server, "opcode %u is unknown here", opcode);
	return -ENOSYS;
}

/*
 * The queue and who works it off.
 */

/* Is there a hook that has this request stop there? Called with server->lock held. */
static bool fuse_fake_stops(struct fuse_fake_server *server, struct fuse_req *req,
			    enum fuse_fake_stop stop)
{
	struct fuse_fake_hook *hook;

	list_for_each_entry(hook, &server->hooks, list) {
		/* fuse_fake_note() sets hook->req to the one request that is to be stopped. */
		if (hook->stop != stop || hook->req != req)
			continue;
		complete_all(&hook->reached);
		return true;
	}
	return false;
}

static void fuse_fake_serve(struct fuse_fake_server *server, struct fuse_req *req)
{
	bool stops;

	mutex_lock(&server->tree);
	req->out.h.error = fuse_fake_handle(server, req);
	mutex_unlock(&server->tree);
	spin_lock(&server->lock);
	stops = fuse_fake_stops(server, req, FUSE_FAKE_STOP_BEHIND);
	spin_unlock(&server->lock);
	if (!stops)
		fuse_request_end(req);
}

static void fuse_fake_work(struct work_struct *work)
{
	struct fuse_fake_server *server = container_of(work, typeof(*server), work);
	struct fuse_forget_link *forgets, *link;
	struct fuse_req *req;

	for (;;) {
		scoped_guard(spinlock, &server->lock) {
			forgets = server->forgets;
			server->forgets = NULL;
			req = list_first_entry_or_null(&server->queue, struct fuse_req, list);
			if (req)
				list_del_init(&req->list);
		}
		if (!forgets && !req)
			return;
		mutex_lock(&server->tree);
		while ((link = forgets)) {
			forgets = link->next;
			fuse_fake_do_forget(server, link->forget_one.nodeid,
					    link->forget_one.nlookup);
			kfree(link);
		}
		mutex_unlock(&server->tree);
		if (req)
			fuse_fake_serve(server, req);
	}
}

/* Count the request. Returns a hook that changes something ahead of it, or NULL. */
static struct fuse_fake_hook *fuse_fake_note(struct fuse_fake_server *server,
					     struct fuse_req *req)
{
	u32 opcode = req->in.h.opcode;
	struct fuse_fake_hook *hook, *changes = NULL;

	guard(spinlock)(&server->lock);
	if (opcode < FUSE_FAKE_OPCODES)
		server->requests[opcode]++;
	if (opcode == FUSE_NOTIFY_REPLY)
		return NULL;
	list_for_each_entry(hook, &server->hooks, list) {
		if ((hook->task && hook->task != current) ||
		    (hook->opcode && hook->opcode != opcode))
			continue;
		if (!hook->requests)
			hook->first = opcode;
		hook->lookups += opcode == FUSE_LOOKUP;
		if (hook->requests++ != hook->skip)
			continue;
		if (hook->stop) {
			hook->req = req;
			hook->stopped = opcode;
		}
		if (hook->change)
			changes = hook;
	}
	return changes;
}

static void fuse_fake_send_req(struct fuse_iqueue *fiq, struct fuse_req *req)
{
	/* Nobody waits for these, and INIT comes with a spinlock held. */
	bool background = test_bit(FR_BACKGROUND, &req->flags);
	struct fuse_fake_server *server = fiq->priv;
	struct fuse_fake_hook *changes;
	bool stops;
	u64 nodeid;
	int err;

	fuse_request_assign_unique(fiq, req);
	clear_bit(FR_PENDING, &req->flags);

	changes = fuse_fake_note(server, req);
	if (changes) {
		err = fuse_fake_change(server, changes->change, changes->path, S_IFREG | 0644,
				       &nodeid);
		/* No assertion: the task is in the middle of a system call. */
		if (err) {
			guard(mutex)(&server->tree);
			fuse_fake_complain(server, "cannot change '%s' upon opcode %u: %d",
					   changes->path, req->in.h.opcode, err);
		}
	}

	spin_lock(&server->lock);
	stops = fuse_fake_stops(server, req, FUSE_FAKE_STOP_BEFORE);
	if (!stops && background)
		list_add_tail(&req->list, &server->queue);
	spin_unlock(&server->lock);
	if (!stops && background)
		schedule_work(&server->work);
	else if (!stops)
		fuse_fake_serve(server, req);
}

static void fuse_fake_send_forget(struct fuse_iqueue *fiq, struct fuse_forget_link *link)
{
	struct fuse_fake_server *server = fiq->priv;

	spin_lock(&server->lock);
	link->next = server->forgets;
	server->forgets = link;
	server->requests[FUSE_FORGET]++;
	spin_unlock(&server->lock);
	schedule_work(&server->work);
}

static void fuse_fake_send_interrupt(struct fuse_iqueue *fiq, struct fuse_req *req)
{
	/* A server may ignore an interrupt, and this one does. */
}

const struct fuse_iqueue_ops fuse_fake_iqueue_ops = {
	.send_req	= fuse_fake_send_req,
	.send_forget	= fuse_fake_send_forget,
	.send_interrupt	= fuse_fake_send_interrupt,
};

void fuse_fake_settle(struct fuse_fake_server *server)
{
	/* The work item never waits for the caller. */
	flush_work(&server->work);
}

unsigned int fuse_fake_requests(struct fuse_fake_server *server, u32 opcode)
{
	guard(spinlock)(&server->lock);
	return server->requests[opcode];
}

void fuse_fake_hook(struct fuse_fake_server *server, struct fuse_fake_hook *hook)
{
	hook->server = server;
	hook->requests = 0;
	hook->lookups = 0;
	hook->first = 0;
	hook->req = NULL;
	init_completion(&hook->reached);
	guard(spinlock)(&server->lock);
	list_add_tail(&hook->list, &server->hooks);
}

void fuse_fake_unhook(struct fuse_fake_hook *hook)
{
	struct fuse_fake_server *server = hook->server;
	struct fuse_req *req;

	scoped_guard(spinlock, &server->lock) {
		list_del_init(&hook->list);
		/* If it is not stopped there, it has its answer. */
		req = completion_done(&hook->reached) ? hook->req : NULL;
		hook->req = NULL;
	}
	if (!req)
		return;
	if (hook->stop == FUSE_FAKE_STOP_BEFORE)
		fuse_fake_serve(server, req);
	else
		fuse_request_end(req);
}

struct fuse_fake_hook *fuse_fake_hold(struct fuse_fake_server *server, u32 opcode,
				      enum fuse_fake_stop stop)
{
	struct fuse_fake_hook *hook = kunit_kzalloc(server->test, sizeof(*hook), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(server->test, hook);
	hook->opcode = opcode;
	hook->stop = stop;
	fuse_fake_hook(server, hook);
	return hook;
}

void fuse_fake_hold_wait(struct fuse_fake_hook *hook)
{
	if (!wait_for_completion_timeout(&hook->reached, KUNIT_THREAD_LIMIT))
		KUNIT_FAIL_AND_ABORT(hook->server->test, "opcode %u did not come within %d s",
				     hook->opcode, KUNIT_THREAD_LIMIT / HZ);
}

void fuse_fake_let_go(struct fuse_fake_server *server)
{
	struct fuse_fake_hook *hook;

	do {
		scoped_guard(spinlock, &server->lock)
			hook = list_first_entry_or_null(&server->hooks, typeof(*hook), list);
		if (hook)
			fuse_fake_unhook(hook);
	} while (hook);
}

static void fuse_fake_server_stop(void *arg)
{
	struct fuse_fake_server *server = arg;
	struct fuse_fake_node *node, *next_node;
	struct fuse_fake_told *told, *next_told;
	struct fuse_fake_name *n, *next_name;

	flush_work(&server->work);
	/* Unmounting had something to say as well. */
	if (server->complaint[0])
		KUNIT_FAIL(server->test, "the server complains: %s", server->complaint);
	list_for_each_entry_safe(node, next_node, &server->nodes, list) {
		list_for_each_entry_safe(n, next_name, &node->names, list)
			kfree(n);
		fuse_fake_free_node(node);
	}
	list_for_each_entry_safe(told, next_told, &server->told, list)
		kfree(told);
	kfree(server);
}

void fuse_fake_server_leak(struct fuse_fake_server *server)
{
	kunit_remove_action(server->test, fuse_fake_server_stop, server);
}

struct fuse_fake_server *fuse_fake_server_start(struct kunit *test)
{
	struct fuse_fake_server *server = kzalloc_obj(*server);

	KUNIT_ASSERT_NOT_NULL(test, server);
	server->test = test;
	server->entry_valid = FUSE_FAKE_VALID;
	server->negative_valid = FUSE_FAKE_VALID;
	server->attr_valid = FUSE_FAKE_VALID;
	INIT_WORK(&server->work, fuse_fake_work);
	spin_lock_init(&server->lock);
	INIT_LIST_HEAD(&server->queue);
	INIT_LIST_HEAD(&server->hooks);
	mutex_init(&server->tree);
	INIT_LIST_HEAD(&server->nodes);
	INIT_LIST_HEAD(&server->told);

	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, fuse_fake_server_stop, server));

	/* The first node gets FUSE_ROOT_ID; nobody takes its name away. */
	scoped_guard(mutex, &server->tree) {
		struct fuse_fake_node *root = fuse_fake_new_node(server, S_IFDIR | 0755);

		if (root) {
			root->nlink = 1;
			/* The kernel knows it without a lookup. */
			root->nlookup = 1;
		}
	}
	KUNIT_ASSERT_EQ(test, server->last_nodeid, FUSE_ROOT_ID);
	return server;
}
