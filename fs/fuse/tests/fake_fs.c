// SPDX-License-Identifier: GPL-2.0
/*
 * The tree of files that the fake server serves: what it answers, what it has told the
 * kernel, and how a test changes it. All of it is protected by server->tree; the static
 * functions are called with that held, but fuse_fake_change(), which takes it.
 */

#include <linux/highmem.h>
#include <linux/limits.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/stat.h>
#include <linux/string.h>

#include <kunit/test.h>

#include "../args.h"
#include "../dev.h"
#include "../fuse_dev_i.h"
#include "fake_server.h"

/* A file, directory or symbolic link */
struct fuse_fake_node {
	struct list_head list;		/* entry in the server's list */
	struct list_head names;		/* in it, if it is a directory */
	u64 nodeid;
	u64 nlookup;			/* how often the kernel was told and has not forgotten */
	unsigned int nlink;		/* how many names it has */
	u64 generation;			/* how many nodes have had that nodeid before */
	umode_t mode;
	u64 seq[FUSE_FAKE_ABOUT];	/* see fuse_fake_seq() */
	bool submount;			/* it is the root of another file system */
	char *target;			/* of a symbolic link */
};

struct fuse_fake_name {
	struct list_head list;
	struct fuse_fake_node *node;
	char name[];
};

/* The first complaint is the one that leads to the mistake. */
static __printf(2, 3) void fuse_fake_complain(struct fuse_fake_server *server,
					      const char *fmt, ...)
{
	va_list args;

	if (server->complaint[0])
		return;
	va_start(args, fmt);
	vsnprintf(server->complaint, sizeof(server->complaint), fmt, args);
	va_end(args);
}

/*
 * Nodes and names.
 */

static struct fuse_fake_node *fuse_fake_node(struct fuse_fake_server *server, u64 nodeid)
{
	struct fuse_fake_node *node;

	list_for_each_entry(node, &server->nodes, list)
		if (node->nodeid == nodeid)
			return node;
	return NULL;
}

/* @dir may be NULL: then there is no such name either. */
static struct fuse_fake_name *fuse_fake_name(struct fuse_fake_node *dir, const char *name)
{
	struct fuse_fake_name *n;

	if (dir)
		list_for_each_entry(n, &dir->names, list)
			if (!strcmp(n->name, name))
				return n;
	return NULL;
}

static struct fuse_fake_node *fuse_fake_new_node(struct fuse_fake_server *server, umode_t mode)
{
	struct fuse_fake_node *node = kzalloc_obj(*node);

	if (!node)
		return NULL;
	INIT_LIST_HEAD(&node->names);
	node->nodeid = ++server->last_nodeid;
	node->mode = mode;
	list_add_tail(&node->list, &server->nodes);
	return node;
}

static void fuse_fake_free_node(struct fuse_fake_node *node)
{
	list_del(&node->list);
	kfree(node->target);
	kfree(node);
}

/* A node lives as long as it has a name or the kernel knows it. */
static void fuse_fake_put_node(struct fuse_fake_node *node)
{
	if (!node->nlink && !node->nlookup)
		fuse_fake_free_node(node);
}

/* A removed directory takes no new name. */
static int fuse_fake_add_name(struct fuse_fake_node *dir, const char *name,
			      struct fuse_fake_node *node)
{
	size_t size = strlen(name) + 1;
	struct fuse_fake_name *n;

	if (!S_ISDIR(dir->mode))
		return -ENOTDIR;
	if (!dir->nlink)
		return -ENOENT;
	if (fuse_fake_name(dir, name))
		return -EEXIST;
	n = kzalloc_flex(*n, name, size);
	if (!n)
		return -ENOMEM;
	memcpy(n->name, name, size);
	n->node = node;
	node->nlink++;
	list_add_tail(&n->list, &dir->names);
	return 0;
}

static void fuse_fake_del_name(struct fuse_fake_name *n)
{
	struct fuse_fake_node *node = n->node;

	list_del(&n->list);
	kfree(n);
	node->nlink--;
	fuse_fake_put_node(node);
}

