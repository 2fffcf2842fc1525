// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of notifications in many interleavings with another call
 *
 * A schedule says what the name "dir/name" was, what is notified, what somebody
 * else does, and where one of the two is stopped while the other one runs, or both:
 *
 *	file.inval.unlink:notify@17	the notification is stopped at its point
 *					17 (the first is 0), and somebody
 *					unlinks the name
 *	file.inval.unlink:call@17	unlink() is stopped at its point 17, and
 *					the name is notified
 *	file.inval.unlink:request0	the first request of unlink() is at the server,
 *					not processed, and the name is notified
 *	file.inval.unlink:answer0@17	the same, but it has been processed and
 *					its answer has not arrived; then the
 *					answer arrives, unlink() is stopped at
 *					point 17, counted from there, and
 *					somebody looks at the name
 *	file.inval.unlink:arrival0@17	the same, but the answer arrives while
 *					the notification is stopped at its
 *					point 17
 *	file.delete.exchange:both@26+13	the notification is stopped at its point
 *					26, and then the call at its point 13;
 *					the notification goes on first
 *
 * A preemption point is a basic block of the files in CONFIG_KUNIT_POINTS_IN, see
 * kunit_thread_run_to(). The cases fuse_inval_race.* take every STEP-th point of each
 * schedule, and those of fuse_inval_race_all.*, which are slow, take all. If both are
 * stopped, it is every 13th, in fuse_inval_race.* for a rename only.
 *
 * After each schedule the fixture checks its properties, see fixture.h. Here,
 * "serial" means: what the notification returns belongs to what was cached for the name at
 * some time while it ran; and what a delete does to the inode agrees with that. And an
 * invalidation never waits while a request is at the server.
 *
 * One schedule runs alone with the kernel argument fuse_kunit.schedule=, which may also
 * be a pattern: file.inval.unlink:*.
 */

#include <linux/glob.h>
#include <linux/moduleparam.h>
#include <linux/namei.h>

#include <kunit/resource.h>
#include <kunit/test.h>
#include <kunit/thread.h>

#include "../fuse_i.h"
#include "fixture.h"

static char *race_schedule = "*";
module_param_named(schedule, race_schedule, charp, 0444);
MODULE_PARM_DESC(schedule, "Pattern of the schedules to run, such as file.inval.unlink:*");

/* A schedule takes ten times as long with KASAN and lockdep. */
static unsigned int race_step = IS_ENABLED(CONFIG_KASAN) ? 64 : 32;
module_param_named(step, race_step, uint, 0444);
MODULE_PARM_DESC(step, "fuse_inval_race takes every step-th preemption point");

static bool race_all;	/* all points are taken, see race_suite_init() */
static bool race_any;	/* the pattern has matched a schedule */

#define RACE_NAME_SIZE	80
#define RACE_POINTS_MAX	1024
#define RACE_REQUESTS_MAX 8
#define RACE_BOTH_STEP	13

enum race_state {
	RACE_ABSENT		= BIT(0),	/* see RACE_CASES */
	RACE_UNCACHED		= BIT(1),
	RACE_NEGATIVE		= BIT(2),
	RACE_FILE		= BIT(3),
	RACE_HELD_FILE		= BIT(4),
	RACE_EXPIRED		= BIT(5),
	RACE_EMPTY_DIRECTORY	= BIT(6),
	RACE_DIRECTORY		= BIT(7),
};

static const char * const race_states[] = {
	"absent", "uncached", "negative", "file", "held_file", "expired", "empty_directory",
	"directory",
};

#define RACE_NOTHING	(RACE_ABSENT | RACE_NEGATIVE)
#define RACE_FILES	(RACE_UNCACHED | RACE_FILE | RACE_HELD_FILE | RACE_EXPIRED)
#define RACE_DIRS	(RACE_EMPTY_DIRECTORY | RACE_DIRECTORY)
#define RACE_ANY	(RACE_NOTHING | RACE_FILES | RACE_DIRS)

/* A call that somebody makes. */
struct race_call {
	const char *name;		/* in schedules */
	int (*fn)(struct fuse_fx_op *op);
	unsigned int states;		/* what "dir/name" may be, as bits */
	const char *path[2];
	unsigned int flags;
	bool lists;			/* the kernel may cache listings */
	bool child;			/* it is a delete of the node that the name leads to */
	bool node;			/* it is about that node, not about the directory */
	bool both;			/* fuse_inval_race stops both, too */
};

