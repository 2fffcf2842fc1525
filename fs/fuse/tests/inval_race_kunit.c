// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of notifications in many interleavings with another call
 *
 * A schedule is called state.notification.call:where, for example file.inval.unlink:call@17. It
 * says what the name "dir/name" was, what is notified, what somebody else does, and where one of
 * the two is stopped while the other one runs, or both:
 *
 *	notify@17	the notification is stopped at its point 17 (the first is 0)
 *	call@17		the call is stopped at its point 17
 *	request0	the first request of the call is at the server, not processed
 *	answer0@17	it has been processed, but its answer arrives only after the notification;
 *			then the call is stopped at point 17, counted from there, and somebody looks
 *			at the name
 *	arrival0@17	the answer arrives while the notification is stopped at its point 17
 *	both@26+13	the notification is stopped at its point 26, and then the call at its point
 *			13; the notification goes on first
 *
 * A preemption point is a basic block of the files in CONFIG_KUNIT_POINTS_IN, see
 * kunit_thread_run_to(). Every 32nd point is taken (with KASAN every 64th), or all of them with the
 * kernel argument fuse_kunit.all=1, which takes one or two minutes. If both are stopped, it is
 * every 13th, and without that argument only with "rename" as the call.
 *
 * After each schedule the fixture checks its properties, see fixture.h. Here, "serial" means:
 * what the notification returns belongs to what was cached for the name at some time while it
 * ran; and what a delete does to the inode agrees with that. And an invalidation never waits
 * while a request is at the server.
 *
 * With the kernel argument fuse_kunit.schedule= only that schedule runs, or those that match a
 * pattern such as file.inval.unlink:*, at every point.
 */

#include <linux/glob.h>
#include <linux/moduleparam.h>
#include <linux/namei.h>

#include "fixture.h"

static char *race_schedule = "*";
module_param_named(schedule, race_schedule, charp, 0444);
MODULE_PARM_DESC(schedule, "Pattern of the schedules to run, such as file.inval.unlink:*");

static bool race_all;
module_param_named(all, race_all, bool, 0444);
MODULE_PARM_DESC(all, "Stop at every preemption point: one or two minutes");

/* A schedule takes thirty times as long with KASAN and lockdep. */
#define RACE_STEP	(IS_ENABLED(CONFIG_KASAN) ? 64 : 32)

static bool race_any;	/* the pattern has matched a schedule */
static struct fuse_fx_score race_score;	/* of one test; lasts if that is aborted */

#define RACE_POINTS_MAX	1024
#define RACE_REQUESTS_MAX 8
#define RACE_BOTH_STEP	13

/* What "dir/name" may be, see race_cases */
enum race_state {
	RACE_ABSENT = BIT(0), RACE_UNCACHED = BIT(1), RACE_NEGATIVE = BIT(2), RACE_FILE = BIT(3),
	RACE_HELD_FILE = BIT(4), RACE_EXPIRED = BIT(5), RACE_EMPTY_DIRECTORY = BIT(6),
	RACE_DIRECTORY = BIT(7),
};

static const char * const race_states[] = {
	"absent", "uncached", "negative", "file", "held_file", "expired", "empty_directory",
	"directory",
};

#define RACE_NOTHING	(RACE_ABSENT | RACE_NEGATIVE)
#define RACE_FILES	(RACE_UNCACHED | RACE_FILE | RACE_HELD_FILE | RACE_EXPIRED)
#define RACE_DIRS	(RACE_EMPTY_DIRECTORY | RACE_DIRECTORY)
#define RACE_EXISTS	(RACE_FILES | RACE_DIRS)
#define RACE_ANY	(RACE_NOTHING | RACE_EXISTS)

/* A call that somebody makes. */
struct race_call {
	const char *name;		/* in schedules */
	int (*fn)(struct fuse_fx_op *op);
	unsigned int states;		/* what "dir/name" may be, as bits */
	const char *path[2];		/* a notification that has one is about an entry */
	unsigned int flags;
	bool lists;			/* the kernel may cache listings */
	bool child;			/* it is a delete of the node that the name leads to */
	bool node;			/* it is about that node, not about the directory */
	bool removes;			/* "dir/name", or puts something else in its place */
	bool removes_dir;		/* which has to be empty */
	bool both;			/* fuse_inval_race stops both, too */
};

