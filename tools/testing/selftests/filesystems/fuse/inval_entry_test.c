// SPDX-License-Identifier: GPL-2.0
/*
 * A server tells the kernel that a name it may have cached is stale:
 * FUSE_NOTIFY_INVAL_ENTRY and FUSE_NOTIFY_DELETE, with libfuse.
 *
 * Each test fills the cache through system calls, notifies, and looks again. The
 * KUnit case of the same name, in fs/fuse/tests/inval_*_kunit.c, does the same and
 * looks into the kernel's cache; here it is what a user and a server see.
 *
 * Every test runs twice. "thread": a thread of the server notifies while another
 * one answers requests. "handler": the server has one thread, which notifies from
 * inside the handler of a request, so that no request is answered before the
 * notification has returned. Where a notification may have to wait for that request,
 * it is always a thread that notifies.
 *
 * After every test the names that it did not touch must still be cached, no
 * notification may have sent a request, and the file system must unmount. A
 * notification that does not return is a failure, too.
 */

#define _GNU_SOURCE
#include "fuse_test_server.h"

#include <signal.h>
#include <sys/inotify.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#define FDS	16

enum what { INVAL, EXPIRE, DELETE };

static const char * const whats[] = { "inval", "expire", "delete" };

/* A notification, and what came of it. */
static struct notification {
	enum what what;
	fuse_ino_t dir, child;
	const char *name;
	int answer;
	atomic_int tid;		/* who notifies */
} note;

static struct {
	struct __test_metadata *metadata;
	bool by_handler;	/* the variant */
	int fds[FDS];
	int nr_fds;
} fx;

static void server_notify(void)
{
	struct notification *n = &note;
	size_t len = strlen(n->name);

	n->tid = gettid();
	pthread_mutex_lock(&srv.lock);
	srv.asker = n->tid;
	srv.asked = 0;
	pthread_mutex_unlock(&srv.lock);
	switch (n->what) {
	case INVAL:
		n->answer = fuse_lowlevel_notify_inval_entry(srv.se, n->dir, n->name, len);
		break;
	case EXPIRE:
#if FUSE_MINOR_VERSION < 15
		n->answer = fuse_lowlevel_notify_expire_entry(srv.se, n->dir, n->name, len,
							      FUSE_LL_EXPIRE_ONLY);
#else
		n->answer = fuse_lowlevel_notify_expire_entry(srv.se, n->dir, n->name, len);
#endif
		break;
	case DELETE:
		n->answer = fuse_lowlevel_notify_delete(srv.se, n->dir, n->child, n->name, len);
		break;
	}
}

static int keep(int fd)
{
	struct __test_metadata *_metadata = fx.metadata;

	ASSERT_LE(0, fd);
	ASSERT_GT(FDS, fx.nr_fds);
	fx.fds[fx.nr_fds++] = fd;
	return fd;
}

/* Use a name until the test ends. */
static int hold(const char *path)
{
	return keep(open(path, O_PATH | O_CLOEXEC));
}

static int hold_new(const char *path, mode_t type)
{
	server_add(path, type);
	return hold(path);
}

/* A system call for a thread to make. */
struct call {
	unsigned int opcode;	/* of the request that matters */
	const char *path, *new;
	unsigned int flags;
	const char *change;	/* what the server changes when it has answered */
	int err;
};

