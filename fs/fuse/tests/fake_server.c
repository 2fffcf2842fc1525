// SPDX-License-Identifier: GPL-2.0
/*
 * A FUSE server inside the kernel, for tests
 *
 * First the tree of files that it serves: what it answers, what it has told the kernel, and
 * how a test changes it. This is protected by server->tree, which is held when the static
 * functions are called.
 */

#include <linux/highmem.h>
#include <linux/pagemap.h>
#include <linux/slab.h>

#include <kunit/thread.h>

#include "../args.h"
#include "fake_server.h"

/* What the server does not remember would pass for a mistake of the kernel. */
#define FUSE_FAKE_GFP	(GFP_KERNEL | __GFP_NOFAIL)

/* A file, directory or symbolic link */
struct fuse_fake_node {
	struct list_head list;
	u64 nodeid;
	u64 nlookup;			/* how often the kernel was told and has not forgotten */
	unsigned int nlink;		/* how many names it has */
	u64 generation;			/* how many nodes have had that nodeid before */
	umode_t mode;
	u64 seq[FUSE_FAKE_ABOUT];	/* see fuse_fake_seq() */
};

/* The first complaint is the one that leads to the mistake. */
static __printf(2, 3) void fuse_fake_complain(struct fuse_fake_server *server,
					      const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (!server->complaint[0])
		vsnprintf(server->complaint, sizeof(server->complaint), fmt, args);
	va_end(args);
}

/* Nodes and names. */

static struct fuse_fake_node *fuse_fake_node(struct fuse_fake_server *server, u64 nodeid)
{
	struct fuse_fake_node *node;

	list_for_each_entry(node, &server->nodes, list)
		if (node->nodeid == nodeid)
			return node;
	return NULL;
}

static struct fuse_fake_node *fuse_fake_new_node(struct fuse_fake_server *server, umode_t mode)
{
	struct fuse_fake_node *node = kzalloc_obj(*node, FUSE_FAKE_GFP);

	node->nodeid = ++server->last_nodeid;
	node->mode = mode;
	list_add_tail(&node->list, &server->nodes);
	return node;
}

/* A node lives as long as it has a name or the kernel knows it. */
static void fuse_fake_put_node(struct fuse_fake_node *node)
{
	if (node->nlink || node->nlookup)
		return;
	list_del(&node->list);
	kfree(node);
}

/* A name that nobody has asked for or made yet leads nowhere. */
static struct fuse_fake_name *fuse_fake_name(struct fuse_fake_server *server, u64 parent,
					     const char *name)
{
	size_t size = strlen(name) + 1;
	struct fuse_fake_name *n;

	list_for_each_entry(n, &server->names, list)
		if (n->parent == parent && !strcmp(n->name, name))
			return n;
	n = kzalloc_flex(*n, name, size, FUSE_FAKE_GFP);
	memcpy(n->name, name, size);
	n->parent = parent;
	list_add_tail(&n->list, &server->names);
	return n;
}

/* A name leads to this node from now on, or to nothing. */
static void fuse_fake_set_name(struct fuse_fake_name *n, struct fuse_fake_node *node)
{
	struct fuse_fake_node *old = n->node;

	if (node)
		node->nlink++;
	n->node = node;
	if (old) {
		old->nlink--;
		fuse_fake_put_node(old);
	}
}

static bool fuse_fake_is_empty(struct fuse_fake_server *server, struct fuse_fake_node *dir)
{
	struct fuse_fake_name *n;

	list_for_each_entry(n, &server->names, list)
		if (n->parent == dir->nodeid && n->node)
			return false;
	return true;
}

/* What the kernel has been told. */

static void fuse_fake_untell(struct fuse_fake_server *server, struct fuse_fake_name *n,
			     bool below)
{
	struct fuse_fake_name *child;
	u64 nodeid = n->nodeid;

	n->cached = false;
	if (!below)
		return;
	/* After renames, what the kernel was told may be a loop: visit each name only once. */
	n->nodeid = 0;
	list_for_each_entry(child, &server->names, list)
		if (nodeid && child->parent == nodeid)
			fuse_fake_untell(server, child, true);
}