static int fuse_fake_make(struct fuse_fake_server *server, struct fuse_fake_node *dir,
			  const char *name, umode_t mode, struct fuse_fake_node **node)
{
	int err;

	*node = fuse_fake_new_node(server, mode);
	if (!*node)
		return -ENOMEM;
	err = fuse_fake_add_name(dir, name, *node);
	fuse_fake_put_node(*node);
	return err;
}

static void fuse_fake_clear_dir(struct fuse_fake_node *dir)
{
	struct fuse_fake_name *n, *next;

	list_for_each_entry_safe(n, next, &dir->names, list) {
		fuse_fake_clear_dir(n->node);
		fuse_fake_del_name(n);
	}
}

static int fuse_fake_move(struct fuse_fake_node *olddir, const char *oldname,
			  struct fuse_fake_node *newdir, const char *newname,
			  unsigned int flags)
{
	struct fuse_fake_name *old = fuse_fake_name(olddir, oldname);
	struct fuse_fake_name *new = fuse_fake_name(newdir, newname);
	bool exchange = flags & RENAME_EXCHANGE;
	int err = 0;

	if (!old || !newdir->nlink || (exchange && !new))
		return -ENOENT;
	if (new && (flags & RENAME_NOREPLACE))
		return -EEXIST;
	if (new && new->node == old->node)
		return 0;
	if (new && !exchange && !list_empty(&new->node->names))
		return -ENOTEMPTY;
	if (new)
		swap(old->node, new->node);
	else
		err = fuse_fake_add_name(newdir, newname, old->node);
	if (!err && !exchange)
		fuse_fake_del_name(old);
	return err;
}

/*
 * What the kernel has been told.
 */

static struct fuse_fake_told *fuse_fake_find_told(struct fuse_fake_server *server,
						  u64 parent, const char *name)
{
	struct fuse_fake_told *told;

	list_for_each_entry(told, &server->told, list)
		if (told->parent == parent && !strcmp(told->name, name))
			return told;
	return NULL;
}

static void fuse_fake_untell(struct fuse_fake_server *server, u64 parent,
			     const char *name, bool below)
{
	struct fuse_fake_told *told = fuse_fake_find_told(server, parent, name);
	struct fuse_fake_told *child;
	u64 nodeid;

	if (!told)
		return;
	told->cached = false;
	if (!below)
		return;
	/* Names that are old news may form a loop: visit each only once. */
	nodeid = told->nodeid;
	told->nodeid = 0;
	list_for_each_entry(child, &server->told, list)
		if (nodeid && child->parent == nodeid)
			fuse_fake_untell(server, nodeid, child->name, true);
}

/* All names of a node, or of all nodes if it is 0. */
static void fuse_fake_untell_node(struct fuse_fake_server *server, u64 nodeid)
{
	struct fuse_fake_told *told;

	list_for_each_entry(told, &server->told, list)
		if (!nodeid || told->nodeid == nodeid)
			told->cached = false;
}

static void fuse_fake_tell(struct fuse_fake_server *server, u64 parent, const char *name,
			   const struct fuse_fake_node *node, bool cached)
{
	size_t size = strlen(name) + 1;
	struct fuse_fake_told *told;

	/* A directory has one dentry: the kernel moves it to the new name. */
	if (node && S_ISDIR(node->mode))
		fuse_fake_untell_node(server, node->nodeid);

	told = fuse_fake_find_told(server, parent, name);
	if (!told) {
		told = kzalloc_flex(*told, name, size);
		if (!told) {
			fuse_fake_complain(server, "no memory to note what the kernel is told");
			return;
		}
		memcpy(told->name, name, size);
		told->parent = parent;
		list_add_tail(&told->list, &server->told);
	}
	/* What was cached below another node goes with that. */
	if (told->nodeid && (!node || told->nodeid != node->nodeid))
		fuse_fake_untell(server, parent, name, true);
	told->nodeid = node ? node->nodeid : 0;
	told->seq = ++server->seq;
	told->cached = cached;
	told->from = NULL;
}

/* The kernel has renamed what it was told about @from at @seq, and may go on to use that. */
static void fuse_fake_tell_moved(struct fuse_fake_server *server, u64 parent, const char *name,
				 const struct fuse_fake_node *node,
				 const struct fuse_fake_told *from, u64 seq)
{
	struct fuse_fake_told *told;

	fuse_fake_tell(server, parent, name, node, server->entry_valid);
	told = fuse_fake_find_told(server, parent, name);
	if (told) {
		told->from = from;
		told->from_seq = seq;
	}
}