static const struct race_call race_notifications[] = {
	{ "inval", fuse_fx_do_notify, RACE_ANY, { "name" } },
	{ "expire", fuse_fx_do_notify, RACE_ANY, { "name" }, FUSE_EXPIRE_ONLY },
	{ "delete", fuse_fx_do_notify, RACE_ANY, { "name" }, .child = true },
	{ "inval_inode", fuse_fx_do_inval_inode, RACE_ABSENT | RACE_NEGATIVE },
	{ "inval_node", fuse_fx_do_inval_inode, RACE_UNCACHED, .node = true },
	{ "inc_epoch", fuse_fx_do_inc_epoch, RACE_NOTHING | RACE_FILES },
};

/* The directory is removed, and another one gets its name. */
static int race_remake(struct fuse_fx_op *op)
{
	int err = fuse_fx_rmdir(op->fx, op->path[0]);

	return err ?: fuse_fx_mkdir(op->fx, op->path[0]);
}

/* Once it is removed, somebody looks, so that there is a negative entry. */
static int race_unlink_stat(struct fuse_fx_op *op)
{
	int err = fuse_fx_do_unlink(op);

	fuse_fx_do_stat(op);
	return err;
}

/* overlayfs goes on to use a dentry that it has looked up, even if it is unhashed. */
static int race_overlay(struct fuse_fx_op *op)
{
	struct dentry *entry = fuse_fx_lookup_at(op->fx, op->parent, "name");

	if (IS_ERR(entry))
		return PTR_ERR(entry);
	/* In a new epoch it has to look it up again. */
	if (!entry->d_op->d_revalidate(d_inode(entry->d_parent), &QSTR("name"), entry, 0) &&
	    !op->fx->epoch_end)
		fuse_fx_broken(op->fx, FUSE_FX_NO_COLLATERAL,
			       "what was looked up is not valid, whatever the server says");
	dput(entry);
	return 0;
}

static const struct race_call race_calls[] = {
	{ "stat", fuse_fx_do_stat, RACE_ANY, { "dir/name" } },
	{ "stat_other", fuse_fx_do_stat, RACE_ANY, { "dir/other" } },
	{ "stat_elsewhere", fuse_fx_do_stat, RACE_NOTHING, { "out/name" } },
	{ "revalidate", fuse_fx_do_stat, RACE_ANY, { "dir/name" }, LOOKUP_REVAL },
	{ "overlay", race_overlay, RACE_UNCACHED | RACE_FILE },
	{ "open", fuse_fx_do_open, RACE_FILES, { "dir/name" }, O_RDWR },
	{ "create", fuse_fx_do_open, RACE_ANY, { "dir/name" }, O_RDWR | O_CREAT },
	{ "create_excl", fuse_fx_do_open, RACE_ANY, { "dir/name" }, O_RDWR | O_CREAT | O_EXCL },
	{ "create_trunc", fuse_fx_do_open, RACE_ANY & ~RACE_DIRS, { "dir/name" },
	  O_RDWR | O_CREAT | O_TRUNC },
	{ "readdir", fuse_fx_do_readdir, RACE_ANY, { "dir" } },
	{ "readdir_cached", fuse_fx_do_readdir, RACE_ANY, { "dir" }, .lists = true },
	{ "mknod", fuse_fx_do_mknod, RACE_ANY, { "dir/name" } },
	{ "mkdir", fuse_fx_do_mkdir, RACE_NOTHING, { "dir/name" } },
	{ "symlink", fuse_fx_do_symlink, RACE_NOTHING, { "dir/name" } },
	{ "link", fuse_fx_do_link, RACE_NOTHING, { "out/else", "dir/name" } },
	{ "unlink", fuse_fx_do_unlink, RACE_FILES, { "dir/name" } },
	{ "unlink_stat", race_unlink_stat, RACE_FILES, { "dir/name" } },
	{ "rmdir", fuse_fx_do_rmdir, RACE_DIRS, { "dir/name" } },
	{ "rename", fuse_fx_do_rename, RACE_FILES | RACE_DIRS, { "dir/name", "dir/next" },
	  .both = true },
	{ "rename_over", fuse_fx_do_rename, RACE_ANY, { "dir/side", "dir/name" } },
	{ "rename_noreplace", fuse_fx_do_rename, RACE_NOTHING | RACE_FILE,
	  { "dir/side", "dir/name" }, RENAME_NOREPLACE },
	{ "exchange", fuse_fx_do_rename, RACE_FILES | RACE_DIRS, { "dir/name", "dir/side" },
	  RENAME_EXCHANGE },
	{ "move_out", fuse_fx_do_rename, RACE_FILES | RACE_DIRS, { "dir/name", "out/name" } },
	{ "move_in", fuse_fx_do_rename, RACE_ANY, { "out/else", "dir/name" } },
	{ "exchange_out", fuse_fx_do_rename, RACE_FILES | RACE_DIRS, { "dir/name", "out/else" },
	  RENAME_EXCHANGE },
	{ "getattr", fuse_fx_do_getattr, RACE_ABSENT | RACE_NEGATIVE | RACE_FILE, { "dir" } },
	{ "setattr", fuse_fx_do_chmod, RACE_ABSENT | RACE_NEGATIVE | RACE_FILE, { "dir" } },
	{ "inval", fuse_fx_do_notify, RACE_ANY, { "name" } },
	{ "expire", fuse_fx_do_notify, RACE_ANY, { "name" }, FUSE_EXPIRE_ONLY },
	{ "delete", fuse_fx_do_notify, RACE_ANY, { "name" }, .child = true },
	{ "inval_inode", fuse_fx_do_inval_inode, RACE_NEGATIVE | RACE_FILE },
	{ "inc_epoch", fuse_fx_do_inc_epoch, RACE_NEGATIVE | RACE_FILE },
	{ "parent_removed", fuse_fx_do_rmdir, RACE_ABSENT | RACE_NEGATIVE, { "dir" } },
	{ "parent_remade", race_remake, RACE_ABSENT | RACE_NEGATIVE, { "dir" } },
	{ "parent_moved", fuse_fx_do_rename, RACE_ANY, { "dir", "out/dir" } },
};