static const struct race_call race_notifications[] = {
	{ "inval", fuse_fx_do_notify, RACE_ANY, { "name" } },
	{ "expire", fuse_fx_do_notify, RACE_ANY, { "name" }, FUSE_EXPIRE_ONLY },
	{ "delete", fuse_fx_do_notify, RACE_ANY, { "name" }, .child = true },
	{ "inval_inode", fuse_fx_do_inval_inode, RACE_NOTHING },
	{ "inval_node", fuse_fx_do_inval_inode, RACE_UNCACHED, .node = true },
	{ "inc_epoch", fuse_fx_do_inc_epoch, RACE_NOTHING | RACE_FILES },
};

/* The directory is removed, and another one gets its name. */
static int race_remake(struct fuse_fx_op *op)
{
	return fuse_fx_do_rmdir(op) ?: fuse_fx_do_mkdir(op);
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
	struct dentry *entry __free(fuse_fx_dput) = fuse_fx_lookup_at(op->fx, op->parent, "name");

	if (IS_ERR(entry))
		return PTR_ERR(entry);
	/* In a new epoch it has to look it up again. */
	if (!entry->d_op->d_revalidate(d_inode(entry->d_parent), &entry->d_name, entry, 0) &&
	    !op->fx->new_epoch)
		fuse_fx_broken(op->fx, FUSE_FX_NO_COLLATERAL,
			       "d_revalidate() refuses a dentry that was just looked up");
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
	{ "create_trunc", fuse_fx_do_open, RACE_NOTHING | RACE_FILES, { "dir/name" },
	  O_RDWR | O_CREAT | O_TRUNC },
	{ "readdir", fuse_fx_do_readdir, RACE_ANY, { "dir" } },
	{ "readdir_cached", fuse_fx_do_readdir, RACE_ANY, { "dir" }, .lists = true },
	{ "mknod", fuse_fx_do_mknod, RACE_ANY, { "dir/name" } },
	{ "mkdir", fuse_fx_do_mkdir, RACE_NOTHING, { "dir/name" } },
	{ "symlink", fuse_fx_do_symlink, RACE_NOTHING, { "dir/name" } },
	{ "link", fuse_fx_do_link, RACE_NOTHING, { "out/else", "dir/name" } },
	{ "unlink", fuse_fx_do_unlink, RACE_FILES, { "dir/name" }, .removes = true },
	{ "unlink_stat", race_unlink_stat, RACE_FILES, { "dir/name" }, .removes = true },
	{ "rmdir", fuse_fx_do_rmdir, RACE_DIRS, { "dir/name" }, .removes = true },
	{ "rename", fuse_fx_do_rename, RACE_EXISTS, { "dir/name", "dir/next" }, .both = true },
	{ "rename_over", fuse_fx_do_rename, RACE_ANY, { "dir/side", "dir/name" }, .removes = true },
	{ "rename_noreplace", fuse_fx_do_rename, RACE_NOTHING | RACE_FILE,
	  { "dir/side", "dir/name" }, RENAME_NOREPLACE },
	{ "exchange", fuse_fx_do_rename, RACE_EXISTS, { "dir/name", "dir/side" }, RENAME_EXCHANGE },
	{ "move_out", fuse_fx_do_rename, RACE_EXISTS, { "dir/name", "out/name" } },
	{ "move_in", fuse_fx_do_rename, RACE_ANY, { "out/else", "dir/name" }, .removes = true },
	{ "exchange_out", fuse_fx_do_rename, RACE_EXISTS, { "dir/name", "out/else" },
	  RENAME_EXCHANGE },
	{ "getattr", fuse_fx_do_getattr, RACE_NOTHING | RACE_FILE, { "dir" } },
	{ "setattr", fuse_fx_do_chmod, RACE_NOTHING | RACE_FILE, { "dir" } },
	{ "inval", fuse_fx_do_notify, RACE_ANY, { "name" } },
	{ "expire", fuse_fx_do_notify, RACE_ANY, { "name" }, FUSE_EXPIRE_ONLY },
	{ "delete", fuse_fx_do_notify, RACE_ANY, { "name" }, .child = true, .removes = true },
	{ "inval_inode", fuse_fx_do_inval_inode, RACE_NEGATIVE | RACE_FILE },
	{ "inc_epoch", fuse_fx_do_inc_epoch, RACE_NEGATIVE | RACE_FILE },
	{ "parent_removed", fuse_fx_do_rmdir, RACE_NOTHING, { "dir" }, .removes_dir = true },
	{ "parent_remade", race_remake, RACE_NOTHING, { "dir" }, .removes_dir = true },
	{ "parent_moved", fuse_fx_do_rename, RACE_ANY, { "dir", "out/dir" } },
};