/* All names of a node, or of all nodes if it is 0. */
static void fuse_fake_untell_node(struct fuse_fake_server *server, u64 nodeid)
{
	struct fuse_fake_name *n;

	list_for_each_entry(n, &server->names, list)
		if (!nodeid || n->nodeid == nodeid)
			n->cached = false;
}

/* The kernel is told where the name leads. */
static void fuse_fake_tell(struct fuse_fake_server *server, struct fuse_fake_name *n, bool cached)
{
	u64 nodeid = n->node ? n->node->nodeid : 0;

	/* A directory has one dentry: the kernel moves it to the new name. */
	if (n->node && S_ISDIR(n->node->mode))
		fuse_fake_untell_node(server, nodeid);
	/* What was cached below another node goes with that. */
	if (n->nodeid != nodeid)
		fuse_fake_untell(server, n, true);
	n->nodeid = nodeid;
	n->seq = ++server->seq;
	n->cached = cached;
	n->from = NULL;
}

/* Requests. What handles them returns an error for the reply. */

static const void *fuse_fake_in(struct fuse_req *req, unsigned int arg)
{
	return req->args->in_args[arg].value;
}

static void *fuse_fake_out(struct fuse_req *req)
{
	return req->args->out_args[0].value;
}

static struct fuse_attr fuse_fake_attr(struct fuse_fake_server *server,
				       struct fuse_fake_node *node)
{
	node->seq[FUSE_FAKE_ATTR] = ++server->seq;
	return (struct fuse_attr) {
		.ino	= node->nodeid,
		.mode	= node->mode,
		.nlink	= S_ISDIR(node->mode) ? 2 * node->nlink : node->nlink,
		.mtime	= 1,
		.size	= S_ISREG(node->mode) ? server->file_size : 0,
		.flags	= node->mode == FUSE_FAKE_SUBMOUNT ? FUSE_ATTR_SUBMOUNT : 0,
	};
}

/* Every entry that the kernel gets counts as one lookup of the node. */
static void fuse_fake_entry(struct fuse_fake_server *server, struct fuse_fake_name *n,
			    struct fuse_entry_out *out)
{
	n->node->nlookup++;
	fuse_fake_tell(server, n, server->entry_valid);
	*out = (struct fuse_entry_out) {
		.nodeid		= n->node->nodeid,
		.generation	= n->node->generation,
		.entry_valid	= server->entry_valid,
		.attr_valid	= server->attr_valid,
		.attr		= fuse_fake_attr(server, n->node),
	};
}

static int fuse_fake_do_init(struct fuse_fake_server *server, struct fuse_req *req,
			     struct fuse_fake_node *none)
{
	*(struct fuse_init_out *)fuse_fake_out(req) = (struct fuse_init_out) {
		.major		= FUSE_KERNEL_VERSION,
		.minor		= FUSE_KERNEL_MINOR_VERSION,
		.max_write	= PAGE_SIZE,
		.max_pages	= 16,
		/* What libfuse asks for by default, as far as names go. */
		.flags		= FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES |
				  FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO,
	};
	return 0;
}

static int fuse_fake_do_lookup(struct fuse_fake_server *server, struct fuse_req *req,
			       struct fuse_fake_node *dir)
{
	struct fuse_entry_out *out = fuse_fake_out(req);
	struct fuse_fake_name *n;

	/* The one request whose name need not end with a NUL. */
	char *name __free(kfree) = kmemdup_nul(fuse_fake_in(req, 1), req->args->in_args[1].size,
					       FUSE_FAKE_GFP);

	n = fuse_fake_name(server, dir->nodeid, name);
	if (n->node) {
		fuse_fake_entry(server, n, out);
		return 0;
	}
	fuse_fake_tell(server, n, server->negative_valid);
	out->entry_valid = server->negative_valid;
	return server->negative_valid ? 0 : -ENOENT;
}

static int fuse_fake_do_attr(struct fuse_fake_server *server, struct fuse_req *req,
			     struct fuse_fake_node *node)
{
	const struct fuse_setattr_in *in = fuse_fake_in(req, 0);
	struct fuse_attr_out *out = fuse_fake_out(req);

