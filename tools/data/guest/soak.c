// SPDX-License-Identifier: GPL-2.0
/*
 * soak SECONDS SEED - names that change behind the kernel's back
 *
 * A lookup that starts after a notification has returned must not be answered from what the
 * server said before it. Here is a server that has everything cached for an hour, and some of
 * whose answers are late; notifiers, which change names behind the kernel's back and notify,
 * also to no purpose; and clients, which look at all names, and make, remove and rename.
 *
 * Names "o<N>" are changed by one notifier only, behind the kernel's back or as any user does.
 * What anybody sees of one is compared with what the server has, unless that has changed, or was
 * not known to the kernel, at some time during the look; and so is what the calls of their
 * notifier answer. Names "s<N>" are changed by everybody in every way. A rename may then take
 * what is stale to a name that nobody notifies, and that is nobody's mistake: they are notified
 * and compared in the end. An inode number is used once. Some directories hold a file "c": who
 * sees that has seen the directory.
 */

#define _GNU_SOURCE
#define FUSE_USE_VERSION 312

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOUNT		"/tmp/mnt"
#define DIRS		3	/* d0 to d2 */
#define SHARED		12	/* names, the first ones */
#define OWNED		6	/* of each notifier */
#define CLIENTS		4
#define NOTIFIERS	3
#define SLOTS		(SHARED + NOTIFIERS * OWNED)

/* Those of d0 to d2 follow the root's, all others are larger. */
#define INO_DIR		1UL
#define INO_PARENT	2UL	/* of a file "c" */
#define INO_CHILD	0x1000000000000000UL
#define INO_NEVER	(~0UL)

enum count {	/* the first three are ways to look */
	STAT, WALK, OPEN, READDIR, CREATE, MKDIR, UNLINK, RMDIR, RENAME, EXCHANGE,
	INVAL, EXPIRE, DELETE, DELETE_OTHER,
	CHECKS, CHANGED, NO_PATIENCE, VIOLATIONS,
	COUNTS
};

static const char * const names[COUNTS] = {
	"stat", "stat below", "open", "readdir", "create", "mkdir", "unlink", "rmdir", "rename",
	"exchange", "inval", "expire", "delete", "delete of another", "checks",
	"looks during which the name changed", "ESTALE", "violations",
};

static struct slot {
	char path[32], *name;
	fuse_ino_t dir;
	atomic_ulong ino;	/* what it leads to, or 0 */
	atomic_ulong gone;	/* an inode that will never be anywhere again */
	atomic_ulong seq;	/* odd: its owner changes it, and has not told the kernel yet */
	atomic_int how, answer;	/* how the kernel was told */
} slots[SLOTS];

static struct fuse_session *session;
static atomic_ulong counts[COUNTS];
static atomic_bool stop, quiet;
static const char * const others[] = { "d0", "d1", "d2", "c" };	/* names that are no slots */
static pthread_mutex_t namespace_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long last_ino;	/* without the bits that tell what it is */

static unsigned long rnd(unsigned long nr)
{
	return random() % nr;
}

#define violation(format, ...)							\
do {										\
	if (counts[VIOLATIONS]++ < 10)						\
		printf("# violation: " format "\n", __VA_ARGS__);		\
} while (0)

static void look(struct slot *s, enum count call)
{
	unsigned long seq = s->seq, ino, expected, seen;
	struct stat st = {};
	char path[40];
	int fd, err, expected_err;

	snprintf(path, sizeof(path), call == WALK ? "%s/c" : "%s", s->path);
	if (call == OPEN) {
		fd = open(path, O_RDONLY);
		err = fd < 0 || fstat(fd, &st) ? errno : 0;
		close(fd);
	} else {
		err = stat(path, &st) ? errno : 0;
	}
	counts[call]++;
	if (!quiet && s < slots + SHARED)
		return;

	ino = s->ino;
	expected = call != WALK ? ino : ino & INO_PARENT ? ino | INO_CHILD : 0;
	expected_err = expected ? 0 : call == WALK && ino && !(ino & INO_DIR) ? ENOTDIR : ENOENT;
	seen = err ? 0 : st.st_ino;
	/* To find a directory that the server has renamed takes locks, and no patience. */
	if (err == ESTALE && !quiet)
		counts[NO_PATIENCE]++;
	else if (seq & 1 || s->seq != seq)
		counts[CHANGED]++;
	else if (seen == expected && err == expected_err)
		counts[CHECKS]++;
	else
		violation("%s of %s: inode %lu (%s), not %lu since %s, which answered %d",
			  names[call], s->path, seen, strerror(err), expected, names[s->how],
			  s->answer);
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
	} else if (call == UNLINK || call == RMDIR) {
		err = unlinkat(0, s->path, call == RMDIR ? AT_REMOVEDIR : 0);
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
	    err != ENOTEMPTY && err != ESTALE)
		violation("%s of a shared name: %s", names[call], strerror(err));
}