/* A notification and a call: the parameter of a test. */
struct race_pair {
	enum race_state state;		/* of the name */
	const struct race_call *notification;
	const struct race_call *call;
};

/* One of the two, in a thread. */
struct race_side {
	struct race *race;
	const struct race_call *what;
	struct fuse_fx_op op;
	struct kunit_thread *thread;	/* or NULL: it is not made */
	int ret;			/* what it returned */
};

/* Who is stopped, and where: see the head of this file. */
enum race_how { RACE_NOTIFY, RACE_BOTH, RACE_CALL, RACE_REQUEST, RACE_ANSWER, RACE_ARRIVAL };

/* The numbers are those of race->at. */
static const char * const race_hows[] = {
	"notify@%lu", "both@%lu+%lu", "call@%lu", "request%lu", "answer%lu@%lu", "arrival%lu@%lu",
};

/* A schedule that is being run. */
struct race {
	enum race_how how;
	unsigned long at[2];		/* where it is stopped: a point or request; and a point */
	char story[480];		/* the name, and what has happened so far, line by line */
	char again[200];		/* how to run it alone */
	const struct race_pair *pair;
	struct fuse_fixture *fx;
	struct dentry *dir;
	struct inode *inode;		/* what the name was */
	u64 nodeid;			/* of that, or of the next new node */
	struct race_side notify;
	struct race_side call;
	struct fuse_fake_hook hook;	/* stops a request of the call */
	bool reached;			/* there is such a point or request at[0] */
	bool ran;			/* there is such a point at[1], too */
	bool waited;			/* one of the two may have waited for the other */
	bool unexplained;		/* what the notification returned, so far */
	bool notifying;
	u64 seq;			/* the server's counter when the notification started */
	unsigned long first;		/* what was cached then, as bits */
	unsigned long seen;		/* what was cached while the notification ran */
};

/* What can be cached for a name, as far as the notification's return value depends on it. */
enum race_seen {
	RACE_SEEN_NOTHING, RACE_SEEN_NEGATIVE, RACE_SEEN_NODE, RACE_SEEN_BUSY, RACE_SEEN_OTHER,
};

/* What a notification, and what a delete of the node, returns then. */
static const struct {
	const char *what;
	int answer;
	int of_delete;
} race_returns[] = {
	[RACE_SEEN_NOTHING]	= { "nothing cached", -ENOENT, -ENOENT },
	[RACE_SEEN_NEGATIVE]	= { "a negative entry", 0, 0 },
	[RACE_SEEN_NODE]	= { "the node", 0, 0 },
	[RACE_SEEN_BUSY]	= { "the node, in use", 0, -ENOTEMPTY },
	[RACE_SEEN_OTHER]	= { "another node", 0, -ENOENT },
};

/* A fixture of its own, with what the state says */
static void race_begin(struct kunit *test, struct race *race)
{
	const struct race_pair *pair = race->pair;
	enum race_state state = pair->state;
	umode_t mode = state & RACE_DIRS ? S_IFDIR | 0755 : S_IFREG | 0644;
	struct fuse_fixture *fx;
	u64 dir;

	KUNIT_ASSERT_EQ(test, fuse_fx_init(test), 0);
	fx = test->priv;
	race->fx = fx;
	fx->score = &race_score;
	fx->title = race->story;
	fx->again = race->again;
	fx->server->cache_dir = pair->call->lists;
	dir = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "out", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "out/else", mode);
	if (!pair->call->removes_dir) {
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
	if (state & (RACE_FILES | RACE_DIRS) & ~RACE_UNCACHED)
		race->inode = fuse_fx_hold_inode(fx, "dir/name");
	if (state == RACE_HELD_FILE)
		fuse_fx_hold(fx, "dir/name");
	if (state == RACE_EXPIRED)
		fuse_fx_expire(fx, dir, "name");
	if (state == RACE_DIRECTORY) {
		fuse_fake_add(fx->server, "dir/name/child", S_IFREG | 0644);
		fuse_fx_hold(fx, "dir/name/child");
	}
	if (pair->call->lists)
		fuse_fx_stat(fx, "dir");
}

