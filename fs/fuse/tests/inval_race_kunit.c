// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of fuse_reverse_inval_entry() in every interleaving, within a bound
 *
 * The window of a notification is between its lookup and the lock of the
 * directory. A gate keeps the directory locked, operations queue up behind it
 * and the notification behind those: it has looked before any of them does
 * anything, and gets the lock after all of them. If they changed the entry it
 * has to look again; another gate holds the lock in that second window.
 *
 * A schedule says what the name was, what is notified, and what happens in the
 * window:
 *
 *	negative.inval.mknod		created in the window
 *	file.delete.rename+mknod	renamed, then created, in the same window
 *	file.inval.exchange/unlink	exchanged with another, which loses the race;
 *					unlinked in the window of the second try
 *	file.inval.~unlink		unlinked by the server, but the kernel has not
 *					got the answer when the notification comes
 *
 * Where the name of an operation does not say it: after "gone" the server has lost
 * the name and the kernel finds out, after "replaced" it has got another file;
 * "revalidate" is a stat() that does not trust the cache, "readdir" finds a new
 * file if there was none, and "delete_other" is about the node that has the
 * sibling's name at the start.
 *
 * Every sequence of up to two operations that is possible is a schedule. The
 * answer and what is cached afterwards are checked against race_model.h: they are
 * "not serial" if no order of the steps explains them. The fixture checks its
 * properties as after every test, see fixture.h. One schedule runs alone, or those
 * that match a pattern, with the kernel argument fuse_kunit.schedule=.
 *
 * Two operations that exclude each other by another lock than the directory's
 * cannot queue up together in the first window: a move of the directory and a
 * rename between two directories, or a removal of the directory.
 */

#include <linux/glob.h>
#include <linux/moduleparam.h>
#include <linux/namei.h>

#include <kunit/test.h>
#include <kunit/thread.h>

#include "../fuse_i.h"
#include "fixture.h"
#include "race_model.h"

static char *race_pattern = "*";
module_param_named(schedule, race_pattern, charp, 0444);
MODULE_PARM_DESC(schedule, "Pattern of the schedules to run, such as file.inval.*");

enum race_state {
	RACE_ABSENT,
	RACE_NEGATIVE,
	RACE_FILE,
	RACE_HELD_FILE,
	RACE_EMPTY_DIRECTORY,
	RACE_DIRECTORY,		/* with a child that is held */
};

static const char * const race_states[] = {
	"absent", "negative", "file", "held_file", "empty_directory", "directory",
};

enum race_notification {
	RACE_N_INVAL,
	RACE_N_EXPIRE,
	RACE_N_DELETE,		/* of the node that had the name, or of the next new one */
	RACE_N_DELETE_OTHER,	/* of the sibling's node, which may get the name */
	RACE_NOTIFICATIONS
};

static const char * const race_notifications[] = {
	"inval", "expire", "delete", "delete_other",
};

/* Where the operations are. */
enum race_window {
	RACE_FIRST,	/* all in the first window */
	RACE_RETRY,	/* the second in the window of the second try */
	RACE_ANSWERED,	/* begun before, its answer comes in the window */
};

/**
 * struct race_schedule - A schedule
 * @state: what the name was
 * @notification: what is notified
 * @window: where the operations are
 * @ops: what happens, %RACE_NOTHING at the end
 */
struct race_schedule {
	enum race_state state;
	enum race_notification notification;
	enum race_window window;
	enum race_op ops[2];
};

/*
 * The names before and after the directory has been moved: one is as long, one
 * begins like the one that is notified, and one is the same elsewhere.
 */
static const char * const race_paths[][RACE_SLOTS] = {
	{ "dir/name", "dir/side", "dir/name2", "out/else", "out/name" },
	{ "out/dir/name", "out/dir/side", "out/dir/name2", "out/else", "out/name" },
};

/**
 * struct race_op_info - An operation as a system call
 * @name: its name in schedules
 * @call: the system call
 * @from: the name that it is about
 * @to: the second name
 * @path: a path that is not one of the names
 * @path2: a second one
 * @flags: flags of the call
 * @upon: request that comes just after a change behind the kernel's back
 * @change: that change; what is added is there only if it was not
 * @answer: what the call returns
 * @request: the request that makes the change, if there is one
 * @between: it is a rename between two directories
 */
struct race_op_info {
	const char *name;
	int (*call)(struct fuse_fx_op *op);
	enum race_slot from;
	enum race_slot to;
	const char *path;
	const char *path2;
	unsigned int flags;
	u32 upon;
	enum fuse_fake_change change;
	int answer;
	u32 request;
	bool between;
};