/* The server. Its answers are now and then late. */

/* Makes a name lead to an inode; returns the one before, which may be gone for good now. */
static unsigned long set_ino(struct slot *s, unsigned long ino, bool gone)
{
	unsigned long before = atomic_exchange(&s->ino, ino);

	if (gone && before)
		s->gone = before;
	return before;
}

/* Returns the inode that is gone, or 0. */
static unsigned long move(struct slot *s, struct slot *to, bool exchange)
{
	unsigned long ino_to = set_ino(to, s->ino, !exchange);

	set_ino(s, exchange ? ino_to : 0, false);
	return exchange ? 0 : ino_to;
}

static bool is_dir(fuse_ino_t ino)
{
	return ino <= FUSE_ROOT_ID + DIRS || (ino & INO_DIR && !(ino & INO_CHILD));
}

static void do_init(void *data, struct fuse_conn_info *conn)
{
	/* Nothing here needs splice; and all that is listed is cached. */
	conn->want &= ~(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
			FUSE_CAP_READDIRPLUS_AUTO);
}

/* Of an inode, or with 0 of a name that does not exist. */
static struct fuse_entry_param entry(fuse_ino_t ino)
{
	return (struct fuse_entry_param) {
		.ino = ino, .entry_timeout = 3600, .attr_timeout = 3600,
		.attr.st_ino = ino, .attr.st_nlink = 1,
		.attr.st_mode = is_dir(ino) ? S_IFDIR | 0755 : S_IFREG | 0644,
	};
}

static void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fuse_entry_param e = entry(ino);

	fuse_reply_attr(req, &e.attr, e.attr_timeout);
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
	return s ? s->ino : 0;
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

	pthread_mutex_lock(&namespace_lock);
	e = entry(find_ino(dir, name));
	unlock_and_nap();
	fuse_reply_entry(req, &e);
}

