// SPDX-License-Identifier: GPL-2.0
/*
 * soak - names that change behind the kernel's back, for as long as one likes
 *
 * Property P1 of fuse_reverse_inval_entry(): no lookup that starts after the
 * notification has returned is answered from what was cached before it. Here are
 *
 *	a daemon	with libfuse, many threads, and everything cached for an hour
 *	notifiers	threads of it that change names behind the kernel's back and
 *			notify; also for names of others, and to no purpose
 *	clients		a process with threads that look at all names, make, remove
 *			and rename some, read and move directories, and drop caches
 *	a judge		which compares what any of them sees with what was true
 *
 * and the process that starts them, watches that they get on, and reports.
 *
 * The judge knows nothing of the daemon but the history of each name: its versions,
 * and its notes, which say that from now on nothing older than some version may be
 * seen. What is seen must have been true between the last note before the look
 * began and the end of the look.
 *
 * An answer that is on its way when the daemon changes its mind is cached all the
 * same: that is a limit of the fix, not a mistake of it. So the notifier writes down
 * which calls are under way when it changes a name. When they all have ended before
 * it notifies, its note is strict; it waits for that three times out of four. When
 * not, a look may also see what the last strict note permits, and that is counted as
 * a late answer.
 *
 * Who changes a name?
 *
 *	o<N>	one notifier: behind the kernel's back, or as any user does. It does
 *		the latter only if the last note is strict: the kernel renames
 *		whatever it believes to be there. All that is seen is judged, and so
 *		is what its own calls answer.
 *	s<N>	everybody in every way. Then it is nobody's mistake that a rename takes
 *		what is stale to a name that nobody notifies, so they are judged
 *		every few seconds, when everything rests and was notified.
 *	x<N>	nobody. It does not exist.
 *
 * They are in three directories, of which clients move one, and notifiers invalidate
 * all. An inode number is used once and says what the inode is, so the daemon needs
 * no table of them: a directory may hold a file "c", and whoever sees that has seen
 * its directory.
 */

#define _GNU_SOURCE
#define FUSE_USE_VERSION 312

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOUNT		"/tmp/soak"
#define DIRS		3	/* d0 and d1 stay, d2 is in the root or in d1 */
#define OWNED		2	/* names of each notifier in each directory */
#define SHARED		4	/* names of all in each directory */
#define VERSIONS	1024	/* so many are remembered */
#define NOTES		16
#define MAX_WORKERS	64
#define MAX_SLOTS	(DIRS * (MAX_WORKERS * OWNED + SHARED + 1))
#define HOT		8
#define MESSAGES	10	/* violations that are told, not only counted */
#define REST_SECONDS	5

/* Inode numbers. Those of d0, d1, d2 follow that of the root. */
#define INO_DIR		1UL
#define INO_HAS_CHILD	2UL
#define INO_BITS	3
#define INO_CHILD	0x1000000000000000UL
#define INO_NEVER	(~0UL)

enum kind {
	/* looks */
	STAT, WALK, OPEN,
	/* other calls of clients */
	READDIR, CREATE, MKDIR, UNLINK, RMDIR, RENAME, EXCHANGE, MOVE, DROP,
	/* notifications */
	INVAL, EXPIRE, DELETE, DELETE_OTHER,
	CALLS
};

static const char * const call_names[CALLS] = {
	"stat", "stat below", "open", "readdir", "create", "mkdir", "unlink", "rmdir", "rename",
	"exchange", "move of d2", "drop of caches", "inval", "expire", "delete",
	"delete of another",
};

enum verdict { STRICT, EXACT, LOOSE, LATE, UNJUDGED, VIOLATION, VERDICTS };

/* From here on nothing may be seen that is older than a version. */
struct note {
	enum kind call;
	int answer;
	unsigned long version;	/* what was notified */
	unsigned long strict;	/* older than this is not even a late answer */
	unsigned long begun, ended;
};

/* A name, and what it has led to. */
struct slot {
	char name[8];
	int dir;
	int owner;		/* a notifier, or -1 */
	unsigned long group;	/* bit of all that are renamed to each other */
	atomic_ulong top;	/* the newest version */
	struct {
		atomic_ulong ino, since;
	} versions[VERSIONS];
	atomic_ulong notes;
	struct note note[NOTES];
	atomic_ulong gone;	/* an inode that will never be there again */
	/* the last version instead of which something was seen */
	atomic_ulong late, violated;
};

struct worker {
	atomic_ulong calls;	/* odd in a call */
	atomic_ulong groups;	/* that the call has to do with */
	atomic_int call, slot;
	atomic_bool parked, ended;
	int id;
	bool notifier;
	int root, dirs[DIRS];
	unsigned long random;
	atomic_ulong counts[CALLS], verdicts[VERDICTS];
	atomic_ulong enoent, enotempty, skipped;
};

/* What all processes share. */
static struct shared {
	atomic_bool ready, rest, stop, finished, aborted;
	atomic_int opened;
	atomic_ulong lookups, late, violations;
	atomic_int hot[HOT];
	atomic_int home;	/* 1: d2 is in d1 */
	int nr_workers, nr_slots;
	struct worker workers[MAX_WORKERS];
	struct slot slots[MAX_SLOTS];
} *sh;

static int opt_clients = 4, opt_notifiers = 3, opt_seconds = 60, opt_hang = 30;
static unsigned long opt_seed;
static bool break_skip, break_grace;

static struct fuse_session *session;
static pthread_mutex_t namespace_lock = PTHREAD_MUTEX_INITIALIZER;
static bool can_expire;

static unsigned long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000UL + ts.tv_nsec / 1000;
}

static void nap(unsigned int us)
{
	struct timespec ts = { .tv_nsec = us * 1000L };

	nanosleep(&ts, NULL);
}

static unsigned long random_from(unsigned long *state, unsigned long nr)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (*state >> 11) % nr;
}

static unsigned long rnd(struct worker *w, unsigned long nr)
{
	return random_from(&w->random, nr);
}