/* What is cached for the name now? A notification that is under way may find that. */
static void race_look(struct race *race)
{
	struct dentry *dentry;
	enum race_seen seen;

	if (!race->notifying)
		return;
	dentry = try_lookup_noperm(&QSTR("name"), race->dir);
	if (!dentry)
		seen = RACE_SEEN_NOTHING;
	else if (d_is_negative(dentry))
		seen = RACE_SEEN_NEGATIVE;
	else if (get_node_id(d_inode(dentry)) != race->nodeid)
		seen = RACE_SEEN_OTHER;
	else
		seen = race->pair->state == RACE_DIRECTORY ? RACE_SEEN_BUSY : RACE_SEEN_NODE;
	dput(dentry);
	race->seen |= BIT(seen);
}

static __printf(2, 3) void race_say(struct race *race, const char *fmt, ...)
{
	size_t len = strlen(race->story);
	va_list args;

	va_start(args, fmt);
	vscnprintf(race->story + len, sizeof(race->story) - len, fmt, args);
	va_end(args);
}

static int race_thread(struct fuse_fx_op *op)
{
	struct race_side *side = op->data;
	struct race *race = side->race;
	int err = side->what->fn(op);

	/* Unless a notification waited, what is cached when it ends is its own result. */
	if (side == &race->call || race->waited)
		race_look(race);
	if (side == &race->notify)
		race->notifying = false;
	return err;
}

/* Start one of the two, or let it go on, until it comes to that point, waits or ends. */
static enum kunit_thread_state race_go(struct race *race, struct race_side *side,
				       unsigned long point)
{
	const struct race_call *what = side->what;
	bool call = side == &race->call;

	if (side->thread) {
		kunit_thread_go_on(side->thread, point);
		if (call && race->hook.stop)
			fuse_fake_unhook(&race->hook);
		return kunit_thread_wait(side->thread);
	}
	side->op = (struct fuse_fx_op) {
		.path	= { what->path[0], what->path[1] },
		.flags	= what->flags,
		.parent	= what->node ? race->nodeid : get_node_id(d_inode(race->dir)),
		.child	= what->child ? race->nodeid : 0,
		.data	= side,
	};
	side->race = race;
	if (!call) {
		race->notifying = true;
		race_look(race);
		race->first = race->seen;
		race->seq = race->fx->server->seq;
	}
	side->thread = fuse_fx_run_at(race->fx, call ? "call" : "notification", race_thread,
				      &side->op, point);
	return kunit_thread_wait(side->thread);
}

/* Does it stop at that point? An address is said, too, for addr2line: there may be no names. */
static bool race_stops(struct race *race, struct race_side *side, unsigned long point)
{
	race->ran = race_go(race, side, point) == KUNIT_THREAD_STOPPED;
	/* When a notification stops, what is cached may be what it has left itself. */
	if (side == &race->call)
		race_look(race);
	if (race->ran)
		race_say(race, "\n%s is stopped in %pS at 0x%lx", side->what->name,
			 side->thread->where, (unsigned long)side->thread->where);
	return race->ran;
}

/* Is there such a request of the call? It is held at the server. */
static bool race_stops_at_server(struct race *race)
{
	bool answered = race->how != RACE_REQUEST;

	race->hook.skip = race->at[0];
	race->hook.stop = answered ? FUSE_FAKE_STOP_BEHIND : FUSE_FAKE_STOP_BEFORE;
	fuse_fake_hook(race->fx->server, &race->hook);
	race_go(race, &race->call, KUNIT_NO_POINT);
	race->ran = completion_done(&race->hook.reached);
	if (race->ran)
		race_say(race, "\nrequest %lu of %s, %s, %s", race->at[0], race->call.what->name,
			 fuse_fake_opname(race->hook.first), answered ?
			 "is answered, but the answer is on its way" : "is at the server");
	return race->ran;
}

/* Nothing stops it: does it end, or wait for something? */
static void race_runs_on(struct race *race, struct race_side *side)
{
	race->waited = race_go(race, side, KUNIT_NO_POINT) != KUNIT_THREAD_ENDED;
	race_say(race, "\n%s is made, and %s", side->what->name, race->waited ? "waits" : "ends");
}

