/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a notification may answer while others change the directory
 *
 * A model of two directories with a handful of names, of what the server has and
 * the dcache holds for each, and of what every system call and notification does
 * to them. It shares nothing with the code under test: it has no locks and no
 * references, and takes every step at once.
 *
 * A notification overlaps with whatever happens from its start to its end. It
 * was right if some order of the steps, one after the other, explains both its
 * answer and what is cached at the end.
 */

#ifndef _FS_FUSE_TESTS_RACE_MODEL_H
#define _FS_FUSE_TESTS_RACE_MODEL_H

#include <linux/types.h>

/* The names: the one that is notified, others beside it, others elsewhere. */
enum race_slot {
	RACE_NAME,		/* dir/name */
	RACE_SIBLING,		/* dir/side */
	RACE_NEW,		/* dir/next */
	RACE_ELSEWHERE,		/* out/else */
	RACE_MOVED,		/* out/name */
	RACE_SLOTS
};

/**
 * struct race_name - A name
 * @node: nodeid of what the server has under that name, 0 for nothing
 * @dir: that is a directory
 * @busy: it has a child in it, and the kernel holds that
 * @cached: the dcache has an entry, which agrees with @node
 * @maybe: that entry may as well be gone: unlink() leaves a negative entry only
 *	if nobody else uses it
 */
struct race_name {
	u64 node;
	bool dir;
	bool busy;
	bool cached;
	bool maybe;
};

/**
 * struct race_world - Everything there is
 * @names: the names
 * @last_nodeid: the next new node gets the number after this
 * @killed: nodes, as bits, that a delete has taken all links from
 * @unsure: nodes that may have links or not: they have lost their last name, or
 *	the server was asked about them after they were killed
 * @dead: the directory of the name has been removed
 * @moved: the directory is in the other one now
 */
struct race_world {
	struct race_name names[RACE_SLOTS];
	u64 last_nodeid;
	u64 killed;
	u64 unsure;
	bool dead;
	bool moved;
};

/* What somebody may do in the window of a notification. */
enum race_op {
	RACE_NOTHING,
	/* rename() */
	RACE_RENAME,		/* name to new */
	RACE_RENAME_BACK,	/* new to name */
	RACE_RENAME_OVER,	/* sibling to name */
	RACE_EXCHANGE,		/* name with sibling */
	RACE_MOVE_OUT,		/* name to moved */
	RACE_MOVE_BACK,		/* moved to name */
	RACE_MOVE_IN,		/* elsewhere to name */
	RACE_EXCHANGE_OUT,	/* name with elsewhere */
	/* other changes of the name */
	RACE_UNLINK,
	RACE_RMDIR,
	RACE_MKNOD,
	RACE_MKDIR,
	RACE_LINK,		/* elsewhere to name */
	/* what the kernel notices when the server was changed behind its back */
	RACE_GONE,		/* unlink() of a name that the server has lost */
	RACE_REPLACED,		/* rename() of sibling finds a new file of that name */
	RACE_REVALIDATE,	/* stat() that does not trust the cache, no lock needed */
	RACE_READDIR,		/* finds a new file if there was none */
	/* the directory */
	RACE_PARENT_REMOVED,
	RACE_PARENT_REMADE,	/* another one of its name */
	RACE_PARENT_MOVED,
	/* another notification, which may overlap with all the rest */
	RACE_INVAL,
	RACE_EXPIRE,
	RACE_DELETE,
	RACE_INVAL_SIBLING,
	/* the second half of RACE_REVALIDATE, not a call of its own */
	RACE_LOOK_AGAIN,
	RACE_OPS
};

/**
 * struct race_call - A notification
 * @slot: the name, which is one in the directory
 * @child: nodeid of the entry for a delete, or 0
 * @expire: the entry is to expire only
 * @after: the call started when the steps below this number were done
 * @before: the call ended before the step of this number began
 * @answer: what it returned
 */
struct race_call {
	enum race_slot slot;
	u64 child;
	bool expire;
	unsigned int after;
	unsigned int before;
	int answer;
};

#define RACE_STEPS	4	/* two operations of at most two steps */
#define RACE_CALLS	3	/* two notifications as operations, one under test */

/**
 * struct race_history - What happened
 * @start: the world before
 * @steps: what the operations did, in the order in which they did it
 * @nr_steps: how many steps
 * @calls: the notifications; the one under test comes first
 * @nr_calls: how many notifications
 * @end: the world afterwards; of a cached name, only @node and @cached count, and
 *	of the nodes, only those that there were before can be killed
 */
struct race_history {
	struct race_world start;
	enum race_op steps[RACE_STEPS];
	unsigned int nr_steps;
	struct race_call calls[RACE_CALLS];
	unsigned int nr_calls;
	struct race_world end;
};

/**
 * race_step() - Do something
 * @world: The world.
 * @op: What to do; not a notification.
 *
 * Return: false if that is not possible, and @world is undefined then.
 */
bool race_step(struct race_world *world, enum race_op op);

/**
 * race_notify() - Notify the kernel
 * @world: The world.
 * @call: The notification.
 * @gone: Whether an entry that is only maybe there is gone.
 *
 * Return: what the call has to answer.
 */
int race_notify(struct race_world *world, const struct race_call *call, bool gone);

/**
 * race_explain() - Find an order of the steps that explains what happened
 * @history: What happened.
 * @closest: The end that comes closest to the one that was found, of all that
 *	explain the answers; undefined if none does.
 *
 * Return: how many names and nodes differ between that end and the one that was
 * found, so 0 if everything is explained; a negative number if the answers are not.
 */
int race_explain(const struct race_history *history, struct race_world *closest);

/**
 * race_differs() - Does a name differ from what was expected?
 * @want: The world as it should be.
 * @got: The world as it was found.
 * @slot: The name.
 *
 * Return: true if it does.
 */
bool race_differs(const struct race_world *want, const struct race_world *got,
		  enum race_slot slot);

/**
 * race_links_differ() - Are there nodes with links that should have none, or the
 * other way round?
 * @history: What happened.
 * @want: The world as it should be.
 *
 * Return: those nodes, as bits.
 */
u64 race_links_differ(const struct race_history *history, const struct race_world *want);

#endif /* _FS_FUSE_TESTS_RACE_MODEL_H */