static void add(atomic_ulong *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static struct slot *any_slot(struct worker *w)
{
	return &sh->slots[rnd(w, sh->nr_slots)];
}

static unsigned long version_ino(const struct slot *s, unsigned long version)
{
	return atomic_load(&s->versions[version % VERSIONS].ino);
}

/* What is true now: for whoever holds the lock, or is the only one to change it. */
static unsigned long truth(const struct slot *s)
{
	return version_ino(s, atomic_load(&s->top));
}

/*
 * Calls, and those of others.
 */

static void begin(struct worker *w, enum kind call, const struct slot *s, unsigned long groups)
{
	atomic_store(&w->call, call);
	atomic_store(&w->slot, s ? s - sh->slots : -1);
	atomic_store(&w->groups, groups);
	/* Either the change is seen by the call, or the call by whoever made the change. */
	atomic_fetch_add(&w->calls, 1);
}

/* Keeps errno. */
static void end(struct worker *w)
{
	atomic_fetch_add(&w->calls, 1);
	add(&w->counts[atomic_load(&w->call)]);
}

struct under_way {
	unsigned long calls[MAX_WORKERS];
};

/* Which calls could be told what was true until now, and cache it? */
static void note_calls(const struct slot *s, struct under_way *u)
{
	int i;

	for (i = 0; i < sh->nr_workers; i++) {
		u->calls[i] = atomic_load(&sh->workers[i].calls);
		if (!(atomic_load(&sh->workers[i].groups) & s->group))
			u->calls[i] = 0;
	}
}

static bool some_left(const struct under_way *u)
{
	int i;

	for (i = 0; i < sh->nr_workers; i++)
		if (u->calls[i] & 1 && atomic_load(&sh->workers[i].calls) == u->calls[i])
			return true;
	return false;
}

static void wait_for_calls(const struct under_way *u)
{
	unsigned int n = 0;

	while (some_left(u) && !atomic_load(&sh->aborted)) {
		if (n++ < 20)
			sched_yield();
		else
			nap(100);
	}
}

/*
 * The judge.
 */

static const char *ino_text(unsigned long ino, char *buf, size_t size)
{
	if (!ino)
		snprintf(buf, size, "absent");
	else
		snprintf(buf, size, "%s %lu", ino & INO_DIR ? "directory" : "file",
			 ino >> INO_BITS);
	return buf;
}

static void violated(struct worker *w, const char *fmt, ...)
{
	const char *who = w->notifier ? "notifier" : "client";
	char text[1024];
	va_list args;

	/* Then nothing works any more, and says nothing any more. */
	if (atomic_load(&sh->aborted))
		return;
	add(&w->verdicts[VIOLATION]);
	if (atomic_fetch_add(&sh->violations, 1) >= MESSAGES)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	printf("# violation, seen by %s %d: %s\n", who, w->id, text);
}

struct look {
	enum kind call;
	struct note note;	/* the last one when it began */
	unsigned long notes, begun, ended;
	int err;
	unsigned long ino;
};

static void read_note(const struct slot *s, struct look *l)
{
	l->notes = atomic_load(&s->notes);
	if (l->notes)
		l->note = s->note[l->notes % NOTES];
	else
		memset(&l->note, 0, sizeof(l->note));
}

static bool explains(unsigned long ino, const struct look *l, bool replaced)
{
	bool has_child = ino & INO_HAS_CHILD;

	if (l->call != WALK)
		return l->err ? l->err == ENOENT && !ino : ino == l->ino;
	if (!l->err)
		return has_child && (ino | INO_CHILD) == l->ino;
	if (l->err == ENOTDIR)
		return ino && !(ino & INO_DIR);
	/* Nothing is found any more below a directory that was found and then deleted. */
	return l->err == ENOENT && (!ino || (ino & INO_DIR && (!has_child || replaced)));
}

static void tell(struct worker *w, struct slot *s, const struct look *l, unsigned long top)
{
	unsigned long v, oldest = top < VERSIONS / 2 ? 0 : top - VERSIONS / 2;
	char seen[64], allowed[256] = "", when[64] = "never true", buf[64];
	size_t len = 0;

	for (v = l->note.strict; v <= top && len < sizeof(allowed) - 64; v++)
		len += snprintf(allowed + len, sizeof(allowed) - len, "%s%s", len ? ", " : "",
				ino_text(version_ino(s, v), buf, sizeof(buf)));
	for (v = top; v > oldest; v--) {
		if (!explains(version_ino(s, v - 1), l, false))
			continue;
		snprintf(when, sizeof(when), "version %lu, true until %lu us", v - 1,
			 atomic_load(&s->versions[v % VERSIONS].since));
		break;
	}
	if (l->err)
		snprintf(seen, sizeof(seen), "%s", strerror(l->err));
	else
		ino_text(l->ino & ~INO_CHILD, seen, sizeof(seen));
	/* One message about each version is enough. */
	if (atomic_exchange(&s->violated, top + 1) == top + 1) {
		add(&w->verdicts[VIOLATION]);
		return;
	}
	violated(w,
		 "%s of d%d/%s from %lu to %lu us saw: %s (%s); allowed, as versions %lu to %lu: %s; "
		  "last note: %s of version %lu (strict: %lu) answered %d, from %lu to %lu us",
		  call_names[l->call], s->dir, s->name, l->begun, l->ended, seen, when,
		  l->note.strict, top, allowed, l->notes ? call_names[l->note.call] : "none",
		  l->note.version, l->note.strict, l->note.answer, l->note.begun, l->note.ended);
}

static void judge(struct worker *w, struct slot *s, const struct look *l)
{
	/* The answer was true before it was given, so it is not newer than this. */
	unsigned long v, top = atomic_load(&s->top);
	enum verdict verdict = VIOLATION;

	for (v = top + 1; v-- > l->note.strict && top - v < VERSIONS / 2;) {
		if (!explains(version_ino(s, v), l, v < top))
			continue;
		if (v < l->note.version)
			verdict = LATE;
		else if (l->note.strict != l->note.version)
			verdict = LOOSE;
		else
			verdict = v == top && v == l->note.version ? EXACT : STRICT;
		break;
	}
	/*
	 * Directories that the daemon has renamed are moved in the cache by whoever
	 * finds them first, and -ESTALE answered if that needs a lock that is taken.
	 */
	if (l->err == ESTALE || atomic_load(&s->top) - l->note.strict >= VERSIONS / 2 ||
	    atomic_load(&s->notes) - l->notes >= NOTES / 2)
		verdict = UNJUDGED;
	if (verdict == VIOLATION)
		tell(w, s, l, top);
	else
		add(&w->verdicts[verdict]);
	if (verdict == LATE && atomic_exchange(&s->late, l->note.version) != l->note.version)
		add(&sh->late);
}

/* Only the owner writes notes, or whoever it rests for. */
static void write_note(struct slot *s, const struct note *note)
{
	unsigned long notes = atomic_load(&s->notes) + 1;

	s->note[notes % NOTES] = *note;
	atomic_store(&s->notes, notes);
}

/*
 * Calls that any thread makes.
 */

/* Through the root or from the directory, which is found even where its name is not cached. */
static int any_path(struct worker *w, const struct slot *s, char *path, size_t size)
{
	bool deep = s->dir < 2 && rnd(w, 2);

	snprintf(path, size, deep ? "d%d/%s" : "%.0d%s", s->dir, s->name);
	if (!deep)
		snprintf(path, size, "%s", s->name);
	return deep ? w->root : w->dirs[s->dir];
}

static void look(struct worker *w, struct slot *s, enum kind call, bool judged)
{
	struct look l = { .call = call };
	struct stat st = {};
	char path[32];
	int at, fd;

	at = any_path(w, s, path, sizeof(path));
	if (call == WALK)
		strcat(path, "/c");
	read_note(s, &l);
	l.begun = now();
	begin(w, call, s, s->group);
	if (call == OPEN) {
		fd = openat(at, path, O_RDONLY);
		l.err = fd < 0 || fstat(fd, &st) ? errno : 0;
		if (fd >= 0)
			close(fd);
	} else {
		l.err = fstatat(at, path, &st, 0) ? errno : 0;
	}
	end(w);
	l.ended = now();
	l.ino = st.st_ino;
	if (judged)
		judge(w, s, &l);
}

static void look_somehow(struct worker *w, struct slot *s, bool judged)
{
	static const enum kind calls[] = { STAT, STAT, STAT, WALK, OPEN };

	look(w, s, calls[rnd(w, 5)], judged);
}

/* Returns the errno of a call that changes one name or two. */
static int change(struct worker *w, enum kind call, struct slot *s, struct slot *to)
{
	int at, at_to = -1, err, fd;
	char path[32], path_to[32];

	at = any_path(w, s, path, sizeof(path));
	if (to)
		at_to = any_path(w, to, path_to, sizeof(path_to));
	begin(w, call, s, s->group);
	switch (call) {
	case CREATE:
		fd = openat(at, path, O_CREAT | O_EXCL | O_RDWR, 0644);
		err = fd < 0;
		if (!err)
			close(fd);
		break;
	case MKDIR:
		err = mkdirat(at, path, 0755);
		break;
	case UNLINK:
	case RMDIR:
		err = unlinkat(at, path, call == RMDIR ? AT_REMOVEDIR : 0);
		break;
	default:
		err = renameat2(at, path, at_to, path_to, call == EXCHANGE ? RENAME_EXCHANGE : 0);
		break;
	}
	err = err ? errno : 0;
	end(w);
	return err;
}

/* Ends at the end of a run; rests meanwhile where somebody wants to look undisturbed. */
static bool go_on(struct worker *w)
{
	while (atomic_load(&sh->rest)) {
		atomic_store(&w->parked, true);
		while (atomic_load(&sh->rest))
			nap(1000);
		/* Whoever wants the next rest may still have seen us parked: look again. */
		atomic_store(&w->parked, false);
	}
	return !atomic_load(&sh->stop) && !atomic_load(&sh->aborted);
}

static void open_dirs(struct worker *w)
{
	static const char * const names[] = { "d0", "d1", "d2" };
	int i;

	w->root = open(MOUNT, O_PATH | O_DIRECTORY);
	for (i = 0; i < DIRS; i++) {
		w->dirs[i] = openat(w->root, names[i], O_PATH | O_DIRECTORY);
		if (w->dirs[i] < 0) {
			violated(w, "cannot open %s: %s", names[i], strerror(errno));
			atomic_store(&sh->aborted, true);
		}
	}
	atomic_fetch_add(&sh->opened, 1);
	while (atomic_load(&sh->opened) < sh->nr_workers && !atomic_load(&sh->aborted))
		nap(1000);
}

static void close_dirs(struct worker *w)
{
	int i;

	for (i = 0; i < DIRS; i++)
		close(w->dirs[i]);
	close(w->root);
	atomic_store(&w->ended, true);
}

/*
 * Clients.
 */

static void client_readdir(struct worker *w)
{
	int dir = rnd(w, DIRS + 1), fd;
	char buf[4096];

	/* Everything there may be cached by this. */
	begin(w, READDIR, NULL, ~0UL);
	fd = openat(dir < DIRS ? w->dirs[dir] : w->root, ".", O_RDONLY | O_DIRECTORY);
	while (fd >= 0 && syscall(SYS_getdents64, fd, buf, sizeof(buf)) > 0)
		;
	if (fd >= 0)
		close(fd);
	end(w);
}

static void client_move(struct worker *w)
{
	bool there = rnd(w, 2);

	begin(w, MOVE, NULL, 0);
	if (renameat2(there ? w->root : w->dirs[1], "d2", there ? w->dirs[1] : w->root, "d2",
		      RENAME_NOREPLACE) &&
	    errno != ENOENT && errno != EEXIST && errno != ESTALE)
		violated(w, "move of d2: %s", strerror(errno));
	end(w);
}

static void client_drop(struct worker *w)
{
	begin(w, DROP, NULL, 0);
	/* Drops all that is cached and not used, here and nowhere else. */
	if (mount(NULL, MOUNT, NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV, NULL))
		violated(w, "remount: %s", strerror(errno));
	end(w);
}

static struct slot *shared_slot(struct worker *w)
{
	/* They are the first. */
	return &sh->slots[rnd(w, DIRS * SHARED)];
}

static bool is_shared(const struct slot *s)
{
	return s - sh->slots < DIRS * SHARED;
}

static void client_change(struct worker *w)
{
	static const enum kind calls[] = {
		CREATE, CREATE, MKDIR, UNLINK, UNLINK, RMDIR, RENAME, RENAME, RENAME, EXCHANGE,
	};
	enum kind call = calls[rnd(w, 10)];

	switch (change(w, call, shared_slot(w), shared_slot(w))) {
	case 0:
	case ENOENT:
	case EEXIST:
	case EISDIR:
	case ENOTDIR:
	case ENOTEMPTY:
	case ESTALE:
		break;
	default:
		violated(w, "%s of a shared name: %s", call_names[call], strerror(errno));
	}
}

static void *run_client(void *data)
{
	struct worker *w = data;

	open_dirs(w);
	while (go_on(w)) {
		struct slot *s = any_slot(w);
		unsigned long n = rnd(w, 1000);

		if (n < 2) {
			client_drop(w);
		} else if (n < 12) {
			client_move(w);
		} else if (n < 50) {
			client_readdir(w);
		} else if (n < 250) {
			client_change(w);
		} else {
			if (n < 750)
				s = &sh->slots[atomic_load(&sh->hot[rnd(w, HOT)])];
			look_somehow(w, s, !is_shared(s));
		}
	}
	close_dirs(w);
	return NULL;
}

static int run_clients(void)
{
	pthread_t threads[MAX_WORKERS];
	int i;

	for (i = 0; i < opt_clients; i++)
		if (pthread_create(&threads[i], NULL, run_client, &sh->workers[i]))
			return 1;
	for (i = 0; i < opt_clients; i++)
		pthread_join(threads[i], NULL);
	return 0;
}

/*
 * The daemon. Its answers are now and then late.
 */

static void set_ino(struct slot *s, unsigned long ino)
{
	unsigned long top = atomic_load(&s->top) + 1;

	atomic_store(&s->versions[top % VERSIONS].ino, ino);
	atomic_store(&s->versions[top % VERSIONS].since, now());
	atomic_store(&s->top, top);
}

static unsigned long new_ino(unsigned long bits)
{
	static unsigned long last = 16;

	return ++last << INO_BITS | bits;
}

static void stat_ino(unsigned long ino, struct stat *st)
{
	bool dir = ino <= FUSE_ROOT_ID + DIRS || (ino & INO_DIR && !(ino & INO_CHILD));

	memset(st, 0, sizeof(*st));
	st->st_ino = ino;
	st->st_mode = dir ? S_IFDIR | 0755 : S_IFREG | 0644;
	st->st_nlink = dir ? 2 : 1;
}

static void entry_of(unsigned long ino, struct fuse_entry_param *e)
{
	memset(e, 0, sizeof(*e));
	e->ino = ino;
	e->entry_timeout = 3600;
	e->attr_timeout = 3600;
	if (ino)
		stat_ino(ino, &e->attr);
}

static void be_late(void)
{
	static __thread unsigned long random;

	if (!random)
		random = (unsigned long)&random ^ opt_seed << 32;
	if (!random_from(&random, 32))
		nap(1 + random_from(&random, 3000));
}

static struct slot *find_slot(fuse_ino_t parent, const char *name)
{
	unsigned long i = strtoul(name + 1, NULL, 10);
	struct slot *s = &sh->slots[i];

	if (i >= (unsigned long)sh->nr_slots || strcmp(name, s->name) ||
	    parent != FUSE_ROOT_ID + 1UL + s->dir)
		return NULL;
	return s;
}

static bool is_moving(fuse_ino_t parent, const char *name)
{
	return !strcmp(name, "d2") &&
	       parent == (atomic_load(&sh->home) ? FUSE_ROOT_ID + 2 : FUSE_ROOT_ID);
}

static unsigned long find_ino(fuse_ino_t parent, const char *name)
{
	struct slot *s;

	if (is_moving(parent, name))
		return FUSE_ROOT_ID + 3;
	if (parent == FUSE_ROOT_ID)
		return !strcmp(name, "d0") ? FUSE_ROOT_ID + 1 :
		       !strcmp(name, "d1") ? FUSE_ROOT_ID + 2 : 0;
	if (parent > FUSE_ROOT_ID + DIRS)
		return parent & INO_HAS_CHILD && !strcmp(name, "c") ? parent | INO_CHILD : 0;
	s = find_slot(parent, name);
	return s ? truth(s) : 0;
}

static void do_init(void *data, struct fuse_conn_info *conn)
{
	(void)data;
	can_expire = conn->capable & FUSE_CAP_EXPIRE_ONLY;
	/* There is nothing to splice. */
	conn->want &= ~(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
	atomic_store(&sh->ready, true);
}

static void do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e;

	pthread_mutex_lock(&namespace_lock);
	entry_of(find_ino(parent, name), &e);
	pthread_mutex_unlock(&namespace_lock);
	add(&sh->lookups);
	be_late();
	fuse_reply_entry(req, &e);
}

static void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	stat_ino(ino, &st);
	fuse_reply_attr(req, &st, 3600);
}