static const struct race_op_info race_ops[RACE_OPS] = {
	[RACE_RENAME] = { "rename", fuse_fx_do_rename, RACE_NAME, RACE_NEW,
		.request = FUSE_RENAME },
	[RACE_RENAME_BACK] = { "rename_back", fuse_fx_do_rename, RACE_NEW, RACE_NAME },
	[RACE_RENAME_OVER] = { "rename_over", fuse_fx_do_rename, RACE_SIBLING, RACE_NAME,
		.request = FUSE_RENAME },
	[RACE_EXCHANGE] = { "exchange", fuse_fx_do_rename, RACE_NAME, RACE_SIBLING,
			    .flags = RENAME_EXCHANGE,
		.request = FUSE_RENAME2 },
	[RACE_MOVE_OUT] = { "move_out", fuse_fx_do_rename, RACE_NAME, RACE_MOVED,
			    .between = true,
		.request = FUSE_RENAME },
	[RACE_MOVE_BACK] = { "move_back", fuse_fx_do_rename, RACE_MOVED, RACE_NAME,
			     .between = true },
	[RACE_MOVE_IN] = { "move_in", fuse_fx_do_rename, RACE_ELSEWHERE, RACE_NAME,
			   .between = true,
		.request = FUSE_RENAME },
	[RACE_EXCHANGE_OUT] = { "exchange_out", fuse_fx_do_rename, RACE_NAME, RACE_ELSEWHERE,
				.flags = RENAME_EXCHANGE, .between = true,
		.request = FUSE_RENAME2 },
	[RACE_UNLINK] = { "unlink", fuse_fx_do_unlink,
		.request = FUSE_UNLINK },
	[RACE_RMDIR] = { "rmdir", fuse_fx_do_rmdir,
		.request = FUSE_RMDIR },
	[RACE_MKNOD] = { "mknod", fuse_fx_do_mknod,
		.request = FUSE_MKNOD },
	[RACE_MKDIR] = { "mkdir", fuse_fx_do_mkdir,
		.request = FUSE_MKDIR },
	[RACE_LINK] = { "link", fuse_fx_do_link, RACE_ELSEWHERE, RACE_NAME,
		.request = FUSE_LINK },
	[RACE_GONE] = { "gone", fuse_fx_do_unlink, .upon = FUSE_UNLINK,
			.change = FUSE_FAKE_REMOVE, .answer = -ENOENT },
	[RACE_REPLACED] = { "replaced", fuse_fx_do_rename, RACE_SIBLING, RACE_NAME,
			    .flags = RENAME_NOREPLACE, .upon = FUSE_LOOKUP,
			    .change = FUSE_FAKE_REMOVE | FUSE_FAKE_ADD, .answer = -EEXIST },
	[RACE_REVALIDATE] = { "revalidate", fuse_fx_do_stat, .flags = LOOKUP_REVAL,
			      .upon = FUSE_LOOKUP, .change = FUSE_FAKE_REMOVE },
	[RACE_READDIR] = { "readdir", fuse_fx_do_readdir, .path = "dir",
			   .upon = FUSE_READDIRPLUS, .change = FUSE_FAKE_ADD,
		.request = FUSE_READDIRPLUS },
	[RACE_PARENT_REMOVED] = { "parent_removed", fuse_fx_do_rmdir, .path = "dir",
				  .upon = FUSE_RMDIR, .change = FUSE_FAKE_EMPTY,
		.request = FUSE_RMDIR },
	[RACE_PARENT_REMADE] = { "parent_remade", fuse_fx_do_mkdir, .path = "dir" },
	[RACE_PARENT_MOVED] = { "parent_moved", fuse_fx_do_rename,
				.path = "dir", .path2 = "out/dir",
		.request = FUSE_RENAME },
	[RACE_INVAL] = { "inval", fuse_fx_do_notify },
	[RACE_EXPIRE] = { "expire", fuse_fx_do_notify },
	[RACE_DELETE] = { "delete", fuse_fx_do_notify },
	[RACE_INVAL_SIBLING] = { "inval_sibling", fuse_fx_do_notify },
};

static bool race_is_notification(enum race_op op)
{
	return race_ops[op].call == fuse_fx_do_notify;
}

/*
 * Which schedules there are.
 */

/* What the directories look like at the start, if @first is the first nodeid. */
static struct race_world race_start(enum race_state state, u64 first)
{
	bool dir = state >= RACE_EMPTY_DIRECTORY;
	struct race_world world = {
		.names[RACE_SIBLING]	= { .node = first, .dir = dir, .cached = true },
		.names[RACE_ELSEWHERE]	= { .node = first + 1, .dir = dir, .cached = true },
		.last_nodeid		= first + 1,
	};
	struct race_name *name = &world.names[RACE_NAME];

	name->cached = state != RACE_ABSENT;
	if (state >= RACE_FILE)
		name->node = ++world.last_nodeid;
	if (state == RACE_DIRECTORY)
		world.last_nodeid++;
	name->dir = dir;
	name->busy = state == RACE_DIRECTORY;
	return world;
}

/*
 * The steps of a schedule in the order in which the executor makes them happen.
 * A stat() that does not trust the cache drops the entry at once, and looks the
 * name up when it gets the lock.
 */
static unsigned int race_steps(const struct race_schedule *s, enum race_op steps[RACE_STEPS])
{
	unsigned int i, nr = 0;
	bool again = false;

	for (i = 0; i < ARRAY_SIZE(s->ops); i++) {
		if (s->ops[i] == RACE_NOTHING || race_is_notification(s->ops[i]))
			continue;
		if (i == 1 && s->window == RACE_RETRY && again) {
			steps[nr++] = RACE_LOOK_AGAIN;
			again = false;
		}
		steps[nr++] = s->ops[i];
		again |= s->ops[i] == RACE_REVALIDATE;
	}
	if (again)
		steps[nr++] = RACE_LOOK_AGAIN;
	return nr;
}

