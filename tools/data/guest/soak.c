// SPDX-License-Identifier: GPL-2.0
/*
 * soak - names that change behind the kernel's back, for as long as one likes
 *
 * Property P1 of fuse_reverse_inval_entry(): no lookup that starts after the
 * notification has returned is answered from what the server said before it, neither
 * from what was cached nor from an answer that was on its way. Here is a daemon that
 * has everything cached for an hour, and some of whose answers are late; notifiers,
 * which change names behind the kernel's back and notify, also for names of others and
 * to no purpose; clients, which look at all names, read directories, and make, remove
 * and rename; and a judge. It compares what any of them sees with the history of the
 * name: that must have been true between the last notification that had returned
 * before the look began, and the end of the look. Another process watches that all get
 * on, and reports.
 *
 * Names "o<N>" are changed by one notifier only, behind the kernel's back or as any
 * user does. All that is seen of them is judged, and what the calls of their notifier
 * answer. Names "s<N>" are changed by everybody in every way. A rename may then take
 * what is stale to a name that nobody notifies, and that is nobody's mistake: they are
 * notified and judged in the end, when all is quiet.
 *
 * An inode number is used once and tells what the inode is, so the daemon has no table
 * of inodes. Some directories hold a file "c": whoever sees that has seen the directory.
 */

#define _GNU_SOURCE
#define FUSE_USE_VERSION 312

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOUNT		"/tmp/soak"
#define DIRS		3	/* d0 to d2 */
#define SHARED		12	/* names, the first ones */
#define OWNED		6	/* of each notifier */
#define CLIENTS		4
#define NOTIFIERS	3
#define WORKERS		(CLIENTS + NOTIFIERS)
#define SLOTS		(SHARED + NOTIFIERS * OWNED)
#define VERSIONS	1024	/* so many are remembered */
#define HANG		30	/* seconds */

/* Those of d0 to d2 follow the root's, all others are larger. */
#define INO_DIR		1UL
#define INO_PARENT	2UL	/* of a file "c" */
#define INO_CHILD	0x1000000000000000UL
#define INO_NEVER	(~0UL)

enum count {
	STAT, WALK, OPEN, READDIR, CREATE, MKDIR, UNLINK, RMDIR, RENAME, EXCHANGE,
	INVAL, EXPIRE, DELETE, DELETE_OTHER,
	CALLS, LOOKUPS = CALLS, NOT_FOUND, NOT_EMPTY, NOT_SENT, CHECKS, OVERRUN, NO_PATIENCE,
	VIOLATIONS,
	COUNTS
};

static const char * const names[COUNTS] = {
	"stat", "stat below", "open", "readdir", "create", "mkdir", "unlink", "rmdir", "rename",
	"exchange", "inval", "expire", "delete", "delete of another",
	"lookups that reached the daemon", "notifications that returned -ENOENT",
	"notifications that returned -ENOTEMPTY", "notifications not sent", "checks",
	"looks that took too long to be checked", "ESTALE", "violations",
};

/* What a name led to, and how that was made known. Times are in microseconds. */
struct version {
	atomic_ulong ino, since, known;
	atomic_int how, answer;
};

struct slot {
	char path[32], *name;
	fuse_ino_t dir;
	atomic_ulong top, notified;	/* versions: the newest, and the last notified */
	struct version versions[VERSIONS];
	atomic_ulong gone;	/* an inode that will never be anywhere again */
	atomic_ulong violated;	/* a version, so as to tell once */
};

struct worker {
	pthread_t thread;
	atomic_ulong calls;	/* odd in a call */
	atomic_int call, slot;
	int notifier;		/* less than 0: a client */
	atomic_bool done;
};

/* What both processes share. */
static struct shared {
	atomic_bool stop, quiet, finished, aborted;
	atomic_ulong counts[COUNTS];
	struct worker workers[WORKERS];
	struct slot slots[SLOTS];
} *sh;

static unsigned long nr_seconds, seed;
static __thread unsigned long random_state;
static bool skip_notify;
static struct fuse_session *session;
static pthread_mutex_t namespace_lock = PTHREAD_MUTEX_INITIALIZER;

static unsigned long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000UL + ts.tv_nsec / 1000;
}

