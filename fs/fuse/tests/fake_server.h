/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A FUSE server inside the kernel, for tests
 *
 * Requests reach it through struct fuse_iqueue_ops, as they reach virtiofs. It answers them
 * from a tree of names, in the context of the caller, or in a work item if nobody waits for the
 * answer. A test changes that tree without telling the kernel, counts what the kernel asks, and
 * stops the server before it handles a request, or after that, which holds the caller.
 *
 * Paths are relative to the root and have no leading slash: "dir/file".
 */

#ifndef _FS_FUSE_TESTS_FAKE_SERVER_H
#define _FS_FUSE_TESTS_FAKE_SERVER_H

#include <linux/completion.h>
#include <linux/mutex.h>

#include <kunit/test.h>

#include "../dev.h"
#include "../fuse_dev_i.h"

struct fuse_fake_node;

/* One past the highest opcode that is counted. */
#define FUSE_FAKE_OPCODES	64
/* The timeouts, in seconds: no test is so slow that one runs out by itself. */
#define FUSE_FAKE_VALID		3600
/* The mode of a directory that is the root of another file system. */
#define FUSE_FAKE_SUBMOUNT	(S_IFDIR | S_ISVTX | 0755)

struct fuse_fake_server {
	struct kunit *test;
	/* For how many seconds the kernel may cache what it is told. */
	unsigned int entry_valid;
	unsigned int negative_valid;	/* 0 answers -ENOENT, which is not cached */
	unsigned int attr_valid;
	unsigned int file_size;		/* of every file: it is full of zeroes */
	bool cache_dir;			/* the kernel may cache listings */

	struct work_struct work;	/* answers what nobody waits for, and counts each FORGET */

	spinlock_t lock;		/* of the next four */
	struct list_head queue;		/* requests for @work */
	struct fuse_forget_link *forgets; /* for @work, too */
	struct list_head hooks;
	unsigned int requests[FUSE_FAKE_OPCODES]; /* how often each has been sent */

	struct mutex tree;		/* of the rest */
	struct list_head nodes;		/* that have a name or are known to the kernel */
	u64 last_nodeid;		/* the highest in use */
	struct list_head names;		/* see struct fuse_fake_name */
	u64 seq;			/* counts the answers about a name or a node */
	/*
	 * The first thing that the kernel did and that no server should see, such as a request
	 * with an unknown opcode or for a node that the kernel has forgotten; or ""
	 */
	char complaint[128];
};

/* A name: where it leads, and what the kernel was told last. It stays when it is removed. */
struct fuse_fake_name {
	struct list_head list;
	struct fuse_fake_node *node; /* or NULL: the server has no such name */
	u64 parent;	/* nodeid of the directory */
	u64 nodeid;	/* what the kernel knows: it may differ from @node; 0 for nothing */
	u64 seq;	/* when it was told, as a value of the server's counter; 0 for never */
	bool cached;	/* the kernel need not ask: nothing since then has made that stale */
	/* If RENAME was the answer: the old name, and its seq before the RENAME; or NULL */
	const struct fuse_fake_name *from;
	u64 from_seq;
	char name[];
};

/* Where a hook stops a request. */
enum fuse_fake_stop {
	FUSE_FAKE_STOP_BEFORE = 1, /* the server has not seen it yet */
	FUSE_FAKE_STOP_BEHIND,	/* the answer is ready to go */
};

/* Counts requests, and stops one of them. All that is not set is 0. */
struct fuse_fake_hook {
	/* Which request; NOTIFY_REPLY does not count: nobody waits for it. */
	struct task_struct *task;	/* who sends it, or NULL */
	u32 opcode;			/* or 0 */
	unsigned int skip;		/* so many of these are let through first */
	enum fuse_fake_stop stop;	/* or 0: it stops none */

	/* Set by the server. */
	struct list_head list;
	struct fuse_fake_server *server;
	unsigned int requests;		/* how many of these have come */
	u32 first;			/* the opcode of the first that was not skipped */
	struct fuse_req *req;		/* that one, which is stopped */
	struct completion reached;	/* it is stopped */
};

extern const struct fuse_iqueue_ops fuse_fake_iqueue_ops;

/* How many requests with this opcode there were so far. */
static inline unsigned int fuse_fake_requests(struct fuse_fake_server *server, u32 opcode)
{
	return READ_ONCE(server->requests[opcode]);
}

/* Start a server with an empty root directory; stop it when nothing is mounted any more. */
struct fuse_fake_server *fuse_fake_server_start(struct kunit *test);
void fuse_fake_server_stop(struct fuse_fake_server *server);
/* "LOOKUP" */
const char *fuse_fake_opname(u32 opcode);
/* The hook stays where it is until fuse_fake_unhook(), or until the server ends. */
void fuse_fake_hook(struct fuse_fake_server *server, struct fuse_fake_hook *hook);
/* A request that is stopped is answered. */
void fuse_fake_unhook(struct fuse_fake_hook *hook);

/* Stop a request with this opcode, or any, after so many of these, until the test ends. */
struct fuse_fake_hook *fuse_fake_hold(struct fuse_fake_server *server, u32 opcode,
				      unsigned int skip, enum fuse_fake_stop stop);

/* Wait until a request is stopped; if none comes the test is aborted. */
void fuse_fake_hold_wait(struct fuse_fake_hook *hook);
/* Answer all requests that are stopped, and stop no other. */
void fuse_fake_let_go(struct fuse_fake_server *server);
/* Make a name behind the kernel's back; returns its nodeid. If it cannot the test fails. */
u64 fuse_fake_add(struct fuse_fake_server *server, const char *path, umode_t mode);
/* Make another name for a node. */
void fuse_fake_link(struct fuse_fake_server *server, const char *old, const char *new);

/*
 * Make a name for a new node with the nodeid and type of an old one, but of another
 * generation. The old one has no name any more, and the kernel still knows it.
 */
void fuse_fake_reuse(struct fuse_fake_server *server, u64 nodeid, const char *path);
/* Take a name away; it may be that of a directory with something in it, which stays there. */
void fuse_fake_remove(struct fuse_fake_server *server, const char *path);

/* What the kernel was told last about a name; stable while there is no request. */
struct fuse_fake_name *fuse_fake_told(struct fuse_fake_server *server, u64 parent,
				      const char *name);

/*
 * The server's counter when the kernel was told the attributes of a node, or when it
 * began to list a directory.
 */
enum fuse_fake_about { FUSE_FAKE_ATTR, FUSE_FAKE_LISTING, FUSE_FAKE_ABOUT };
u64 fuse_fake_seq(struct fuse_fake_server *server, u64 nodeid, enum fuse_fake_about about);

/* From now on the checks accept that a name, with @below all below it, is asked for. */
void fuse_fake_take_back(struct fuse_fake_server *server, u64 parent,
			 const char *name, bool below);

/* The same of all names of a node, or of all nodes if it is 0. */
void fuse_fake_take_back_node(struct fuse_fake_server *server, u64 nodeid);

/* A node but the root that the kernel has not forgotten, or 0. */
u64 fuse_fake_known(struct fuse_fake_server *server);

/* fuse_notify() as a write to /dev/fuse calls it, with what follows fuse_out_header */
int fuse_kunit_notify(struct fuse_conn *fc, enum fuse_notify_code code, struct iov_iter *msg);

#endif /* _FS_FUSE_TESTS_FAKE_SERVER_H */