static void *call_run(void *arg)
{
	struct call *call = arg;
	struct statx stx;
	int err = -1;

	switch (call->opcode) {
	case FUSE_LOOKUP:
		err = statx(AT_FDCWD, call->path, 0, STATX_TYPE, &stx);
		break;
	case FUSE_GETATTR:
		err = statx(AT_FDCWD, call->path, AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &stx);
		break;
	case FUSE_GETXATTR:
		err = getxattr(".", "user.inval_entry", NULL, 0);
		break;
	case FUSE_READDIRPLUS:
		errno = ENOENT;
		err = listed(call->path, "config") ? 0 : -1;
		break;
	case FUSE_CREATE:
		err = open(call->path, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
		if (err >= 0)
			err = close(err);
		break;
	case FUSE_MKNOD:
		err = mknod(call->path, S_IFREG | 0644, 0);
		break;
	case FUSE_MKDIR:
		err = mkdir(call->path, 0755);
		break;
	case FUSE_RENAME:
	case FUSE_RENAME2:
		err = renameat2(AT_FDCWD, call->path, AT_FDCWD, call->new, call->flags);
		break;
	}
	call->err = err ? -errno : 0;
	return NULL;
}

/* The notification must have returned by itself, and have sent no request. */
static int judge(void)
{
	struct __test_metadata *_metadata = fx.metadata;

	alarm(LIMIT);
	ASSERT_FALSE(srv.hung)
		TH_LOG("%s of \"%s\" takes over %d s", whats[note.what], note.name, LIMIT);
	EXPECT_EQ(0, srv.asked)
		TH_LOG("%s of \"%s\" sent a request", whats[note.what], note.name);
	return note.answer;
}

static void *notifier_run(void *done)
{
	server_notify();
	sem_post(done);
	return NULL;
}

/*
 * Let a thread make a system call, and notify when the server has its request, as the
 * variant says. A notification that may wait for the system call is always made by a
 * thread, because the handler would wait for itself.
 */
static int notify_during(struct call *call, bool may_wait, enum what what, fuse_ino_t dir,
			 fuse_ino_t child, const char *name)
{
	struct __test_metadata *_metadata = fx.metadata;
	bool in_handler = fx.by_handler && !may_wait;
	pthread_t caller, notifier;
	sem_t done;

	sem_init(&done, 0, 0);
	alarm(LIMIT);
	pthread_mutex_lock(&srv.lock);
	note = (struct notification) { what, dir, child, name, -EINPROGRESS };
	srv.stop = call->opcode;
	srv.change = call->change;
	srv.at_stop = in_handler ? server_notify : NULL;
	pthread_mutex_unlock(&srv.lock);
	ASSERT_EQ(0, pthread_create(&caller, NULL, call_run, call));
	EXPECT_TRUE(server_wait(&srv.stopped));
	if (!in_handler) {
		ASSERT_EQ(0, pthread_create(&notifier, NULL, notifier_run, &done));
		while (sem_trywait(&done) && !srv.hung && !(may_wait && sleeps(note.tid)))
			usleep(100);
		sem_post(&srv.go);
		pthread_join(notifier, NULL);
	}
	pthread_join(caller, NULL);
	return judge();
}

/* Notify as the variant says: from here, or in the handler of a getxattr(). */
static int notify(enum what what, fuse_ino_t dir, fuse_ino_t child, const char *name)
{
	struct call getxattr = { FUSE_GETXATTR };

	if (fx.by_handler)
		return notify_during(&getxattr, false, what, dir, child, name);
	note = (struct notification) { what, dir, child, name, -EINPROGRESS };
	alarm(LIMIT);
	server_notify();
	return judge();
}

static int inval(fuse_ino_t dir, const char *name)
{
	return notify(INVAL, dir, 0, name);
}

static int expire(fuse_ino_t dir, const char *name)
{
	return notify(EXPIRE, dir, 0, name);
}

FIXTURE(inval_entry) {};

FIXTURE_VARIANT(inval_entry)
{
	bool by_handler;
};

FIXTURE_VARIANT_ADD(inval_entry, thread) { .by_handler = false };
FIXTURE_VARIANT_ADD(inval_entry, handler) { .by_handler = true };

FIXTURE_SETUP(inval_entry)
{
	const char *problem = new_namespaces() ?: server_mount();

	if (problem)
		SKIP(return, "%s: %s", problem, strerror(errno));
	fx.metadata = _metadata;
	fx.by_handler = variant->by_handler;
	server_add("~file", S_IFREG);
	server_add("~dir", S_IFDIR);
	server_add("~dir/file", S_IFREG);
	server_run(_metadata);
	ASSERT_EQ(0, chdir(MNT));
	EXPECT_EQ(0, look("~file"));
	EXPECT_EQ(0, look("~dir/file"));
	EXPECT_EQ(-ENOENT, look("~none"));
}

FIXTURE_TEARDOWN(inval_entry)
{
	if (!srv.hung) {
		EXPECT_EQ(0, asks("~file"));
		EXPECT_EQ(0, asks("~dir/file"));
		EXPECT_EQ(0, asks("~none"));
	}
	while (fx.nr_fds)
		close(fx.fds[--fx.nr_fds]);
	server_end(_metadata);
}

/*
 * The bug report of 2026-05-30: a lookup of "config" finds nothing and that is
 * cached for long; the server makes "config" visible and says so; stat(), open() and
 * readdir() have to agree. Expire and delete do the same for a name that is absent.
 */
TEST_F(inval_entry, negative)
{
	static const char * const names[] = { "config", "config.expire", "config.delete" };
	fuse_ino_t config;
	enum what what;

	for (what = INVAL; what <= DELETE; what++) {
		EXPECT_EQ(-ENOENT, look(names[what]));
		config = server_add(names[what], S_IFREG);
		EXPECT_EQ(-ENOENT, look(names[what]));

		EXPECT_EQ(0, notify(what, ROOT, config, names[what]));
		EXPECT_EQ(0, look(names[what]));
		EXPECT_TRUE(listed(".", names[what]));
		keep(open(names[what], O_RDONLY | O_CLOEXEC));
	}
}

TEST_F(inval_entry, positive)
{
	int fd = hold_new("file", S_IFREG);

	server_add("other", S_IFREG);
	EXPECT_EQ(0, look("other"));
	server_remove("file");
	EXPECT_EQ(0, look("file"));

	EXPECT_EQ(0, inval(ROOT, "file"));
	EXPECT_TRUE(gone(fd));
	EXPECT_EQ(-ENOENT, look("file"));
	EXPECT_EQ(0, asks("other"));
}

/* What each notification does to an entry. */
static const struct row {
	const char *name;
	enum what what;
	bool other;	/* a delete of another node */
	int answer;
	bool stays;
} rows[] = {
	{ "inval",		INVAL,	false,	0,		false },
	{ "expire",		EXPIRE,	false,	0,		true },
	{ "delete",		DELETE,	false,	0,		false },
	{ "delete_other",	DELETE,	true,	-ENOENT,	false },
};

static bool deletes(const struct row *r)
{
	return r->what == DELETE && !r->other;
}

/* Notify of an entry that @fd has open. */
static void notify_row(struct __test_metadata *_metadata, const struct row *r, fuse_ino_t dir,
		       fuse_ino_t entry, const char *name, int fd)
{
	int linked = links(fd);

	EXPECT_EQ(r->answer, notify(r->what, dir, entry + r->other, name))
		TH_LOG("%s", r->name);
	EXPECT_EQ(r->stays, !gone(fd))
		TH_LOG("after %s", r->name);
	EXPECT_EQ(deletes(r) ? 0 : linked, links(fd))
		TH_LOG("after %s", r->name);
}

static void notified(struct __test_metadata *_metadata, const char *parent, mode_t type,
		     bool expired)
{
	fuse_ino_t dir = server_add(parent, S_IFDIR), entry;
	char path[32], below[48];
	const struct row *r;
	int fd;

	for (r = rows; r < rows + ARRAY_SIZE(rows); r++) {
		snprintf(path, sizeof(path), "%s/%s", parent, r->name);
		entry = server_add(path, type);
		fd = hold(path);
		/* Names in a directory do not prevent a delete if they are not in use. */
		if (type == S_IFDIR) {
			snprintf(below, sizeof(below), "%s/file", path);
			server_add(below, S_IFREG);
			EXPECT_EQ(0, look(below));
			snprintf(below, sizeof(below), "%s/none", path);
			EXPECT_EQ(-ENOENT, look(below));
		}
		if (expired)
			EXPECT_EQ(0, expire(dir, r->name));
		if (deletes(r))
			server_remove(path);

		notify_row(_metadata, r, dir, entry, r->name, fd);
		if (type == S_IFDIR)
			EXPECT_EQ(!deletes(r), alive(fd));
		EXPECT_EQ(1, asks(path));
		/* An expired name that the server confirms stays the same entry. */
		EXPECT_EQ(0, asks(path));
		if (r->stays)
			EXPECT_FALSE(gone(fd));
		EXPECT_EQ(deletes(r) ? -ENOENT : 0, look(path));
	}
}

TEST_F(inval_entry, positive_notified)
{
	notified(_metadata, "files", S_IFREG, false);
	/* What has expired is still cached, and can be invalidated. */
	notified(_metadata, "expired", S_IFREG, true);
}

TEST_F(inval_entry, directory_notified)
{
	fuse_ino_t dir;
	int fd;

	notified(_metadata, "dirs", S_IFDIR, false);

	/* A child that is in use keeps its directory alive, but not the name of it. */
	dir = server_add("busy", S_IFDIR);
	fd = hold("busy");
	hold_new("busy/file", S_IFREG);
	EXPECT_EQ(-ENOTEMPTY, notify(DELETE, ROOT, dir, "busy"));
	EXPECT_TRUE(gone(fd));
	EXPECT_TRUE(alive(fd));
}

/* An open file can still be used when its name is dropped. */
TEST_F(inval_entry, file_open)
{
	fuse_ino_t file = server_add("file", S_IFREG);
	char buf[FILE_SIZE];
	struct statx stx;
	int fd;

	fd = keep(open("file", O_RDONLY | O_CLOEXEC));
	EXPECT_EQ(0, inval(ROOT, "file"));
	EXPECT_TRUE(gone(fd));
	EXPECT_EQ(0, look("file"));
	EXPECT_EQ(0, notify(DELETE, ROOT, file, "file"));
	EXPECT_EQ(0, links(fd));

	EXPECT_EQ(FILE_SIZE, read(fd, buf, sizeof(buf)));
	EXPECT_EQ(0, memcmp(srv.content, buf, sizeof(buf)));
	EXPECT_EQ(0, statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_INO, &stx));
	EXPECT_EQ(file, stx.stx_ino);
}

