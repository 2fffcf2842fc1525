// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of fuse_reverse_inval_entry() among many threads
 *
 * What inval_race_kunit.c spells out for one notification and another call happens
 * here as it comes, on as many CPUs as there are:
 *
 *	owners		change names behind the kernel's back, notify, and look at once;
 *			no lookup may be answered from what the server said before
 *	callers		make, remove, rename, look up and read whatever comes up, move
 *			the directory of the owners, and drop caches
 *	notifiers	notify of all these names, and of names that do not exist, in
 *			directories that come and go
 *
 * The work of the owners is bounded, and the others stop when that is done: when each
 * has done enough, and all that has to come up has. Then every name must lead where it
 * leads for the server.
 */

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/mount.h>
#include <linux/prandom.h>
#include <linux/slab.h>
#include <linux/stat.h>

#include <kunit/test.h>
#include <kunit/thread.h>

#include "../fuse_i.h"
#include "fixture.h"

enum stress_kind {
	STRESS_OWNER,
	STRESS_CALLER,
	STRESS_NOTIFIER,
	STRESS_KINDS
};

/* Of each kind. */
#define STRESS_THREADS	2
/* Names of each owner: two in the directory that moves, one in another. */
#define STRESS_NAMES	3
/* A node that never is. */
#define STRESS_NO_NODE	U64_MAX

enum stress_call {
	STRESS_STAT,
	STRESS_READDIR,
	STRESS_MKNOD,
	STRESS_MKDIR,
	STRESS_UNLINK,
	STRESS_RMDIR,
	STRESS_RENAME,
	STRESS_RENAME_OVER,
	STRESS_RENAME_ACROSS,
	STRESS_EXCHANGE,
	STRESS_MOVE,
	STRESS_DROP_CACHES,
	STRESS_SERVER_ADD,
	STRESS_SERVER_REMOVE,
	STRESS_INVAL,
	STRESS_EXPIRE,
	STRESS_DELETE,
	STRESS_DELETE_OTHER,
	STRESS_CALLS
};

static int stress_do_drop_caches(struct fuse_fx_op *op)
{
	shrink_dcache_parent(op->fx->mnt->mnt_root);
	return 0;
}

static int stress_do_server_add(struct fuse_fx_op *op)
{
	return fuse_fake_add_to(op->fx->server, op->parent, op->path[0], op->flags, &op->child);
}

static int stress_do_server_remove(struct fuse_fx_op *op)
{
	return fuse_fake_remove_from(op->fx->server, op->parent, op->path[0], &op->child);
}

#define STRESS_ANSWERS	7

/**
 * struct stress_info - A call that threads make
 * @name: what it is called in messages
 * @call: the call
 * @flags: flags of the call
 * @needed: so many of the answers have to come up, or too little was tried
 * @answers: what it may answer, the needed ones first; the first is always 0
 */
struct stress_info {
	const char *name;
	int (*call)(struct fuse_fx_op *op);
	unsigned int flags;
	unsigned int needed;
	int answers[STRESS_ANSWERS];
};