/* Somebody looks at the name while the call is stopped, and may have to wait for it. */
static void race_look_early(struct race *race)
{
	struct kunit_thread *looks = fuse_fx_run(race->fx, fuse_fx_do_lookup, &race->notify.op);
	struct fuse_fake_name *told;

	if (kunit_thread_wait(looks) == KUNIT_THREAD_ENDED) {
		told = fuse_fake_told(race->fx->server, race->notify.op.parent, "name");
		if (fuse_fx_cached(race->dir, "name") && told->seq <= race->seq &&
		    !IS_DEADDIR(d_inode(race->dir)))
			fuse_fx_broken(race->fx, FUSE_FX_FRESH,
				       "a lookup now gets 'name' from before the notification");
	}
	kunit_thread_go_on(race->call.thread, KUNIT_NO_POINT);
	KUNIT_ASSERT_TRUE(race->fx->test, kunit_thread_join(looks, NULL));
}

static void race_run(struct race *race)
{
	struct race_side *notify = &race->notify, *call = &race->call;
	struct race_side *first = race->how <= RACE_BOTH ? notify : call;

	race->reached = race->how >= RACE_REQUEST ? race_stops_at_server(race) :
						    race_stops(race, first, race->at[0]);
	if (!race->reached)
		return;
	if (race->how == RACE_NOTIFY) {
		race_runs_on(race, call);
		race_look(race);
	} else if (race->how == RACE_BOTH) {
		/* The call may wait for the notification. */
		race->waited = true;
		if (race_stops(race, call, race->at[1]))
			race_runs_on(race, notify);
	} else if (race->how == RACE_ARRIVAL && race_stops(race, notify, race->at[1])) {
		/* The answer is from before the notification, and arrives in the middle of it. */
		race_say(race, "\nthe answer arrives");
		race->waited = race_go(race, call, KUNIT_NO_POINT) != KUNIT_THREAD_ENDED;
		race_look(race);
	} else {
		race_runs_on(race, notify);
	}
	if ((race->how == RACE_REQUEST || race->how == RACE_ANSWER) && race->waited &&
	    !notify->what->child)
		fuse_fx_broken(race->fx, FUSE_FX_NEVER_WAITS, "for that request");
	if (race->how != RACE_ANSWER)
		return;
	if (race_stops(race, call, call->thread->points + race->at[1]) &&
	    notify->what->path[0] && kunit_thread_wait(notify->thread) == KUNIT_THREAD_ENDED)
		race_look_early(race);
	/* Point 0 counts even if the call came to no more points. */
	race->ran |= !race->at[1];
}

/* Was the return value right at some time? If there is @more to look at, it is not judged yet. */
static void race_explain(struct race *race, bool more)
{
	const struct race_call *notification = race->notify.what;
	char text[128] = "";
	size_t len = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(race_returns); i++) {
		int right = notification->child ? race_returns[i].of_delete :
						  race_returns[i].answer;

		if (!(race->seen & BIT(i)))
			continue;
		if (right == race->notify.ret)
			return;
		len += scnprintf(text + len, sizeof(text) - len, "%s%s (%s)", len ? " or " : "",
				 fuse_fx_errname(right), race_returns[i].what);
	}
	race->unexplained = more;
	if (!more)
		fuse_fx_broken(race->fx, FUSE_FX_SERIAL, "%s returns %s, not %s; %s returns %s",
			       notification->name, fuse_fx_errname(race->notify.ret), text,
			       race->call.what->name, fuse_fx_errname(race->call.ret));
}

static void race_check_return(struct race *race)
{
	const struct race_call *notification = race->notify.what, *call = race->call.what;
	struct inode *inode = race->inode;
	int answer = race->notify.ret;

	if (!notification->path[0]) {
		if (answer && !(answer == -ENOENT && notification->node))
			fuse_fx_broken(race->fx, FUSE_FX_SERIAL, "%s returns %s, not 0",
				       notification->name, fuse_fx_errname(answer));
		return;
	}
	/* If a delete fails, only the call may have left the inode S_DEAD or without links. */
	if (notification->child && answer && inode && (race->call.ret || !call->removes) &&
	    (S_ISDIR(inode->i_mode) ? IS_DEADDIR(inode) : !inode->i_nlink))
		fuse_fx_broken(race->fx, FUSE_FX_SERIAL, "delete returns %s, but 'name' is %s",
			       fuse_fx_errname(answer),
			       S_ISDIR(inode->i_mode) ? "S_DEAD" : "without links");
	/* If it ran while the call was stopped, it found what was there when it started. */
	if (!race->waited && race->how >= RACE_CALL && race->how != RACE_ARRIVAL &&
	    answer != -ENOENT && race->first & (BIT(RACE_SEEN_NODE) | BIT(RACE_SEEN_BUSY)))
		race->fx->found_nodeid = race->nodeid;
	race_explain(race, race->waited);
}