static void make(fuse_req_t req, struct slot *s, unsigned long bits, struct fuse_file_info *fi)
{
	struct fuse_entry_param e = {};

	pthread_mutex_lock(&namespace_lock);
	if (!s->ino) {
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
	if (!s->ino || (exchange && !to->ino))
		err = ENOENT;
	else if (!exchange && (to ? to : s)->ino & INO_PARENT)
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
 * wait for handlers.
 */
static void notify(fuse_ino_t dir, const char *name, fuse_ino_t gone, struct slot *s)
{
	enum count call = INVAL + rnd(4);
	size_t len = strlen(name);
	int err;

	if (call == DELETE && !gone)
		call = DELETE_OTHER;
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
		err = fuse_lowlevel_notify_delete(session, dir, call == DELETE ? gone : INO_NEVER,
						  name, len);
	counts[call]++;
	if (err && err != -ENOENT && (err != -ENOTEMPTY || call != DELETE))
		violation("%s of %s in inode %lu answered %d", names[call], name, dir, err);
	if (s) {
		s->how = call;
		s->answer = err;
	}
}

/* Changes one name or two behind the kernel's back, and notifies. */
static void change_behind(struct slot *s, struct slot *to)
{
	static const unsigned long bits[] = { 0, 0, INO_DIR, INO_DIR | INO_PARENT };
	unsigned long gone = 0, gone_to = 0;
	bool to_first = rnd(2);

	pthread_mutex_lock(&namespace_lock);
	if (s == to)
		gone = set_ino(s, s->ino && rnd(2) ? 0 : (last_ino += 64) | bits[rnd(4)], true);
	else
		gone_to = move(s, to, rnd(2));
	pthread_mutex_unlock(&namespace_lock);

	if (s != to && to_first)
		notify(to->dir, to->name, gone_to, to);
	notify(s->dir, s->name, gone, s);
	if (s != to && !to_first)
		notify(to->dir, to->name, gone_to, to);
}

/* Changes own names as any user does: it is known what that answers. */
static void use(struct slot *s, struct slot *to)
{
	unsigned long ino = s->ino, ino_to = to->ino;
	enum count call = !ino ? CREATE + rnd(2) :	/* or MKDIR */
			  s != to && rnd(2) ? ino_to ? EXCHANGE : RENAME :
			  ino & INO_DIR ? RMDIR : UNLINK;
	int err, expected = call == RMDIR && ino & INO_PARENT ? ENOTEMPTY : 0;

	err = change(call, s, to);
	if (err != expected && err != ESTALE)
		violation("%s of %s (inode %lu; %s: %lu) answered %d, not %d", names[call],
			  s->path, ino, to->path, ino_to, err, expected);
	s->how = call;
	s->answer = -err;
	to->how = call;
	to->answer = -err;
}

/* Changes one or two of @nr names: until the kernel knows of it, their seq is odd. */
static void change_some(struct slot *first, unsigned long nr,
			void (*how)(struct slot *s, struct slot *to))
{
	struct slot *s = first + rnd(nr), *to = first + rnd(nr);

	s->seq++;
	to->seq += to != s;
	how(s, to);
	s->seq++;
	to->seq += to != s;
	look(s, rnd(3));
	look(to, rnd(3));
}

/* To no purpose, as far as this thread knows. */
static void notify_anything(void)
{
	struct slot *s = &slots[rnd(SLOTS)];
	unsigned long n = rnd(16), gone = s->gone;

	if (n < 4)
		notify(FUSE_ROOT_ID, others[n], 0, NULL);
	else if (n < 6 && gone & INO_DIR)
		notify(gone, "c", 0, NULL);
	else
		notify(s->dir, s->name, gone, NULL);
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
			change_some(own, OWNED, change_behind);
		} else if (n < 60) {
			change_some(own, OWNED, use);
		} else if (n < 90) {
			notify_anything();
		} else {
			change_some(slots, SHARED, change_behind);
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
		notify(s->dir, s->name, 0, s);
	for (i = 0; i < 2 * SLOTS; i++) {
		look(&slots[i % SLOTS], STAT);
		look(&slots[i % SLOTS], WALK);
	}
}

static int fail(const char *what)
{
	printf("# %s: %s\nnot ok 1 soak\n", what, strerror(errno));
	return 1;
}

int main(int argc, char **argv)
{
	struct fuse_args args = FUSE_ARGS_INIT(1, (char *[]) { (char *)"soak" });
	pthread_t server, workers[CLIENTS + NOTIFIERS];
	unsigned long seconds = strtoul(argv[1], NULL, 10);
	struct stat st;
	void *failed;
	bool ok;
	long i;

	srandom(strtoul(argv[2], NULL, 10));
	setlinebuf(stdout);
	printf("KTAP version 1\n1..1\n");
	for (i = 0; i < SLOTS; i++) {
		slots[i].dir = FUSE_ROOT_ID + 1 + i % DIRS;
		snprintf(slots[i].path, sizeof(slots[i].path), MOUNT "/d%ld/%c%ld", i % DIRS,
			 i < SHARED ? 's' : 'o', i);
		slots[i].name = strrchr(slots[i].path, '/') + 1;
	}

	session = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	/* Notifications are refused before the first request has been answered, so there is one. */
	if (!session || mkdir(MOUNT, 0700) || fuse_session_mount(session, MOUNT) ||
	    pthread_create(&server, NULL, serve, NULL) || stat(MOUNT, &st))
		return fail("mount");
	for (i = 0; i < CLIENTS + NOTIFIERS; i++)
		pthread_create(&workers[i], NULL, work, (void *)i);
	sleep(seconds);
	stop = true;
	for (i = 0; i < CLIENTS + NOTIFIERS; i++)
		pthread_join(workers[i], NULL);
	quiet = true;
	look_last();

	for (i = 0; i < COUNTS; i++)
		printf("# %s: %lu (%lu/s)\n", names[i], counts[i], counts[i] / seconds);
	if (umount(MOUNT) || pthread_join(server, &failed) || failed)
		return fail("umount");
	ok = counts[CHECKS] > counts[NO_PATIENCE] * 100 && !counts[VIOLATIONS];
	printf("%s 1 soak\n", ok ? "ok" : "not ok");
	return !ok;
}