/* The name is gone, but what it led to and all below that is not. */
static void fuse_fake_clear(struct fuse_fake_server *server, u64 parent, const char *name)
{
	struct fuse_fake_told *told = fuse_fake_find_told(server, parent, name);

	if (!told)
		return;
	told->cached = false;
	told->nodeid = 0;
}

/*
 * Requests. What handles them returns an error for the reply.
 */

static const void *fuse_fake_in(struct fuse_req *req, unsigned int arg)
{
	return req->args->in_args[arg].value;
}

static int fuse_fake_out(struct fuse_req *req, unsigned int arg, const void *value, size_t size)
{
	struct fuse_args *args = req->args;
	struct fuse_arg *out = &args->out_args[arg];

	size = min_t(size_t, size, out->size);
	memcpy(out->value, value, size);
	if (args->out_argvar && arg == args->out_numargs - 1)
		out->size = size;
	return 0;
}

static struct fuse_attr fuse_fake_attr(struct fuse_fake_server *server,
				       struct fuse_fake_node *node)
{
	node->seq[FUSE_FAKE_ATTR] = ++server->seq;
	return (struct fuse_attr) {
		.ino		= node->nodeid,
		.mode		= node->mode,
		.nlink		= S_ISDIR(node->mode) ? 2 * node->nlink : node->nlink,
		.size		= node->target ? strlen(node->target) :
				  S_ISREG(node->mode) ? server->file_size : 0,
		.mtime		= 1,
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

static int fuse_fake_do_init(struct fuse_fake_server *server, struct fuse_req *req,
			     struct fuse_fake_node *none)
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

	return fuse_fake_out(req, 0, &out, sizeof(out));
}

static int fuse_fake_do_destroy(struct fuse_fake_server *server, struct fuse_req *req,
				struct fuse_fake_node *none)
{
	server->destroyed = true;
	return 0;
}

static int fuse_fake_do_lookup(struct fuse_fake_server *server, struct fuse_req *req,
			       struct fuse_fake_node *dir)
{
	struct fuse_entry_out out = { .entry_valid = server->negative_valid };
	struct fuse_fake_name *n;
	char *name;

	/* The one request whose name need not end with a NUL. */
	name = kmemdup_nul(fuse_fake_in(req, 1), req->args->in_args[1].size, GFP_KERNEL);
	if (!name)
		return -ENOMEM;

	n = fuse_fake_name(dir, name);
	if (n)
		out = fuse_fake_entry(server, dir->nodeid, name, n->node);
	else
		fuse_fake_tell(server, dir->nodeid, name, NULL, server->negative_valid);
	kfree(name);
	if (!n && !server->negative_valid)
		return -ENOENT;
	return fuse_fake_out(req, 0, &out, sizeof(out));
}

static int fuse_fake_do_attr(struct fuse_fake_server *server, struct fuse_req *req,
			     struct fuse_fake_node *node)
{
	const struct fuse_setattr_in *in = fuse_fake_in(req, 0);
	struct fuse_attr_out out;

	if (req->in.h.opcode == FUSE_SETATTR && in->valid & FATTR_MODE) {
		node->mode = (node->mode & S_IFMT) | (in->mode & ~S_IFMT);
		/* Who may look into it has changed: the kernel asks again. */
		fuse_fake_untell_node(server, node->nodeid);
	}
	out = (struct fuse_attr_out) {
		.attr_valid	= server->attr_valid,
		.attr		= fuse_fake_attr(server, node),
	};
	return fuse_fake_out(req, 0, &out, sizeof(out));
}

static int fuse_fake_do_make(struct fuse_fake_server *server, struct fuse_req *req,
			     struct fuse_fake_node *dir)
{
	const void *in = fuse_fake_in(req, 0);
	const char *name = fuse_fake_in(req, 1);
	u32 opcode = req->in.h.opcode;
	struct fuse_open_out open = {};
	struct fuse_fake_node *node;
	struct fuse_entry_out out;
	umode_t mode;
	int err;