static void nap(unsigned int us)
{
	nanosleep(&(struct timespec) { .tv_nsec = us * 1000L }, NULL);
}

static unsigned long rnd(unsigned long nr)
{
	random_state = random_state * 6364136223846793005UL + (seed << 1 | 1);
	return (random_state >> 33) % nr;
}

static struct version *version_of(struct slot *s, unsigned long version)
{
	return &s->versions[version % VERSIONS];
}

/* What is true now: for whoever holds the lock, or is the only one to change it. */
static unsigned long truth(struct slot *s)
{
	return version_of(s, s->top)->ino;
}

static void begin(struct worker *w, enum count call, const struct slot *s)
{
	w->call = call;
	w->slot = s ? s - sh->slots : -1;
	w->calls++;
}

static void end(struct worker *w)
{
	w->calls++;
	sh->counts[w->call]++;
}

/*
 * The judge.
 */

struct look {
	enum count call;
	unsigned long notified, begun;	/* when it began */
	unsigned long ino;
	int err;
};

/* The first ones are told; and nothing works any more when the other process gives up. */
static bool tells_violation(void)
{
	return !sh->aborted && sh->counts[VIOLATIONS]++ < 10;
}

static bool explains(unsigned long ino, const struct look *l, bool replaced)
{
	bool parent = ino & INO_PARENT;

	if (l->call != WALK)
		return l->err ? l->err == ENOENT && !ino : ino == l->ino;
	if (!l->err)
		return parent && (ino | INO_CHILD) == l->ino;
	if (l->err == ENOTDIR)
		return ino && !(ino & INO_DIR);
	/* Nothing is found any more below a directory that was found and then deleted. */
	return l->err == ENOENT && (!ino || (ino & INO_DIR && (!parent || replaced)));
}

/* One line says what was seen, and the next one what has been true lately. */
static void tell(struct slot *s, const struct look *l, unsigned long top)
{
	unsigned long v, first = l->notified;
	char history[600];
	size_t len = 0;

	if (atomic_exchange(&s->violated, top + 1) == top + 1 || !tells_violation())
		return;
	while (first && l->notified - first < 3 && !explains(version_of(s, first)->ino, l, false))
		first--;
	for (v = first; v <= top && len < sizeof(history) / 2; v++) {
		struct version *version = version_of(s, v);

		len += snprintf(history + len, sizeof(history) / 2, "; %lu: inode %lu since %lu",
				v, version->ino, version->since);
		if (version->known)
			len += snprintf(history + len, sizeof(history) / 4,
					", %s answered %d at %lu", names[version->how],
					version->answer, version->known);
	}
	printf("# violation: %s of %s from %lu to %lu us saw inode %lu (%s), but version %lu\n"
	       "#   was known%s\n", names[l->call], s->path, l->begun, now(), l->ino,
	       strerror(l->err), l->notified, history);
}

static void judge(struct slot *s, const struct look *l)
{
	/* What was answered was true before, so it is not newer than this. */
	unsigned long v, top = s->top;
	enum count verdict = VIOLATIONS;

	for (v = top + 1; v-- > l->notified && top - v < VERSIONS / 2;) {
		if (explains(version_of(s, v)->ino, l, v < top))
			verdict = CHECKS;
	}
	/* To find a directory that the daemon has renamed takes locks, and no patience. */
	if (l->err == ESTALE && !sh->quiet)
		verdict = NO_PATIENCE;
	else if (s->top - l->notified >= VERSIONS / 2)
		verdict = OVERRUN;
	if (verdict == VIOLATIONS)
		tell(s, l, top);
	else
		sh->counts[verdict]++;
}

/* From here on nothing older than a version may be seen. */
static void make_known(struct slot *s, unsigned long version, enum count how, int answer)
{
	struct version *v = version_of(s, version);

	v->how = how;
	v->answer = answer;
	v->known = now();
	s->notified = version;
}

/*
 * What clients do, and notifiers too.
 */

