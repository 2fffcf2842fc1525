/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A FUSE server inside the kernel, for tests
 *
 * It stands where a daemon behind /dev/fuse stands: requests reach it through
 * struct fuse_iqueue_ops, as they reach virtiofs, and a work item answers them
 * from a small namespace. A test changes that namespace behind the
 * kernel's back, counts what the kernel asks, and stops the server in front of
 * a request to hold the caller in the middle of a system call.
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
 *	0 answers -ENOENT, which is not cached
 * @attr_valid: seconds for which it may cache attributes
 * @work: answers the requests
 * @lock: protects the members from @queue to @requests
 * @queue: requests that wait for an answer
 * @forgets: FORGETs that have not been counted yet
 * @holds: requests to stop in front of
 * @quiet: tasks that must not send a request
 * @upons: changes that wait for a request
 * @requests: how often each opcode has been sent
 * @tree: protects the members from @nodes on
 * @nodes: every node that has a name or is known to the kernel
 * @last_nodeid: the highest nodeid in use
 * @told: what the kernel has been told about names, see struct fuse_fake_told
 * @seq: counts the answers that told something about a name
 * @destroyed: the kernel has said good-bye with DESTROY
 * @complaint: what the kernel has done that no server should see
 */
struct fuse_fake_server {
	struct kunit *test;
	unsigned int entry_valid;
	unsigned int negative_valid;
	unsigned int attr_valid;

	struct work_struct work;