static void do_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int set,
		       struct fuse_file_info *fi)
{
	(void)st;
	(void)set;
	do_getattr(req, ino, fi);
}

/* Returns an errno. */
static int make(fuse_ino_t parent, const char *name, unsigned long bits,
		struct fuse_entry_param *e)
{
	struct slot *s = find_slot(parent, name);
	int err = !s ? EACCES : 0;

	pthread_mutex_lock(&namespace_lock);
	if (!err && truth(s))
		err = EEXIST;
	if (!err) {
		set_ino(s, new_ino(bits));
		entry_of(truth(s), e);
	}
	pthread_mutex_unlock(&namespace_lock);
	be_late();
	return err;
}

static void do_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct fuse_entry_param e;
	int err = make(parent, name, INO_DIR, &e);

	(void)mode;
	if (err)
		fuse_reply_err(req, err);
	else
		fuse_reply_entry(req, &e);
}

static void do_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	struct fuse_entry_param e;
	int err = make(parent, name, 0, &e);

	(void)mode;
	if (err)
		fuse_reply_err(req, err);
	else
		fuse_reply_create(req, &e, fi);
}

static void take_away(fuse_req_t req, fuse_ino_t parent, const char *name, bool dir)
{
	struct slot *s = find_slot(parent, name);
	unsigned long ino;
	int err = 0;

	pthread_mutex_lock(&namespace_lock);
	ino = s ? truth(s) : 0;
	if (!ino)
		err = ENOENT;
	else if (dir != (ino & INO_DIR))
		err = dir ? ENOTDIR : EISDIR;
	else if (ino & INO_HAS_CHILD)
		err = ENOTEMPTY;
	if (!err) {
		set_ino(s, 0);
		atomic_store(&s->gone, ino);
	}
	pthread_mutex_unlock(&namespace_lock);
	be_late();
	fuse_reply_err(req, err);
}