/* Who is stopped, and where. */
enum race_how {
	RACE_NOTIFY,	/* the notification, at a point */
	RACE_CALL,	/* the other call, at a point */
	RACE_REQUEST,	/* the other call, when its request has not been processed */
	RACE_ANSWER,	/* when it has, but the answer is on its way; and then at a point */
	RACE_ARRIVAL,	/* the same, but the answer arrives while the notification is stopped */
	RACE_BOTH,	/* first the notification, then the call, both at a point */
};

static const char * const race_hows[] = { "notify", "call", "request", "answer", "arrival",
					  "both" };

/* A notification and a call: the parameter of a test. */
struct race_pair {
	enum race_state state;		/* of the name */
	const struct race_call *notification;
	const struct race_call *call;
};

/* A schedule that is being run. */
struct race {
	const struct race_pair *pair;
	enum race_how how;
	unsigned int request;
	unsigned long point;
	unsigned long second;		/* point of the call, if both are stopped */
	char name[RACE_NAME_SIZE];
	char story[6 * RACE_NAME_SIZE];	/* the name, and what has happened so far, line by line */
	char again[RACE_NAME_SIZE + 128]; /* how to run it alone */
	struct fuse_fixture *fx;
	struct dentry *dir;
	struct inode *inode;		/* what the name was */
	u64 nodeid;			/* of that, or of the next new node */
	struct fuse_fx_op notification;
	struct fuse_fx_op call;
	struct fuse_fake_hook hook;	/* stops a request of the call */
	struct kunit_thread *notifies;
	struct kunit_thread *calls;
	struct kunit_thread *looks;	/* looks at the name */
	int result;			/* of the call */
	bool waited;			/* the notification had to wait for the call */
	bool notifying;
	u64 seq;			/* the server's counter when the notification started */
	unsigned long seen;		/* what was cached during the notification, as bits */
	unsigned long first;		/* what was cached when it started */
	bool ran;			/* there is such a request and such a point */
};

/* What can be cached for a name, as far as the notification's return value depends on it. */
enum race_seen {
	RACE_SEEN_NOTHING,
	RACE_SEEN_NEGATIVE,
	RACE_SEEN_NODE,		/* the one that a delete is about */
	RACE_SEEN_BUSY_NODE,	/* the same, and the kernel holds a child of it */
	RACE_SEEN_OTHER_NODE,
};

/* What a notification returns then. */
static const struct {
	const char *what;
	int answer;
	int of_delete;
} race_returns[] = {
	[RACE_SEEN_NOTHING]	= { "nothing cached", -ENOENT, -ENOENT },
	[RACE_SEEN_NEGATIVE]	= { "a negative entry", 0, 0 },
	[RACE_SEEN_NODE]	= { "the node", 0, 0 },
	[RACE_SEEN_BUSY_NODE]	= { "the node, in use", 0, -ENOTEMPTY },
	[RACE_SEEN_OTHER_NODE]	= { "another node", 0, -ENOENT },
};

static bool race_is_entry(const struct race_call *call)
{
	return call->fn == fuse_fx_do_notify;
}

/*
 * Making a schedule.
 */