/* A directory takes along what is cached below it. */
TEST_F(inval_entry, directory)
{
	int fd = hold_new("dir", S_IFDIR);

	server_add("dir/file", S_IFREG);
	EXPECT_EQ(0, look("dir/file"));
	EXPECT_EQ(-ENOENT, look("dir/none"));

	EXPECT_EQ(0, inval(ROOT, "dir"));
	EXPECT_TRUE(gone(fd));
	EXPECT_EQ(2, asks("dir/file"));
}

/* What is mounted on a name, or below, is detached with it, but not if it only expires. */
static void mount_there(struct __test_metadata *_metadata, const char *below)
{
	const struct row *r;
	fuse_ino_t dir;
	char path[32];

	for (r = rows; r < rows + ARRAY_SIZE(rows); r++) {
		dir = server_add(r->name, S_IFDIR);
		snprintf(path, sizeof(path), "%s%s", r->name, below);
		if (*below)
			server_add(path, S_IFDIR);
		ASSERT_EQ(0, mount("none", path, "tmpfs", 0, NULL));
		EXPECT_TRUE(mounted(path));

		EXPECT_EQ(r->answer, notify(r->what, ROOT, dir + r->other, r->name));
		EXPECT_EQ(r->stays, mounted(path))
			TH_LOG("after %s", r->name);
		EXPECT_EQ(r->stays ? 0 : -1, umount2(path, 0));
	}
}