/* Do both need a lock other than the directory's that the first in line keeps? */
static bool race_exclude_each_other(enum race_op one, enum race_op two)
{
	if (one == RACE_PARENT_MOVED)
		return race_ops[two].between || two == RACE_PARENT_REMOVED;
	if (two == RACE_PARENT_MOVED)
		return race_ops[one].between;
	return false;
}

static bool race_possible(const struct race_schedule *s)
{
	struct race_world world = race_start(s->state, 1);
	const struct race_name *name = &world.names[RACE_NAME];
	enum race_op steps[RACE_STEPS];
	unsigned int i, nr;
	u64 node;

	/* Without an entry there is nothing that a second notification could hit. */
	for (i = 0; i < ARRAY_SIZE(s->ops); i++)
		if (race_is_notification(s->ops[i]) && !name->cached)
			return false;
	if (s->window == RACE_FIRST && race_exclude_each_other(s->ops[0], s->ops[1]))
		return false;

	/* What is not cached yet is not waited for, see the limits of the fix. */
	if (s->window == RACE_ANSWERED && (!name->cached || !race_ops[s->ops[0]].request))
		return false;

	/* There is a second try if the entry changed, and a window if there is one. */
	if (s->window == RACE_RETRY) {
		if (race_is_notification(s->ops[0]) || !name->cached)
			return false;
		node = name->node;
		if (!race_step(&world, s->ops[0]) || world.dead || name->node == node ||
		    !name->cached || name->maybe)
			return false;
		world = race_start(s->state, 1);
	}

	nr = race_steps(s, steps);
	for (i = 0; i < nr; i++)
		if (!race_step(&world, steps[i]))
			return false;
	return true;
}

static void race_name(const struct race_schedule *s, char *name)
{
	int len;

	len = scnprintf(name, KUNIT_PARAM_DESC_SIZE, "%s.%s", race_states[s->state],
			race_notifications[s->notification]);
	if (s->ops[0])
		len += scnprintf(name + len, KUNIT_PARAM_DESC_SIZE - len, ".%s%s",
				 s->window == RACE_ANSWERED ? "~" : "", race_ops[s->ops[0]].name);
	if (s->ops[1])
		scnprintf(name + len, KUNIT_PARAM_DESC_SIZE - len, "%c%s",
			  s->window == RACE_RETRY ? '/' : '+', race_ops[s->ops[1]].name);
}

static void race_description(struct kunit *test, const void *param, char *desc)
{
	race_name(param, desc);
}

static bool race_next(struct race_schedule *s)
{
	do {
		/* The order of the loops is the order in which they are reported. */
		if (s->ops[0] && s->window == RACE_FIRST) {
			s->window = s->ops[1] ? RACE_RETRY : RACE_ANSWERED;
			continue;
		}
		s->window = RACE_FIRST;
		if (s->ops[0] && ++s->ops[1] < RACE_LOOK_AGAIN)
			continue;
		s->ops[1] = RACE_NOTHING;
		if (++s->ops[0] < RACE_LOOK_AGAIN)
			continue;
		s->ops[0] = RACE_NOTHING;
		if (++s->notification == RACE_NOTIFICATIONS)
			return false;
	} while (!race_possible(s));
	return true;
}

/* The schedules of one state, as the parameters of a test. */
static int race_init(struct kunit *test, enum race_state state)
{
	struct race_schedule s = { .state = state }, *all;
	char name[KUNIT_PARAM_DESC_SIZE];
	unsigned int nr = 0;

	do
		nr++;
	while (race_next(&s));

	all = kunit_kmalloc_array(test, nr, sizeof(*all), GFP_KERNEL);
	if (!all)
		return -ENOMEM;
	s = (struct race_schedule) { .state = state };
	nr = 0;
	do {
		race_name(&s, name);
		if (glob_match(race_pattern, name))
			all[nr++] = s;
	} while (race_next(&s));
	fuse_fx_shuffle(all, nr, sizeof(*all));
	kunit_register_params_array(test, all, nr, race_description);
	return 0;
}

/*
 * Running a schedule.
 */

/**
 * struct race_run - A schedule that is being run
 * @fx: the fixture
 * @schedule: the schedule
 * @name: its name
 * @again: how to run it alone
 * @dir: the directory
 * @dir_nodeid: its nodeid
 * @out: the other one
 * @inodes: what the names are at the start
 * @worlds: what the server is like before each operation
 * @thread: the notification
 * @threads: the operations
 * @calls: those operations that are notifications
 * @history: what has happened
 */
struct race_run {
	struct fuse_fixture *fx;
	const struct race_schedule *schedule;
	char name[KUNIT_PARAM_DESC_SIZE];
	char again[KUNIT_PARAM_DESC_SIZE + 160];
	struct dentry *dir;
	u64 dir_nodeid;
	struct dentry *out;
	struct inode *inodes[RACE_SLOTS];
	struct race_world worlds[2];
	struct kunit_thread *thread;
	struct kunit_thread *threads[2];
	struct race_call *calls[2];
	struct race_history history;
};

static void race_add(struct race_run *run, enum race_slot slot)
{
	umode_t mode = run->schedule->state >= RACE_EMPTY_DIRECTORY ? S_IFDIR | 0755 :
								      S_IFREG | 0644;

	fuse_fake_add(run->fx->server, race_paths[0][slot], mode);
	run->inodes[slot] = fuse_fx_hold_inode(run->fx, race_paths[0][slot]);
}