static void look(struct worker *w, struct slot *s, enum count call, bool judged)
{
	struct look l = { .call = call };
	struct stat st = {};
	char path[40];
	int fd;

	snprintf(path, sizeof(path), call == WALK ? "%s/c" : "%s", s->path);
	l.notified = s->notified;
	l.begun = now();
	begin(w, call, s);
	if (call == OPEN) {
		fd = open(path, O_RDONLY);
		l.err = fd < 0 || fstat(fd, &st) ? errno : 0;
		if (fd >= 0)
			close(fd);
	} else {
		l.err = stat(path, &st) ? errno : 0;
	}
	end(w);
	l.ino = st.st_ino;
	if (judged)
		judge(s, &l);
}

static void look_somehow(struct worker *w, struct slot *s)
{
	static const enum count calls[] = { STAT, STAT, STAT, WALK, OPEN };

	look(w, s, calls[rnd(5)], s >= sh->slots + SHARED);
}

static void read_dir(struct worker *w)
{
	static const char * const dirs[] = { MOUNT, MOUNT "/d0", MOUNT "/d1", MOUNT "/d2" };
	char buf[4096];
	int fd;

	begin(w, READDIR, NULL);
	fd = open(dirs[rnd(DIRS + 1)], O_RDONLY | O_DIRECTORY);
	while (fd >= 0 && syscall(SYS_getdents64, fd, buf, sizeof(buf)) > 0)
		;
	if (fd >= 0)
		close(fd);
	end(w);
}

/* Returns the errno of a call that changes one name, or two. */
static int change(struct worker *w, enum count call, const struct slot *s, const struct slot *to)
{
	int err;

	begin(w, call, s);
	if (call == CREATE) {
		err = open(s->path, O_CREAT | O_EXCL | O_RDWR, 0644);
		if (err >= 0)
			err = close(err);
	} else if (call == MKDIR) {
		err = mkdir(s->path, 0755);
	} else if (call == UNLINK || call == RMDIR) {
		err = call == UNLINK ? unlink(s->path) : rmdir(s->path);
	} else {
		err = renameat2(0, s->path, 0, to->path, call == EXCHANGE ? RENAME_EXCHANGE : 0);
	}
	err = err ? errno : 0;
	end(w);
	return err;
}

static void change_shared(struct worker *w)
{
	enum count call = CREATE + rnd(EXCHANGE - CREATE + 1);
	int err = change(w, call, &sh->slots[rnd(SHARED)], &sh->slots[rnd(SHARED)]);

	if (err && err != ENOENT && err != EEXIST && err != EISDIR && err != ENOTDIR &&
	    err != ENOTEMPTY && err != ESTALE && tells_violation())
		printf("# violation: %s of a shared name: %s\n", names[call], strerror(err));
}

/*
 * The daemon. Its answers are now and then late.
 */

static void set_ino(struct slot *s, unsigned long ino)
{
	struct version *v = version_of(s, s->top + 1);

	v->ino = ino;
	v->since = now();
	v->known = 0;
	s->top++;
}

/* Returns the inode that is gone, or 0. */
static unsigned long replace(struct slot *s, unsigned long ino)
{
	unsigned long gone = truth(s);

	set_ino(s, ino);
	if (gone)
		s->gone = gone;
	return gone;
}

static unsigned long move(struct slot *s, struct slot *to, bool exchange)
{
	unsigned long ino = truth(s), ino_to = truth(to);

	set_ino(s, exchange ? ino_to : 0);
	if (!exchange)
		return replace(to, ino);
	set_ino(to, ino);
	return 0;
}

static unsigned long new_ino(unsigned long bits)
{
	static unsigned long last;

	last += 64;
	return last | bits;
}

static void fill_entry(unsigned long ino, struct fuse_entry_param *e)
{
	bool dir = ino <= FUSE_ROOT_ID + DIRS || (ino & INO_DIR && !(ino & INO_CHILD));

	memset(e, 0, sizeof(*e));
	e->ino = ino;
	e->entry_timeout = 3600;
	e->attr_timeout = 3600;
	e->attr.st_ino = ino;
	e->attr.st_mode = dir ? S_IFDIR | 0755 : S_IFREG | 0644;
	e->attr.st_nlink = 1;
}

static struct slot *find_slot(fuse_ino_t dir, const char *name)
{
	unsigned long i = strtoul(name + 1, NULL, 10);