static const struct stress_info stress_infos[STRESS_CALLS] = {
	[STRESS_STAT] = {
		"stat", fuse_fx_do_stat, 0,
		2, { 0, -ENOENT, -ENOTDIR },
	},
	[STRESS_READDIR] = {
		"readdir", fuse_fx_do_readdir, 0,
		2, { 0, -ENOENT, -ENOTDIR },
	},
	[STRESS_MKNOD] = {
		"mknod", fuse_fx_do_mknod, 0,
		2, { 0, -EEXIST, -ENOENT, -ENOTDIR },
	},
	[STRESS_MKDIR] = {
		"mkdir", fuse_fx_do_mkdir, 0,
		2, { 0, -EEXIST, -ENOENT, -ENOTDIR },
	},
	[STRESS_UNLINK] = {
		"unlink", fuse_fx_do_unlink, 0,
		2, { 0, -ENOENT, -ENOTDIR, -EISDIR },
	},
	[STRESS_RMDIR] = {
		"rmdir", fuse_fx_do_rmdir, 0,
		2, { 0, -ENOENT, -ENOTDIR, -ENOTEMPTY },
	},
	[STRESS_RENAME] = {
		"rename", fuse_fx_do_rename, 0,
		2, { 0, -ENOENT, -ENOTDIR, -EISDIR, -ENOTEMPTY, -EINVAL },
	},
	[STRESS_RENAME_OVER] = {
		"rename over a name", fuse_fx_do_rename, 0,
		1, { 0, -ENOENT, -ENOTDIR, -EISDIR, -ENOTEMPTY },
	},
	[STRESS_RENAME_ACROSS] = {
		"rename between directories", fuse_fx_do_rename, 0,
		1, { 0, -ENOENT, -ENOTDIR, -EISDIR, -ENOTEMPTY },
	},
	[STRESS_EXCHANGE] = {
		"exchange", fuse_fx_do_rename, RENAME_EXCHANGE,
		2, { 0, -ENOENT, -ENOTDIR, -EINVAL, -ENOTEMPTY },
	},
	[STRESS_MOVE] = {
		"move of the directory", fuse_fx_do_rename, RENAME_NOREPLACE,
		1, { 0, -ENOENT, -EEXIST },
	},
	[STRESS_DROP_CACHES] = {
		"drop of caches", stress_do_drop_caches, 0,
		1, { 0 },
	},
	[STRESS_SERVER_ADD] = {
		"addition", stress_do_server_add, 0,
		1, { 0 },
	},
	[STRESS_SERVER_REMOVE] = {
		"removal", stress_do_server_remove, 0,
		1, { 0, -ENOENT },
	},
	[STRESS_INVAL] = {
		"inval", fuse_fx_do_notify, 0,
		3, { 0, -ENOENT, -ENOTDIR },
	},
	[STRESS_EXPIRE] = {
		"expire", fuse_fx_do_notify, FUSE_EXPIRE_ONLY,
		3, { 0, -ENOENT, -ENOTDIR },
	},
	[STRESS_DELETE] = {
		"delete", fuse_fx_do_notify, 0,
		3, { 0, -ENOENT, -ENOTEMPTY },
	},
	[STRESS_DELETE_OTHER] = {
		"delete of another node", fuse_fx_do_notify, 0,
		3, { 0, -ENOENT, -ENOTDIR },
	},
};

/**
 * struct stress_name - A name that an owner changes
 * @dir: nodeid of its directory
 * @gone: what had the name until the server took it away
 * @name: the name
 */
struct stress_name {
	u64 dir;
	u64 gone;
	char name[8];
};

/**
 * struct stress_thread - A thread
 * @stress: what it is a part of
 * @kind: what it does
 * @id: its number among those of its kind
 * @random: its random numbers
 * @calls: counts the beginnings and ends of its calls: odd while it is in one
 * @call: what it calls
 * @counts: how often a call had one of its answers
 * @thread: the thread
 */
struct stress_thread {
	struct stress *stress;
	enum stress_kind kind;
	unsigned int id;
	struct rnd_state random;
	unsigned long calls;
	enum stress_call call;
	unsigned int counts[STRESS_CALLS][STRESS_ANSWERS];
	struct kunit_thread *thread;
};

/**
 * struct stress - One run
 * @test: the test
 * @fx: its fixture
 * @home: nodeid of the directory that moves: "home" or "yard/home"
 * @yard: nodeid of the other
 * @bounded: how many owners are at work
 * @running: how many threads are
 * @done: none of them
 * @names: the names of the owners
 * @threads: the threads
 */
