// SPDX-License-Identifier: GPL-2.0
/*
 * What the fake server serves: nodes and their names, what the kernel has been
 * told of them, and how a test changes them
 */

#include <linux/err.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/stat.h>
#include <linux/string.h>

#include <kunit/test.h>

#include "fake_server_i.h"

/*
 * The first complaint is the one that leads to the mistake. It is kept for the
 * fixture, which fails the test. Called with server->tree held.
 */
void fuse_fake_complain(struct fuse_fake_server *server, const char *fmt, ...)
{
	va_list args;

	if (server->complaint[0])
		return;
	va_start(args, fmt);
	vsnprintf(server->complaint, sizeof(server->complaint), fmt, args);
	va_end(args);
}

/*
 * The namespace. All of it is called with server->tree held.
 */

struct fuse_fake_node *fuse_fake_node(struct fuse_fake_server *server, u64 nodeid)
{
	struct fuse_fake_node *node;

	list_for_each_entry(node, &server->nodes, list)
		if (node->nodeid == nodeid)
			return node;
	return NULL;
}

struct fuse_fake_name *fuse_fake_name(struct fuse_fake_node *dir, const char *name)
{
	struct fuse_fake_name *n;

	list_for_each_entry(n, &dir->names, list)
		if (!strcmp(n->name, name))
			return n;
	return NULL;
}

struct fuse_fake_node *fuse_fake_new_node(struct fuse_fake_server *server, umode_t mode)
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

void fuse_fake_free_node(struct fuse_fake_node *node)
{
	list_del(&node->list);
	kfree(node->target);
	kfree(node);
}

/* A node lives as long as it has a name or the kernel knows it. */
void fuse_fake_put_node(struct fuse_fake_node *node)
{
	if (!node->nlink && !node->nlookup)
		fuse_fake_free_node(node);
}

int fuse_fake_add_name(struct fuse_fake_node *dir, const char *name,
		       struct fuse_fake_node *node)
{
	size_t size = strlen(name) + 1;
	struct fuse_fake_name *n = kzalloc_flex(*n, name, size);

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

/* A removed directory takes no new name. */
int fuse_fake_make(struct fuse_fake_server *server, struct fuse_fake_node *dir,
		   const char *name, umode_t mode, struct fuse_fake_node **result)
{
	struct fuse_fake_node *node;
	int err;

	if (!S_ISDIR(dir->mode))
		return -ENOTDIR;
	if (!dir->nlink)
		return -ENOENT;
	if (fuse_fake_name(dir, name))
		return -EEXIST;
	node = fuse_fake_new_node(server, mode);
	if (!node)
		return -ENOMEM;
	err = fuse_fake_add_name(dir, name, node);
	if (err) {
		fuse_fake_free_node(node);
		return err;
	}
	*result = node;
	return 0;
}

int fuse_fake_unmake(struct fuse_fake_node *dir, const char *name)
{
	struct fuse_fake_name *n = fuse_fake_name(dir, name);

	if (!n)
		return -ENOENT;
	if (!list_empty(&n->node->names))
		return -ENOTEMPTY;
	fuse_fake_del_name(n);
	return 0;
}

/* Whatever is in a directory. */
static void fuse_fake_clear_dir(struct fuse_fake_node *dir)
{
	struct fuse_fake_name *n, *next;

	list_for_each_entry_safe(n, next, &dir->names, list) {
		fuse_fake_clear_dir(n->node);
		fuse_fake_del_name(n);
	}
}

int fuse_fake_move(struct fuse_fake_node *olddir, const char *oldname,
		   struct fuse_fake_node *newdir, const char *newname, unsigned int flags)
{
	struct fuse_fake_name *old = fuse_fake_name(olddir, oldname);
	struct fuse_fake_name *new = fuse_fake_name(newdir, newname);
	int err;

	if (!old || !newdir->nlink || ((flags & RENAME_EXCHANGE) && !new))
		return -ENOENT;
	if ((flags & RENAME_NOREPLACE) && new)
		return -EEXIST;
	if (flags & RENAME_EXCHANGE) {
		swap(old->node, new->node);
		return 0;
	}
	if (new) {
		if (new->node == old->node)
			return 0;
		if (!list_empty(&new->node->names))
			return -ENOTEMPTY;
	}
	err = fuse_fake_add_name(newdir, newname, old->node);
	if (err)
		return err;
	if (new)
		fuse_fake_del_name(new);
	fuse_fake_del_name(old);
	return 0;
}

/*
 * What the kernel has been told. All of it is called with server->tree held.
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

void fuse_fake_untell(struct fuse_fake_server *server, u64 parent, const char *name,
		      bool below)
{
	struct fuse_fake_told *told = fuse_fake_find_told(server, parent, name);
	struct fuse_fake_told *child;
	u64 nodeid;

	if (!told)
		return;
	told->cached = false;
	if (!below)
		return;
	/* Names that are not cached may form a loop: visit each only once. */
	nodeid = told->nodeid;
	told->nodeid = 0;
	list_for_each_entry(child, &server->told, list)
		if (nodeid && child->parent == nodeid)
			fuse_fake_untell(server, nodeid, child->name, true);
}