TEST_F(inval_entry, mount_point)
{
	mount_there(_metadata, "");
}

TEST_F(inval_entry, mount_below)
{
	mount_there(_metadata, "/sub");
}

/* A rename that the kernel made: the entry is known by its new name only. */
TEST_F(inval_entry, renamed)
{
	fuse_ino_t to = server_add("to", S_IFDIR);

	server_add("old", S_IFREG);
	EXPECT_EQ(0, do_rename("old", "new", 0));
	EXPECT_EQ(-ENOENT, inval(ROOT, "old"));
	EXPECT_EQ(0, asks("new"));
	EXPECT_EQ(0, inval(ROOT, "new"));
	EXPECT_EQ(1, asks("new"));

	/* The same if it is in another directory then. */
	EXPECT_EQ(0, do_rename("new", "to/new", 0));
	EXPECT_EQ(-ENOENT, inval(ROOT, "new"));
	EXPECT_EQ(0, asks("to/new"));
	EXPECT_EQ(0, inval(to, "new"));
	EXPECT_EQ(1, asks("to/new"));
}

/* After an exchange, only the entry that has the notified name is dropped. */
TEST_F(inval_entry, exchanged)
{
	int one = hold_new("one", S_IFREG), two = hold_new("two", S_IFREG);

	EXPECT_EQ(0, do_rename("one", "two", RENAME_EXCHANGE));

	EXPECT_EQ(0, inval(ROOT, "one"));
	EXPECT_TRUE(gone(two));
	EXPECT_FALSE(gone(one));
	EXPECT_EQ(1, asks("one"));
	EXPECT_EQ(0, asks("two"));
}