	if (req->in.h.opcode == FUSE_SETATTR && in->valid & FATTR_MODE) {
		node->mode = in->mode;
		/* Who may look into it has changed: the kernel asks again. */
		fuse_fake_untell_node(server, node->nodeid);
	}
	out->attr_valid = server->attr_valid;
	out->attr = fuse_fake_attr(server, node);
	return 0;
}

static int fuse_fake_do_make(struct fuse_fake_server *server, struct fuse_req *req,
			     struct fuse_fake_node *dir)
{
	struct fuse_fake_name *n = fuse_fake_name(server, dir->nodeid, fuse_fake_in(req, 1));
	const struct fuse_link_in *link = fuse_fake_in(req, 0);
	const struct fuse_create_in *create = fuse_fake_in(req, 0);
	u32 opcode = req->in.h.opcode;
	struct fuse_fake_node *node;

	/* A removed directory takes no new name. */
	if (!dir->nlink)
		return -ENOENT;
	if (n->node && (opcode != FUSE_CREATE || (create->flags & O_EXCL)))
		return -EEXIST;
	if (n->node)
		node = n->node;
	else if (opcode == FUSE_LINK)
		node = fuse_fake_node(server, link->oldnodeid);
	else
		node = fuse_fake_new_node(server, opcode == FUSE_MKDIR ? S_IFDIR | 0755 :
						  opcode == FUSE_SYMLINK ? S_IFLNK | 0777 :
						  S_IFREG | 0644);
	if (!node)
		return -ESTALE;
	fuse_fake_set_name(n, node);
	fuse_fake_entry(server, n, fuse_fake_out(req));
	/* It had a name only for a moment. */
	if (opcode == FUSE_TMPFILE)
		fuse_fake_set_name(n, NULL);
	return 0;
}

static int fuse_fake_do_unmake(struct fuse_fake_server *server, struct fuse_req *req,
			       struct fuse_fake_node *dir)
{
	struct fuse_fake_name *n = fuse_fake_name(server, dir->nodeid, fuse_fake_in(req, 1));

	if (n->node && !fuse_fake_is_empty(server, n->node))
		return -ENOTEMPTY;
	/* If it is not there the kernel drops what it has, too. */
	fuse_fake_untell(server, n, true);
	if (!n->node)
		return -ENOENT;
	fuse_fake_set_name(n, NULL);
	return 0;
}

static int fuse_fake_do_rename(struct fuse_fake_server *server, struct fuse_req *req,
			       struct fuse_fake_node *dir)
{
	/* It begins as struct fuse_rename_in. */
	const struct fuse_rename2_in *in = fuse_fake_in(req, 0);
	unsigned int flags = req->in.h.opcode == FUSE_RENAME2 ? in->flags : 0;
	struct fuse_fake_name *old = fuse_fake_name(server, dir->nodeid, fuse_fake_in(req, 1));
	struct fuse_fake_name *new = fuse_fake_name(server, in->newdir, fuse_fake_in(req, 2));
	struct fuse_fake_node *newdir = fuse_fake_node(server, in->newdir);
	u64 old_seq = old->seq, new_seq = new->seq;
	bool exchange = flags & RENAME_EXCHANGE;

	if (!old->node || !newdir || !newdir->nlink || (exchange && !new->node))
		return -ENOENT;
	if (new->node && flags & RENAME_NOREPLACE)
		return -EEXIST;
	/* Renaming one hard link over another does nothing, for the VFS too. */
	if (new->node == old->node)
		return 0;
	if (new->node && !exchange && !fuse_fake_is_empty(server, new->node))
		return -ENOTEMPTY;

	/* The old name is gone, but what it led to and all below that is not. */
	old->cached = false;
	old->nodeid = 0;
	if (exchange) {
		new->nodeid = 0;
		swap(old->node, new->node);
	} else {
		fuse_fake_set_name(new, old->node);
		fuse_fake_set_name(old, NULL);
	}
	/* This is an answer about both names, but the kernel may keep the old timeout. */
	fuse_fake_tell(server, new, server->entry_valid);
	new->from = old;
	new->from_seq = old_seq;
	if (exchange) {
		fuse_fake_tell(server, old, server->entry_valid);
		old->from = new;
		old->from_seq = new_seq;
	}
	return 0;
}