static void race_fill(struct race *race)
{
	enum race_state state = race->pair->state;
	struct fuse_fixture *fx = race->fx;
	umode_t mode = state & RACE_DIRS ? S_IFDIR | 0755 : S_IFREG | 0644;
	u64 dir;

	fx->server->cache_dir = race->pair->call->lists;
	dir = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "out", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "out/else", mode);
	/* What is to be removed has to be empty. */
	if (strcmp(race->pair->call->path[0] ?: "", "dir") ||
	    (race->pair->call->fn != fuse_fx_do_rmdir && race->pair->call->fn != race_remake)) {
		fuse_fake_add(fx->server, "dir/side", mode);
		fuse_fake_add(fx->server, "dir/other", S_IFREG | 0644);
		fuse_fx_stat(fx, "dir/side");
	}
	race->nodeid = fx->server->last_nodeid + 1;
	if (!(state & RACE_NOTHING))
		fuse_fake_add(fx->server, "dir/name", mode);
	race->dir = fuse_fx_hold(fx, "dir");
	fuse_fx_stat(fx, "out/else");

	if (state & ~(RACE_ABSENT | RACE_UNCACHED))
		fuse_fx_stat(fx, "dir/name");
	if (state & (RACE_FILE | RACE_DIRS))
		race->inode = fuse_fx_hold_inode(fx, "dir/name");
	if (state == RACE_HELD_FILE)
		fuse_fx_hold(fx, "dir/name");
	if (state == RACE_EXPIRED)
		fuse_fx_expire(fx, dir, "name");
	if (state == RACE_DIRECTORY) {
		fuse_fake_add(fx->server, "dir/name/child", S_IFREG | 0644);
		fuse_fx_hold(fx, "dir/name/child");
	}
	if (race->pair->call->lists)
		fuse_fx_stat(fx, "dir");

	race->notification = (struct fuse_fx_op) {
		.path	= { race->pair->notification->path[0] },
		.flags	= race->pair->notification->flags,
		.parent	= race->pair->notification->node ? race->nodeid : dir,
		.child	= race->pair->notification->child ? race->nodeid : 0,
	};
	race->call = (struct fuse_fx_op) {
		.path	= { race->pair->call->path[0], race->pair->call->path[1] },
		.flags	= race->pair->call->flags,
		.parent	= dir,
		.child	= race->pair->call->child ? race->nodeid : 0,
	};
}

/* What is cached for the name now? A notification that is under way may find that. */
static void race_look(struct race *race)
{
	struct dentry *dentry;
	enum race_seen seen;

	if (!race->notifying)
		return;
	dentry = try_lookup_noperm(&QSTR("name"), race->dir);
	if (IS_ERR_OR_NULL(dentry))
		seen = RACE_SEEN_NOTHING;
	else if (d_is_negative(dentry))
		seen = RACE_SEEN_NEGATIVE;
	else if (get_node_id(d_inode(dentry)) != race->nodeid)
		seen = RACE_SEEN_OTHER_NODE;
	else
		seen = race->pair->state == RACE_DIRECTORY ? RACE_SEEN_BUSY_NODE : RACE_SEEN_NODE;
	if (!IS_ERR(dentry))
		dput(dentry);
	race->seen |= BIT(seen);
}

/*
 * Running it.
 */

static __printf(2, 3) void race_say(struct race *race, const char *fmt, ...)
{
	size_t len = strlen(race->story);
	va_list args;

	va_start(args, fmt);
	vscnprintf(race->story + len, sizeof(race->story) - len, fmt, args);
	va_end(args);
}

/* Does it stop at its point? An address is said, too, for addr2line: there may be no names. */
static bool race_stops(struct race *race, const struct race_call *who, struct kunit_thread *thread)
{
	race->ran = kunit_thread_wait(thread) == KUNIT_THREAD_STOPPED;
	race_look(race);
	if (race->ran)
		race_say(race, "\n%s is stopped in %pS at 0x%lx", who->name,
			 kunit_thread_where(thread), (unsigned long)kunit_thread_where(thread));
	return race->ran;
}

/* Does it end, or wait for something? */
static bool race_ends(struct race *race, const char *who, struct kunit_thread *thread)
{
	bool ends = kunit_thread_wait(thread) == KUNIT_THREAD_ENDED;

	race_say(race, "\n%s is made, and %s", who, ends ? "ends" : "waits");
	return ends;
}

static int race_notify_fn(void *data)
{
	struct race *race = data;
	int err;

	race->notifying = true;
	race_look(race);
	race->first = race->seen;
	race->seq = race->fx->server->seq;
	race->notification.fx = race->fx;
	err = race->pair->notification->fn(&race->notification);
	race_look(race);
	race->notifying = false;
	return err;
}

static int race_call_fn(void *data)
{
	struct race *race = data;
	int err;

	race->call.fx = race->fx;
	race->hook.task = current;
	if (race->hook.stop)
		fuse_fake_hook(race->fx->server, &race->hook);
	err = race->pair->call->fn(&race->call);
	race_look(race);
	if (race->hook.stop)
		fuse_fake_unhook(&race->hook);
	return err;
}

static void race_run_notification(struct race *race, unsigned long point)
{
	race->notifies = kunit_thread_run_to(race->fx->test, "notification", race_notify_fn, race,
					     point);
}