/* Make the names, and have the kernel look at them. */
static void race_fill(struct race_run *run)
{
	const char *name = race_paths[0][RACE_NAME];
	struct fuse_fixture *fx = run->fx;
	u64 nodeid;

	run->dir_nodeid = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	nodeid = fuse_fake_add(fx->server, "out", S_IFDIR | 0755) + 1;
	run->dir = fuse_fx_hold(fx, "dir");
	run->out = fuse_fx_hold(fx, "out");
	race_add(run, RACE_SIBLING);
	race_add(run, RACE_ELSEWHERE);

	switch (run->schedule->state) {
	case RACE_ABSENT:
		break;
	case RACE_NEGATIVE:
		KUNIT_ASSERT_EQ(fx->test, fuse_fx_stat(fx, name), -ENOENT);
		break;
	case RACE_FILE:
	case RACE_EMPTY_DIRECTORY:
		race_add(run, RACE_NAME);
		break;
	case RACE_HELD_FILE:
		race_add(run, RACE_NAME);
		fuse_fx_hold(fx, name);
		break;
	case RACE_DIRECTORY:
		race_add(run, RACE_NAME);
		fuse_fake_add(fx->server, "dir/name/child", S_IFREG | 0644);
		fuse_fx_hold(fx, "dir/name/child");
		break;
	}
	run->history.start = race_start(run->schedule->state, nodeid);
	KUNIT_ASSERT_EQ(fx->test, run->history.start.last_nodeid, fx->server->last_nodeid);
}

/* A notification, which is under test or one of the operations. */
static struct race_call *race_call(struct race_history *history,
				   enum race_notification notification, enum race_slot slot)
{
	const struct race_world *start = &history->start;
	struct race_call *call = &history->calls[history->nr_calls++];

	*call = (struct race_call) {
		.slot	= slot,
		.expire	= notification == RACE_N_EXPIRE,
		.before	= RACE_STEPS,
	};
	if (notification == RACE_N_DELETE)
		call->child = start->names[slot].node ?: start->last_nodeid + 1;
	else if (notification == RACE_N_DELETE_OTHER)
		call->child = start->names[RACE_SIBLING].node;
	return call;
}

static struct kunit_thread *race_run_call(struct race_run *run, const struct race_call *call)
{
	struct fuse_fx_op op = {
		.path	= { kbasename(race_paths[0][call->slot]) },
		.flags	= call->expire ? FUSE_EXPIRE_ONLY : 0,
		.parent	= run->dir_nodeid,
		.child	= call->child,
	};

	return fuse_fx_run(run->fx, fuse_fx_do_notify, &op);
}

static struct race_call *race_op_call(struct race_run *run, enum race_op op)
{
	switch (op) {
	case RACE_INVAL:
		return race_call(&run->history, RACE_N_INVAL, RACE_NAME);
	case RACE_EXPIRE:
		return race_call(&run->history, RACE_N_EXPIRE, RACE_NAME);
	case RACE_DELETE:
		return race_call(&run->history, RACE_N_DELETE, RACE_NAME);
	default:
		return race_call(&run->history, RACE_N_INVAL, RACE_SIBLING);
	}
}

/* The system call of operation @i. */
static struct kunit_thread *race_run_op(struct race_run *run, unsigned int i)
{
	const struct race_op_info *info = &race_ops[run->schedule->ops[i]];
	const struct race_name *name = &run->worlds[i].names[RACE_NAME];
	/* All others have found the directory before anybody moves it. */
	bool late = run->schedule->ops[i] == RACE_REVALIDATE;
	const char * const *paths = race_paths[late && run->worlds[i].moved];
	struct fuse_fx_op op = {
		.path	= { info->path ?: paths[info->from], info->path2 ?: paths[info->to] },
		.flags	= info->flags,
		.upon	= {
			.opcode	= info->upon,
			.change	= info->change,
			.path	= race_paths[run->worlds[i].moved][RACE_NAME],
		},
	};
	int (*call)(struct fuse_fx_op *op) = info->call;

	switch (run->schedule->ops[i]) {
	case RACE_GONE:
		if (name->dir) {
			call = fuse_fx_do_rmdir;
			op.upon.opcode = FUSE_RMDIR;
		}
		break;
	case RACE_REPLACED:
		if (!name->node)
			op.upon.change = FUSE_FAKE_ADD;
		break;
	case RACE_REVALIDATE:
		if (!name->node)
			op.upon.change = 0;
		break;
	case RACE_READDIR:
		if (name->node)
			op.upon.change = 0;
		break;
	case RACE_PARENT_REMOVED:
		op.upon.path = "dir";
		break;
	default:
		break;
	}
	/* Two renames between the directories have to be one caller's, see above. */
	if (info->between && i == 0 && run->schedule->window == RACE_FIRST &&
	    race_ops[run->schedule->ops[1]].between) {
		info = &race_ops[run->schedule->ops[1]];
		op.path[2] = paths[info->from];
		op.path[3] = paths[info->to];
		op.flags2 = info->flags;
		call = fuse_fx_do_two_renames;
	}
	return fuse_fx_run(run->fx, call, &op);
}