void fuse_fake_tell(struct fuse_fake_server *server, u64 parent, const char *name,
		    const struct fuse_fake_node *node, bool cached)
{
	size_t size = strlen(name) + 1;
	struct fuse_fake_told *told;

	/* A directory has one dentry: the kernel moves it to the new name. */
	if (node && S_ISDIR(node->mode))
		list_for_each_entry(told, &server->told, list)
			if (told->nodeid == node->nodeid)
				told->cached = false;

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
 * On a rename the kernel moves the dentry with its timeout. It has just looked both
 * names up, so this counts as an answer about them, even if the old name is notified
 * at the same time.
 */
void fuse_fake_retell(struct fuse_fake_server *server, struct fuse_fake_node *olddir,
		      const char *oldname, struct fuse_fake_node *newdir,
		      const char *newname, unsigned int flags)
{
	struct fuse_fake_name *old = fuse_fake_name(olddir, oldname);
	struct fuse_fake_name *new = fuse_fake_name(newdir, newname);

	/* Renaming one hard link over another does nothing, for the VFS too. */
	if (old && !(flags & RENAME_EXCHANGE))
		return;
	fuse_fake_clear(server, olddir->nodeid, oldname);
	if (flags & RENAME_EXCHANGE)
		fuse_fake_clear(server, newdir->nodeid, newname);
	fuse_fake_tell(server, newdir->nodeid, newname, new->node, server->entry_valid);
	if (flags & RENAME_EXCHANGE)
		fuse_fake_tell(server, olddir->nodeid, oldname, old->node, server->entry_valid);
}

/*
 * Changes behind the kernel's back.
 */

/* The directory that @path is in; @last is set to what follows the last slash. */
static struct fuse_fake_node *fuse_fake_dir(struct fuse_fake_server *server,
					    const char *path, const char **last)
{
	struct fuse_fake_node *dir = fuse_fake_node(server, FUSE_ROOT_ID);
	const char *slash;

	for (; dir && (slash = strchr(path, '/')); path = slash + 1) {
		char *name = kmemdup_nul(path, slash - path, GFP_KERNEL);
		struct fuse_fake_name *n = name ? fuse_fake_name(dir, name) : NULL;

		kfree(name);
		dir = n ? n->node : NULL;
	}
	*last = path;
	return dir;
}

/* @nodeid is set to that of what is removed or added. Called with server->tree held. */
static int fuse_fake_change_name(struct fuse_fake_server *server, enum fuse_fake_change change,
				 struct fuse_fake_node *dir, const char *name, umode_t mode,
				 u64 *nodeid)
{
	struct fuse_fake_name *n = dir ? fuse_fake_name(dir, name) : NULL;
	struct fuse_fake_node *node;
	int err;

	if (!dir || (!n && change != FUSE_FAKE_ADD))
		return -ENOENT;
	if (change & (FUSE_FAKE_EMPTY | FUSE_FAKE_REMOVE))
		fuse_fake_clear_dir(n->node);
	if (change & FUSE_FAKE_REMOVE) {
		*nodeid = n->node->nodeid;
		fuse_fake_del_name(n);
	}
	if (change & FUSE_FAKE_ADD) {
		err = fuse_fake_make(server, dir, name, mode, &node);
		if (err)
			return err;
		*nodeid = node->nodeid;
	}
	return 0;
}

int fuse_fake_change(struct fuse_fake_server *server, enum fuse_fake_change change,
		     const char *path, umode_t mode, u64 *nodeid)
{
	struct fuse_fake_node *dir;
	const char *name;

	guard(mutex)(&server->tree);
	dir = fuse_fake_dir(server, path, &name);
	return fuse_fake_change_name(server, change, dir, name, mode, nodeid);
}

/*
 * The functions of a test.
 */

struct fuse_fake_told *fuse_fake_told(struct fuse_fake_server *server, u64 parent,
				      const char *name)
{
	guard(mutex)(&server->tree);
	return fuse_fake_find_told(server, parent, name);
}

u64 fuse_fake_seq(struct fuse_fake_server *server, u64 nodeid, bool listing)
{
	struct fuse_fake_node *node;

	guard(mutex)(&server->tree);
	node = fuse_fake_node(server, nodeid);
	return !node ? 0 : listing ? node->list_seq : node->attr_seq;
}

void fuse_fake_take_back(struct fuse_fake_server *server, u64 parent,
			 const char *name, bool below)
{
	guard(mutex)(&server->tree);
	fuse_fake_untell(server, parent, name, below);
}

void fuse_fake_take_back_all(struct fuse_fake_server *server)
{
	struct fuse_fake_told *told;

	guard(mutex)(&server->tree);
	list_for_each_entry(told, &server->told, list)
		told->cached = false;
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

u64 fuse_fake_add(struct fuse_fake_server *server, const char *path, umode_t mode)
{
	u64 nodeid = 0;

	KUNIT_ASSERT_EQ_MSG(server->test, 0,
			    fuse_fake_change(server, FUSE_FAKE_ADD, path, mode, &nodeid),
			    "the server cannot add %s", path);
	return nodeid;
}

void fuse_fake_remove(struct fuse_fake_server *server, const char *path)
{
	u64 nodeid;

	KUNIT_ASSERT_EQ_MSG(server->test, 0,
			    fuse_fake_change(server, FUSE_FAKE_REMOVE, path, 0, &nodeid),
			    "the server cannot remove %s", path);
}

void fuse_fake_submount(struct fuse_fake_server *server, const char *path)
{
	struct fuse_fake_name *n = NULL;
	struct fuse_fake_node *dir;
	const char *name;

	scoped_guard(mutex, &server->tree) {
		dir = fuse_fake_dir(server, path, &name);
		n = dir ? fuse_fake_name(dir, name) : NULL;
		if (n)
			n->node->submount = true;
	}
	KUNIT_ASSERT_NOT_NULL_MSG(server->test, n, "the server has no %s", path);
}

void fuse_fake_reuse(struct fuse_fake_server *server, u64 nodeid, const char *path)
{
	struct fuse_fake_node *dir, *node;
	int err = -ENOENT;
	const char *name;

	scoped_guard(mutex, &server->tree) {
		dir = fuse_fake_dir(server, path, &name);
		node = fuse_fake_node(server, nodeid);
		if (dir && node && !node->nlink) {
			node->generation++;
			err = fuse_fake_add_name(dir, name, node);
		}
	}
	KUNIT_ASSERT_EQ_MSG(server->test, err, 0, "the server cannot reuse %llu for %s",
			    nodeid, path);
}

/* Add the name @new for what @old leads to, and without @link remove @old. */
static void fuse_fake_name_twice(struct fuse_fake_server *server, const char *old,
				 const char *new, bool link)
{
	struct fuse_fake_node *olddir, *newdir;
	const char *oldname, *newname;
	struct fuse_fake_name *n;
	int err = -ENOENT;

	scoped_guard(mutex, &server->tree) {
		olddir = fuse_fake_dir(server, old, &oldname);
		newdir = fuse_fake_dir(server, new, &newname);
		n = olddir ? fuse_fake_name(olddir, oldname) : NULL;
		if (n && newdir && !link)
			err = fuse_fake_move(olddir, oldname, newdir, newname, 0);
		else if (n && newdir)
			err = fuse_fake_name(newdir, newname) ? -EEXIST :
			      fuse_fake_add_name(newdir, newname, n->node);
	}
	KUNIT_ASSERT_EQ_MSG(server->test, err, 0, "the server cannot %s %s to %s",
			    link ? "link" : "rename", old, new);
}

void fuse_fake_link(struct fuse_fake_server *server, const char *old, const char *new)
{
	fuse_fake_name_twice(server, old, new, true);
}

void fuse_fake_rename(struct fuse_fake_server *server, const char *old, const char *new)
{
	fuse_fake_name_twice(server, old, new, false);
}

u64 fuse_fake_find(struct fuse_fake_server *server, u64 parent, const char *name)
{
	struct fuse_fake_node *dir;
	struct fuse_fake_name *n;

	guard(mutex)(&server->tree);
	dir = fuse_fake_node(server, parent);
	n = dir ? fuse_fake_name(dir, name) : NULL;
	return n ? n->node->nodeid : 0;
}

int fuse_fake_add_to(struct fuse_fake_server *server, u64 parent, const char *name,
		     umode_t mode, u64 *nodeid)
{
	guard(mutex)(&server->tree);
	return fuse_fake_change_name(server, FUSE_FAKE_ADD, fuse_fake_node(server, parent),
				     name, mode, nodeid);
}

int fuse_fake_remove_from(struct fuse_fake_server *server, u64 parent, const char *name,
			  u64 *nodeid)
{
	guard(mutex)(&server->tree);
	return fuse_fake_change_name(server, FUSE_FAKE_REMOVE, fuse_fake_node(server, parent),
				     name, 0, nodeid);
}

u64 fuse_fake_next_dir(struct fuse_fake_server *server, u64 nodeid)
{
	struct fuse_fake_node *node;

	guard(mutex)(&server->tree);
	/* A new node goes to the end of the list, with the highest nodeid so far. */
	list_for_each_entry(node, &server->nodes, list)
		if (node->nodeid > nodeid && node->nlink && S_ISDIR(node->mode))
			return node->nodeid;
	return 0;
}

MODULE_DESCRIPTION("KUnit tests of FUSE's reverse invalidation");
MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");
MODULE_LICENSE("GPL");