static void race_run_call(struct race *race, unsigned long point)
{
	race->calls = kunit_thread_run_to(race->fx->test, "call", race_call_fn, race, point);
}

static void race_notify(struct race *race)
{
	race_run_notification(race, KUNIT_NO_POINT);
	race->waited = !race_ends(race, race->pair->notification->name, race->notifies);
}

static void race_notify_stopped(struct race *race)
{
	race_run_notification(race, race->point);
	if (!race_stops(race, race->pair->notification, race->notifies))
		return;
	race_run_call(race, KUNIT_NO_POINT);
	race_ends(race, race->pair->call->name, race->calls);
	race_look(race);
	/* The call may go on when the notification waits for something. */
	race->waited = true;
}

static void race_both_stopped(struct race *race)
{
	race_run_notification(race, race->point);
	if (!race_stops(race, race->pair->notification, race->notifies))
		return;
	race_run_call(race, race->second);
	/* It may wait for the notification. */
	race->waited = true;
	if (!race_stops(race, race->pair->call, race->calls))
		return;
	kunit_thread_go_on(race->notifies, KUNIT_NO_POINT);
	race->waited = !race_ends(race, race->pair->notification->name, race->notifies);
}

static void race_call_stopped(struct race *race)
{
	race_run_call(race, race->point);
	if (race_stops(race, race->pair->call, race->calls))
		race_notify(race);
}

/* Somebody looks at the name while the call is stopped, and may have to wait for it. */
static int race_stat_fn(void *data)
{
	struct race *race = data;
	struct dentry *dentry;

	dentry = fuse_fx_lookup_at(race->fx, race->notification.parent, "name");
	if (!IS_ERR(dentry))
		dput(dentry);
	return 0;
}

static void race_look_early(struct race *race)
{
	struct fuse_fake_told *told;
	bool cached;

	race->looks = kunit_thread_run(race->fx->test, "stat", race_stat_fn, race);
	if (kunit_thread_wait(race->looks) != KUNIT_THREAD_ENDED)
		return;
	cached = fuse_fx_cached(race->fx, race->dir, "name");
	told = fuse_fake_told(race->fx->server, race->notification.parent, "name");
	if (cached && told && told->seq <= race->seq && !IS_DEADDIR(d_inode(race->dir)))
		fuse_fx_broken(race->fx, FUSE_FX_FRESH,
			       "a lookup now gets 'name' from before the notification");
}

/* The call goes on until that request, if there is one. */
static bool race_hold_request(struct race *race, enum fuse_fake_stop stop)
{
	race->hook.skip = race->request;
	race->hook.stop = stop;
	race_run_call(race, KUNIT_NO_POINT);
	kunit_thread_wait(race->calls);
	race->ran = completion_done(&race->hook.reached);
	race_look(race);
	if (race->ran)
		race_say(race, "\nrequest %u of %s, %s, %s", race->request, race->pair->call->name,
			 fuse_fake_opname(race->hook.stopped), stop == FUSE_FAKE_STOP_BEFORE ?
			 "is at the server" : "is answered, but the answer is on its way");
	return race->ran;
}

static void race_at_server(struct race *race)
{
	bool answered = race->how == RACE_ANSWER;
	unsigned long points;

	if (!race_hold_request(race, answered ? FUSE_FAKE_STOP_BEHIND : FUSE_FAKE_STOP_BEFORE))
		return;
	points = kunit_thread_points(race->calls);
	race_notify(race);
	if (race->waited && !race->notification.child)
		fuse_fx_broken(race->fx, FUSE_FX_NEVER_WAITS, "for that request");
	if (answered) {
		kunit_thread_go_on(race->calls, points + race->point);
		fuse_fake_unhook(&race->hook);
		if (race_stops(race, race->pair->call, race->calls) &&
		    race_is_entry(race->pair->notification) &&
		    kunit_thread_wait(race->notifies) == KUNIT_THREAD_ENDED)
			race_look_early(race);
		/* Point 0 counts even if the call came to no more points. */
		race->ran |= !race->point;
	}
}

/* The answer is from before the notification, and arrives in the middle of it. */
static void race_arrival(struct race *race)
{
	if (!race_hold_request(race, FUSE_FAKE_STOP_BEHIND))
		return;
	race_run_notification(race, race->point);
	if (!race_stops(race, race->pair->notification, race->notifies)) {
		race->waited = !race_ends(race, race->pair->notification->name, race->notifies);
		return;
	}
	race_say(race, "\nthe answer arrives");
	fuse_fake_unhook(&race->hook);
	kunit_thread_wait(race->calls);
	race->waited = true;
}

