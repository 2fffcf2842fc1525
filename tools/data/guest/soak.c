// SPDX-License-Identifier: GPL-2.0
/*
 * soak SECONDS SEED [skip-notify] - names that change behind the kernel's back
 *
 * A lookup that starts after a notification has returned must not be answered from what the
 * server said before it. Here is a server that has everything cached for an hour, and some of
 * whose answers are late; notifiers, which change names behind the kernel's back and notify,
 * also to no purpose; and clients, which look at all names, and make, remove and rename. What
 * any of them sees is compared with the history of the name: it must have been true between the
 * last notification that had returned before the look began, and the end of the look.
 *
 * Names "o<N>" are changed by one notifier only, behind the kernel's back or as any user does.
 * All that is seen of them is judged, and what the calls of their notifier answer. Names "s<N>"
 * are changed by everybody in every way. A rename may then take what is stale to a name that
 * nobody notifies, and that is nobody's mistake: they are notified and judged in the end. An inode
 * number is used once. Some directories hold a file "c": who sees that has seen the directory.
 */

#include "server.h"

#include <sys/syscall.h>

#define DIRS		3	/* d0 to d2 */
#define SHARED		12	/* names, the first ones */
#define OWNED		6	/* of each notifier */
#define CLIENTS		4
#define NOTIFIERS	3
#define SLOTS		(SHARED + NOTIFIERS * OWNED)
#define VERSIONS	1024	/* so many are remembered */

/* Those of d0 to d2 follow the root's, all others are larger. */
#define INO_DIR		1UL
#define INO_PARENT	2UL	/* of a file "c" */
#define INO_CHILD	0x1000000000000000UL
#define INO_NEVER	(~0UL)

enum count {	/* the first three are ways to look */
	STAT, WALK, OPEN, READDIR, CREATE, MKDIR, UNLINK, RMDIR, RENAME, EXCHANGE,
	INVAL, EXPIRE, DELETE, DELETE_OTHER,
	LOOKUPS, NOT_SENT, CHECKS, OVERRUN, NO_PATIENCE, VIOLATIONS,
	COUNTS
};

static const char * const names[COUNTS] = {
	"stat", "stat below", "open", "readdir", "create", "mkdir", "unlink", "rmdir", "rename",
	"exchange", "inval", "expire", "delete", "delete of another",
	"lookups that reached the server", "notifications not sent", "checks",
	"looks that took too long to be checked", "ESTALE", "violations",
};

/* What a name led to, and how that was made known. Times are in microseconds. */
struct version {
	atomic_ulong ino, since, known;
	atomic_int how, answer;
};

static struct slot {
	char path[32], *name;
	fuse_ino_t dir;
	atomic_ulong top, notified;	/* versions: the newest, and the last notified */
	struct version versions[VERSIONS];
	atomic_ulong gone;	/* an inode that will never be anywhere again */
	atomic_ulong violated;	/* a version, so as to tell once */
} slots[SLOTS];

static atomic_ulong counts[COUNTS];
static atomic_bool stop, quiet;
static bool skip_notify;
static const char * const others[] = { "d0", "d1", "d2", "c" };	/* names that are no slots */
static pthread_mutex_t namespace_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long last_ino;	/* without the bits that tell what it is */