/* Start operation @i, and see it queue up. */
static void race_queue(struct race_run *run, unsigned int i)
{
	struct rw_semaphore *sem = &d_inode(run->dir)->i_rwsem;
	enum race_op op = run->schedule->ops[i];

	/* It is the second half of the first operation. */
	if (i == 1 && run->schedule->window == RACE_FIRST && race_ops[op].between &&
	    race_ops[run->schedule->ops[0]].between)
		return;
	/* This one needs the lock that who removes the directory has. */
	if (op == RACE_PARENT_REMADE)
		sem = &d_inode(run->fx->mnt->mnt_root)->i_rwsem;

	if (race_is_notification(op)) {
		run->calls[i] = race_op_call(run, op);
		if (run->schedule->window == RACE_RETRY)
			run->calls[i]->after = 1;
		run->threads[i] = race_run_call(run, run->calls[i]);
		if (!kunit_thread_sleeps_on_rwsem(run->threads[i], sem))
			run->calls[i]->before = run->calls[i]->after;
		return;
	}
	run->threads[i] = race_run_op(run, i);
	/* Who only reads need not wait if nobody changes the directory. */
	if (!kunit_thread_sleeps_on_rwsem(run->threads[i], sem) &&
	    op != RACE_REVALIDATE && op != RACE_READDIR)
		KUNIT_FAIL_AND_ABORT(run->fx->test, "%s: %s does not queue up",
				     run->name, race_ops[op].name);
}

static void race_join(struct race_run *run, unsigned int i)
{
	enum race_op op = run->schedule->ops[i];
	int answer;

	if (!run->threads[i])
		return;
	KUNIT_ASSERT_TRUE(run->fx->test, kunit_thread_join(run->threads[i], &answer));
	if (run->calls[i])
		run->calls[i]->answer = answer;
	else if (op == RACE_REVALIDATE)
		KUNIT_EXPECT_TRUE(run->fx->test, answer == 0 || answer == -ENOENT);
	else
		KUNIT_EXPECT_EQ_MSG(run->fx->test, answer, race_ops[op].answer, "%s: %s",
				    run->name, race_ops[op].name);
}

/* The notification looks, and it waits if there is something to look at. */
static void race_notification(struct race_run *run)
{
	struct rw_semaphore *sem = &d_inode(run->dir)->i_rwsem;
	struct race_call *call = run->history.calls;
	bool waits;

	run->thread = race_run_call(run, call);
	waits = kunit_thread_sleeps_on_rwsem(run->thread, sem);
	if (!waits)
		call->before = 0;
	if (waits && !run->history.start.names[RACE_NAME].cached)
		KUNIT_FAIL(run->fx->test, "not quiet: %s: waits for the parent's lock", run->name);
}

/* What it can have seen, if it has ended by now, are the first @steps steps. */
static void race_ended(struct race_run *run, unsigned int steps)
{
	struct race_call *call = run->history.calls;

	if (!kunit_thread_sleeps_on_rwsem(run->thread, &d_inode(run->dir)->i_rwsem))
		call->before = min(call->before, steps);
}

/* Everything queues up in front of the notification. */
static void race_first_window(struct race_run *run)
{
	const struct race_schedule *s = run->schedule;
	struct fuse_fx_gate *gate, *between = NULL;
	struct fuse_fixture *fx = run->fx;

	gate = fuse_fx_gate(fx, run->dir, false);
	if (s->ops[0] && s->ops[0] != RACE_REVALIDATE)
		race_queue(run, 0);
	if (s->ops[1] && s->ops[1] != RACE_REVALIDATE)
		race_queue(run, 1);
	/* Who needs no lock comes later, when the first one is done. */
	if (s->ops[1] == RACE_REVALIDATE)
		between = fuse_fx_gate(fx, run->dir, true);
	race_notification(run);
	if (s->ops[0] == RACE_REVALIDATE)
		race_queue(run, 0);

	fuse_fx_gate_open(gate);
	if (between) {
		fuse_fx_gate_wait(fx, between);
		race_join(run, 0);
		race_queue(run, 1);
		fuse_fx_gate_open(between);
	}
}

/*
 * Two gates around the first operation keep the notification from its first try
 * until the second operation is in the queue behind that: the notification, a
 * shared gate, which gets the lock as soon as the notification lets go of it to
 * look again, the operation; and then the notification once more.
 */
static void race_retry_window(struct race_run *run)
{
	const struct race_schedule *s = run->schedule;
	struct fuse_fx_gate *gate, *try, *retry;
	struct fuse_fixture *fx = run->fx;

	gate = fuse_fx_gate(fx, run->dir, false);
	race_queue(run, 0);
	try = fuse_fx_gate(fx, run->dir, false);
	race_notification(run);
	fuse_fx_gate_open(gate);
	fuse_fx_gate_wait(fx, try);
	race_join(run, 0);
	race_ended(run, 1);

	retry = fuse_fx_gate(fx, run->dir, true);
	if (s->ops[1] != RACE_REVALIDATE)
		race_queue(run, 1);
	fuse_fx_gate_open(try);
	fuse_fx_gate_wait(fx, retry);
	race_ended(run, 1);
	if (s->ops[1] == RACE_REVALIDATE)
		race_queue(run, 1);
	fuse_fx_gate_open(retry);
}

/* The server has done it, and notifies before its answer has arrived. */
static void race_answered(struct race_run *run)
{
	enum race_op op = run->schedule->ops[0];
	struct fuse_fixture *fx = run->fx;
	struct fuse_fake_hold *hold;

	hold = fuse_fake_hold_answer(fx->server, race_ops[op].request);
	run->threads[0] = race_run_op(run, 0);
	fuse_fake_hold_wait(hold);
	race_notification(run);
	fuse_fake_let_go(fx->server);
}