struct stress {
	struct kunit *test;
	struct fuse_fixture *fx;
	u64 home;
	u64 yard;
	atomic_t bounded;
	atomic_t running;
	struct completion done;
	struct stress_name names[STRESS_THREADS * STRESS_NAMES];
	struct stress_thread threads[STRESS_KINDS * STRESS_THREADS];
};

/*
 * Calls.
 */

static unsigned int stress_random(struct stress_thread *t, unsigned int nr)
{
	return prandom_u32_state(&t->random) % nr;
}

/* Then all threads end. */
static bool stress_failed(const struct stress *stress)
{
	return READ_ONCE(stress->test->status) == KUNIT_FAILURE;
}

static void stress_begin(struct stress_thread *t, enum stress_call call)
{
	WRITE_ONCE(t->call, call);
	WRITE_ONCE(t->calls, t->calls + 1);
}

static void stress_end(struct stress_thread *t)
{
	WRITE_ONCE(t->calls, t->calls + 1);
	/* Nothing else takes the CPU from a thread that never has to wait. */
	yield();
}

static int stress_call(struct stress_thread *t, enum stress_call call, struct fuse_fx_op *op)
{
	const struct stress_info *info = &stress_infos[call];
	unsigned int i;
	int err;

	op->fx = t->stress->fx;
	op->flags |= info->flags;
	stress_begin(t, call);
	err = info->call(op);
	stress_end(t);

	for (i = 0; i < STRESS_ANSWERS; i++) {
		if (info->answers[i] == err) {
			t->counts[call][i]++;
			return err;
		}
	}
	KUNIT_FAIL(t->stress->test, "%s of '%s' answered %s", info->name, op->path[0] ?: "",
		   fuse_fx_errname(err));
	return err;
}

/* How often did a call answer that? */
static unsigned int stress_count(const struct stress *stress, unsigned int call,
				 unsigned int answer)
{
	unsigned int i, count = 0;

	for (i = 0; i < ARRAY_SIZE(stress->threads); i++)
		count += READ_ONCE(stress->threads[i].counts[call][answer]);
	return count;
}

/* Has all that came up which has to? */
static bool stress_complete(const struct stress *stress)
{
	unsigned int call, answer;

	for (call = 0; call < STRESS_CALLS; call++)
		for (answer = 0; answer < stress_infos[call].needed; answer++)
			if (!stress_count(stress, call, answer))
				return false;
	return true;
}

/*
 * Has an owner more to do? How much the others get done meanwhile is up
 * to the scheduler: wait for what has to come up, though not for ever.
 */
static bool stress_goes_on(const struct stress_thread *t, unsigned int done, unsigned int enough)
{
	if (stress_failed(t->stress))
		return false;
	return done < enough || (done < 50 * enough && !stress_complete(t->stress));
}

/* Returns the nodeid, 0 for nothing, or a negative error. */
static s64 stress_lookup(struct stress *stress, u64 dir, const char *name)
{
	struct dentry *dentry = fuse_fx_lookup_at(stress->fx, dir, name);
	s64 nodeid;

	if (IS_ERR(dentry))
		return PTR_ERR(dentry) == -ENOENT ? 0 : PTR_ERR(dentry);
	nodeid = get_node_id(d_inode(dentry));
	dput(dentry);
	return nodeid;
}

/* Where the directory that moves is just now. */
static const char *stress_home(struct stress *stress)
{
	return fuse_fake_find(stress->fx->server, FUSE_ROOT_ID, "home") ? "home" : "yard/home";
}

/*
 * Owners.
 */

static void stress_name_path(struct stress *stress, const struct stress_name *name,
			     char *path, size_t size)
{
	snprintf(path, size, "%s/%s", name->dir == stress->yard ? "yard" : stress_home(stress),
		 name->name);
}

static umode_t stress_mode(struct stress_thread *t)
{
	return stress_random(t, 2) ? S_IFREG | 0644 : S_IFDIR | 0755;
}