static unsigned long rnd(unsigned long nr)
{
	return random() % nr;
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

static bool tells_violation(void)
{
	return counts[VIOLATIONS]++ < 10;
}

struct look {
	enum count call;
	unsigned long notified, begun;	/* a version, a time */
	unsigned long ino;
	int err;
};

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

/* One line says what was seen, and the next ones what has been true lately. */
static void tell(struct slot *s, const struct look *l, unsigned long top)
{
	unsigned long v = l->notified;

	if (atomic_exchange(&s->violated, top + 1) == top + 1 || !tells_violation())
		return;
	flockfile(stdout);
	printf("# violation: %s of %s from %lu to %lu: inode %lu (%s), but version %lu was known\n",
	       names[l->call], s->path, l->begun, now(), l->ino, strerror(l->err), v);
	for (v -= v < 3 ? v : 3; v <= top && v < l->notified + 10; v++) {
		struct version *version = version_of(s, v);

		printf("#   version %lu: inode %lu since %lu", v, version->ino, version->since);
		if (version->known)
			printf(", %s answered %d at %lu", names[version->how], version->answer,
			       version->known);
		putchar('\n');
	}
	funlockfile(stdout);
}

static void judge(struct slot *s, const struct look *l)
{
	/* What was answered was true before, so it is not newer than this. */
	unsigned long top = s->top, v = l->notified;

	while (v <= top && !explains(version_of(s, v)->ino, l, v < top))
		v++;
	/* To find a directory that the server has renamed takes locks, and no patience. */
	if (l->err == ESTALE && !quiet)
		counts[NO_PATIENCE]++;
	else if (s->top - l->notified >= VERSIONS / 2)
		counts[OVERRUN]++;
	else if (v <= top)
		counts[CHECKS]++;
	else
		tell(s, l, top);
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

static void look(struct slot *s, enum count call)
{
	struct look l = { .call = call, .notified = s->notified, .begun = now() };
	struct stat st = {};
	char path[40];
	int fd;

	snprintf(path, sizeof(path), call == WALK ? "%s/c" : "%s", s->path);
	if (call == OPEN) {
		fd = open(path, O_RDONLY);
		l.err = fd < 0 || fstat(fd, &st) ? errno : 0;
		close(fd);
	} else {
		l.err = stat(path, &st) ? errno : 0;
	}
	counts[call]++;
	l.ino = st.st_ino;
	if (quiet || s >= slots + SHARED)
		judge(s, &l);
}

static void read_dir(void)
{
	static const char * const dirs[] = { MOUNT, MOUNT "/d0", MOUNT "/d1", MOUNT "/d2" };
	char buf[4096];
	int fd;

	fd = open(dirs[rnd(DIRS + 1)], O_RDONLY | O_DIRECTORY);
	while (syscall(SYS_getdents64, fd, buf, sizeof(buf)) > 0)
		;
	close(fd);
	counts[READDIR]++;
}

/* Returns the errno of a call that changes one name, or two. */
static int change(enum count call, struct slot *s, struct slot *to)
{
	int err;

	if (call == CREATE) {
		err = open(s->path, O_CREAT | O_EXCL | O_RDWR, 0644);
		if (err >= 0)
			err = close(err);
	} else if (call == MKDIR) {
		err = mkdir(s->path, 0755);
	} else if (call == UNLINK) {
		err = unlink(s->path);
	} else if (call == RMDIR) {
		err = rmdir(s->path);
	} else {
		err = renameat2(0, s->path, 0, to->path, call == EXCHANGE ? RENAME_EXCHANGE : 0);
	}
	err = err ? errno : 0;
	counts[call]++;
	return err;
}

static void change_shared(void)
{
	enum count call = CREATE + rnd(EXCHANGE - CREATE + 1);
	int err = change(call, &slots[rnd(SHARED)], &slots[rnd(SHARED)]);

	if (err && err != ENOENT && err != EEXIST && err != EISDIR && err != ENOTDIR &&
	    err != ENOTEMPTY && err != ESTALE && tells_violation())
		printf("# violation: %s of a shared name: %s\n", names[call], strerror(err));
}

/* The server. Its answers are now and then late. */

/* Returns the inode that was there before, which may be gone for good now. */
static unsigned long set_ino(struct slot *s, unsigned long ino, bool gone)
{
	struct version *v = version_of(s, s->top + 1);
	unsigned long before = truth(s);

	v->ino = ino;
	v->since = now();
	v->known = 0;
	s->top++;
	if (gone && before)
		s->gone = before;
	return before;
}

/* Returns the inode that is gone, or 0. */
static unsigned long move(struct slot *s, struct slot *to, bool exchange)
{
	unsigned long ino_to = set_ino(to, truth(s), !exchange);

	set_ino(s, exchange ? ino_to : 0, false);
	return exchange ? 0 : ino_to;
}

static bool is_dir(fuse_ino_t ino)
{
	return ino <= FUSE_ROOT_ID + DIRS || (ino & INO_DIR && !(ino & INO_CHILD));
}

/* All names that are changed are slots. */
static struct slot *find_slot(fuse_ino_t dir, const char *name)
{
	unsigned long i = strtoul(name + 1, NULL, 10);

	return i < SLOTS && dir == slots[i].dir && !strcmp(name, slots[i].name) ? &slots[i] : NULL;
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
		usleep(rnd(3000));
}

static void do_lookup(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	struct fuse_entry_param e;

	counts[LOOKUPS]++;
	pthread_mutex_lock(&namespace_lock);
	e = entry(find_ino(dir, name));
	unlock_and_nap();
	fuse_reply_entry(req, &e);
}

static void make(fuse_req_t req, struct slot *s, unsigned long bits, struct fuse_file_info *fi)
{
	struct fuse_entry_param e = {};

	pthread_mutex_lock(&namespace_lock);
	if (!truth(s)) {
		e = entry((last_ino += 64) | bits);
		set_ino(s, e.ino, false);
	}
	unlock_and_nap();
	if (!e.ino)
		fuse_reply_err(req, EEXIST);
	else if (fi)
		fuse_reply_create(req, &e, fi);
	else
		fuse_reply_entry(req, &e);
}

static void do_mkdir(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode)
{
	make(req, find_slot(dir, name), INO_DIR, NULL);
}

static void do_create(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	make(req, find_slot(dir, name), 0, fi);
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
		set_ino(s, 0, true);
	unlock_and_nap();
	fuse_reply_err(req, err);
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
	size_t len = 0, more;
	char buf[4096];

	if (size > sizeof(buf))
		size = sizeof(buf);
	pthread_mutex_lock(&namespace_lock);
	for (; off < 4 + SLOTS; off++) {
		const char *name = off < 4 ? others[off] : slots[off - 4].name;
		struct fuse_entry_param e = entry(find_ino(dir, name));

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

static void *serve(void *unused)
{
	return fuse_session_loop_mt(session, fuse_loop_cfg_create()) ? session : NULL;
}

/*
 * Notifies in any way, but never says that an inode was deleted which is still somewhere: only
 * @gone, or none if it is 0. No lock may be held here that a handler takes: this may have to
 * wait for handlers. Afterwards the version is known; 0 if a version does not matter.
 */
static void notify(fuse_ino_t dir, const char *name, fuse_ino_t gone,
		   struct slot *s, unsigned long version)
{
	static atomic_ulong nr;
	enum count call = INVAL + rnd(4);
	size_t len = strlen(name);
	int err = 0;

	if (call == DELETE && !gone)
		call = DELETE_OTHER;
	if (version && skip_notify && nr++ % 20 == 19)
		counts[NOT_SENT]++;
	else if (call == INVAL)
		err = fuse_lowlevel_notify_inval_entry(session, dir, name, len);
	else if (call == EXPIRE)
#if FUSE_MINOR_VERSION < 15
		err = fuse_lowlevel_notify_expire_entry(session, dir, name, len,
							FUSE_LL_EXPIRE_ONLY);
#else
		err = fuse_lowlevel_notify_expire_entry(session, dir, name, len);
#endif
	else
		err = fuse_lowlevel_notify_delete(session, dir, call == DELETE ? gone : INO_NEVER,
						  name, len);
	counts[call]++;
	if (err && err != -ENOENT && (err != -ENOTEMPTY || call != DELETE) && tells_violation())
		printf("# violation: %s of %s in inode %lu answered %d\n", names[call], name, dir,
		       err);
	if (version)
		make_known(s, version, call, err);
}

/* Change one name or two behind the kernel's back, and notify. */
static void change_behind(struct slot *s, struct slot *to)
{
	static const unsigned long bits[] = { 0, 0, INO_DIR, INO_DIR | INO_PARENT };
	unsigned long gone[2] = {}, version[2];
	int i, n, nr = s == to ? 1 : 2, turn = rnd(nr);
	struct slot *both[2] = { s, to };

	pthread_mutex_lock(&namespace_lock);
	if (nr == 1)
		gone[0] = set_ino(s, truth(s) && rnd(2) ? 0 : (last_ino += 64) | bits[rnd(4)],
				  true);
	else
		gone[1] = move(s, to, rnd(2));
	for (i = 0; i < nr; i++)
		version[i] = both[i]->top;
	pthread_mutex_unlock(&namespace_lock);

	for (n = 0; n < nr; n++) {
		i = n ^ turn;
		notify(both[i]->dir, both[i]->name, gone[i], both[i], version[i]);
	}
	for (i = 0; i < nr; i++)
		look(both[i], rnd(3));
}

/* Change own names as any user does: it is known what that answers. */
static void use(struct slot *s, struct slot *to)
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
	err = change(call, s, to);
	make_known(s, s->top, call, -err);
	make_known(to, to->top, call, -err);
	if (err != expected && err != ESTALE && tells_violation())
		printf("# violation: %s of %s (inode %lu; %s: %lu) answered %d, not %d\n",
		       names[call], s->path, ino, to->path, ino_to, err, expected);
	look(s, rnd(3));
	look(to, rnd(3));
}

/* To no purpose, as far as this thread knows. */
static void notify_anything(void)
{
	struct slot *s = &slots[rnd(SLOTS)];
	unsigned long n = rnd(16), gone = s->gone;

	if (n < 4)
		notify(FUSE_ROOT_ID, others[n], 0, NULL, 0);
	else if (n < 6 && gone & INO_DIR)
		notify(gone, "c", 0, NULL, 0);
	else
		notify(s->dir, s->name, gone, s, 0);
}

static void *work(void *data)
{
	long notifier = (long)data - CLIENTS;
	struct slot *own = &slots[SHARED + notifier * OWNED];

	while (!stop) {
		unsigned long n = rnd(100);

		if (notifier < 0) {
			if (n < 4)
				read_dir();
			else if (n < 25)
				change_shared();
			else
				look(&slots[rnd(SLOTS)], rnd(3));
		} else if (n < 45) {
			change_behind(own + rnd(OWNED), own + rnd(OWNED));
		} else if (n < 60) {
			use(own + rnd(OWNED), own + rnd(OWNED));
		} else if (n < 90) {
			notify_anything();
		} else {
			change_behind(&slots[rnd(SHARED)], &slots[rnd(SHARED)]);
		}
	}
	return NULL;
}

/* Looks at everything, when all is quiet: what is true, and still when it is cached. */
static void look_last(void)
{
	struct slot *s;
	int i;

	for (s = slots; s < slots + SLOTS; s++)
		notify(s->dir, s->name, 0, s, s->top);
	for (i = 0; i < 2 * SLOTS; i++) {
		look(&slots[i % SLOTS], STAT);
		look(&slots[i % SLOTS], WALK);
	}
}

int main(int argc, char **argv)
{
	pthread_t server, workers[CLIENTS + NOTIFIERS];
	unsigned long us, start = now();
	const char *why = NULL;
	void *failed;
	bool ok;
	int i;

	srandom(strtoul(argv[2], NULL, 10));
	skip_notify = argc > 3;
	setlinebuf(stdout);
	printf("KTAP version 1\n1..1\n");
	for (i = 0; i < SLOTS; i++) {
		struct slot *s = &slots[i];

		s->dir = FUSE_ROOT_ID + 1 + i % DIRS;
		snprintf(s->path, sizeof(s->path), MOUNT "/d%d/%c%d", i % DIRS,
			 i < SHARED ? 's' : 'o', i);
		s->name = strrchr(s->path, '/') + 1;
	}

	if (!start_server(&ops, &server, serve)) {
		why = "cannot mount FUSE";
	} else {
		for (i = 0; i < CLIENTS + NOTIFIERS; i++)
			pthread_create(&workers[i], NULL, work, (void *)(long)i);
		sleep(strtoul(argv[1], NULL, 10));
		stop = true;
		for (i = 0; i < CLIENTS + NOTIFIERS; i++)
			pthread_join(workers[i], NULL);
		quiet = true;
		look_last();
		if (umount(MOUNT) || pthread_join(server, &failed) || failed)
			why = "cannot be unmounted";
	}

	us = now() - start;
	for (i = 0; i < COUNTS; i++)
		printf("# %s: %lu (%lu/s)\n", names[i], counts[i], counts[i] * 1000000 / us);
	if (!why && counts[NO_PATIENCE] * 100 > counts[CHECKS])
		why = "ESTALE is the answer too often";
	if (why)
		printf("# %s\n", why);
	ok = !why && counts[CHECKS] && !counts[VIOLATIONS];
	printf("%s 1 soak\n", ok ? "ok" : "not ok");
	return !ok;
}
