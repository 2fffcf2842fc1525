/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the two parts of the fake server share. All functions are called with
 * server->tree held, but for fuse_fake_change(), which takes it.
 */

#ifndef _FS_FUSE_TESTS_FAKE_SERVER_I_H
#define _FS_FUSE_TESTS_FAKE_SERVER_I_H

#include "fake_server.h"

/**
 * struct fuse_fake_node - A file, directory or symbolic link
 * @list: entry in the server's list
 * @names: the names in it, if it is a directory
 * @nodeid: its nodeid
 * @nlookup: how often the kernel was told of it and has not forgotten
 * @nlink: how many names it has
 * @generation: how many nodes have had that nodeid before
 * @mode: type and permissions
 * @attr_seq: when the kernel was told its attributes, as a value of the server's counter
 * @list_seq: when the kernel began to read it
 * @submount: it is the root of another file system
 * @target: where it leads to, if it is a symbolic link
 */
struct fuse_fake_node {
	struct list_head list;
	struct list_head names;
	u64 nodeid;
	u64 nlookup;
	unsigned int nlink;
	u64 generation;
	umode_t mode;
	u64 attr_seq;
	u64 list_seq;
	bool submount;
	char *target;
};

struct fuse_fake_name {
	struct list_head list;
	struct fuse_fake_node *node;
	char name[];
};

__printf(2, 3) void fuse_fake_complain(struct fuse_fake_server *server, const char *fmt,
				       ...);
struct fuse_fake_node *fuse_fake_node(struct fuse_fake_server *server, u64 nodeid);
struct fuse_fake_name *fuse_fake_name(struct fuse_fake_node *dir, const char *name);
struct fuse_fake_node *fuse_fake_new_node(struct fuse_fake_server *server, umode_t mode);
void fuse_fake_free_node(struct fuse_fake_node *node);
void fuse_fake_put_node(struct fuse_fake_node *node);
int fuse_fake_add_name(struct fuse_fake_node *dir, const char *name,
		       struct fuse_fake_node *node);
int fuse_fake_make(struct fuse_fake_server *server, struct fuse_fake_node *dir,
		   const char *name, umode_t mode, struct fuse_fake_node **result);
int fuse_fake_unmake(struct fuse_fake_node *dir, const char *name);
int fuse_fake_move(struct fuse_fake_node *olddir, const char *oldname,
		   struct fuse_fake_node *newdir, const char *newname,
		   unsigned int flags);
void fuse_fake_untell(struct fuse_fake_server *server, u64 parent, const char *name,
		      bool below);
void fuse_fake_tell(struct fuse_fake_server *server, u64 parent, const char *name,
		    const struct fuse_fake_node *node, bool cached);
void fuse_fake_retell(struct fuse_fake_server *server, struct fuse_fake_node *olddir,
		      const char *oldname, struct fuse_fake_node *newdir,
		      const char *newname, unsigned int flags);
int fuse_fake_change(struct fuse_fake_server *server, enum fuse_fake_change change,
		     const char *path, umode_t mode, u64 *nodeid);

#endif /* _FS_FUSE_TESTS_FAKE_SERVER_I_H */