	if (opcode == FUSE_LINK) {
		node = fuse_fake_node(server, ((const struct fuse_link_in *)in)->oldnodeid);
		err = node ? fuse_fake_add_name(dir, name, node) : -ESTALE;
	} else if (opcode == FUSE_TMPFILE) {
		node = fuse_fake_new_node(server, ((const struct fuse_create_in *)in)->mode);
		err = node ? 0 : -ENOMEM;
	} else {
		mode = opcode == FUSE_CREATE ? ((const struct fuse_create_in *)in)->mode :
		       opcode == FUSE_MKNOD ? ((const struct fuse_mknod_in *)in)->mode :
		       opcode == FUSE_MKDIR ? ((const struct fuse_mkdir_in *)in)->mode | S_IFDIR :
		       S_IFLNK | 0777;
		err = fuse_fake_make(server, dir, name, mode, &node);
	}
	/* The kernel thought that the name is free, and drops that. */
	if (err == -EEXIST)
		fuse_fake_untell(server, dir->nodeid, name, true);
	if (err)
		return err;
	if (opcode == FUSE_SYMLINK)
		node->target = kstrdup(fuse_fake_in(req, 2), GFP_KERNEL);

	out = fuse_fake_entry(server, dir->nodeid, name, node);
	fuse_fake_out(req, 0, &out, sizeof(out));
	if (opcode == FUSE_CREATE || opcode == FUSE_TMPFILE)
		fuse_fake_out(req, 1, &open, sizeof(open));
	return 0;
}

static int fuse_fake_do_unmake(struct fuse_fake_server *server, struct fuse_req *req,
			       struct fuse_fake_node *dir)
{
	const char *name = fuse_fake_in(req, 1);
	struct fuse_fake_name *n = fuse_fake_name(dir, name);

	if (n && !list_empty(&n->node->names))
		return -ENOTEMPTY;
	/* If it is not there the kernel drops what it has, too. */
	fuse_fake_untell(server, dir->nodeid, name, true);
	if (!n)
		return -ENOENT;
	fuse_fake_del_name(n);
	return 0;
}

static int fuse_fake_do_rename(struct fuse_fake_server *server, struct fuse_req *req,
			       struct fuse_fake_node *dir)
{
	/* It begins as struct fuse_rename_in. */
	const struct fuse_rename2_in *in = fuse_fake_in(req, 0);
	unsigned int flags = req->in.h.opcode == FUSE_RENAME2 ? in->flags : 0;
	struct fuse_fake_node *newdir = fuse_fake_node(server, in->newdir);
	const char *oldname = fuse_fake_in(req, 1);
	const char *newname = fuse_fake_in(req, 2);
	bool exchange = flags & RENAME_EXCHANGE;
	struct fuse_fake_told *oldtold, *newtold;
	struct fuse_fake_name *old, *new;
	u64 oldseq, newseq;
	int err;

	if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	if (!newdir)
		return -ESTALE;

	err = fuse_fake_move(dir, oldname, newdir, newname, flags);
	if (err == -ENOENT) {
		fuse_fake_untell(server, dir->nodeid, oldname, true);
		fuse_fake_untell(server, newdir->nodeid, newname, true);
	}
	old = fuse_fake_name(dir, oldname);
	new = fuse_fake_name(newdir, newname);
	/* Renaming one hard link over another does nothing, for the VFS too. */
	if (err || (old && !exchange))
		return err;
	/* This is an answer about both names, but the kernel may keep the old timeout. */
	oldtold = fuse_fake_find_told(server, dir->nodeid, oldname);
	newtold = fuse_fake_find_told(server, newdir->nodeid, newname);
	oldseq = oldtold ? oldtold->seq : 0;
	newseq = newtold ? newtold->seq : 0;
	fuse_fake_clear(server, dir->nodeid, oldname);
	if (exchange)
		fuse_fake_clear(server, newdir->nodeid, newname);
	fuse_fake_tell_moved(server, newdir->nodeid, newname, new->node, oldtold, oldseq);
	if (exchange)
		fuse_fake_tell_moved(server, dir->nodeid, oldname, old->node, newtold, newseq);
	return 0;
}

static int fuse_fake_do_open(struct fuse_fake_server *server, struct fuse_req *req,
			     struct fuse_fake_node *node)
{
	struct fuse_open_out out = {};