	return i < SLOTS && dir == sh->slots[i].dir && !strcmp(name, sh->slots[i].name) ?
	       &sh->slots[i] : NULL;
}

static unsigned long find_ino(fuse_ino_t dir, const char *name)
{
	struct slot *s;

	if (dir == FUSE_ROOT_ID)
		return name[0] == 'd' ? FUSE_ROOT_ID + 1UL + name[1] - '0' : 0;
	if (dir > FUSE_ROOT_ID + DIRS)
		return dir & INO_PARENT && !strcmp(name, "c") ? dir | INO_CHILD : 0;
	s = find_slot(dir, name);
	return s ? truth(s) : 0;
}

static void unlock_and_nap(void)
{
	pthread_mutex_unlock(&namespace_lock);
	if (!rnd(32))
		nap(rnd(3000));
}

/* Answers to what was done with the lock held. */
static void unlock_and_reply(fuse_req_t req, int err, const struct fuse_entry_param *e,
			     const struct fuse_file_info *fi)
{
	unlock_and_nap();
	if (err || !e)
		fuse_reply_err(req, err);
	else if (fi)
		fuse_reply_create(req, e, fi);
	else
		fuse_reply_entry(req, e);
}

static void do_init(void *data, struct fuse_conn_info *conn)
{
	/* Nothing here needs splice; and all that is read is to be cached. */
	conn->want &= ~(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
			FUSE_CAP_READDIRPLUS_AUTO);
}

static void do_lookup(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	struct fuse_entry_param e;

	sh->counts[LOOKUPS]++;
	pthread_mutex_lock(&namespace_lock);
	fill_entry(find_ino(dir, name), &e);
	unlock_and_reply(req, 0, &e, NULL);
}

static void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fuse_entry_param e;

	fill_entry(ino, &e);
	fuse_reply_attr(req, &e.attr, 3600);
}

/* The names that are changed are all slots. */
static void make(fuse_req_t req, fuse_ino_t dir, const char *name, unsigned long bits,
		 struct fuse_file_info *fi)
{
	struct slot *s = find_slot(dir, name);
	struct fuse_entry_param e;
	int err;

	pthread_mutex_lock(&namespace_lock);
	err = truth(s) ? EEXIST : 0;
	if (!err)
		set_ino(s, new_ino(bits));
	fill_entry(truth(s), &e);
	unlock_and_reply(req, err, &e, fi);
}

static void do_mkdir(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode)
{
	make(req, dir, name, INO_DIR, NULL);
}

static void do_create(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	make(req, dir, name, 0, fi);
}

/* A name to another one, or away: for unlink and rmdir, of which the kernel knows the right one. */
static void change_names(fuse_req_t req, struct slot *s, struct slot *to, bool exchange)
{
	int err = 0;

	pthread_mutex_lock(&namespace_lock);
	if (!truth(s) || (exchange && !truth(to)))
		err = ENOENT;
	else if (!exchange && truth(to ? to : s) & INO_PARENT)
		err = ENOTEMPTY;
	else if (to)
		move(s, to, exchange);
	else
		replace(s, 0);
	unlock_and_reply(req, err, NULL, NULL);
}

static void do_remove(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	change_names(req, find_slot(dir, name), NULL, false);
}

static void do_rename(fuse_req_t req, fuse_ino_t dir, const char *name, fuse_ino_t dir_to,
		      const char *name_to, unsigned int flags)
{
	change_names(req, find_slot(dir, name), find_slot(dir_to, name_to),
		     flags & RENAME_EXCHANGE);
}

static void do_readdirplus(fuse_req_t req, fuse_ino_t dir, size_t size, off_t off,
			   struct fuse_file_info *fi)
{
	static const char * const others[] = { "d0", "d1", "d2", "c" };
	struct fuse_entry_param e;
	size_t len = 0, more;
	char buf[4096];

	if (size > sizeof(buf))
		size = sizeof(buf);
	pthread_mutex_lock(&namespace_lock);
	for (; off < 4 + SLOTS; off++) {
		const char *name = off < 4 ? others[off] : sh->slots[off - 4].name;

		fill_entry(find_ino(dir, name), &e);
		if (!e.ino)
			continue;
		more = fuse_add_direntry_plus(req, buf + len, size - len, name, &e, off + 1);
		if (more > size - len)
			break;
		len += more;
	}
	unlock_and_nap();
	fuse_reply_buf(req, buf, len);
}