/*
 * A hard link is a name like any other: other links of the file stay cached, and so
 * do its attributes.
 */
TEST_F(inval_entry, hard_link)
{
	server_add("one", S_IFREG);
	server_link("one", "two");
	EXPECT_EQ(0, look("one"));
	EXPECT_EQ(0, look("two"));

	EXPECT_EQ(0, inval(ROOT, "one"));
	EXPECT_EQ(0, asks("two"));
	EXPECT_EQ(0, asks_attributes("two"));
	EXPECT_EQ(1, asks("one"));
}

/*
 * Who changes a name changes its directory: only the directory's attributes are stale,
 * also if the kernel knows the directory, but not the name.
 */
TEST_F(inval_entry, parent_attributes)
{
	static const struct {
		enum what what;
		const char *name;
		int answer;
	} told[] = {
		{ INVAL, "file" }, { INVAL, "none" }, { EXPIRE, "file" }, { DELETE, "file" },
		{ DELETE, "none" }, { INVAL, "never", -ENOENT },
	};
	fuse_ino_t dir = server_add("dir", S_IFDIR);
	fuse_ino_t file = server_add("dir/file", S_IFREG);
	int i;

	server_add("dir/sibling", S_IFREG);
	EXPECT_EQ(0, look("dir/sibling"));
	for (i = 0; i < ARRAY_SIZE(told); i++) {
		EXPECT_EQ(0, look("dir/file"));
		EXPECT_EQ(-ENOENT, look("dir/none"));
		EXPECT_EQ(0, asks_attributes("dir"));
		EXPECT_EQ(told[i].answer, notify(told[i].what, dir, file, told[i].name));
		EXPECT_EQ(1, asks_attributes("dir"))
			TH_LOG("after %s of %s", whats[told[i].what], told[i].name);
	}
	EXPECT_EQ(0, asks_attributes("dir/sibling"));
}

/*
 * The directory was removed but is still in use, and so is an entry in it that the
 * server has removed before without a notification. Notifications do what they always do.
 */
static void parent_removed(struct __test_metadata *_metadata, mode_t type)
{
	const struct row *r;
	fuse_ino_t dir, entry;
	int fd, parent;
	char path[32];

	for (r = rows; r < rows + ARRAY_SIZE(rows); r++) {
		dir = server_add(r->name, S_IFDIR);
		snprintf(path, sizeof(path), "%s/entry", r->name);
		entry = server_add(path, type);
		fd = hold(path);
		parent = hold(r->name);
		server_remove(path);
		EXPECT_EQ(0, rmdir(r->name));
		EXPECT_FALSE(alive(parent));

		notify_row(_metadata, r, dir, entry, "entry", fd);
		EXPECT_EQ(-ENOENT, inval(dir, "never"));
	}
}

TEST_F(inval_entry, parent_removed_file)
{
	parent_removed(_metadata, S_IFREG);
}

TEST_F(inval_entry, parent_removed_directory)
{
	parent_removed(_metadata, S_IFDIR);
}

TEST_F(inval_entry, parent_unknown)
{
	fuse_ino_t dir, file;

	EXPECT_EQ(-ENOENT, inval(4711, "file"));

	/* Nor one of which only the lower half of the nodeid is right. */
	EXPECT_EQ(-ENOENT, inval(ROOT + (UINT64_C(1) << 32), "~file"));

	/* The server has it, but the kernel does not know it. */
	dir = server_add("dir", S_IFDIR);
	EXPECT_EQ(-ENOENT, inval(dir, "file"));

	/* The kernel knows it, but not as a directory. */
	file = server_add("file", S_IFREG);
	hold("file");
	EXPECT_EQ(-ENOTDIR, inval(file, "name"));
}