	spinlock_t lock; /* @queue to @requests */
	struct list_head queue;
	struct fuse_forget_link *forgets;
	struct list_head holds;
	struct list_head quiet;
	struct list_head upons;
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
 * @cached: the kernel may answer for this name without asking, as nothing that
 *	the server has seen since took the answer back
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

/**
 * struct fuse_fake_hold - A request that the server stops in front of or behind
 * @list: entry in the server's list
 * @server: the server
 * @opcode: the opcode to stop at
 * @answered: stop when the answer is ready to go
 * @reached: the request is there
 * @req: the request
 */
struct fuse_fake_hold {
	struct list_head list;
	struct fuse_fake_server *server;
	u32 opcode;
	bool answered;
	struct completion reached;
	struct fuse_req *req;
};

/**
 * struct fuse_fake_quiet - A stretch of code that must not send a request
 * @list: entry in the server's list
 * @task: the task that runs the code
 * @requests: how many requests it has sent all the same
 * @lookups: how many of them were LOOKUPs
 * @opcode: the opcode of the first of them
 */
struct fuse_fake_quiet {
	struct list_head list;
	struct task_struct *task;
	unsigned int requests;
	unsigned int lookups;
	u32 opcode;
};

/* What can happen to a name behind the kernel's back; may be combined. */
enum fuse_fake_change {
	FUSE_FAKE_EMPTY		= BIT(0),	/* what is in the directory goes */
	FUSE_FAKE_REMOVE	= BIT(1),	/* the name goes, with all below it */
	FUSE_FAKE_ADD		= BIT(2),	/* there is a new file of that name */
};

/**
 * struct fuse_fake_upon - A change that is just ahead of a request
 * @list: entry in the server's list
 * @task: the task that sends the request
 * @opcode: the opcode of the request
 * @change: what happens
 * @path: to which name
 */
struct fuse_fake_upon {
	struct list_head list;
	struct task_struct *task;
	u32 opcode;
	enum fuse_fake_change change;
	const char *path;
};

extern const struct fuse_iqueue_ops fuse_fake_iqueue_ops;

/**
 * fuse_fake_server_start() - Start a server with an empty root directory
 * @test: The test context object; the server ends with it.
 *
 * Return: the server; a failure aborts the test.
 */
struct fuse_fake_server *fuse_fake_server_start(struct kunit *test);

/**
 * fuse_fake_server_leak() - Leave the server running for good
 * @server: The server.
 *
 * For a mount that cannot be taken down, see kunit_kern_mount_leak(): what is
 * left of it goes on being served.
 */
void fuse_fake_server_leak(struct fuse_fake_server *server);

/**
 * fuse_fake_settle() - Wait until the server has nothing to do
 * @server: The server.
 *
 * Waits until every request is answered and every FORGET is counted. A request
 * that is held does not count.
 */
void fuse_fake_settle(struct fuse_fake_server *server);

/**
 * fuse_fake_requests() - How often the kernel has sent an opcode
 * @server: The server.
 * @opcode: The opcode.
 *
 * Return: the number of requests since the server was started.
 */
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

/**
 * fuse_fake_link() - Make another name for a node behind the kernel's back
 * @server: The server.
 * @old: A name of the node.
 * @new: Its new name.
 */
void fuse_fake_link(struct fuse_fake_server *server, const char *old, const char *new);

/**
 * fuse_fake_remove() - Take a name away behind the kernel's back
 * @server: The server.
 * @path: The name, which may be that of a directory with something in it.
 */
void fuse_fake_remove(struct fuse_fake_server *server, const char *path);

/**
 * fuse_fake_rename() - Rename behind the kernel's back
 * @server: The server.
 * @old: The old name.
 * @new: The new name; what it led to before is removed.
 */
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

/**
 * fuse_fake_add_to() - Make a name behind the kernel's back
 * @server: The server.
 * @parent: Nodeid of the directory.
 * @name: The new name.
 * @mode: Type and permissions of the new node.
 * @nodeid: Where to put the nodeid of the new node.
 *
 * Return: 0 or a negative error.
 */
int fuse_fake_add_to(struct fuse_fake_server *server, u64 parent, const char *name,
		     umode_t mode, u64 *nodeid);

/**
 * fuse_fake_remove_from() - Take a name away behind the kernel's back
 * @server: The server.
 * @parent: Nodeid of the directory.
 * @name: The name, which may be that of a directory with something in it.
 * @nodeid: Where to put the nodeid of what had the name.
 *
 * Return: 0 or a negative error.
 */
int fuse_fake_remove_from(struct fuse_fake_server *server, u64 parent, const char *name,
			  u64 *nodeid);

/**
 * fuse_fake_next_dir() - Walk through all directories
 * @server: The server.
 * @nodeid: Nodeid of the previous directory, 0 at first.
 *
 * Return: the nodeid of the next directory that has a name, or 0 at the end.
 */
u64 fuse_fake_next_dir(struct fuse_fake_server *server, u64 nodeid);

/**
 * fuse_fake_submount() - Make a directory the root of another file system
 * @server: The server.
 * @path: The directory, which the kernel has not looked up yet. Who walks through
 *	it mounts something there.
 */
void fuse_fake_submount(struct fuse_fake_server *server, const char *path);

/**
 * fuse_fake_reuse() - Give the number of a node that is gone to a new one
 * @server: The server.
 * @nodeid: The number of a node without a name that the kernel still knows.
 * @path: The name of the new node, which is of the same type but of another
 *	generation.
 */
void fuse_fake_reuse(struct fuse_fake_server *server, u64 nodeid, const char *path);

/**
 * fuse_fake_hold() - Stop in front of a request
 * @server: The server.
 * @opcode: The opcode to stop in front of.
 *
 * The next request with that opcode is not answered until it is let go; the
 * others are. Only one request is stopped.
 *
 * Return: the hold, which ends with the test.
 */
struct fuse_fake_hold *fuse_fake_hold(struct fuse_fake_server *server, u32 opcode);

/**
 * fuse_fake_hold_answer() - Stop when a request is done, before its answer goes out
 * @server: The server.
 * @opcode: The opcode to stop at.
 *
 * As fuse_fake_hold(), but what the request changes has been changed, and what the
 * answer says may be old news when it arrives.
 *
 * Return: the hold, which ends with the test.
 */
struct fuse_fake_hold *fuse_fake_hold_answer(struct fuse_fake_server *server, u32 opcode);

/**
 * fuse_fake_hold_wait() - Wait until the request is there
 * @hold: The hold.
 *
 * The test is aborted when no such request comes.
 */
void fuse_fake_hold_wait(struct fuse_fake_hold *hold);

/**
 * fuse_fake_let_go() - Answer the requests that are held
 * @server: The server.
 *
 * Ends all holds, also those whose request has not come yet.
 */
void fuse_fake_let_go(struct fuse_fake_server *server);

/**
 * fuse_fake_quiet_begin() - From here on, the current task must not send requests
 * @server: The server.
 * @quiet: Where to note those that it does send. FORGETs do not count: nobody
 *	waits for them.
 */
void fuse_fake_quiet_begin(struct fuse_fake_server *server, struct fuse_fake_quiet *quiet);

/**
 * fuse_fake_quiet_end() - From here on, it may
 * @server: The server.
 * @quiet: What fuse_fake_quiet_begin() was called with.
 */
void fuse_fake_quiet_end(struct fuse_fake_server *server, struct fuse_fake_quiet *quiet);

/**
 * fuse_fake_upon_begin() - Change something when the current task's request comes
 * @server: The server.
 * @upon: The change: @opcode, @change and @path are set by the caller. It is made
 *	once, before the server sees the request, as if another client had been
 *	faster.
 */
void fuse_fake_upon_begin(struct fuse_fake_server *server, struct fuse_fake_upon *upon);

/**
 * fuse_fake_upon_end() - The request has come, or never will
 * @server: The server.
 * @upon: What fuse_fake_upon_begin() was called with.
 *
 * Return: true if the change was made.
 */
bool fuse_fake_upon_end(struct fuse_fake_server *server, struct fuse_fake_upon *upon);

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

/**
 * fuse_fake_take_back() - The server has notified the kernel that a name is stale
 * @server: The server.
 * @parent: Nodeid of the directory.
 * @name: The name.
 * @below: What lies below the name is stale too.
 */
void fuse_fake_take_back(struct fuse_fake_server *server, u64 parent,
			 const char *name, bool below);

/**
 * fuse_fake_take_back_all() - The server has notified the kernel that all is stale
 * @server: The server.
 */
void fuse_fake_take_back_all(struct fuse_fake_server *server);

/**
 * fuse_fake_complaint() - What the kernel has done that no server should see
 * @server: The server.
 * @complaint: Where to put the first complaint, %FUSE_FAKE_COMPLAINT bytes.
 *
 * A request with an unknown opcode or for a node that the kernel has forgotten,
 * for instance. The complaint is dealt with then: the next call has a new one.
 *
 * Return: true if there is a complaint.
 */
bool fuse_fake_complaint(struct fuse_fake_server *server, char *complaint);

/**
 * fuse_fake_known() - A node that the kernel still holds
 * @server: The server.
 * @nlookup: Where to put how many lookups the kernel has not forgotten.
 *
 * The root does not count: it is forgotten on unmount only.
 *
 * Return: the nodeid of one such node, or 0 if there is none.
 */
u64 fuse_fake_known(struct fuse_fake_server *server, u64 *nlookup);

#endif /* _FS_FUSE_TESTS_FAKE_SERVER_H */