static int fuse_fake_do_opendir(struct fuse_fake_server *server, struct fuse_req *req,
				struct fuse_fake_node *dir)
{
	struct fuse_open_out *out = fuse_fake_out(req);

	if (server->cache_dir)
		out->open_flags = FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE;
	return 0;
}

static int fuse_fake_do_readdir(struct fuse_fake_server *server, struct fuse_req *req,
				struct fuse_fake_node *dir)
{
	struct fuse_args_pages *ap = container_of(req->args, typeof(*ap), args);
	const struct fuse_read_in *in = fuse_fake_in(req, 0);
	bool plus = req->in.h.opcode == FUSE_READDIRPLUS;
	/* Fill at most one page; what does not fit goes into the next answer. */
	size_t room = min_t(size_t, in->size, PAGE_SIZE), used = 0;
	void *buf = kmap_local_folio(ap->folios[0], 0);
	struct fuse_fake_name *n;
	u64 off = 0;

	if (!in->offset)
		dir->seq[FUSE_FAKE_LISTING] = ++server->seq;

	list_for_each_entry(n, &server->names, list) {
		struct fuse_direntplus *dp = buf + used;
		struct fuse_dirent *d = plus ? &dp->dirent : buf + used;
		size_t len = strlen(n->name);
		size_t end = FUSE_DIRENT_ALIGN((void *)d - buf + FUSE_NAME_OFFSET + len);

		/* The offset of an entry is its place among all names in the directory. */
		if (n->parent != dir->nodeid || off++ < in->offset || !n->node)
			continue;
		if (end > room)
			break;
		if (plus)
			fuse_fake_entry(server, n, &dp->entry_out);
		d->ino = n->node->nodeid;
		d->off = off;
		d->namelen = len;
		d->type = S_DT(n->node->mode);
		memcpy(d->name, n->name, len);
		used = end;
	}
	kunmap_local(buf);
	req->args->out_args[0].size = used;
	return 0;
}

static void fuse_fake_forget(struct fuse_fake_server *server, u64 nodeid, u64 nlookup)
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

/* Who sends this as a request waits until the server reads it, perhaps with i_rwsem held. */
static int fuse_fake_do_forget(struct fuse_fake_server *server, struct fuse_req *req,
			       struct fuse_fake_node *node)
{
	const struct fuse_forget_in *in = fuse_fake_in(req, 0);

	fuse_fake_complain(server, "FORGET is a request, which a call waits for");
	fuse_fake_forget(server, node->nodeid, in->nlookup);
	return 0;
}