	if (req->in.h.opcode == FUSE_OPENDIR && server->cache_dir)
		out.open_flags = FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE;
	return fuse_fake_out(req, 0, &out, sizeof(out));
}

static int fuse_fake_do_readlink(struct fuse_fake_server *server, struct fuse_req *req,
				 struct fuse_fake_node *node)
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
	void *buf = kmap_local_folio(ap->folios[0], 0);
	struct fuse_fake_name *n;
	u64 off = 0;

	if (!in->offset)
		dir->seq[FUSE_FAKE_LISTING] = ++server->seq;

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
	kunmap_local(buf);
	req->args->out_args[0].size = used;
	return 0;
}

/* There is nothing but zeroes in files, whatever is written. */
static int fuse_fake_do_read(struct fuse_fake_server *server, struct fuse_req *req,
			     struct fuse_fake_node *node)
{
	struct fuse_args_pages *ap = container_of(req->args, typeof(*ap), args);
	const struct fuse_read_in *in = fuse_fake_in(req, 0);
	unsigned int i;

	for (i = 0; i < ap->num_folios; i++)
		folio_zero_range(ap->folios[i], ap->descs[i].offset, ap->descs[i].length);
	req->args->out_args[0].size = in->offset < server->file_size ?
				      min_t(u64, in->size, server->file_size - in->offset) : 0;
	return 0;
}

static int fuse_fake_do_write(struct fuse_fake_server *server, struct fuse_req *req,
			      struct fuse_fake_node *node)
{
	const struct fuse_write_in *in = fuse_fake_in(req, 0);
	struct fuse_write_out out = { .size = in->size };

	return fuse_fake_out(req, 0, &out, sizeof(out));
}

static int fuse_fake_do_statfs(struct fuse_fake_server *server, struct fuse_req *req,
			       struct fuse_fake_node *node)
{
	struct fuse_statfs_out out = {
		.st.bsize	= PAGE_SIZE,
		.st.frsize	= PAGE_SIZE,
		.st.namelen	= NAME_MAX,
	};

	return fuse_fake_out(req, 0, &out, sizeof(out));
}

void fuse_fake_forget(struct fuse_fake_server *server, u64 nodeid, u64 nlookup)
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

/* One that the kernel sends as a request, after a failed link. */
static int fuse_fake_do_forget(struct fuse_fake_server *server, struct fuse_req *req,
			       struct fuse_fake_node *node)
{
	const struct fuse_forget_in *in = fuse_fake_in(req, 0);

	fuse_fake_forget(server, node->nodeid, in->nlookup);
	return 0;
}