static void do_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	take_away(req, parent, name, false);
}

static void do_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	take_away(req, parent, name, true);
}

/* Whether one may have the name of the other. */
static int may_replace(unsigned long ino, unsigned long other)
{
	if (!other)
		return 0;
	if ((ino ^ other) & INO_DIR)
		return ino & INO_DIR ? ENOTDIR : EISDIR;
	return other & INO_HAS_CHILD ? ENOTEMPTY : 0;
}

static void do_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t parent_to,
		      const char *name_to, unsigned int flags)
{
	struct slot *s = find_slot(parent, name), *to = find_slot(parent_to, name_to);
	unsigned long ino, ino_to;
	int err = 0;

	pthread_mutex_lock(&namespace_lock);
	ino = s ? truth(s) : 0;
	ino_to = to ? truth(to) : 0;
	if (is_moving(parent, name) && !strcmp(name_to, "d2")) {
		atomic_store(&sh->home, parent_to != FUSE_ROOT_ID);
	} else if (!ino || !to || (flags & RENAME_EXCHANGE && !ino_to)) {
		err = ENOENT;
	} else if (flags & RENAME_EXCHANGE) {
		set_ino(s, ino_to);
		set_ino(to, ino);
	} else {
		err = may_replace(ino, ino_to);
		if (!err) {
			set_ino(s, 0);
			set_ino(to, ino);
			if (ino_to)
				atomic_store(&to->gone, ino_to);
		}
	}
	pthread_mutex_unlock(&namespace_lock);
	be_late();
	fuse_reply_err(req, err);
}

