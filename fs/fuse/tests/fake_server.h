/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A FUSE server inside the kernel, for tests
 *
 * It takes the place of a daemon behind /dev/fuse. Requests reach it through
 * struct fuse_iqueue_ops, as they reach virtiofs. It answers them from a small tree
 * of names, in the context of the caller, or in a work item if nobody waits for the
 * answer. A test changes that tree without telling the kernel, counts what the
 * kernel asks, and stops the server before it handles a request, or after that, to
 * hold the caller in the middle of a system call.
 *
 * Paths are relative to the root and have no leading slash: "dir/file".
 */

#ifndef _FS_FUSE_TESTS_FAKE_SERVER_H
#define _FS_FUSE_TESTS_FAKE_SERVER_H

#include <linux/bits.h>
#include <linux/completion.h>
#include <linux/fuse.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

struct fuse_forget_link;
struct fuse_iqueue_ops;
struct fuse_req;
struct kunit;
struct task_struct;

/* One past the highest opcode that is counted. */
#define FUSE_FAKE_OPCODES	64
/* Size of the buffer for a complaint. */
#define FUSE_FAKE_COMPLAINT	128

/**
 * struct fuse_fake_server - The server
 * @test: the test that it belongs to
 * @entry_valid: seconds for which the kernel may cache a name that exists
 * @negative_valid: seconds for which it may cache that a name does not exist;
 *	if 0, the server replies -ENOENT, which is not cached
 * @attr_valid: seconds for which it may cache attributes
 * @file_size: size of every file
 * @cache_dir: the kernel may cache listings
 * @work: answers the requests that nobody waits for
 * @lock: protects the members from @queue to @requests
 * @queue: requests for @work
 * @forgets: FORGETs that have not been counted yet
 * @hooks: what happens when requests come
 * @requests: how often each opcode has been sent
 * @tree: protects the members from @nodes on
 * @nodes: every node that has a name or is known to the kernel
 * @last_nodeid: the highest nodeid in use
 * @told: what the kernel has been told about names, see struct fuse_fake_told
 * @seq: counts the answers that told something about a name or a node
 * @destroyed: the kernel has sent DESTROY
 * @complaint: what the kernel has done that no server should see
 */
struct fuse_fake_server {
	struct kunit *test;
	unsigned int entry_valid;
	unsigned int negative_valid;
	unsigned int attr_valid;
	unsigned int file_size;
	bool cache_dir;

	struct work_struct work;

	spinlock_t lock; /* from @queue to @requests */
	struct list_head queue;
	struct fuse_forget_link *forgets;
	struct list_head hooks;
	unsigned int requests[FUSE_FAKE_OPCODES];

	struct mutex tree; /* from @nodes on */
	struct list_head nodes;
	u64 last_nodeid;
	struct list_head told;
	u64 seq;
	bool destroyed;
	char complaint[FUSE_FAKE_COMPLAINT];
};

/**
 * struct fuse_fake_told - What the kernel knows about one name
 * @list: entry in the server's list
 * @parent: nodeid of the directory
 * @nodeid: what the name led to when it was last told, 0 for nothing
 * @seq: when that was, as a value of the server's counter
 * @cached: the kernel may still use that: no notification and no request since
 *	then has made it stale
 * @name: the name
 */
struct fuse_fake_told {
	struct list_head list;
	u64 parent;
	u64 nodeid;
	u64 seq;
	bool cached;
	char name[];
};

/* What can happen to a name behind the kernel's back; may be combined. */
enum fuse_fake_change {
	FUSE_FAKE_EMPTY		= BIT(0),	/* all in the directory is removed */
	FUSE_FAKE_REMOVE	= BIT(1),	/* the name is removed, with all below it */
	FUSE_FAKE_ADD		= BIT(2),	/* there is a new file of that name */
};

/* Where a hook stops a request. */
enum fuse_fake_stop {
	FUSE_FAKE_GO_ON,
	FUSE_FAKE_STOP_BEFORE,	/* the server has not seen it yet */
	FUSE_FAKE_STOP_BEHIND,	/* the answer is ready to go */
};

/**
 * struct fuse_fake_hook - What happens when a request comes
 * @task: only a request of this task, or NULL
 * @opcode: only one with this opcode, or 0. FORGET and NOTIFY_REPLY do not count:
 *	nobody waits for them.
 * @skip: so many of these requests are let through first
 * @change: what changes behind the kernel's back just ahead of the request
 * @path: the name that changes
 * @stop: where the request is stopped
 * @list: entry in the server's list
 * @server: the server
 * @requests: how many of these requests have come
 * @lookups: how many of them were LOOKUPs
 * @first: the opcode of the first of them
 * @stopped: the opcode of the one that is stopped
 * @reached: the request is stopped
 * @req: the request that is stopped
 *
 * The caller of fuse_fake_hook() sets the members up to @stop. The hook acts on
 * one request, and counts all.
 */
struct fuse_fake_hook {
	struct task_struct *task;
	u32 opcode;
	unsigned int skip;
	enum fuse_fake_change change;
	const char *path;
	enum fuse_fake_stop stop;

	struct list_head list;
	struct fuse_fake_server *server;
	unsigned int requests;
	unsigned int lookups;
	u32 first;
	u32 stopped;
	struct completion reached;
	struct fuse_req *req;
};

extern const struct fuse_iqueue_ops fuse_fake_iqueue_ops;