/* Somebody uses something in a directory that will be removed. */
static struct dentry *stress_hold_below(struct stress_thread *t, u64 dir)
{
	struct stress *stress = t->stress;
	struct dentry *held = NULL;
	u64 nodeid;

	if (fuse_fake_add_to(stress->fx->server, dir, "held", S_IFREG | 0644, &nodeid))
		return NULL;
	stress_begin(t, STRESS_STAT);
	held = fuse_fx_lookup_at(stress->fx, dir, "held");
	stress_end(t);
	return IS_ERR(held) ? NULL : held;
}

/* Change a name behind the kernel's back and notify; returns what was notified. */
static enum stress_call stress_change(struct stress_thread *t, struct stress_name *name)
{
	u64 nodeid = fuse_fake_find(t->stress->fx->server, name->dir, name->name);
	struct fuse_fx_op change = { .path = { name->name }, .parent = name->dir };
	struct fuse_fx_op notify = change;
	enum stress_call call = STRESS_INVAL + stress_random(t, 3);
	struct dentry *held = NULL;

	if (nodeid) {
		if (call == STRESS_DELETE)
			held = stress_hold_below(t, nodeid);
		stress_call(t, STRESS_SERVER_REMOVE, &change);
		WRITE_ONCE(name->gone, nodeid);
		if (call == STRESS_DELETE)
			notify.child = nodeid;
	} else {
		change.flags = stress_mode(t);
		stress_call(t, STRESS_SERVER_ADD, &change);
		/* Nobody has seen the new node yet, so this is about the name. */
		if (call == STRESS_DELETE) {
			call = STRESS_DELETE_OTHER;
			notify.child = STRESS_NO_NODE;
		}
	}
	stress_call(t, call, &notify);
	dput(held);
	return call;
}

/* Change a name as any user does. */
static enum stress_call stress_use(struct stress_thread *t, struct stress_name *name,
				   struct stress_name *other)
{
	struct fuse_fake_server *server = t->stress->fx->server;
	char path[32], other_path[32];
	struct fuse_fx_op op = { .path = { path, other_path } };
	enum stress_call call = STRESS_MKNOD + stress_random(t, 8);

	/* There is little to see when what is to be renamed does not exist. */
	if (call >= STRESS_RENAME && !fuse_fake_find(server, name->dir, name->name))
		swap(name, other);
	stress_name_path(t->stress, name, path, sizeof(path));
	stress_name_path(t->stress, other, other_path, sizeof(other_path));
	if (call >= STRESS_RENAME)
		call = !stress_random(t, 4) ? STRESS_EXCHANGE :
		       fuse_fake_find(server, other->dir, other->name) ? STRESS_RENAME_OVER :
		       name->dir != other->dir ? STRESS_RENAME_ACROSS :
		       STRESS_RENAME;
	stress_call(t, call, &op);
	return call;
}

/* Nobody else changes these names, so it is plain what has to be there. */
static void stress_check_names(struct stress_thread *t, struct stress_name *names,
			       enum stress_call after)
{
	struct stress *stress = t->stress;
	unsigned int i;

	for (i = 0; i < STRESS_NAMES; i++) {
		u64 node = fuse_fake_find(stress->fx->server, names[i].dir, names[i].name);
		s64 found;

		stress_begin(t, STRESS_STAT);
		found = stress_lookup(stress, names[i].dir, names[i].name);
		stress_end(t);
		if (found != node)
			KUNIT_FAIL(stress->test,
				   "not fresh: '%s' leads to nodeid %lld instead of %llu after %s",
				   names[i].name, found, node, stress_infos[after].name);
	}
}

static void stress_owner(struct stress_thread *t)
{
	struct stress_name *names = &t->stress->names[t->id * STRESS_NAMES];
	unsigned int n;

	for (n = 0; stress_goes_on(t, n, 300); n++) {
		unsigned int i = stress_random(t, STRESS_NAMES);
		unsigned int j = (i + 1 + stress_random(t, STRESS_NAMES - 1)) % STRESS_NAMES;
		enum stress_call call;

		if (stress_random(t, 2))
			call = stress_change(t, &names[i]);
		else
			call = stress_use(t, &names[i], &names[j]);
		stress_check_names(t, names, call);
	}
}