static void do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fuse_reply_open(req, fi);
}

/* The name of entry @i of a directory, or NULL. */
static const char *entry_name(fuse_ino_t dir, long i)
{
	static const char * const names[] = { "d0", "d1", "d2" };

	if (dir > FUSE_ROOT_ID + DIRS)
		return i ? NULL : "c";
	if (i < DIRS)
		return names[i];
	return i < DIRS + sh->nr_slots ? sh->slots[i - DIRS].name : NULL;
}

static void readdir_common(fuse_req_t req, fuse_ino_t dir, size_t size, off_t off, bool plus)
{
	char buf[4096];
	size_t len = 0, more;
	const char *name;

	if (size > sizeof(buf))
		size = sizeof(buf);
	pthread_mutex_lock(&namespace_lock);
	for (; (name = entry_name(dir, off)); off++) {
		struct fuse_entry_param e;
		size_t left = size - len;

		entry_of(find_ino(dir, name), &e);
		if (!e.ino)
			continue;
		if (plus)
			more = fuse_add_direntry_plus(req, buf + len, left, name, &e, off + 1);
		else
			more = fuse_add_direntry(req, buf + len, left, name, &e.attr, off + 1);
		if (more > left)
			break;
		len += more;
	}
	pthread_mutex_unlock(&namespace_lock);
	be_late();
	fuse_reply_buf(req, buf, len);
}

static void do_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	(void)fi;
	readdir_common(req, ino, size, off, false);
}

static void do_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			   struct fuse_file_info *fi)
{
	(void)fi;
	readdir_common(req, ino, size, off, true);
}

static const struct fuse_lowlevel_ops ops = {
	.init		= do_init,
	.lookup		= do_lookup,
	.getattr	= do_getattr,
	.setattr	= do_setattr,
	.mkdir		= do_mkdir,
	.create		= do_create,
	.unlink		= do_unlink,
	.rmdir		= do_rmdir,
	.rename		= do_rename,
	.open		= do_open,
	.opendir	= do_open,
	.readdir	= do_readdir,
	.readdirplus	= do_readdirplus,
};

/*
 * Notifiers.
 */

static int notify(struct worker *w, enum kind call, fuse_ino_t parent, fuse_ino_t child,
		  const char *name, const struct slot *s)
{
	int err;

	begin(w, call, s, s ? s->group : 0);
	switch (call) {
	case INVAL:
		err = fuse_lowlevel_notify_inval_entry(session, parent, name, strlen(name));
		break;
	case EXPIRE:
		err = fuse_lowlevel_notify_expire_entry(session, parent, name, strlen(name),
							can_expire ? FUSE_LL_EXPIRE_ONLY : 0);
		break;
	default:
		err = fuse_lowlevel_notify_delete(session, parent, child, name, strlen(name));
		break;
	}
	end(w);
	if (err == -ENOENT)
		add(&w->enoent);
	else if (err == -ENOTEMPTY && call == DELETE)
		add(&w->enotempty);
	else if (err)
		violated(w, "%s of '%s' in %lu answered %d", call_names[call], name, parent, err);
	return err;
}

static fuse_ino_t parent_of(const struct slot *s)
{
	return FUSE_ROOT_ID + 1 + s->dir;
}

/* A notification of version @note->version, and what it is worth. */
static void notify_slot(struct worker *w, struct slot *s, struct note *note, fuse_ino_t child,
			const struct under_way *u)
{
	static atomic_ulong nr;
	struct look l;
	bool left = some_left(u);

	read_note(s, &l);
	note->strict = left && !break_grace ? l.note.strict : note->version;
	note->begun = now();
	note->answer = 0;
	if (break_skip && atomic_fetch_add(&nr, 1) % 100 == 99)
		add(&w->skipped);
	else
		note->answer = notify(w, note->call, parent_of(s), child, s->name, s);
	note->ended = now();
	write_note(s, note);
	atomic_store(&sh->hot[rnd(w, HOT)], s - sh->slots);
}

/* Forget what is cached, so that nothing is left of late answers. */
static void settle(struct worker *w, struct slot *s)
{
	struct note note = { .call = INVAL, .version = atomic_load(&s->top) };
	struct under_way u;

	note_calls(s, &u);
	wait_for_calls(&u);
	notify_slot(w, s, &note, 0, &u);
}

static struct slot *own_slot(struct worker *w)
{
	return &sh->slots[DIRS * (SHARED + 1) + w->id * DIRS * OWNED + rnd(w, DIRS * OWNED)];
}

/* Any inode but those that have a name. */
static enum kind any_notification(struct worker *w, unsigned long gone, fuse_ino_t *child)
{
	enum kind call = INVAL + rnd(w, 4);

	if (call == DELETE && !gone)
		call = DELETE_OTHER;
	*child = call == DELETE ? gone : INO_NEVER;
	return call;
}