/* The directory is in use, but there is no name that leads to it. */
TEST_F(inval_entry, parent_without_alias)
{
	fuse_ino_t dir = server_add("dir", S_IFDIR);
	int watch = keep(inotify_init1(IN_CLOEXEC));

	ASSERT_LE(0, inotify_add_watch(watch, "dir", IN_CREATE));
	EXPECT_EQ(0, inval(ROOT, "dir"));
	EXPECT_EQ(0, fuse_lowlevel_notify_inval_inode(srv.se, dir, -1, 0));

	EXPECT_EQ(-ENOENT, inval(dir, "file"));
}

TEST_F(inval_entry, not_cached)
{
	server_add("file", S_IFREG);
	EXPECT_EQ(-ENOENT, inval(ROOT, "file"));
	EXPECT_EQ(-ENOENT, inval(ROOT, ""));
	EXPECT_EQ(-ENOENT, inval(ROOT, "."));
	EXPECT_EQ(-ENOENT, inval(ROOT, ".."));
	EXPECT_EQ(-ENOENT, inval(ROOT, "a/b"));
}

/* Make a system call that sends such a request. Not all of them succeed with this server. */
static int make_request(unsigned int opcode)
{
	char byte = 0;
	int fd;

	switch (opcode) {
	case FUSE_LOOKUP:	return look("dir/file");
	case FUSE_GETATTR:	return look("dir");
	case FUSE_SETATTR:	return chmod("dir", 0700);
	case FUSE_STATFS:	return statfs("dir", &(struct statfs) {});
	case FUSE_GETXATTR:	return getxattr("dir", "user.inval_entry", NULL, 0);
	case FUSE_SETXATTR:	return setxattr("dir", "user.inval_entry", "", 0, 0);
	case FUSE_SYMLINK:	return symlink("target", "dir/new");
	case FUSE_LINK:		return link("dir/file", "dir/new");
	case FUSE_MKNOD:	return mknod("dir/new", S_IFREG | 0644, 0);
	case FUSE_UNLINK:	return unlink("dir/new");
	case FUSE_MKDIR:	return mkdir("dir/new", 0755);
	case FUSE_RENAME2:	return do_rename("dir/new", "dir/next", RENAME_NOREPLACE);
	case FUSE_RENAME:	return rename("dir/next", "dir/new");
	case FUSE_RMDIR:	return rmdir("dir/new");
	case FUSE_CREATE:	return close(open("dir/new", O_CREAT | O_RDWR | O_CLOEXEC, 0644));
	case FUSE_OPENDIR:
	case FUSE_READDIRPLUS:	return listed("dir", "file");
	}
	fd = open("dir/file", O_RDWR | O_CLOEXEC);
	if (opcode == FUSE_WRITE)
		write(fd, &byte, 1);
	else
		read(fd, &byte, 1);
	return fsync(fd) | close(fd);
}

/* Expire in the handler of each request, and invalidate in that of this opcode, too. */
static atomic_uint inval_at;

static void notify_at_each(unsigned int opcode)
{
	note.what = EXPIRE;
	server_notify();
	if (opcode == inval_at) {
		note.what = INVAL;
		server_notify();
	}
}

/*
 * A server with one thread may notify in the handler of any request, also about
 * a cached name in the directory of that request. See libfuse issue 341.
 */