/*
 * Callers and notifiers.
 */

static const char * const stress_files[] = { "a", "b", "c", "d" };

static const char *stress_file(struct stress_thread *t)
{
	return stress_files[stress_random(t, ARRAY_SIZE(stress_files))];
}

static struct stress_name *stress_any_name(struct stress_thread *t)
{
	return &t->stress->names[stress_random(t, ARRAY_SIZE(t->stress->names))];
}

/* Any name that is not an owner's, up to some way down. */
static void stress_path(struct stress_thread *t, char *path, size_t size)
{
	int len = 0;

	if (!stress_random(t, 8)) {
		stress_name_path(t->stress, stress_any_name(t), path, size);
		len = strlen(path);
		len += snprintf(path + len, size - len, "/");
	} else {
		while (len < 4 && stress_random(t, 2))
			len += snprintf(path + len, size - len, "%s/", stress_file(t));
	}
	snprintf(path + len, size - len, "%s", stress_file(t));
}

static void stress_caller(struct stress_thread *t)
{
	static const enum stress_call calls[] = {
		STRESS_STAT, STRESS_STAT, STRESS_STAT, STRESS_STAT, STRESS_STAT,
		STRESS_READDIR, STRESS_READDIR, STRESS_MKNOD, STRESS_MKDIR, STRESS_MKDIR,
		STRESS_UNLINK, STRESS_RMDIR, STRESS_RENAME, STRESS_RENAME, STRESS_EXCHANGE,
		STRESS_MOVE, STRESS_DROP_CACHES,
	};
	struct stress *stress = t->stress;

	while (atomic_read(&stress->bounded) && !stress_failed(stress)) {
		enum stress_call call = calls[stress_random(t, ARRAY_SIZE(calls))];
		char path[32], path2[32];
		struct fuse_fx_op op = { .path = { path, path2 } };

		stress_path(t, path, sizeof(path));
		stress_path(t, path2, sizeof(path2));
		switch (call) {
		case STRESS_STAT:
			if (stress_random(t, 2))
				stress_name_path(stress, stress_any_name(t), path, sizeof(path));
			break;
		case STRESS_READDIR:
			if (stress_random(t, 2))
				op.path[0] = stress_random(t, 2) ? stress_home(stress) : ".";
			break;
		case STRESS_MOVE:
			op.path[0] = stress_home(stress);
			op.path[1] = op.path[0][0] == 'h' ? "yard/home" : "home";
			break;
		default:
			break;
		}
		stress_call(t, call, &op);
	}
}

/* The nodeid of some directory, or of a file; it may be gone before it is used. */
static u64 stress_any_dir(struct stress_thread *t)
{
	u64 nodeid = FUSE_ROOT_ID, next;

	while (stress_random(t, 3)) {
		next = fuse_fake_find(t->stress->fx->server, nodeid, stress_file(t));
		if (next)
			nodeid = next;
	}
	return nodeid;
}