/* Change one name or two behind the kernel's back, and notify. */
static void change_behind(struct worker *w, struct slot *s, struct slot *to)
{
	static const unsigned long bits[] = { 0, 0, INO_DIR, INO_DIR | INO_HAS_CHILD };
	unsigned long ino, ino_to, new = new_ino(bits[rnd(w, 4)]), gone[2] = {};
	struct slot *both[2] = { s, s == to || rnd(w, 2) ? NULL : to };
	bool strict = rnd(w, 4), swapped = rnd(w, 2);
	char path[32], hold = rnd(w, 2);
	struct note notes[2] = {};
	fuse_ino_t child[2];
	struct under_way u;
	int i, fd = -1;

	/* A directory of which something is used cannot be deleted. */
	if (hold && truth(s) & INO_HAS_CHILD) {
		snprintf(path, sizeof(path), "%s/c", s->name);
		begin(w, OPEN, s, s->group);
		fd = openat(w->dirs[s->dir], path, O_RDONLY);
		end(w);
	}

	pthread_mutex_lock(&namespace_lock);
	ino = truth(s);
	ino_to = truth(to);
	if (!both[1]) {
		/* Add, replace, or remove. */
		set_ino(s, ino && rnd(w, 2) ? 0 : new);
		gone[0] = ino;
	} else if (ino_to && rnd(w, 2)) {
		set_ino(s, ino_to);
		set_ino(to, ino);
	} else {
		set_ino(s, 0);
		set_ino(to, ino);
		gone[1] = ino_to;
	}
	for (i = 0; i < 2 && both[i]; i++) {
		if (gone[i])
			atomic_store(&both[i]->gone, gone[i]);
		notes[i].version = atomic_load(&both[i]->top);
	}
	pthread_mutex_unlock(&namespace_lock);

	note_calls(s, &u);
	if (strict)
		wait_for_calls(&u);
	for (i = 0; i < 2; i++) {
		int j = i ^ (both[1] && swapped);

		if (!both[j])
			continue;
		notes[j].call = any_notification(w, gone[j], &child[j]);
		if (is_shared(s))
			notify(w, notes[j].call, parent_of(both[j]), child[j], both[j]->name, s);
		else
			notify_slot(w, both[j], &notes[j], child[j], &u);
	}
	for (i = 0; i < 2 && both[i]; i++)
		look_somehow(w, both[i], !is_shared(s));
	if (fd >= 0)
		close(fd);
}

static bool is_settled(const struct slot *s)
{
	struct look l;

	read_note(s, &l);
	return l.note.strict == atomic_load(&s->top);
}

static void be_settled(struct worker *w, struct slot *s)
{
	if (!is_settled(s))
		settle(w, s);
}

/* Change own names as any user does. It is known what that answers. */
static void use_slots(struct worker *w, struct slot *s, struct slot *to)
{
	struct slot *both[2] = { s, to };
	unsigned long ino, ino_to;
	int i, err, expected = 0;
	enum kind call;

	be_settled(w, s);
	be_settled(w, to);
	ino = truth(s);
	ino_to = truth(to);
	if (!ino) {
		call = CREATE + rnd(w, 2);
	} else if (s != to && rnd(w, 3)) {
		call = ino_to && rnd(w, 2) ? EXCHANGE : RENAME;
		if (call == RENAME)
			expected = may_replace(ino, ino_to);
	} else if (!rnd(w, 4)) {
		call = CREATE + rnd(w, 2);
		expected = EEXIST;
	} else {
		call = ino & INO_DIR ? RMDIR : UNLINK;
		expected = ino & INO_HAS_CHILD ? ENOTEMPTY : 0;
	}

	for (i = 0; i < 2; i++) {
		struct note *note = &(struct note) { .call = call, .begun = now() };

		if (!i)
			err = change(w, call, s, to);
		note->answer = -err;
		note->version = atomic_load(&both[i]->top);
		note->strict = note->version;
		note->ended = now();
		write_note(both[i], note);
		atomic_store(&sh->hot[rnd(w, HOT)], both[i] - sh->slots);
	}
	if (err == ESTALE)
		add(&w->verdicts[UNJUDGED]);
	else if (err != expected)
		violated(w, "%s of d%d/%s (inode %lu) to d%d/%s (inode %lu) answered %d, not %d",
			  call_names[call], s->dir, s->name, ino, to->dir, to->name, ino_to,
			  err, expected);
	look_somehow(w, s, true);
	look_somehow(w, to, true);
}

/* To no purpose, as far as this thread knows. */
static void notify_anything(struct worker *w)
{
	static const char * const names[] = { "d0", "d1", "d2", "c", "nothing" };
	struct slot *s = any_slot(w);
	unsigned long gone = atomic_load(&s->gone);
	const char *name;
	fuse_ino_t child;
	enum kind call;

	if (rnd(w, 4)) {
		call = any_notification(w, gone, &child);
		notify(w, call, parent_of(s), child, s->name, s);
		return;
	}
	name = names[rnd(w, 5)];
	call = any_notification(w, 0, &child);
	if (name[0] == 'c' && gone & INO_DIR)
		notify(w, call, gone, child, name, NULL);
	else
		notify(w, call, FUSE_ROOT_ID + (rnd(w, 2) ? 0 : 2), child, name, NULL);
}

/* What is seen while nothing happens has to be true. */
static void check_all(struct worker *w)
{
	bool home = atomic_load(&sh->home);
	struct stat st;
	int i, n;

	for (i = 0; i < sh->nr_slots; i++)
		if (is_shared(&sh->slots[i]) || !is_settled(&sh->slots[i]))
			settle(w, &sh->slots[i]);
	/* Also when it is cached again. */
	for (n = 0; n < 2; n++) {
		for (i = 0; i < sh->nr_slots; i++) {
			look(w, &sh->slots[i], STAT, true);
			look(w, &sh->slots[i], WALK, true);
		}
	}
	begin(w, STAT, NULL, 0);
	if (!fstatat(w->root, "d2", &st, 0) != !home || !fstatat(w->dirs[1], "d2", &st, 0) != home)
		violated(w, "d2 should be in %s", home ? "d1" : "the root");
	end(w);
}

static void wait_for_others(struct worker *w, bool ended)
{
	int i;

	for (i = 0; i < sh->nr_workers; i++)
		while (&sh->workers[i] != w && !atomic_load(&sh->workers[i].ended) &&
		       (ended || !atomic_load(&sh->workers[i].parked)) &&
		       !atomic_load(&sh->aborted))
			nap(1000);
}

static void rest(struct worker *w)
{
	atomic_store(&sh->rest, true);
	wait_for_others(w, false);
	check_all(w);
	atomic_store(&sh->rest, false);
}