/* Has the call removed the name, or put something else in its place? */
static bool race_call_removes(const struct race *race)
{
	const struct race_call *call = race->pair->call;

	if (race->result)
		return false;
	return call->child || call->fn == fuse_fx_do_unlink || call->fn == race_unlink_stat ||
	       call->fn == fuse_fx_do_rmdir ||
	       (call->fn == fuse_fx_do_rename && !strcmp(call->path[1], "dir/name") &&
		!(call->flags & RENAME_EXCHANGE));
}

/* If a delete fails, only the call may have left the inode S_DEAD or without links. */
static void race_check_inode(struct race *race, int answer)
{
	struct inode *inode = race->inode;

	if (!race->notification.child || !inode || !answer || race_call_removes(race))
		return;
	if (S_ISDIR(inode->i_mode) ? IS_DEADDIR(inode) : !inode->i_nlink)
		fuse_fx_broken(race->fx, FUSE_FX_SERIAL, "delete returns %s, but 'name' is %s",
			       fuse_fx_errname(answer),
			       S_ISDIR(inode->i_mode) ? "S_DEAD" : "without links");
}

/*
 * A notification that waited for the call may have found whatever was cached at any
 * time during the call: make the call once more, alone, and look at each point.
 */
static void race_look_at_all_points(struct race *race)
{
	struct kunit *test = race->fx->test;
	struct race *again = kzalloc_obj(*again);
	unsigned long point = 0;

	KUNIT_ASSERT_NOT_NULL(test, again);
	KUNIT_ASSERT_EQ(test, fuse_fx_init(test), 0);
	again->pair = race->pair;
	again->fx = test->priv;
	race_fill(again);
	again->notifying = true;
	race_run_call(again, 0);
	while (kunit_thread_wait(again->calls) == KUNIT_THREAD_STOPPED) {
		race_look(again);
		kunit_thread_go_on(again->calls, ++point);
	}
	KUNIT_ASSERT_TRUE(test, kunit_thread_join(again->calls, NULL));
	race->seen |= again->seen;
	fuse_fx_exit(test);
	test->priv = race->fx;
	kfree(again);
}

/* Was the return value right at some time? @text says which ones would have been. */
static bool race_explains(const struct race *race, int answer, char *text, size_t size)
{
	size_t len = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(race_returns); i++) {
		int right = race->notification.child ? race_returns[i].of_delete :
						       race_returns[i].answer;

		if (!(race->seen & BIT(i)))
			continue;
		if (right == answer)
			return true;
		len += scnprintf(text + len, size - len, "%s%s (%s)", len ? " or " : "",
				 fuse_fx_errname(right), race_returns[i].what);
	}
	return false;
}

static void race_check_return(struct race *race, int answer)
{
	char text[128] = "";
	bool explained;

	if (!race_is_entry(race->pair->notification)) {
		if (answer && !(answer == -ENOENT && race->pair->notification->node))
			fuse_fx_broken(race->fx, FUSE_FX_SERIAL, "%s returns %s, not 0",
				       race->pair->notification->name, fuse_fx_errname(answer));
		return;
	}
	race_check_inode(race, answer);
	/* If it ran while the call was stopped, it found what was there when it started. */
	if (!race->waited && race->how != RACE_BOTH && answer != -ENOENT &&
	    race->first & (BIT(RACE_SEEN_NODE) | BIT(RACE_SEEN_BUSY_NODE)))
		race->fx->found_nodeid = race->nodeid;
	explained = race_explains(race, answer, text, sizeof(text));
	if (!explained && race->waited) {
		race_look_at_all_points(race);
		explained = race_explains(race, answer, text, sizeof(text));
	}
	if (!explained)
		fuse_fx_broken(race->fx, FUSE_FX_SERIAL, "%s returns %s, not %s; %s returns %s",
			       race->pair->notification->name, fuse_fx_errname(answer), text,
			       race->pair->call->name, fuse_fx_errname(race->result));
}

static void race_join(struct race *race)
{
	struct kunit *test = race->fx->test;
	int answer;

	/* A stopped thread may hold the lock that the others wait for. */
	if (race->calls)
		kunit_thread_go_on(race->calls, KUNIT_NO_POINT);
	if (race->notifies)
		kunit_thread_go_on(race->notifies, KUNIT_NO_POINT);
	fuse_fake_let_go(race->fx->server);
	if (race->calls)
		KUNIT_ASSERT_TRUE(test, kunit_thread_join(race->calls, &race->result));
	if (race->looks)
		KUNIT_ASSERT_TRUE(test, kunit_thread_join(race->looks, NULL));
	if (!race->notifies)
		return;
	KUNIT_ASSERT_TRUE(test, kunit_thread_join(race->notifies, &answer));
	if (race->calls)
		race_check_return(race, answer);
	/* All that was on its way is from before this. */
	if (race->pair->notification->fn == fuse_fx_do_inc_epoch ||
	    race->pair->call->fn == fuse_fx_do_inc_epoch)
		fuse_fake_take_back_node(race->fx->server, 0);
	/* What the name leads to may be asked for once more, and so may what is renamed. */
	fuse_fake_take_back(race->fx->server, race->notification.parent, "name", true);
	if (race->pair->call->fn == fuse_fx_do_rename)
		fuse_fake_take_back_node(race->fx->server, race->nodeid);
}