static const struct fuse_lowlevel_ops ops = {
	.init = do_init, .lookup = do_lookup, .getattr = do_getattr, .mkdir = do_mkdir,
	.create = do_create, .unlink = do_remove, .rmdir = do_remove, .rename = do_rename,
	.readdirplus = do_readdirplus,
};

/*
 * Notifiers.
 */

/* No lock may be held here that a handler takes: this may have to wait for handlers. */
static int notify(struct worker *w, enum count call, fuse_ino_t dir, fuse_ino_t child,
		  const char *name, const struct slot *s)
{
	size_t len = strlen(name);
	int err;

	begin(w, call, s);
	if (call == INVAL)
		err = fuse_lowlevel_notify_inval_entry(session, dir, name, len);
	else if (call == EXPIRE)
#if FUSE_MINOR_VERSION < 15
		err = fuse_lowlevel_notify_expire_entry(session, dir, name, len,
							FUSE_LL_EXPIRE_ONLY);
#else
		err = fuse_lowlevel_notify_expire_entry(session, dir, name, len);
#endif
	else
		err = fuse_lowlevel_notify_delete(session, dir, child, name, len);
	end(w);
	if (err == -ENOENT)
		sh->counts[NOT_FOUND]++;
	else if (err == -ENOTEMPTY && call == DELETE)
		sh->counts[NOT_EMPTY]++;
	else if (err && tells_violation())
		printf("# violation: %s of %s in inode %lu answered %d\n", names[call], name, dir,
		       err);
	return err;
}

static void notify_version(struct worker *w, struct slot *s, unsigned long version,
			   enum count call, fuse_ino_t child)
{
	static atomic_ulong nr;
	int answer = 0;

	if (skip_notify && nr++ % 20 == 19)
		sh->counts[NOT_SENT]++;
	else
		answer = notify(w, call, s->dir, child, s->name, s);
	make_known(s, version, call, answer);
}

/* Never says that an inode was deleted which is still somewhere. */
static enum count any_notification(unsigned long gone, fuse_ino_t *child)
{
	enum count call = INVAL + rnd(4);

	if (call == DELETE && !gone)
		call = DELETE_OTHER;
	*child = call == DELETE ? gone : INO_NEVER;
	return call;
}

/* Change one name or two behind the kernel's back, and notify. */
static void change_behind(struct worker *w, struct slot *s, struct slot *to)
{
	static const unsigned long bits[] = { 0, 0, INO_DIR, INO_DIR | INO_PARENT };
	unsigned long gone[2] = {}, version[2];
	int i, n, nr = s == to ? 1 : 2, turn = rnd(nr);
	struct slot *both[2] = { s, to };
	fuse_ino_t child;
	enum count call;

	pthread_mutex_lock(&namespace_lock);
	if (nr == 1)
		gone[0] = replace(s, truth(s) && rnd(2) ? 0 : new_ino(bits[rnd(4)]));
	else
		gone[1] = move(s, to, rnd(2));
	for (i = 0; i < nr; i++)
		version[i] = both[i]->top;
	pthread_mutex_unlock(&namespace_lock);

	for (n = 0; n < nr; n++) {
		i = n ^ turn;
		call = any_notification(gone[i], &child);
		notify_version(w, both[i], version[i], call, child);
	}
	for (i = 0; i < nr; i++)
		look_somehow(w, both[i]);
}