static void race_join(struct race *race)
{
	struct fuse_fake_server *server = race->fx->server;
	struct race_side *notify = &race->notify, *call = &race->call;
	struct kunit *test = race->fx->test;

	/* It may hold the lock that the others wait for. */
	if (notify->thread)
		kunit_thread_go_on(notify->thread, KUNIT_NO_POINT);
	fuse_fake_let_go(server);
	if (call->thread)
		KUNIT_ASSERT_TRUE(test, kunit_thread_join(call->thread, &call->ret));
	if (!notify->thread)
		return;
	KUNIT_ASSERT_TRUE(test, kunit_thread_join(notify->thread, &notify->ret));
	if (call->thread)
		race_check_return(race);
	/* All that was on its way is from before this. */
	if (notify->what->fn == fuse_fx_do_inc_epoch || call->what->fn == fuse_fx_do_inc_epoch)
		fuse_fake_take_back_node(server, 0);
	/* What the name leads to may be asked for once more, and so may what is renamed. */
	fuse_fake_take_back(server, notify->op.parent, "name", true);
	if (call->what->fn == fuse_fx_do_rename)
		fuse_fake_take_back_node(server, race->nodeid);
}

/*
 * A notification that waited for the call may have found whatever was cached at any
 * time during the call: make the call once more, alone, and look at each point.
 */
static void race_look_at_all_points(struct kunit *test, struct race *race)
{
	unsigned long point = 0;

	race_begin(test, race);
	race->call.thread = NULL;
	race->hook.stop = 0;
	race->notifying = true;
	while (race_go(race, &race->call, point++) == KUNIT_THREAD_STOPPED)
		race_look(race);
	KUNIT_ASSERT_TRUE(test, kunit_thread_join(race->call.thread, NULL));
	race_explain(race, false);
	fuse_fx_end(test);
}

/* Returns false if there is no such point or request. */
static bool race_one(struct kunit *test, struct race *race, enum race_how how,
		     unsigned long first, unsigned long second)
{
	const struct race_pair *pair = test->param_value;

	*race = (struct race) {
		how, { first, second }, .pair = pair,
		.notify.what = pair->notification, .call.what = pair->call,
	};
	if (fuse_fx_left_behind)
		return false;
	race_say(race, "%s.%s.%s:", test->name, pair->notification->name, pair->call->name);
	race_say(race, race_hows[how], first, second);
	if (!glob_match(race_schedule, race->story)) {
		/* That cannot tell if there are more. */
		race->reached = true;
		return second < RACE_POINTS_MAX;
	}
	scnprintf(race->again, sizeof(race->again),
		  "./tools/testing/kunit/kunit.py run --kunitconfig=fs/fuse --kernel_args=fuse_kunit.schedule=%s fuse_inval_race",
		  race->story);

	race_begin(test, race);
	race_run(race);
	race_join(race);
	race_score.fixtures += race->ran;
	fuse_fx_end(test);
	if (race->unexplained)
		race_look_at_all_points(test, race);
	return race->ran;
}

/* All schedules of a kind, or every step-th. For requests, returns how many there are. */
static unsigned long race_kind(struct kunit *test, struct race *race, enum race_how how,
			       unsigned long max)
{
	const struct race_pair *pair = test->param_value;
	/* A notification of an unknown node has only a few points. */
	bool all = race_all || (how == RACE_ARRIVAL && pair->notification->node);
	unsigned long step = how == RACE_BOTH ? RACE_BOTH_STEP : all ? 1 : RACE_STEP;
	/* Which point is the first one varies. */
	unsigned long first = (pair->call - race_calls + pair->notification - race_notifications +
			       ilog2(pair->state)) % step;
	bool one = how == RACE_NOTIFY || how == RACE_CALL || how == RACE_REQUEST;
	unsigned long stride = how < RACE_REQUEST ? step : 1;
	unsigned long number, point;

	for (number = stride > 1 ? first : 0; number < max; number += stride) {
		point = how == RACE_ANSWER ? 0 : first;
		while (race_one(test, race, how, number, point) && !one)
			point += step;
		if (race->reached)
			continue;
		if (!number || number >= stride)
			break;
		/* There are fewer points than that: try half the number. */
		number = number / 2 - stride;
	}
	return number;
}