TEST_F(inval_entry, at_server)
{
	static const unsigned int opcodes[] = {
		FUSE_LOOKUP, FUSE_GETATTR, FUSE_SETATTR, FUSE_STATFS, FUSE_GETXATTR,
		FUSE_SETXATTR, FUSE_SYMLINK, FUSE_LINK, FUSE_MKNOD, FUSE_UNLINK, FUSE_MKDIR,
		FUSE_RENAME2, FUSE_RENAME, FUSE_RMDIR, FUSE_CREATE, FUSE_OPENDIR,
		FUSE_READDIRPLUS, FUSE_OPEN, FUSE_READ, FUSE_WRITE, FUSE_FSYNC, FUSE_FLUSH,
	};
	fuse_ino_t dir = server_add("dir", S_IFDIR);
	unsigned int i;

	server_add("dir/file", S_IFREG);
	memset(srv.requests, 0, sizeof(srv.requests));
	srv.timeout = 0;
	note = (struct notification) { .dir = dir, .name = "file" };
	for (i = 0; i < ARRAY_SIZE(opcodes); i++) {
		EXPECT_EQ(0, look("dir/file"));
		alarm(LIMIT);
		inval_at = opcodes[i];
		srv.at_each = notify_at_each;
		make_request(opcodes[i]);
		srv.at_each = NULL;
		judge();
	}
	for (i = 0; i < ARRAY_SIZE(opcodes); i++)
		EXPECT_LT(0, server_requests(opcodes[i]))
			TH_LOG("no request %u", opcodes[i]);
	srv.timeout = TIMEOUT;
}

/* Calls whose answers are on their way when the server notifies. */
static const struct late {
	struct call call;
	bool there;	/* the server has "config", */
	bool known;	/* and the kernel too, but that has expired */
} lates[] = {
	{ { FUSE_LOOKUP, "dir/config", .err = -ENOENT } },
	{ { FUSE_LOOKUP, "dir/config" }, true },
	{ { FUSE_LOOKUP, "dir/config" }, true, true },
	{ { FUSE_READDIRPLUS, "dir" }, true },
	{ { FUSE_CREATE, "dir/config" } },
	{ { FUSE_MKNOD, "dir/config" } },
	{ { FUSE_MKDIR, "dir/config" } },
	{ { FUSE_RENAME, "dir/other", "dir/config" } },
	{ { FUSE_RENAME2, "dir/other", "dir/config", RENAME_EXCHANGE }, true },
};

/*
 * The server has its answer. Before it sends it, the name appears or is removed, and is
 * notified. The caller gets the old answer, but the next one has to ask.
 */
static void late_answer(struct __test_metadata *_metadata, const struct late *late,
			enum what what)
{
	fuse_ino_t dir = server_add("dir", S_IFDIR);
	struct call call = late->call;
	int answer;

	server_add("dir/other", S_IFREG);
	EXPECT_EQ(0, look("dir/other"));
	if (late->there)
		server_add("dir/config", S_IFREG);
	if (late->known) {
		EXPECT_EQ(0, look("dir/config"));
		EXPECT_EQ(0, expire(dir, "config"));
	}

	call.change = "dir/config";
	answer = notify_during(&call, true, what, dir, 0, "config");
	EXPECT_TRUE(answer == 0 || answer == -ENOENT);
	EXPECT_EQ(late->call.err, call.err);
	EXPECT_EQ(call.err ? 0 : -ENOENT, look("dir/config"))
		TH_LOG("%s, late answer to request %u", whats[what], call.opcode);
	EXPECT_EQ(0, do_rename("dir", "was", 0));
}

TEST_F(inval_entry, late_answer)
{
	const struct late *late;

	for (late = lates; late < lates + ARRAY_SIZE(lates); late++) {
		late_answer(_metadata, late, INVAL);
		late_answer(_metadata, late, EXPIRE);
	}
}

/* The same with what is said of the directory itself. */
TEST_F(inval_entry, late_attributes)
{
	struct call getattr = { FUSE_GETATTR, "dir", .change = "dir/file" };
	fuse_ino_t dir = server_add("dir", S_IFDIR);

	server_add("dir/file", S_IFREG);
	EXPECT_EQ(0, look("dir/file"));

	EXPECT_EQ(0, notify_during(&getattr, false, INVAL, dir, 0, "file"));
	EXPECT_EQ(0, getattr.err);
	EXPECT_EQ(1, asks_attributes("dir"));
}