static void race_execute(struct race_run *run)
{
	const struct race_schedule *s = run->schedule;
	struct race_history *history = &run->history;
	struct kunit *test = run->fx->test;

	history->nr_steps = race_steps(s, history->steps);
	run->worlds[0] = history->start;
	run->worlds[1] = history->start;
	if (s->ops[0])
		race_step(&run->worlds[1], s->ops[0]);
	race_call(history, s->notification, RACE_NAME);

	if (s->window == RACE_FIRST)
		race_first_window(run);
	else if (s->window == RACE_RETRY)
		race_retry_window(run);
	else
		race_answered(run);

	race_join(run, 0);
	race_join(run, 1);
	KUNIT_ASSERT_TRUE(test, kunit_thread_join(run->thread, &history->calls[0].answer));
	fuse_fake_settle(run->fx->server);
}

/*
 * Judging what happened.
 */

static struct dentry *race_dentry(struct race_run *run, enum race_slot slot)
{
	struct dentry *dir = slot <= RACE_NEW ? run->dir : run->out;
	struct dentry *dentry;

	dentry = try_lookup_noperm(&QSTR(kbasename(race_paths[0][slot])), dir);
	return IS_ERR(dentry) ? NULL : dentry;
}

static void race_look_around(struct race_run *run)
{
	struct race_history *history = &run->history;
	enum race_slot slot;

	for (slot = 0; slot < RACE_SLOTS; slot++) {
		struct race_name *name = &history->end.names[slot];
		struct dentry *dentry = race_dentry(run, slot);
		struct inode *inode = run->inodes[slot];

		if (inode && !inode->i_nlink && (!S_ISDIR(inode->i_mode) || IS_DEADDIR(inode)))
			history->end.killed |= BIT_ULL(history->start.names[slot].node);

		name->cached = dentry;
		if (dentry && d_really_is_positive(dentry))
			name->node = get_node_id(d_inode(dentry));
		dput(dentry);
	}
}

static int race_print_answer(char *buf, size_t size, int answer)
{
	if (!answer)
		return scnprintf(buf, size, " 0");
	return scnprintf(buf, size, " %pe", ERR_PTR(answer));
}

static const char *race_state_of(const struct race_name *name)
{
	if (!name->cached)
		return "not cached";
	return name->node ? "positive" : "negative";
}

/* All that is needed to see what went wrong, in a few lines. */
static void race_report(struct race_run *run, int differences, const struct race_world *want)
{
	static const int answers[] = { 0, -ENOENT, -ENOTEMPTY, -EBUSY };
	struct race_history *history = &run->history;
	int answer = history->calls[0].answer;
	char text[512], *end = text + sizeof(text), *p = text;
	struct race_world unused;
	enum race_slot slot;
	unsigned int i;
	u64 node;

	p += scnprintf(p, end - p, "not serial: %s: answer", run->name);
	p += race_print_answer(p, end - p, answer);
	p += scnprintf(p, end - p, ", allowed");
	for (i = 0; i < ARRAY_SIZE(answers); i++) {
		history->calls[0].answer = answers[i];
		if (race_explain(history, &unused) >= 0)
			p += race_print_answer(p, end - p, answers[i]);
	}
	history->calls[0].answer = answer;

	for (slot = 0; slot < RACE_SLOTS; slot++) {
		const char *path = race_paths[0][slot];
		struct dentry *dentry = race_dentry(run, slot);

		if (differences < 0 ? slot == RACE_NAME :
				      race_differs(want, &history->end, slot)) {
			p += scnprintf(p, end - p, "\n%s is ", path);
			p += fuse_fx_describe(p, end - p, dentry);
			if (differences > 0)
				p += scnprintf(p, end - p, ", should be %s",
					       race_state_of(&want->names[slot]));
		}
		dput(dentry);
		node = BIT_ULL(history->start.names[slot].node);
		if (differences > 0 && race_links_differ(history, want) & node)
			p += scnprintf(p, end - p, "\nthe node that was %s should have %s", path,
				       want->killed & node ? "no links" : "links");
	}
	KUNIT_FAIL(run->fx->test, "%s", text);
}

static void race(struct kunit *test)
{
	struct race_run *run = kunit_kzalloc(test, sizeof(*run), GFP_KERNEL);
	struct race_world closest;
	int differences;

	KUNIT_ASSERT_NOT_NULL(test, run);
	run->fx = test->priv;
	run->schedule = test->param_value;
	race_name(run->schedule, run->name);
	scnprintf(run->again, sizeof(run->again),
		  "./tools/testing/kunit/kunit.py run --kunitconfig=fs/fuse --kernel_args=fuse_kunit.schedule=%s fuse_inval_race.%s",
		  run->name, race_states[run->schedule->state]);
	run->fx->again = run->again;
	race_fill(run);
	race_execute(run);
	race_look_around(run);
	differences = race_explain(&run->history, &closest);
	if (differences)
		race_report(run, differences, &closest);
}

/*
 * What the model has to say of some histories, by the words of what the call must
 * answer: a model that allows too much would see nothing.
 */