static void (* const race_runs[])(struct race *race) = {
	race_notify_stopped, race_call_stopped, race_at_server, race_at_server, race_arrival,
	race_both_stopped,
};

static bool race_one(struct kunit *test, struct fuse_fx_score *score, struct race *race)
{
	char *p = race->name, *end = p + sizeof(race->name);
	bool at_point = race->how != RACE_REQUEST;

	if (fuse_fx_left_behind())
		return false;
	p += scnprintf(p, end - p, "%s.%s.%s:%s", race_states[ilog2(race->pair->state)],
		       race->pair->notification->name, race->pair->call->name,
		       race_hows[race->how]);
	if (race->how >= RACE_REQUEST && race->how <= RACE_ARRIVAL)
		p += scnprintf(p, end - p, "%u", race->request);
	if (at_point)
		p += scnprintf(p, end - p, "@%lu", race->point);
	if (race->how == RACE_BOTH)
		p += scnprintf(p, end - p, "+%lu", race->second);
	race->ran = true;
	if (!glob_match(race_schedule, race->name))
		return false;
	scnprintf(race->again, sizeof(race->again),
		  "./tools/testing/kunit/kunit.py run --kunitconfig=fs/fuse --kernel_args=fuse_kunit.schedule=%s",
		  race->name);

	KUNIT_ASSERT_EQ(test, fuse_fx_init(test), 0);
	race->fx = test->priv;
	race->fx->score = score;
	race_say(race, "%s", race->name);
	race->fx->title = race->story;
	race->fx->again = race->again;
	race_fill(race);
	race_runs[race->how](race);
	race_join(race);
	score->fixtures += race->ran;
	fuse_fx_exit(test);
	test->priv = NULL;
	kunit_cleanup(test);
	current->kunit_test = test;
	return true;
}

/* Which point of a pair is the first one varies. */
static unsigned long race_first_point(const struct race_pair *pair, unsigned long step)
{
	return (pair->call - race_calls + pair->notification - race_notifications +
		ilog2(pair->state)) % step;
}

/* Pairs of points, of which there are too many to take them all. */
static void race_pairs_of_points(struct kunit *test, struct fuse_fx_score *score,
				 struct race *race, const struct race_pair *pair)
{
	unsigned long first = race_first_point(pair, RACE_BOTH_STEP), point, second;

	for (point = first; point < RACE_POINTS_MAX; point += RACE_BOTH_STEP) {
		for (second = first; second < RACE_POINTS_MAX; second += RACE_BOTH_STEP) {
			*race = (struct race) { pair, RACE_BOTH, 0, point, second };
			if (race_one(test, score, race) && !race->ran)
				break;
		}
		/* The notification has no such point. */
		if (!race->ran && !race->calls)
			break;
	}
}

/* All points of a pair, or every race_step-th; which is the first varies. */
static void race_points(struct kunit *test, struct fuse_fx_score *score, struct race *race,
			const struct race_pair *pair, enum race_how how, unsigned int request)
{
	/* All points: a notification of an unknown node has only a few. */
	bool each = race_all || (pair->notification->node && how == RACE_ARRIVAL) ||
		    strcmp(race_schedule, "*");
	unsigned long step = each ? 1 : race_step;
	unsigned long point = how == RACE_ANSWER ? 0 : race_first_point(pair, step);
	bool ran = true;

	for (; ran; point += step) {
		*race = (struct race) { pair, how, request, point };
		/* A schedule that the pattern excludes cannot tell if there are more points. */
		if (!race_one(test, score, race) && point > RACE_POINTS_MAX)
			break;
		ran = race->ran;
	}
}