/* Names of many lengths. */
TEST_F(inval_entry, name_length)
{
	static const unsigned int lengths[] = { 1, 31, 32, 39, 40, 41, NAME_MAX };
	char name[NAME_MAX + 1];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		memset(name, 'n', lengths[i]);
		name[lengths[i]] = 0;
		EXPECT_EQ(-ENOENT, look(name));
		server_add(name, S_IFREG);
		EXPECT_EQ(0, inval(ROOT, name));
		EXPECT_EQ(0, look(name));
		EXPECT_EQ(0, inval(ROOT, name));
		EXPECT_EQ(1, asks(name));
	}
}

/*
 * A delete waits for the directory's lock, and meanwhile a rename gives the
 * name to another entry: that one is marked as removed.
 */
TEST_F(inval_entry, race_delete)
{
	struct call renames[] = {
		{ FUSE_RENAME2, "exchanged/new", "exchanged/old", RENAME_EXCHANGE },
		{ FUSE_RENAME, "replaced/new", "replaced/old" },
	};
	static const char * const dirs[] = { "exchanged", "replaced" };
	int i, old, new;

	for (i = 0; i < 2; i++) {
		struct call *rename = &renames[i];
		fuse_ino_t dir = server_add(dirs[i], S_IFDIR);
		fuse_ino_t child = server_add(rename->path, S_IFDIR);

		server_add(rename->new, S_IFDIR);
		old = hold(rename->new);
		new = hold(rename->path);

		EXPECT_EQ(0, notify_during(rename, true, DELETE, dir, child, "old"));
		EXPECT_EQ(0, rename->err);
		EXPECT_TRUE(gone(new));
		EXPECT_EQ(0, links(new));
		EXPECT_FALSE(alive(new));
		if (!rename->flags)
			continue;
		EXPECT_FALSE(gone(old));
		EXPECT_NE(0, links(old));
		EXPECT_TRUE(alive(old));
	}
}

/* A process that serves, never answers a MKDIR, and notifies while that waits. */
static void serve_and_delete(struct __test_metadata *_metadata, int ready)
{
	fuse_ino_t dir, file;

	if (server_mount())
		_exit(write(ready, "", 1));
	dir = server_add("dir", S_IFDIR);
	file = server_add("dir/file", S_IFREG);
	srv.swallow = FUSE_MKDIR;
	server_run(_metadata);
	close(ready);
	server_swallowed(_metadata);
	_exit(fuse_lowlevel_notify_delete(srv.se, dir, file, "file", strlen("file")));
}

/* The status of a process that ends within the limit, or -1. */
static int status_of(pid_t pid)
{
	time_t end = time(NULL) + LIMIT;
	int status;

	while (waitpid(pid, &status, WNOHANG) != pid) {
		if (time(NULL) > end)
			return -1;
		usleep(1000);
	}
	return status;
}

/*
 * A server that is killed while its delete waits for a request exits, and the request
 * ends. Nobody but the server has its /dev/fuse.
 */
TEST(delete_killed)
{
	const char *problem = new_namespaces();
	siginfo_t ended = {};
	int ready[2], status;
	pid_t server, client;

	if (problem)
		SKIP(return, "%s: %s", problem, strerror(errno));
	ASSERT_EQ(0, pipe2(ready, O_CLOEXEC));
	server = fork();
	ASSERT_LE(0, server);
	if (!server)
		serve_and_delete(_metadata, ready[1]);
	close(ready[1]);
	if (read(ready[0], &status, 1))
		SKIP(return, "the server cannot mount");
	EXPECT_EQ(0, look(MNT "/dir/file"));
	client = fork();
	ASSERT_LE(0, client);
	if (!client)
		_exit(mkdir(MNT "/dir/new", 0755) ? errno : 0);
	/* It waits in the kernel, or has ended: a fix whose delete does not wait. */
	while (!sleeps(server) && !ended.si_pid)
		waitid(P_PID, server, &ended, WEXITED | WNOHANG | WNOWAIT);
	kill(server, SIGKILL);
	status = status_of(server);
	EXPECT_TRUE(!status || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
		TH_LOG("the server cannot be killed, or its delete fails: status %#x", status);
	if (status == -1)
		umount2(MNT, MNT_FORCE);	/* otherwise the request must end without it */
	status = status_of(client);
	EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == ECONNABORTED);
}

TEST_HARNESS_MAIN