static void *run_notifier(void *data)
{
	unsigned long next_rest = now() + REST_SECONDS * 1000000UL;
	struct worker *w = data;

	open_dirs(w);
	while (w->id ? go_on(w) : !atomic_load(&sh->stop) && !atomic_load(&sh->aborted)) {
		unsigned long n = rnd(w, 100);

		if (!w->id && now() >= next_rest) {
			rest(w);
			next_rest = now() + REST_SECONDS * 1000000UL;
		} else if (n < 45) {
			change_behind(w, own_slot(w), own_slot(w));
		} else if (n < 60) {
			use_slots(w, own_slot(w), own_slot(w));
		} else if (n < 90) {
			notify_anything(w);
		} else {
			change_behind(w, shared_slot(w), shared_slot(w));
		}
	}
	if (!w->id) {
		wait_for_others(w, true);
		check_all(w);
	}
	close_dirs(w);
	if (!w->id)
		atomic_store(&sh->finished, true);
	return NULL;
}

static int run_daemon(int fd)
{
	struct fuse_args args = FUSE_ARGS_INIT(1, (char *[]) { (char *)"soak" });
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	pthread_t threads[MAX_WORKERS];
	char path[32];
	int i, err;

	/* libfuse complains about every notification that answers an error. */
	dup2(open("/dev/null", O_WRONLY), 2);
	snprintf(path, sizeof(path), "/dev/fd/%d", fd);
	session = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	if (!session || fuse_session_mount(session, path))
		return 1;
	for (i = 0; i < opt_notifiers; i++)
		if (pthread_create(&threads[i], NULL, run_notifier, &sh->workers[opt_clients + i]))
			return 1;
	err = fuse_session_loop_mt(session, config);
	for (i = 0; i < opt_notifiers; i++)
		pthread_join(threads[i], NULL);
	fuse_loop_cfg_destroy(config);
	fuse_session_destroy(session);
	return err ? 1 : 0;
}

/*
 * The process that watches the others, and calls nothing that may have to wait for them.
 */

/* Returns the exit status, 128 and more for a signal, or -1 if it takes too long. */
static int wait_for(pid_t pid, unsigned int ms)
{
	int status;

	for (;;) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		if (!ms--)
			return -1;
		nap(1000);
	}
}

static int unmount(int flags)
{
	pid_t pid = fork();
	int n = 0;

	if (!pid) {
		/* What was closed last may not be put yet. */
		while (umount2(MOUNT, flags) && errno == EBUSY && n++ < 50)
			nap(100000);
		_exit(n > 50 ? EBUSY : 0);
	}
	return wait_for(pid, 10000);
}

static unsigned long sum(const size_t offset)
{
	unsigned long total = 0;
	int i;

	for (i = 0; i < sh->nr_workers; i++)
		total += atomic_load((atomic_ulong *)((char *)&sh->workers[i] + offset));
	return total;
}

#define SUM(member) sum(offsetof(struct worker, member))

static unsigned long sum_calls(enum kind first, enum kind last)
{
	unsigned long total = 0;

	for (; first <= last; first++)
		total += sum(offsetof(struct worker, counts) + first * sizeof(atomic_ulong));
	return total;
}

static unsigned long sum_checks(void)
{
	return SUM(verdicts[STRICT]) + SUM(verdicts[EXACT]);
}

static bool watch(unsigned long *calls, unsigned long *since)
{
	bool hangs = false;
	int i;

	for (i = 0; i < sh->nr_workers; i++) {
		struct worker *w = &sh->workers[i];
		unsigned long n = atomic_load(&w->calls), seconds;
		int slot = atomic_load(&w->slot);

		if (n != calls[i] || atomic_load(&w->ended) || atomic_load(&w->parked))
			since[i] = now();
		calls[i] = n;
		seconds = (now() - since[i]) / 1000000;
		if (seconds < (unsigned long)opt_hang)
			continue;
		hangs = true;
		printf("# hangs: %s %d for %lu s %s %s", w->notifier ? "notifier" : "client", w->id,
		       seconds, n & 1 ? "in" : "after", call_names[atomic_load(&w->call)]);
		if (slot >= 0)
			printf(" of d%d/%s", sh->slots[slot].dir, sh->slots[slot].name);
		printf("\n");
	}
	return hangs;
}

static void report(unsigned long seconds)
{
	static unsigned long calls, notes, lookups, checks, last;
	unsigned long s = seconds > last ? seconds - last : 1;

	printf("# %lu s: %lu calls/s, %lu notifications/s, %lu lookups/s, %lu strict checks/s, ",
	       seconds, (sum_calls(STAT, DROP) - calls) / s,
	       (sum_calls(INVAL, DELETE_OTHER) - notes) / s,
	       (atomic_load(&sh->lookups) - lookups) / s, (sum_checks() - checks) / s);
	printf("late answers: %lu, violations: %lu\n", atomic_load(&sh->late),
	       SUM(verdicts[VIOLATION]));
	calls = sum_calls(STAT, DROP);
	notes = sum_calls(INVAL, DELETE_OTHER);
	lookups = atomic_load(&sh->lookups);
	checks = sum_checks();
	last = seconds;
}

/* Returns whether all came to its end. */
static bool supervise(pid_t daemon, pid_t clients)
{
	unsigned long calls[MAX_WORKERS] = {}, since[MAX_WORKERS], start = now(), seconds, told = 0;
	int i, status;

	for (i = 0; i < MAX_WORKERS; i++)
		since[i] = start;
	while (!atomic_load(&sh->finished)) {
		nap(50000);
		status = wait_for(daemon, 0);
		if (status >= 0) {
			printf("# the daemon ended with status %d\n", status);
			return false;
		}
		if (watch(calls, since) || atomic_load(&sh->aborted))
			return false;
		seconds = (now() - start) / 1000000;
		if (seconds >= told + 10) {
			told = seconds;
			report(seconds);
		}
		if (seconds >= (unsigned long)opt_seconds)
			atomic_store(&sh->stop, true);
	}
	status = wait_for(clients, 10000);
	if (status) {
		printf("# the clients ended with status %d\n", status);
		return false;
	}
	status = unmount(0);
	if (status) {
		printf("# unmounting %s\n", status < 0 ? "hangs" : "fails");
		return false;
	}
	status = wait_for(daemon, 10000);
	if (status)
		printf("# the daemon ended with status %d after unmounting\n", status);
	return !status;
}