#define OP(_name, ...)	\
	[FUSE_##_name] = { #_name, __VA_ARGS__ }

/* What has no function is answered with an error, or with success. */
static const struct fuse_fake_op {
	const char *name;
	int (*fn)(struct fuse_fake_server *server, struct fuse_req *req,
		  struct fuse_fake_node *node);
	int err;
} fuse_fake_ops[] = {
	OP(INIT, fuse_fake_do_init), OP(DESTROY, fuse_fake_do_destroy),
	OP(LOOKUP, fuse_fake_do_lookup), OP(FORGET, fuse_fake_do_forget),
	OP(GETATTR, fuse_fake_do_attr), OP(SETATTR, fuse_fake_do_attr),
	OP(CREATE, fuse_fake_do_make), OP(MKNOD, fuse_fake_do_make),
	OP(MKDIR, fuse_fake_do_make), OP(SYMLINK, fuse_fake_do_make),
	OP(LINK, fuse_fake_do_make), OP(TMPFILE, fuse_fake_do_make),
	OP(UNLINK, fuse_fake_do_unmake), OP(RMDIR, fuse_fake_do_unmake),
	OP(RENAME, fuse_fake_do_rename), OP(RENAME2, fuse_fake_do_rename),
	OP(READLINK, fuse_fake_do_readlink), OP(STATFS, fuse_fake_do_statfs),
	OP(OPEN, fuse_fake_do_open), OP(OPENDIR, fuse_fake_do_open),
	OP(READ, fuse_fake_do_read), OP(WRITE, fuse_fake_do_write),
	OP(READDIR, fuse_fake_do_readdir), OP(READDIRPLUS, fuse_fake_do_readdir),
	OP(ACCESS), OP(FALLOCATE), OP(FLUSH), OP(FSYNC), OP(FSYNCDIR), OP(NOTIFY_REPLY),
	OP(RELEASE), OP(RELEASEDIR), OP(REMOVEXATTR), OP(SETXATTR),
	/* O_TRUNC asks for capabilities; many servers have no attributes. */
	OP(GETXATTR, NULL, -ENOSYS), OP(LSEEK, NULL, -ENOSYS),
};

const char *fuse_fake_opname(u32 opcode)
{
	return (opcode < ARRAY_SIZE(fuse_fake_ops) ? fuse_fake_ops[opcode].name : NULL) ?:
	       "an unknown request";
}

int fuse_fake_handle(struct fuse_fake_server *server, struct fuse_req *req)
{
	u32 opcode = req->in.h.opcode;
	u64 nodeid = req->in.h.nodeid;
	struct fuse_fake_node *node = fuse_fake_node(server, nodeid);
	const struct fuse_fake_op *op;

	op = opcode < ARRAY_SIZE(fuse_fake_ops) ? &fuse_fake_ops[opcode] : NULL;
	if (!op || !op->name) {
		fuse_fake_complain(server, "opcode %u is unknown here", opcode);
		return -ENOSYS;
	}
	/* These are about the connection, not about a node. */
	if (!node && opcode != FUSE_INIT && opcode != FUSE_DESTROY) {
		fuse_fake_complain(server, "%s for nodeid %llu, which is forgotten",
				   op->name, nodeid);
		return -ESTALE;
	}
	return op->fn ? op->fn(server, req, node) : op->err;
}

/*
 * Changes behind the kernel's back.
 */

/* Where a path leads. */
struct fuse_fake_place {
	struct fuse_fake_node *dir;	/* or NULL if there is no such directory */
	const char *last;		/* what follows the last slash */
	struct fuse_fake_name *name;	/* or NULL if there is no such name */
};

static struct fuse_fake_place fuse_fake_place(struct fuse_fake_server *server, const char *path)
{
	struct fuse_fake_place at = { .dir = fuse_fake_node(server, FUSE_ROOT_ID), .last = path };
	const char *slash;

	for (; at.dir && (slash = strchr(at.last, '/')); at.last = slash + 1) {
		char *name = kmemdup_nul(at.last, slash - at.last, GFP_KERNEL);
		struct fuse_fake_name *n = name ? fuse_fake_name(at.dir, name) : NULL;

		kfree(name);
		at.dir = n ? n->node : NULL;
	}
	at.name = fuse_fake_name(at.dir, at.last);
	return at;
}

u64 fuse_fake_add(struct fuse_fake_server *server, const char *path, umode_t mode)
{
	struct fuse_fake_node *node;
	struct fuse_fake_place at;
	int err = -ENOENT;

	scoped_guard(mutex, &server->tree) {
		at = fuse_fake_place(server, path);
		if (at.dir)
			err = fuse_fake_make(server, at.dir, at.last, mode, &node);
	}
	KUNIT_ASSERT_EQ_MSG(server->test, err, 0, "the server cannot add %s", path);
	return node->nodeid;
}

void fuse_fake_remove(struct fuse_fake_server *server, const char *path)
{
	struct fuse_fake_place at;

	scoped_guard(mutex, &server->tree) {
		at = fuse_fake_place(server, path);
		if (at.name) {
			fuse_fake_clear_dir(at.name->node);
			fuse_fake_del_name(at.name);
		}
	}
	KUNIT_ASSERT_TRUE_MSG(server->test, at.name, "the server cannot remove %s", path);
}

void fuse_fake_link(struct fuse_fake_server *server, const char *old, const char *new)
{
	struct fuse_fake_place from, to;
	int err = -ENOENT;

	scoped_guard(mutex, &server->tree) {
		from = fuse_fake_place(server, old);
		to = fuse_fake_place(server, new);
		if (from.name && to.dir)
			err = fuse_fake_add_name(to.dir, to.last, from.name->node);
	}
	KUNIT_ASSERT_EQ_MSG(server->test, err, 0, "the server cannot link %s to %s", old, new);
}

void fuse_fake_rename(struct fuse_fake_server *server, const char *old, const char *new)
{
	struct fuse_fake_place from, to;
	int err = -ENOENT;

	scoped_guard(mutex, &server->tree) {
		from = fuse_fake_place(server, old);
		to = fuse_fake_place(server, new);
		if (from.dir && to.dir)
			err = fuse_fake_move(from.dir, from.last, to.dir, to.last, 0);
	}
	KUNIT_ASSERT_EQ_MSG(server->test, err, 0, "the server cannot rename %s to %s", old, new);
}

void fuse_fake_submount(struct fuse_fake_server *server, const char *path)
{
	struct fuse_fake_name *n;

	scoped_guard(mutex, &server->tree) {
		n = fuse_fake_place(server, path).name;
		if (n)
			n->node->submount = true;
	}
	KUNIT_ASSERT_NOT_NULL_MSG(server->test, n, "the server has no %s", path);
}

void fuse_fake_reuse(struct fuse_fake_server *server, u64 nodeid, const char *path)
{
	struct fuse_fake_place to;
	struct fuse_fake_node *node;
	int err = -ENOENT;

	scoped_guard(mutex, &server->tree) {
		to = fuse_fake_place(server, path);
		node = fuse_fake_node(server, nodeid);
		if (to.dir && node && !node->nlink) {
			node->generation++;
			err = fuse_fake_add_name(to.dir, to.last, node);
		}
	}
	KUNIT_ASSERT_EQ_MSG(server->test, err, 0, "the server cannot reuse %llu for %s",
			    nodeid, path);
}

/*
 * What a test asks.
 */

u64 fuse_fake_find(struct fuse_fake_server *server, u64 parent, const char *name)
{
	struct fuse_fake_name *n;

	guard(mutex)(&server->tree);
	n = fuse_fake_name(fuse_fake_node(server, parent), name);
	return n ? n->node->nodeid : 0;
}

struct fuse_fake_told *fuse_fake_told(struct fuse_fake_server *server, u64 parent,
				      const char *name)
{
	guard(mutex)(&server->tree);
	return fuse_fake_find_told(server, parent, name);
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
	fuse_fake_untell(server, parent, name, below);
}

void fuse_fake_take_back_node(struct fuse_fake_server *server, u64 nodeid)
{
	guard(mutex)(&server->tree);
	fuse_fake_untell_node(server, nodeid);
}

bool fuse_fake_complaint(struct fuse_fake_server *server, char *complaint)
{
	guard(mutex)(&server->tree);
	strscpy(complaint, server->complaint, FUSE_FAKE_COMPLAINT);
	server->complaint[0] = 0;
	return complaint[0];
}

u64 fuse_fake_known(struct fuse_fake_server *server, u64 *nlookup)
{
	struct fuse_fake_node *node;

	guard(mutex)(&server->tree);
	list_for_each_entry(node, &server->nodes, list) {
		if (node->nodeid == FUSE_ROOT_ID || !node->nlookup)
			continue;
		*nlookup = node->nlookup;
		return node->nodeid;
	}
	return 0;
}

/* If there is no memory, no node has FUSE_ROOT_ID. */
void fuse_fake_fs_init(struct fuse_fake_server *server)
{
	struct fuse_fake_node *root;

	mutex_init(&server->tree);
	INIT_LIST_HEAD(&server->nodes);
	INIT_LIST_HEAD(&server->told);
	root = fuse_fake_new_node(server, S_IFDIR | 0755);
	if (!root)
		return;
	/* Nobody takes its name away, and the kernel knows it without a lookup. */
	root->nlink = 1;
	root->nlookup = 1;
}

void fuse_fake_fs_free(struct fuse_fake_server *server)
{
	struct fuse_fake_node *node, *next_node;
	struct fuse_fake_told *told, *next_told;
	struct fuse_fake_name *n, *next_name;

	list_for_each_entry_safe(node, next_node, &server->nodes, list) {
		list_for_each_entry_safe(n, next_name, &node->names, list)
			kfree(n);
		fuse_fake_free_node(node);
	}
	list_for_each_entry_safe(told, next_told, &server->told, list)
		kfree(told);
}

MODULE_DESCRIPTION("KUnit tests of FUSE's reverse invalidation");
MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");
MODULE_LICENSE("GPL");