/* Change own names as any user does: it is known what that answers. */
static void use(struct worker *w, struct slot *s, struct slot *to)
{
	unsigned long ino = truth(s), ino_to = truth(to);
	enum count call = rnd(2) ? CREATE : MKDIR;
	int err, expected = ino ? EEXIST : 0;

	if (ino && ino_to && s != to && !rnd(3)) {
		call = EXCHANGE;
		expected = 0;
	} else if (ino && s != to && rnd(2)) {
		call = RENAME;
		expected = !ino_to ? 0 :
			   !((ino ^ ino_to) & INO_DIR) ? ino_to & INO_PARENT ? ENOTEMPTY : 0 :
			   ino & INO_DIR ? ENOTDIR : EISDIR;
	} else if (ino && rnd(3)) {
		call = ino & INO_DIR ? RMDIR : UNLINK;
		expected = ino & INO_PARENT ? ENOTEMPTY : 0;
	}
	err = change(w, call, s, to);
	make_known(s, s->top, call, -err);
	make_known(to, to->top, call, -err);
	if (err != expected && err != ESTALE && tells_violation())
		printf("# violation: %s of %s (inode %lu; %s: %lu) answered %d, not %d\n",
		       names[call], s->path, ino, to->path, ino_to, err, expected);
	look_somehow(w, s);
	look_somehow(w, to);
}

/* To no purpose, as far as this thread knows. */
static void notify_anything(struct worker *w)
{
	static const char * const others[] = { "d0", "d1", "d2", "nothing" };
	struct slot *s = &sh->slots[rnd(SLOTS)];
	unsigned long n = rnd(16), gone = s->gone;
	fuse_ino_t child;
	enum count call = any_notification(n < 6 ? 0 : gone, &child);

	if (n < 4)
		notify(w, call, FUSE_ROOT_ID, child, others[n], NULL);
	else if (n < 6 && gone & INO_DIR)
		notify(w, call, gone, child, "c", NULL);
	else
		notify(w, call, s->dir, child, s->name, s);
}

static void *run_worker(void *data)
{
	struct worker *w = data;
	struct slot *own = &sh->slots[SHARED + w->notifier * OWNED];

	random_state = w - sh->workers;
	while (!sh->stop && !sh->aborted) {
		unsigned long n = rnd(100);

		if (w->notifier < 0) {
			if (n < 4)
				read_dir(w);
			else if (n < 25)
				change_shared(w);
			else
				look_somehow(w, &sh->slots[rnd(SLOTS)]);
		} else if (n < 45) {
			change_behind(w, own + rnd(OWNED), own + rnd(OWNED));
		} else if (n < 60) {
			use(w, own + rnd(OWNED), own + rnd(OWNED));
		} else if (n < 90) {
			notify_anything(w);
		} else {
			change_behind(w, &sh->slots[rnd(SHARED)], &sh->slots[rnd(SHARED)]);
		}
	}
	w->done = true;
	return NULL;
}

/* Runs all workers, and then looks at everything: what is true, and still when it is cached. */
static void *run_all(void *data)
{
	struct worker *w = data;
	struct stat st;
	int i;

	/* Notifications are refused before the first request. */
	if (stat(MOUNT "/d0", &st))
		exit(1);
	for (i = 0; i < WORKERS; i++)
		if (pthread_create(&w[i].thread, NULL, run_worker, &w[i]))
			exit(1);
	for (i = 0; i < WORKERS; i++)
		pthread_join(w[i].thread, NULL);
	w->done = false;
	sh->quiet = true;
	for (i = 0; i < SLOTS; i++)
		notify_version(w, &sh->slots[i], sh->slots[i].top, INVAL, 0);
	for (i = 0; i < 2 * SLOTS; i++) {
		look(w, &sh->slots[i % SLOTS], STAT, true);
		look(w, &sh->slots[i % SLOTS], WALK, true);
	}
	sh->finished = true;
	return NULL;
}

static int run_daemon(int fd)
{
	struct fuse_args args = FUSE_ARGS_INIT(1, (char *[]) { (char *)"soak" });
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	pthread_t thread;
	char path[32];

	/* libfuse complains about every notification that returns -ENOTEMPTY. */
	dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
	snprintf(path, sizeof(path), "/dev/fd/%d", fd);
	session = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	if (!session || fuse_session_mount(session, path) ||
	    pthread_create(&thread, NULL, run_all, sh->workers))
		return 1;
	return fuse_session_loop_mt(session, config) || pthread_join(thread, NULL);
}

/*
 * The process that watches, and does nothing that may have to wait for the other.
 */

/* Returns the exit status or the signal, or -1 if it takes too long. */
static int wait_for(pid_t pid, unsigned int ms)
{
	int status;

	do {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		nap(1000);
	} while (ms--);
	return -1;
}