#define OP(_name, ...)	\
	[FUSE_##_name] = { #_name, __VA_ARGS__ }

/* What has no function is answered with an error, or with zeroes. */
static const struct fuse_fake_op {
	const char *name;
	int (*fn)(struct fuse_fake_server *server, struct fuse_req *req,
		  struct fuse_fake_node *node);
	int err;
} fuse_fake_ops[FUSE_FAKE_OPCODES] = {
	OP(INIT, fuse_fake_do_init),
	OP(LOOKUP, fuse_fake_do_lookup), OP(FORGET, fuse_fake_do_forget),
	OP(GETATTR, fuse_fake_do_attr), OP(SETATTR, fuse_fake_do_attr),
	OP(CREATE, fuse_fake_do_make), OP(MKNOD, fuse_fake_do_make),
	OP(MKDIR, fuse_fake_do_make), OP(SYMLINK, fuse_fake_do_make),
	OP(LINK, fuse_fake_do_make), OP(TMPFILE, fuse_fake_do_make),
	OP(UNLINK, fuse_fake_do_unmake), OP(RMDIR, fuse_fake_do_unmake),
	OP(RENAME, fuse_fake_do_rename), OP(RENAME2, fuse_fake_do_rename),
	OP(OPENDIR, fuse_fake_do_opendir),
	OP(READDIR, fuse_fake_do_readdir), OP(READDIRPLUS, fuse_fake_do_readdir),
	OP(ACCESS), OP(DESTROY), OP(FALLOCATE), OP(FLUSH), OP(FSYNC), OP(FSYNCDIR),
	OP(NOTIFY_REPLY), OP(OPEN), OP(READ), OP(RELEASE), OP(RELEASEDIR), OP(REMOVEXATTR),
	OP(SETXATTR), OP(STATFS), OP(WRITE),
	/* O_TRUNC sends GETXATTR; many servers have no xattrs. */
	OP(GETXATTR, NULL, -ENOSYS), OP(LSEEK, NULL, -ENOSYS),
	/* No link leads anywhere. */
	OP(READLINK, NULL, -EIO),
};

const char *fuse_fake_opname(u32 opcode)
{
	return (opcode < FUSE_FAKE_OPCODES ? fuse_fake_ops[opcode].name : NULL) ?:
	       "an unknown request";
}

/* Of an answer, all is zero that is not set later. */
static void fuse_fake_zero(struct fuse_args *args)
{
	struct fuse_args_pages *ap = container_of(args, typeof(*ap), args);

	for (unsigned int i = 0; i < args->out_numargs - args->out_pages; i++)
		memset(args->out_args[i].value, 0, args->out_args[i].size);
	for (unsigned int i = 0; args->out_pages && i < ap->num_folios; i++)
		folio_zero_range(ap->folios[i], ap->descs[i].offset, ap->descs[i].length);
}

static int fuse_fake_handle(struct fuse_fake_server *server, struct fuse_req *req)
{
	u32 opcode = req->in.h.opcode;
	struct fuse_fake_node *node = fuse_fake_node(server, req->in.h.nodeid);
	const struct fuse_fake_op *op = opcode < FUSE_FAKE_OPCODES ? &fuse_fake_ops[opcode] : NULL;

	if (!op || !op->name) {
		fuse_fake_complain(server, "opcode %u is unknown here", opcode);
		return -ENOSYS;
	}
	/* These are about the connection, not about a node. */
	if (!node && opcode != FUSE_INIT && opcode != FUSE_DESTROY) {
		fuse_fake_complain(server, "%s for nodeid %llu, which is forgotten",
				   op->name, req->in.h.nodeid);
		return -ESTALE;
	}
	fuse_fake_zero(req->args);
	return op->fn ? op->fn(server, req, node) : op->err;
}

/* Changes behind the kernel's back. */

/* Where a path leads; NULL if there is no such directory. */
static struct fuse_fake_name *fuse_fake_at(struct fuse_fake_server *server, const char *path)
{
	u64 parent = FUSE_ROOT_ID;
	struct fuse_fake_name *n;
	const char *slash;

	for (; (slash = strchr(path, '/')); path = slash + 1) {
		char *name __free(kfree) = kmemdup_nul(path, slash - path, FUSE_FAKE_GFP);

		n = fuse_fake_name(server, parent, name);
		if (!n->node)
			return NULL;
		parent = n->node->nodeid;
	}
	return fuse_fake_name(server, parent, path);
}

/* Let a path lead to @node, which is NULL if there is none. Returns its nodeid. */
static u64 fuse_fake_make(struct fuse_fake_server *server, const char *path,
			  struct fuse_fake_node *node)
{
	struct fuse_fake_name *n = fuse_fake_at(server, path);

	if (!n || n->node || !node) {
		KUNIT_FAIL(server->test, "the server cannot make %s", path);
		return 0;
	}
	fuse_fake_set_name(n, node);
	return node->nodeid;
}

u64 fuse_fake_add(struct fuse_fake_server *server, const char *path, umode_t mode)
{
	guard(mutex)(&server->tree);
	return fuse_fake_make(server, path, fuse_fake_new_node(server, mode));
}

void fuse_fake_link(struct fuse_fake_server *server, const char *old, const char *new)
{
	struct fuse_fake_name *from;

	guard(mutex)(&server->tree);
	from = fuse_fake_at(server, old);
	fuse_fake_make(server, new, from ? from->node : NULL);
}

void fuse_fake_reuse(struct fuse_fake_server *server, u64 nodeid, const char *path)
{
	struct fuse_fake_node *node;

	guard(mutex)(&server->tree);
	node = fuse_fake_node(server, nodeid);
	if (node)
		node->generation++;
	fuse_fake_make(server, path, node && !node->nlink ? node : NULL);
}

void fuse_fake_remove(struct fuse_fake_server *server, const char *path)
{
	struct fuse_fake_name *n;

	guard(mutex)(&server->tree);
	n = fuse_fake_at(server, path);
	if (n && n->node)
		fuse_fake_set_name(n, NULL);
	else
		KUNIT_FAIL(server->test, "the server cannot remove %s", path);
}

/* What a test asks. */

struct fuse_fake_name *fuse_fake_told(struct fuse_fake_server *server, u64 parent,
				      const char *name)
{
	guard(mutex)(&server->tree);
	return fuse_fake_name(server, parent, name);
}

u64 fuse_fake_seq(struct fuse_fake_server *server, u64 nodeid, enum fuse_fake_about about)
{
	struct fuse_fake_node *node;

	guard(mutex)(&server->tree);
	node = fuse_fake_node(server, nodeid);
	return node ? node->seq[about] : 0;
}

void fuse_fake_take_back(struct fuse_fake_server *server, u64 parent,
			 const char *name, bool below)
{
	guard(mutex)(&server->tree);
	fuse_fake_untell(server, fuse_fake_name(server, parent, name), below);
}

void fuse_fake_take_back_node(struct fuse_fake_server *server, u64 nodeid)
{
	guard(mutex)(&server->tree);
	fuse_fake_untell_node(server, nodeid);
}

u64 fuse_fake_known(struct fuse_fake_server *server)
{
	struct fuse_fake_node *node;

	guard(mutex)(&server->tree);
	list_for_each_entry(node, &server->nodes, list)
		if (node->nodeid != FUSE_ROOT_ID && node->nlookup)
			return node->nodeid;
	return 0;
}

/* The queue of requests, which server->lock protects. */

/* Does a hook stop this request there? Called with server->lock held. */
static bool fuse_fake_stops(struct fuse_fake_server *server, struct fuse_req *req,
			    enum fuse_fake_stop stop)
{
	struct fuse_fake_hook *hook;

	list_for_each_entry(hook, &server->hooks, list) {
		if (hook->req == req && hook->stop == stop) {
			complete_all(&hook->reached);
			return true;
		}
	}
	return false;
}

static void fuse_fake_serve(struct fuse_fake_server *server, struct fuse_req *req)
{
	bool stops;

	scoped_guard(mutex, &server->tree)
		req->out.h.error = fuse_fake_handle(server, req);
	scoped_guard(spinlock, &server->lock)
		stops = fuse_fake_stops(server, req, FUSE_FAKE_STOP_BEHIND);
	if (!stops)
		fuse_request_end(req);
}

static void fuse_fake_work(struct work_struct *work)
{
	struct fuse_fake_server *server = container_of(work, typeof(*server), work);
	struct fuse_forget_link *forget;
	struct fuse_req *req;

	do {
		scoped_guard(spinlock, &server->lock) {
			forget = server->forgets;
			if (forget)
				server->forgets = forget->next;
			req = list_first_entry_or_null(&server->queue, struct fuse_req, list);
			if (req)
				list_del_init(&req->list);
		}
		if (forget) {
			scoped_guard(mutex, &server->tree)
				fuse_fake_forget(server, forget->forget_one.nodeid,
						 forget->forget_one.nlookup);
			kfree(forget);
		}
		if (req)
			fuse_fake_serve(server, req);
	} while (forget || req);
}

static void fuse_fake_send_req(struct fuse_iqueue *fiq, struct fuse_req *req)
{
	/* Nobody waits for these, and they come with a spinlock held. */
	bool background = test_bit(FR_BACKGROUND, &req->flags);
	struct fuse_fake_server *server = fiq->priv;
	u32 opcode = req->in.h.opcode;
	struct fuse_fake_hook *hook;
	bool stops;

	fuse_request_assign_unique(fiq, req);
	clear_bit(FR_PENDING, &req->flags);

	scoped_guard(spinlock, &server->lock) {
		if (opcode < FUSE_FAKE_OPCODES)
			server->requests[opcode]++;
		list_for_each_entry(hook, &server->hooks, list) {
			if ((hook->task && hook->task != current) ||
			    (hook->opcode && hook->opcode != opcode) ||
			    opcode == FUSE_NOTIFY_REPLY || hook->requests++ != hook->skip)
				continue;
			hook->req = req;
			hook->first = opcode;
		}
		stops = fuse_fake_stops(server, req, FUSE_FAKE_STOP_BEFORE);
		if (!stops && background)
			list_add_tail(&req->list, &server->queue);
	}
	if (!stops && background)
		schedule_work(&server->work);
	else if (!stops)
		fuse_fake_serve(server, req);
}

static void fuse_fake_send_forget(struct fuse_iqueue *fiq, struct fuse_forget_link *forget)
{
	struct fuse_fake_server *server = fiq->priv;

	scoped_guard(spinlock, &server->lock) {
		forget->next = server->forgets;
		server->forgets = forget;
	}
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

void fuse_fake_hook(struct fuse_fake_server *server, struct fuse_fake_hook *hook)
{
	hook->server = server;
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
	if (req && hook->stop == FUSE_FAKE_STOP_BEFORE)
		fuse_fake_serve(server, req);
	else if (req)
		fuse_request_end(req);
}

struct fuse_fake_hook *fuse_fake_hold(struct fuse_fake_server *server, u32 opcode,
				      unsigned int skip, enum fuse_fake_stop stop)
{
	struct fuse_fake_hook *hook = kunit_kzalloc(server->test, sizeof(*hook), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(server->test, hook);
	hook->opcode = opcode;
	hook->skip = skip;
	hook->stop = stop;
	fuse_fake_hook(server, hook);
	return hook;
}

void fuse_fake_hold_wait(struct fuse_fake_hook *hook)
{
	if (!wait_for_completion_timeout(&hook->reached, KUNIT_THREAD_LIMIT))
		KUNIT_FAIL_AND_ABORT(hook->server->test, "%s did not come within %d s",
				     hook->opcode ? fuse_fake_opname(hook->opcode) : "a request",
				     KUNIT_THREAD_LIMIT / HZ);
}

void fuse_fake_let_go(struct fuse_fake_server *server)
{
	struct fuse_fake_hook *hook, *found;

	do {
		found = NULL;
		/* Others only count, and may be on the stack of another thread. */
		scoped_guard(spinlock, &server->lock)
			list_for_each_entry(hook, &server->hooks, list)
				if (hook->stop)
					found = hook;
		if (found)
			fuse_fake_unhook(found);
	} while (found);
}

void fuse_fake_server_stop(struct fuse_fake_server *server)
{
	struct fuse_fake_node *node, *next_node;
	struct fuse_fake_name *n, *next_name;

	flush_work(&server->work);
	/* The requests of the unmount may have caused a complaint, too. */
	if (server->complaint[0])
		KUNIT_FAIL(server->test, "the server complains: %s", server->complaint);
	list_for_each_entry_safe(node, next_node, &server->nodes, list)
		kfree(node);
	list_for_each_entry_safe(n, next_name, &server->names, list)
		kfree(n);
	kfree(server);
}

struct fuse_fake_server *fuse_fake_server_start(struct kunit *test)
{
	struct fuse_fake_server *server = kzalloc_obj(*server, FUSE_FAKE_GFP);
	struct fuse_fake_node *root;

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
	INIT_LIST_HEAD(&server->names);
	root = fuse_fake_new_node(server, S_IFDIR | 0755);
	/* Nobody takes its name away, and the kernel knows it without a lookup. */
	root->nlink = 1;
	root->nlookup = 1;
	return server;
}

MODULE_DESCRIPTION("KUnit tests of FUSE's reverse invalidation");
MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");
MODULE_LICENSE("GPL");