/* No request waits any more, and then everybody can be killed. */
static void give_up(pid_t daemon, pid_t clients)
{
	atomic_store(&sh->aborted, true);
	atomic_store(&sh->rest, false);
	if (unmount(MNT_FORCE | MNT_DETACH) < 0)
		printf("# unmounting hangs\n");
	kill(daemon, SIGKILL);
	kill(clients, SIGKILL);
	if (wait_for(daemon, 5000) < 0)
		printf("# the daemon cannot be killed\n");
	if (wait_for(clients, 5000) < 0)
		printf("# the clients cannot be killed\n");
}

static void add_slots(char kind, int owner, int nr, unsigned long group)
{
	while (nr--) {
		struct slot *s = &sh->slots[sh->nr_slots];

		snprintf(s->name, sizeof(s->name), "%c%d", kind, sh->nr_slots++);
		s->dir = nr % DIRS;
		s->owner = owner;
		s->group = group;
	}
}

static void prepare(void)
{
	int i;

	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sh == MAP_FAILED) {
		printf("Bail out! no memory\n");
		exit(1);
	}
	sh->nr_workers = opt_clients + opt_notifiers;
	for (i = 0; i < sh->nr_workers; i++) {
		struct worker *w = &sh->workers[i];

		w->notifier = i >= opt_clients;
		w->id = w->notifier ? i - opt_clients : i;
		w->random = (opt_seed + 1) * 0x9e3779b97f4a7c15UL + i * 0xbf58476d1ce4e5b9UL;
		w->random += !w->random;
	}
	add_slots('s', -1, DIRS * SHARED, 1UL << 63);
	add_slots('x', -1, DIRS, 1UL << 62);
	for (i = 0; i < opt_notifiers; i++)
		add_slots('o', i, DIRS * OWNED, 1UL << i);
}

/* Returns the device. */
static int prepare_mount(void)
{
	char options[64];
	int fd;

	/* Nothing of this is seen elsewhere, or left behind. */
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("soak", "/tmp", "tmpfs", 0, NULL) || mkdir(MOUNT, 0700))
		return -1;
	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -1;
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	return mount("soak", MOUNT, "fuse", MS_NOSUID | MS_NODEV, options) ? -1 : fd;
}

static void usage(void)
{
	printf("soak [--seconds N] [--seed N] [--clients N] [--notifiers N] [--hang SECONDS]\n"
	       "     [--break WHAT]\n"
	       "A FUSE server changes names behind the kernel's back, notifies, and a judge looks\n"
	       "whether what is seen is true; see the comment on top of soak.c. Needs root.\n"
	       "--break makes a mistake that has to be noticed:\n"
	       "  skip-notify   every 100th notification is not sent\n"
	       "  no-grace      late answers are not accepted\n");
	exit(2);
}

static int number(const char *text, int max)
{
	char *rest;
	long n = strtol(text, &rest, 10);

	if (*rest || n < 1 || n > max)
		usage();
	return n;
}

static void parse_options(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seconds", required_argument, NULL, 's' },
		{ "seed", required_argument, NULL, 'S' },
		{ "clients", required_argument, NULL, 'c' },
		{ "notifiers", required_argument, NULL, 'n' },
		{ "hang", required_argument, NULL, 'h' },
		{ "break", required_argument, NULL, 'b' },
		{}
	};
	int c;

	opt_seed = time(NULL);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 's')
			opt_seconds = number(optarg, 1000000);
		else if (c == 'S')
			opt_seed = strtoul(optarg, NULL, 0);
		else if (c == 'c')
			opt_clients = number(optarg, MAX_WORKERS / 2);
		else if (c == 'n')
			opt_notifiers = number(optarg, MAX_WORKERS / 2);
		else if (c == 'h')
			opt_hang = number(optarg, 3600);
		else if (c == 'b' && !strcmp(optarg, "skip-notify"))
			break_skip = true;
		else if (c == 'b' && !strcmp(optarg, "no-grace"))
			break_grace = true;
		else
			usage();
	}
	if (optind < argc)
		usage();
}

static void report_end(unsigned long us)
{
	unsigned long seconds = us / 1000000 ?: 1;
	int call;

	for (call = 0; call < CALLS; call++)
		printf("# %s: %lu, %lu/s\n", call_names[call], sum_calls(call, call),
		       sum_calls(call, call) / seconds);
	printf("# lookups that reached the daemon: %lu, %lu/s\n", atomic_load(&sh->lookups),
	       atomic_load(&sh->lookups) / seconds);
	printf("# notifications that answered -ENOENT: %lu, -ENOTEMPTY: %lu", SUM(enoent),
	       SUM(enotempty));
	printf(break_skip ? ", not sent: %lu\n" : "\n", SUM(skipped));
	printf("# strict checks: %lu (%lu of them permit one answer)\n", sum_checks(),
	       SUM(verdicts[EXACT]));
	printf("# other checks: %lu, not judged: %lu\n",
	       SUM(verdicts[LOOSE]) + SUM(verdicts[LATE]), SUM(verdicts[UNJUDGED]));
	printf("# late answers: %lu, seen %lu times\n", atomic_load(&sh->late),
	       SUM(verdicts[LATE]));
	printf("# violations: %lu\n", SUM(verdicts[VIOLATION]));
}

int main(int argc, char **argv)
{
	unsigned long start = now();
	pid_t daemon, clients;
	bool done, ok;
	int fd;

	setlinebuf(stdout);
	parse_options(argc, argv);
	printf("KTAP version 1\n1..1\n");
	printf("# soak --seconds %d --seed %lu --clients %d --notifiers %d%s%s\n", opt_seconds,
	       opt_seed, opt_clients, opt_notifiers, break_skip ? " --break skip-notify" : "",
	       break_grace ? " --break no-grace" : "");
	prepare();
	fd = prepare_mount();
	if (fd < 0) {
		printf("ok 1 soak # SKIP cannot mount FUSE: %s\n", strerror(errno));
		return 4;
	}
	daemon = fork();
	if (!daemon)
		_exit(run_daemon(fd));
	/* Nobody else may keep the connection alive. */
	close(fd);
	clients = fork();
	if (!clients)
		_exit(run_clients());

	done = supervise(daemon, clients);
	if (!done)
		give_up(daemon, clients);
	report_end(now() - start);
	if (!sum_checks())
		printf("# nothing was checked\n");
	ok = done && sum_checks() && !SUM(verdicts[VIOLATION]);
	printf("%s 1 soak\n", ok ? "ok" : "not ok");
	return !ok;
}