static void race(struct kunit *test)
{
	static const char * const names[] = {
		"fresh", "collateral", "quiet", "balanced", "serial", "waits", "server",
	};
	const struct race_pair *pair = test->param_value;
	struct race *race = kzalloc_obj(*race);
	unsigned long requests;

	KUNIT_ASSERT_NOT_NULL(test, race);
	race_score = (struct fuse_fx_score) {};
	race_kind(test, race, RACE_NOTIFY, RACE_POINTS_MAX);
	if (pair->notification->path[0] && (race_all || pair->call->both))
		race_kind(test, race, RACE_BOTH, RACE_POINTS_MAX);
	race_kind(test, race, RACE_CALL, RACE_POINTS_MAX);
	requests = race_kind(test, race, RACE_REQUEST, RACE_REQUESTS_MAX);
	race_kind(test, race, RACE_ANSWER, requests);
	race_kind(test, race, RACE_ARRIVAL, requests);
	/* Not after a failed assertion: a thread may still use it then. */
	kfree(race);
	if (!race_score.fixtures && test->status != KUNIT_FAILURE)
		kunit_skip(test, "no schedule is '%s'", race_schedule);
	race_any = true;
	kunit_info(test, "schedules: %u\n", race_score.fixtures);
	for (unsigned int i = 0; i < FUSE_FX_PROPERTIES; i++)
		if (race_score.broken[i])
			kunit_info(test, "broken: %s in %u\n", names[i], race_score.broken[i]);
}

static void race_describe(struct kunit *test, const void *param, char *desc)
{
	const struct race_pair *pair = param;

	scnprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s.%s.%s", test->name, pair->notification->name,
		  pair->call->name);
}

/* Each case is about the state that it is named after: all that is possible with that. */
static int race_init(struct kunit *test)
{
	static struct race_pair pairs[ARRAY_SIZE(race_notifications) * ARRAY_SIZE(race_calls)];
	enum race_state state = BIT(match_string(race_states, ARRAY_SIZE(race_states), test->name));
	unsigned int i, k, nr = 0;

	/* Whoever chooses schedules wants all that the pattern matches. */
	race_all |= strcmp(race_schedule, "*") != 0;
	for (i = 0; i < ARRAY_SIZE(race_notifications); i++)
		for (k = 0; k < ARRAY_SIZE(race_calls); k++)
			/* INC_EPOCH comes to no point, so two of them are no race. */
			if (race_notifications[i].states & race_calls[k].states & state &&
			    (race_notifications[i].fn != fuse_fx_do_inc_epoch ||
			     race_calls[k].fn != fuse_fx_do_inc_epoch))
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

static struct kunit_case race_cases[] = {
	/* Nothing is cached, and there is nothing. */
	RACE_CASE(absent),
	/* Nothing is cached, but there is a file. */
	RACE_CASE(uncached),
	/* It is cached that there is nothing. */
	RACE_CASE(negative),
	/* A file is cached, and not in use. */
	RACE_CASE(file),
	/* A file is cached, and in use. */
	RACE_CASE(held_file),
	/* A file is cached; the server is asked at its next use. */
	RACE_CASE(expired),
	/* A directory is cached that has no child in use. */
	RACE_CASE(empty_directory),
	/* A directory is cached that has a child in use. */
	RACE_CASE(directory),
	KUNIT_CASE(any_schedule), {}
};

/* Each schedule has a fixture of its own. */
static int race_test_init(struct kunit *test)
{
	kunit_points_need(test);
	if (fuse_fx_left_behind)
		kunit_skip(test, "%s left a lock or a thread behind", fuse_fx_left_behind);
	return 0;
}

static struct kunit_suite fuse_inval_race_suite = {
	.name		= "fuse_inval_race",
	.init		= race_test_init,
	.exit		= fuse_fx_exit,
	.test_cases	= race_cases,
};

kunit_test_suite(fuse_inval_race_suite);