/**
 * fuse_fake_server_start() - Start a server with an empty root directory
 * @test: The test context object; the server ends with it.
 *
 * Return: the server; a failure aborts the test.
 */
struct fuse_fake_server *fuse_fake_server_start(struct kunit *test);

/* For a mount that cannot be taken down: what is left of it goes on being served. */
void fuse_fake_server_leak(struct fuse_fake_server *server);

/* Wait until every request that is not held is answered, and every FORGET counted. */
void fuse_fake_settle(struct fuse_fake_server *server);

/* How many requests with this opcode there were so far. */
unsigned int fuse_fake_requests(struct fuse_fake_server *server, u32 opcode);

/**
 * fuse_fake_add() - Make a name behind the kernel's back
 * @server: The server.
 * @path: The new name.
 * @mode: Type and permissions of the new node.
 *
 * Return: the nodeid of the new node; a failure aborts the test, as in all
 * functions that change the namespace.
 */
u64 fuse_fake_add(struct fuse_fake_server *server, const char *path, umode_t mode);

/* Make another name for a node. */
void fuse_fake_link(struct fuse_fake_server *server, const char *old, const char *new);

/* Take a name away; it may be that of a directory with something in it. */
void fuse_fake_remove(struct fuse_fake_server *server, const char *path);

/* What @new led to before is removed. */
void fuse_fake_rename(struct fuse_fake_server *server, const char *old, const char *new);

/**
 * fuse_fake_find() - What a name leads to
 * @server: The server.
 * @parent: Nodeid of the directory, which need not be one and may be long gone.
 * @name: The name.
 *
 * This and the following functions are for threads, where an assertion would not
 * end the test, and for directories that are moved about: a nodeid stays.
 *
 * Return: the nodeid, or 0 if there is no such name.
 */
u64 fuse_fake_find(struct fuse_fake_server *server, u64 parent, const char *name);

/* As fuse_fake_add() and fuse_fake_remove(); return 0 or a negative error. */
int fuse_fake_add_to(struct fuse_fake_server *server, u64 parent, const char *name,
		     umode_t mode, u64 *nodeid);
int fuse_fake_remove_from(struct fuse_fake_server *server, u64 parent, const char *name,
			  u64 *nodeid);

/* The next directory that has a name, by nodeid; from 0 on, and 0 after the last one. */
u64 fuse_fake_next_dir(struct fuse_fake_server *server, u64 nodeid);

/* Make a directory the root of another file system; the kernel must not know it yet. */
void fuse_fake_submount(struct fuse_fake_server *server, const char *path);

/**
 * fuse_fake_reuse() - Give the nodeid of a node that is gone to a new one
 * @server: The server.
 * @nodeid: The nodeid of a node without a name that the kernel still knows.
 * @path: The name of the new node, which is of the same type but of another
 *	generation.
 */
void fuse_fake_reuse(struct fuse_fake_server *server, u64 nodeid, const char *path);

/**
 * fuse_fake_hook() - Have something happen when a request comes
 * @server: The server.
 * @hook: What happens, and when. It has to stay where it is until
 *	fuse_fake_unhook(), or until the server ends.
 */
void fuse_fake_hook(struct fuse_fake_server *server, struct fuse_fake_hook *hook);

/* A request that is stopped is answered. */
void fuse_fake_unhook(struct fuse_fake_hook *hook);

/* Stop the next request with this opcode, until the test ends. */
struct fuse_fake_hook *fuse_fake_hold(struct fuse_fake_server *server, u32 opcode,
				      enum fuse_fake_stop stop);

/* Wait until a request is stopped; if none comes the test is aborted. */
void fuse_fake_hold_wait(struct fuse_fake_hook *hook);

/* Answer all requests that are stopped, and end all hooks. */
void fuse_fake_let_go(struct fuse_fake_server *server);

/**
 * fuse_fake_told() - What the kernel has been told about a name
 * @server: The server.
 * @parent: Nodeid of the directory.
 * @name: The name.
 *
 * Return: what it was told last, or NULL if the name never came up. The result
 * is stable while no request is on its way.
 */
struct fuse_fake_told *fuse_fake_told(struct fuse_fake_server *server, u64 parent,
				      const char *name);

/*
 * The server's counter when the kernel was told the attributes of a node, or when it
 * began to list a directory.
 */
u64 fuse_fake_seq(struct fuse_fake_server *server, u64 nodeid, bool listing);

/* The server has told the kernel that a name, and with @below all below it, is stale. */
void fuse_fake_take_back(struct fuse_fake_server *server, u64 parent,
			 const char *name, bool below);

/* The same of all names. */
void fuse_fake_take_back_all(struct fuse_fake_server *server);

/**
 * fuse_fake_complaint() - What the kernel has done that no server should see
 * @server: The server.
 * @complaint: Where to put the first complaint, %FUSE_FAKE_COMPLAINT bytes.
 *
 * A request with an unknown opcode or for a node that the kernel has forgotten,
 * for instance. That complaint is cleared: the next call returns a new one, if any.
 *
 * Return: true if there is a complaint.
 */
bool fuse_fake_complaint(struct fuse_fake_server *server, char *complaint);

/* A node but the root that the kernel has not forgotten, or 0. */
u64 fuse_fake_known(struct fuse_fake_server *server, u64 *nlookup);

#endif /* _FS_FUSE_TESTS_FAKE_SERVER_H */