static const struct race_example {
	enum race_state state;
	enum race_notification notification;
	enum race_op op;
	int answer;
	bool cached;	/* the name at the end */
	bool positive;
	bool right;
	bool killed;
} race_examples[] = {
	/* Nothing else happens. */
	{ RACE_ABSENT,	 RACE_N_INVAL,  RACE_NOTHING, -ENOENT, false, false, true },
	{ RACE_ABSENT,	 RACE_N_INVAL,  RACE_NOTHING, 0,       false, false, false },
	{ RACE_NEGATIVE, RACE_N_INVAL,  RACE_NOTHING, 0,       false, false, true },
	{ RACE_NEGATIVE, RACE_N_INVAL,  RACE_NOTHING, 0,       true,  false, false },
	{ RACE_NEGATIVE, RACE_N_INVAL,  RACE_NOTHING, -ENOENT, true,  false, false },
	{ RACE_NEGATIVE, RACE_N_EXPIRE, RACE_NOTHING, 0,       true,  false, true },
	{ RACE_NEGATIVE, RACE_N_EXPIRE, RACE_NOTHING, 0,       false, false, false },
	{ RACE_FILE,	 RACE_N_DELETE, RACE_NOTHING, 0,       false, false, true, true },
	{ RACE_FILE,	 RACE_N_DELETE, RACE_NOTHING, 0,       false, false, false },
	{ RACE_FILE,	 RACE_N_INVAL,  RACE_NOTHING, 0,       false, false, false, true },
	{ RACE_FILE,	 RACE_N_DELETE, RACE_NOTHING, -ENOENT, false, false, false },
	{ RACE_FILE,	 RACE_N_DELETE_OTHER, RACE_NOTHING, -ENOENT, false, false, true },
	{ RACE_FILE,	 RACE_N_DELETE_OTHER, RACE_NOTHING, -ENOENT, true, true, false },
	{ RACE_DIRECTORY, RACE_N_DELETE, RACE_NOTHING, -ENOTEMPTY, false, false, true },
	{ RACE_DIRECTORY, RACE_N_DELETE, RACE_NOTHING, -ENOTEMPTY, false, false, false, true },
	{ RACE_DIRECTORY, RACE_N_DELETE, RACE_NOTHING, 0,      false, false, false },
	{ RACE_EMPTY_DIRECTORY, RACE_N_DELETE, RACE_NOTHING, 0, false, false, true, true },
	/* Before it or after it: what was made later may stay cached. */
	{ RACE_NEGATIVE, RACE_N_INVAL,  RACE_MKNOD,   0,       true,  true,  true },
	{ RACE_NEGATIVE, RACE_N_INVAL,  RACE_MKNOD,   0,       false, false, true },
	{ RACE_NEGATIVE, RACE_N_INVAL,  RACE_MKNOD,   0,       true,  false, false },
	{ RACE_NEGATIVE, RACE_N_INVAL,  RACE_MKNOD,   -ENOENT, true,  true,  false },
	/* A name that is there all the time is never absent. */
	{ RACE_FILE,	 RACE_N_INVAL,  RACE_EXCHANGE, 0,      false, false, true },
	{ RACE_FILE,	 RACE_N_INVAL,  RACE_EXCHANGE, -ENOENT, true, true,  false },
	/* unlink() leaves a negative entry or none. */
	{ RACE_FILE,	 RACE_N_INVAL,  RACE_UNLINK,  0,       false, false, true },
	{ RACE_FILE,	 RACE_N_INVAL,  RACE_UNLINK,  -ENOENT, false, false, true },
	{ RACE_FILE,	 RACE_N_INVAL,  RACE_UNLINK,  -ENOENT, true,  false, false },
	/* Nothing is left under a name that was given away. */
	{ RACE_FILE,	 RACE_N_INVAL,  RACE_GONE,    -ENOENT, false, false, true },
	{ RACE_FILE,	 RACE_N_INVAL,  RACE_GONE,    -ENOENT, true,  true,  false },
	{ RACE_FILE,	 RACE_N_DELETE, RACE_REPLACED, -ENOENT, false, false, true },
	{ RACE_FILE,	 RACE_N_DELETE, RACE_REPLACED, 0,      false, false, false },
};

static void race_example_desc(const struct race_example *example, char *desc)
{
	const struct race_schedule s = {
		.state		= example->state,
		.notification	= example->notification,
		.ops		= { example->op },
	};

	race_name(&s, desc);
}

KUNIT_ARRAY_PARAM(race_example, race_examples, race_example_desc);

static void model(struct kunit *test)
{
	const struct race_example *example = test->param_value;
	struct race_history *history = kunit_kzalloc(test, sizeof(*history), GFP_KERNEL);
	struct race_world closest;
	struct race_call *call;
	u64 node;

	KUNIT_ASSERT_NOT_NULL(test, history);
	history->start = race_start(example->state, 1);
	history->steps[0] = example->op;
	history->nr_steps = example->op != RACE_NOTHING;
	call = race_call(history, example->notification, RACE_NAME);
	call->answer = example->answer;

	/* The rest is as the operation leaves it. */
	history->end = history->start;
	if (example->op)
		KUNIT_ASSERT_TRUE(test, race_step(&history->end, example->op));
	if (example->killed)
		history->end.killed = BIT_ULL(history->start.names[RACE_NAME].node);
	node = history->end.names[RACE_NAME].node ?: 4711;
	history->end.names[RACE_NAME] = (struct race_name) {
		.cached	= example->cached,
		.node	= example->positive ? node : 0,
	};
	KUNIT_EXPECT_EQ(test, race_explain(history, &closest) == 0, example->right);
}