static void stress_notifier(struct stress_thread *t)
{
	struct stress *stress = t->stress;
	u64 dir = FUSE_ROOT_ID;

	while (atomic_read(&stress->bounded) && !stress_failed(stress)) {
		enum stress_call call = STRESS_INVAL + stress_random(t, 4);
		struct fuse_fx_op op = {};
		struct stress_name *name;

		switch (stress_random(t, 8)) {
		case 0:
		case 1:
		case 2:
			/* The owner notifies, too. */
			name = stress_any_name(t);
			op.parent = name->dir;
			op.path[0] = name->name;
			if (call == STRESS_DELETE)
				op.child = READ_ONCE(name->gone);
			break;
		case 3:
			op.path[0] = "home";
			op.parent = stress_random(t, 2) ? FUSE_ROOT_ID : stress->yard;
			break;
		case 4:
			/* Removed by the server, and nobody else of it adds that name. */
			dir = stress_any_dir(t);
			op.parent = dir;
			op.path[0] = stress_file(t);
			if (!stress_call(t, STRESS_SERVER_REMOVE, &op))
				call = STRESS_DELETE;
			break;
		default:
			/* Sometimes where it was before, which may be gone by now. */
			if (stress_random(t, 2))
				dir = stress_any_dir(t);
			op.parent = dir;
			op.path[0] = stress_file(t);
		}
		if (call == STRESS_DELETE && !op.child)
			call = STRESS_DELETE_OTHER;
		if (call == STRESS_DELETE_OTHER)
			op.child = STRESS_NO_NODE;
		stress_call(t, call, &op);
	}
}

/*
 * The test.
 */

static void (* const stress_kinds[STRESS_KINDS])(struct stress_thread *t) = {
	[STRESS_OWNER]		= stress_owner,
	[STRESS_CALLER]		= stress_caller,
	[STRESS_NOTIFIER]	= stress_notifier,
};

static bool stress_is_bounded(const struct stress_thread *t)
{
	return t->kind == STRESS_OWNER;
}

static int stress_run(struct fuse_fx_op *op)
{
	struct stress_thread *t = op->data;
	struct stress *stress = t->stress;

	stress_kinds[t->kind](t);
	if (stress_is_bounded(t))
		atomic_dec(&stress->bounded);
	if (atomic_dec_and_test(&stress->running))
		complete(&stress->done);
	return 0;
}

/* How much has been done of what has to be. */
static unsigned long stress_progress(struct stress *stress)
{
	int bounded = atomic_read(&stress->bounded);
	unsigned long calls = bounded;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(stress->threads); i++)
		if (!bounded || stress_is_bounded(&stress->threads[i]))
			calls += READ_ONCE(stress->threads[i].calls);
	return calls;
}

/* Every name that the threads use leads where the server says. */
static void stress_check_name(struct stress *stress, u64 dir, const char *name, bool notify)
{
	u64 node = fuse_fake_find(stress->fx->server, dir, name);
	s64 found;

	found = stress_lookup(stress, dir, name);
	/* What the kernel does not know it has not cached. */
	if (found == -ESTALE)
		return;
	KUNIT_EXPECT_EQ_MSG(stress->test, found, node, "'%s' in nodeid %llu", name, dir);
	if (!notify)
		return;
	/* It is cached now. */
	KUNIT_EXPECT_EQ_MSG(stress->test, fuse_fx_inval(stress->fx, dir, name), 0,
			    "'%s' in nodeid %llu", name, dir);
}

static void stress_check_all(struct stress *stress, bool notify)
{
	static const char * const others[] = { "home", "yard" };
	struct fuse_fake_server *server = stress->fx->server;
	unsigned int i;
	u64 dir = 0;

	while ((dir = fuse_fake_next_dir(server, dir)) && !stress_failed(stress)) {
		for (i = 0; i < ARRAY_SIZE(stress_files); i++)
			stress_check_name(stress, dir, stress_files[i], notify);
		for (i = 0; i < ARRAY_SIZE(stress->names); i++)
			stress_check_name(stress, dir, stress->names[i].name, notify);
		for (i = 0; i < ARRAY_SIZE(others); i++)
			stress_check_name(stress, dir, others[i], notify);
	}
}

/* Did all that happen? */
static void stress_check_counts(struct stress *stress)
{
	unsigned int call, answer;

	for (call = 0; call < STRESS_CALLS; call++) {
		const struct stress_info *info = &stress_infos[call];

		for (answer = 0; answer < info->needed; answer++)
			KUNIT_EXPECT_NE_MSG(stress->test, stress_count(stress, call, answer), 0,
					    "%s never answered %s", info->name,
					    fuse_fx_errname(info->answers[answer]));
	}
}