static void race(struct kunit *test)
{
	static const char * const names[] = {
		"fresh", "collateral", "quiet", "balanced", "serial", "waits", "server",
	};
	const struct race_pair *pair = test->param_value;
	struct race *race = kzalloc_obj(*race);
	static struct fuse_fx_score score;	/* lasts if the test is aborted */
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, race);
	memset(&score, 0, sizeof(score));
	race_points(test, &score, race, pair, RACE_NOTIFY, 0);
	race_points(test, &score, race, pair, RACE_CALL, 0);
	if (race_is_entry(pair->notification) &&
	    (race_all || pair->call->both || strcmp(race_schedule, "*")))
		race_pairs_of_points(test, &score, race, pair);
	for (i = 0; i < RACE_REQUESTS_MAX; i++) {
		*race = (struct race) { pair, RACE_REQUEST, i };
		if (race_one(test, &score, race) && !race->ran)
			break;
		race_points(test, &score, race, pair, RACE_ANSWER, i);
		race_points(test, &score, race, pair, RACE_ARRIVAL, i);
	}
	/* Not after a failed assertion: a thread may still use it then. */
	kfree(race);
	if (!score.fixtures && test->status != KUNIT_FAILURE)
		kunit_skip(test, "no schedule is '%s'", race_schedule);
	race_any = true;
	kunit_info(test, "schedules: %u\n", score.fixtures);
	for (i = 0; i < FUSE_FX_PROPERTIES; i++)
		if (score.broken[i])
			kunit_info(test, "broken: %s in %u\n", names[i], score.broken[i]);
}

/*
 * The parameters: all that is possible with one state of the name.
 */

static void race_describe(struct kunit *test, const void *param, char *desc)
{
	const struct race_pair *pair = param;

	scnprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s.%s.%s", race_states[ilog2(pair->state)],
		  pair->notification->name, pair->call->name);
}

/* Each case is about the state that it is named after. */
static int race_init(struct kunit *test)
{
	const unsigned int max = ARRAY_SIZE(race_notifications) * ARRAY_SIZE(race_calls);
	struct race_pair *pairs = kunit_kmalloc_array(test, max, sizeof(*pairs), GFP_KERNEL);
	enum race_state state = BIT(match_string(race_states, ARRAY_SIZE(race_states), test->name));
	unsigned int i, k, nr = 0;

	if (!pairs)
		return -ENOMEM;
	for (i = 0; i < ARRAY_SIZE(race_notifications); i++)
		for (k = 0; k < ARRAY_SIZE(race_calls); k++)
			if (race_notifications[i].states & race_calls[k].states & state)
				pairs[nr++] = (struct race_pair) {
					state, &race_notifications[i], &race_calls[k],
				};
	fuse_fx_shuffle(pairs, nr, sizeof(*pairs));
	kunit_register_params_array(test, pairs, nr, race_describe);
	return 0;
}

/* The last one: a pattern that matches nothing is a mistake. */
static void any_schedule(struct kunit *test)
{
	if (!race_any && strcmp(race_schedule, "*"))
		KUNIT_FAIL(test, "no schedule is '%s'", race_schedule);
}

#define RACE_CASE(_state) {							\
	.name = #_state, .run_case = race, .generate_params = kunit_array_gen_params, \
	.param_init = race_init, .module_name = KBUILD_MODNAME,			\
}

#define RACE_CASES {								\
	/* Nothing is cached, and there is nothing. */				\
	RACE_CASE(absent),							\
	/* Nothing is cached, but there is a file. */				\
	RACE_CASE(uncached),							\
	/* It is cached that there is nothing. */				\
	RACE_CASE(negative),							\
	/* A file is cached, and not in use. */					\
	RACE_CASE(file),							\
	/* A file is cached, and in use. */					\
	RACE_CASE(held_file),							\
	/* A file is cached; the server is asked at its next use. */		\
	RACE_CASE(expired),							\
	/* A directory is cached that has no child in use. */			\
	RACE_CASE(empty_directory),						\
	/* A directory is cached that has a child in use. */			\
	RACE_CASE(directory),							\
	KUNIT_CASE(any_schedule), {}						\
}

static struct kunit_case fuse_inval_race_cases[] = RACE_CASES;
static struct kunit_case fuse_inval_race_all_cases[] = RACE_CASES;

static int race_suite_init(struct kunit_suite *suite)
{
	race_all = suite->attr.speed == KUNIT_SPEED_VERY_SLOW;
	return 0;
}

/* Each schedule has a fixture of its own. */
static int race_test_init(struct kunit *test)
{
	const char *missing = kunit_points_missing();

	if (missing)
		kunit_skip(test, "%s", missing);
	if (fuse_fx_left_behind())
		kunit_skip(test, "%s left a lock or a thread behind", fuse_fx_left_behind());
	return 0;
}

static struct kunit_suite fuse_inval_race_suite = {
	.name		= "fuse_inval_race",
	.suite_init	= race_suite_init,
	.init		= race_test_init,
	.exit		= fuse_fx_exit,
	.test_cases	= fuse_inval_race_cases,
};

static struct kunit_suite fuse_inval_race_all_suite = {
	.name		= "fuse_inval_race_all",
	.attr.speed	= KUNIT_SPEED_VERY_SLOW,
	.suite_init	= race_suite_init,
	.init		= race_test_init,
	.exit		= fuse_fx_exit,
	.test_cases	= fuse_inval_race_all_cases,
};

kunit_test_suites(&fuse_inval_race_suite, &fuse_inval_race_all_suite);