static const unsigned int race_losses[] = { 0, 1, 2, 3, 10, 100 };

static void race_losses_desc(const unsigned int *losses, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%u", *losses);
}

KUNIT_ARRAY_PARAM(race_losses, race_losses, race_losses_desc);

/* However often it loses, it ends as soon as it wins, with no one in between. */
static void loses_again(struct kunit *test)
{
	struct fuse_fx_op exchange = { .path = { "dir/one", "dir/two" }, .flags = RENAME_EXCHANGE };
	unsigned int i, losses = *(const unsigned int *)test->param_value;
	struct fuse_fx_op inval = { .path = { "one" } };
	struct fuse_fixture *fx = test->priv;
	struct kunit_thread *thread, *other;
	struct fuse_fx_gate *gate, *next;
	struct rw_semaphore *sem;
	struct dentry *dir;
	bool lost = true;
	int err;

	inval.parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "dir/one", S_IFREG | 0644);
	fuse_fake_add(fx->server, "dir/two", S_IFREG | 0644);
	KUNIT_EXPECT_EQ(test, fuse_fx_stat(fx, "dir/one"), 0);
	KUNIT_EXPECT_EQ(test, fuse_fx_stat(fx, "dir/two"), 0);
	dir = fuse_fx_hold(fx, "dir");
	sem = &d_inode(dir)->i_rwsem;

	gate = fuse_fx_gate(fx, dir, false);
	if (losses) {
		other = fuse_fx_run(fx, fuse_fx_do_rename, &exchange);
		KUNIT_ASSERT_TRUE(test, kunit_thread_sleeps_on_rwsem(other, sem));
	}
	thread = fuse_fx_run(fx, fuse_fx_do_notify, &inval);
	KUNIT_ASSERT_TRUE(test, kunit_thread_sleeps_on_rwsem(thread, sem));

	/*
	 * Behind each try there is one who gives the name away in the next window, but
	 * not before the try that wins; behind that one, it comes too late.
	 */
	for (i = 1; i <= losses + 1 && lost; i++) {
		next = fuse_fx_gate(fx, dir, true);
		if (i != losses) {
			other = fuse_fx_run(fx, fuse_fx_do_rename, &exchange);
			KUNIT_ASSERT_TRUE(test, kunit_thread_sleeps_on_rwsem(other, sem));
		}
		fuse_fx_gate_open(gate);
		fuse_fx_gate_wait(fx, next);
		lost = kunit_thread_sleeps_on_rwsem(thread, sem);
		gate = next;
	}
	KUNIT_EXPECT_FALSE_MSG(test, lost, "the notification lets go of the lock");
	/* Not to lose is as good, but then there was more to come. */
	if (i == losses + 2) {
		KUNIT_EXPECT_FALSE(test, fuse_fx_cached(fx, dir, "one"));
		KUNIT_EXPECT_TRUE(test, fuse_fx_cached(fx, dir, "two"));
	}
	fuse_fx_gate_open(gate);
	KUNIT_ASSERT_TRUE(test, kunit_thread_join(thread, &err));
	KUNIT_EXPECT_EQ(test, err, 0);
}

#define RACE_CASE(_name, _state)						\
	static int _name##_init(struct kunit *test)				\
	{									\
		return race_init(test, _state);					\
	}									\
										\
	static void _name(struct kunit *test)					\
	{									\
		race(test);							\
	}

RACE_CASE(absent, RACE_ABSENT)
RACE_CASE(negative, RACE_NEGATIVE)
RACE_CASE(file, RACE_FILE)
RACE_CASE(held_file, RACE_HELD_FILE)
RACE_CASE(empty_directory, RACE_EMPTY_DIRECTORY)
RACE_CASE(directory, RACE_DIRECTORY)

static struct kunit_case fuse_inval_race_cases[] = {
	KUNIT_CASE_PARAM_WITH_INIT(absent, kunit_array_gen_params, absent_init, NULL),
	KUNIT_CASE_PARAM_WITH_INIT(negative, kunit_array_gen_params, negative_init, NULL),
	KUNIT_CASE_PARAM_WITH_INIT(file, kunit_array_gen_params, file_init, NULL),
	KUNIT_CASE_PARAM_WITH_INIT(held_file, kunit_array_gen_params, held_file_init, NULL),
	KUNIT_CASE_PARAM_WITH_INIT(empty_directory, kunit_array_gen_params,
				   empty_directory_init, NULL),
	KUNIT_CASE_PARAM_WITH_INIT(directory, kunit_array_gen_params, directory_init, NULL),
	KUNIT_CASE_PARAM(loses_again, race_losses_gen_params),
	KUNIT_CASE_PARAM(model, race_example_gen_params),
	{}
};

/* A schedule has its threads take turns, and they do so faster on one CPU. */
static int race_test_init(struct kunit *test)
{
	set_cpus_allowed_ptr(current, cpumask_of(raw_smp_processor_id()));
	return fuse_fx_init(test);
}

static struct kunit_suite fuse_inval_race_suite = {
	.name		= "fuse_inval_race",
	.init		= race_test_init,
	.exit		= fuse_fx_exit,
	.test_cases	= fuse_inval_race_cases,
};

kunit_test_suite(fuse_inval_race_suite);