static int unmount(int flags)
{
	pid_t pid = fork();

	if (!pid)
		_exit(umount2(MOUNT, flags) ? errno : 0);
	return wait_for(pid, 10000);
}

static bool some_hang(void)
{
	static unsigned long calls[WORKERS], since[WORKERS];
	bool any = false;
	int i;

	for (i = 0; i < WORKERS; i++) {
		unsigned long n = sh->workers[i].calls;
		int slot = sh->workers[i].slot;

		if (n != calls[i] || !since[i] || sh->workers[i].done)
			since[i] = now();
		calls[i] = n;
		if (now() - since[i] < HANG * 1000000UL)
			continue;
		any = true;
		printf("# hangs: thread %d for %d s %s %s of %s\n", i, HANG, n & 1 ? "in" : "after",
		       names[sh->workers[i].call], slot < 0 ? MOUNT : sh->slots[slot].path);
	}
	return any;
}

/* Returns why it did not come to its end, or NULL. */
static const char *supervise(pid_t daemon)
{
	unsigned long start = now();

	while (!sh->finished) {
		nap(50000);
		if (wait_for(daemon, 0) >= 0)
			return "the daemon died";
		if (some_hang())
			return "hangs";
		if (now() - start >= nr_seconds * 1000000)
			sh->stop = true;
	}
	if (unmount(0))
		return "cannot be unmounted";
	return wait_for(daemon, 10000) ? "the daemon did not end well" : NULL;
}

/* The guest ends with this, so nothing is undone. Returns the device. */
static int prepare_mount(void)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char options[64];

	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	return fd < 0 || mkdir(MOUNT, 0700) ||
	       mount("soak", MOUNT, "fuse", MS_NOSUID | MS_NODEV, options) ? -1 : fd;
}

static void prepare(void)
{
	int i;

	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sh == MAP_FAILED)
		exit(1);
	for (i = 0; i < WORKERS; i++)
		sh->workers[i].notifier = i - CLIENTS;
	for (i = 0; i < SLOTS; i++) {
		struct slot *s = &sh->slots[i];

		s->dir = FUSE_ROOT_ID + 1 + i % DIRS;
		snprintf(s->path, sizeof(s->path), MOUNT "/d%d/%c%d", i % DIRS,
			 i < SHARED ? 's' : 'o', i);
		s->name = strrchr(s->path, '/') + 1;
	}
}

int main(int argc, char **argv)
{
	unsigned long start = now(), n;
	const char *why;
	pid_t daemon;
	bool ok;
	int fd, i;

	setlinebuf(stdout);
	if (argc < 3) {
		printf("soak SECONDS SEED [skip-notify]\n");
		return 2;
	}
	nr_seconds = strtoul(argv[1], NULL, 10);
	seed = strtoul(argv[2], NULL, 10);
	skip_notify = argc > 3;
	printf("KTAP version 1\n1..1\n");
	prepare();
	fd = prepare_mount();
	if (fd < 0) {
		printf("ok 1 soak # SKIP cannot mount FUSE: %s\n", strerror(errno));
		return 4;
	}
	daemon = fork();
	if (!daemon)
		_exit(run_daemon(fd));
	close(fd);

	why = supervise(daemon);
	if (why) {
		/* No request waits any more after this, and all threads can be killed. */
		sh->aborted = true;
		unmount(MNT_FORCE);
		kill(daemon, SIGKILL);
		if (wait_for(daemon, 5000) < 0)
			printf("# the daemon cannot be killed\n");
	}
	for (i = 0; i < COUNTS; i++) {
		n = sh->counts[i];
		printf("# %s: %lu (%lu/s)\n", names[i], n, n * 1000000 / (now() - start));
	}
	if (sh->counts[NO_PATIENCE] * 100 > sh->counts[CHECKS])
		why = "ESTALE is the answer too often";
	ok = !why && sh->counts[CHECKS] && !sh->counts[VIOLATIONS];
	if (why)
		printf("# %s\n", why);
	printf("%s 1 soak\n", ok ? "ok" : "not ok");
	return !ok;
}