static struct stress *stress_start(struct kunit *test)
{
	struct stress *stress = kzalloc_obj(*stress);
	struct fuse_fixture *fx = test->priv;
	u64 seed = fuse_fx_seed(test);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, stress);
	stress->test = test;
	stress->fx = fx;
	init_completion(&stress->done);
	atomic_set(&stress->bounded, STRESS_THREADS);
	atomic_set(&stress->running, ARRAY_SIZE(stress->threads));

	stress->home = fuse_fake_add(fx->server, "home", S_IFDIR | 0755);
	stress->yard = fuse_fake_add(fx->server, "yard", S_IFDIR | 0755);
	fuse_fx_hold(fx, "home");
	fuse_fx_hold(fx, "yard");
	for (i = 0; i < ARRAY_SIZE(stress->names); i++) {
		stress->names[i].dir = i % STRESS_NAMES ? stress->home : stress->yard;
		snprintf(stress->names[i].name, sizeof(stress->names[i].name), "o%u", i);
	}

	for (i = 0; i < ARRAY_SIZE(stress->threads); i++) {
		struct stress_thread *t = &stress->threads[i];

		t->stress = stress;
		t->kind = i / STRESS_THREADS;
		t->id = i % STRESS_THREADS;
		prandom_seed_state(&t->random, (seed << 8) + i);
		t->thread = fuse_fx_run(fx, stress_run, &(struct fuse_fx_op) { .data = t });
	}
	return stress;
}

static void concurrent(struct kunit *test)
{
	struct stress *stress = stress_start(test);
	unsigned long progress, last = 0;
	bool done = true;
	unsigned int i;

	while (!wait_for_completion_timeout(&stress->done, KUNIT_THREAD_LIMIT)) {
		progress = stress_progress(stress);
		if (progress == last)
			break;
		last = progress;
	}
	for (i = 0; i < ARRAY_SIZE(stress->threads); i++) {
		struct stress_thread *t = &stress->threads[i];

		/* By now it has ended, or it waits for something that does not come. */
		kunit_thread_set_limit(t->thread, HZ);
		if (kunit_thread_join(t->thread, NULL))
			continue;
		kunit_info(test, "the last it did: %s\n", stress_infos[READ_ONCE(t->call)].name);
		done = false;
	}
	/* Threads that go on still use all this. */
	if (!done)
		return;

	fuse_fake_settle(stress->fx->server);
	if (!stress_failed(stress)) {
		stress_check_counts(stress);
		stress_check_all(stress, false);
		stress_check_all(stress, true);
	}
	/* What was told in the middle of all that says little; from here on it does. */
	fuse_fake_take_back_all(stress->fx->server);
	if (!stress_failed(stress))
		stress_check_all(stress, false);
	kfree(stress);
}

static struct kunit_case fuse_inval_stress_cases[] = {
	KUNIT_CASE_SLOW(concurrent),
	{}
};

/* KUnit keeps the log of a case there, so each suite has its own. */
static struct kunit_case fuse_inval_stress_delete_stale_cases[] = {
	KUNIT_CASE_SLOW(concurrent),
	{}
};

static struct kunit_suite fuse_inval_stress_suite = {
	.name		= "fuse_inval_stress",
	.init		= fuse_fx_init,
	.exit		= fuse_fx_exit,
	.test_cases	= fuse_inval_stress_cases,
};

static struct kunit_suite fuse_inval_stress_delete_stale_suite = {
	.name		= "fuse_inval_stress_delete_stale",
	.init		= fuse_fx_init_delete_stale,
	.exit		= fuse_fx_exit,
	.test_cases	= fuse_inval_stress_delete_stale_cases,
};

kunit_test_suites(&fuse_inval_stress_suite, &fuse_inval_stress_delete_stale_suite);
