// SPDX-License-Identifier: GPL-2.0
/*
 * A server tells the kernel that a name it may have cached is stale:
 * FUSE_NOTIFY_INVAL_ENTRY and FUSE_NOTIFY_DELETE, with libfuse.
 *
 * Each test fills the cache through system calls, notifies, and looks again. There is a KUnit
 * case of the same name in fs/fuse/tests/inval_*_kunit.c, which looks into the kernel's cache.
 *
 * The server has one thread, which notifies before it handles a request; only where a
 * notification may have to wait for that request, another thread sends it. A notification that
 * does not return, or sends a request, is a failure. After every test the names that it did not
 * touch must still be cached, and the file system must unmount.
 */

#define _GNU_SOURCE
#include "fuse_test_server.h"

#include <sys/statfs.h>

#if FUSE_MINOR_VERSION < 15
#define fuse_lowlevel_notify_expire_entry(se, dir, name, len) \
	fuse_lowlevel_notify_expire_entry(se, dir, name, len, FUSE_LL_EXPIRE_ONLY)
#endif

/* DELETE_OTHER names another node than @child. */
enum what { INVAL, EXPIRE, DELETE, DELETE_OTHER, EXPIRE_AND_INVAL };

static const char * const whats[] = {
	"inval", "expire", "delete", "delete of another node", "expire and inval",
};

/* A notification, and what came of it. */
static struct {
	enum what what;
	fuse_ino_t dir, child;
	const char *name;
	atomic_int tid;		/* who notifies */
	int answer;
	atomic_bool done;
} note;

static struct __test_metadata *test;

static void server_notify(void)
{
	enum what what = note.what;
	size_t len = strlen(note.name);

	note.tid = gettid();
	if (what == EXPIRE || what == EXPIRE_AND_INVAL)
		note.answer = fuse_lowlevel_notify_expire_entry(srv.se, note.dir, note.name, len);
	if (what == INVAL || what == EXPIRE_AND_INVAL)
		note.answer = fuse_lowlevel_notify_inval_entry(srv.se, note.dir, note.name, len);
	if (what == DELETE || what == DELETE_OTHER)
		note.answer = fuse_lowlevel_notify_delete(srv.se, note.dir,
							  note.child + (what == DELETE_OTHER),
							  note.name, len);
	note.done = true;
}

/* The server does this until another thread has notified, or waits for a lock. */
static void let_notify(void)
{
	while (!note.done && !srv.hung && !sleeps(note.tid))
		usleep(100);
}

/* Use a name until the test ends. */
static int hold(const char *path)
{
	struct __test_metadata *_metadata = test;
	int fd = open(path, O_PATH | O_CLOEXEC);

	ASSERT_LE(0, fd);
	return fd;
}

/* A system call for a thread to make. */
struct call {
	unsigned int opcode;	/* of the request that matters */
	const char *path, *new;
	unsigned int flags;
	const char *change;	/* what the server changes when it has answered */
	int err;
};

static int make_call(const struct call *call)
{
	const char *path = call->path;
	char byte = 0;
	int fd, ret = 0;

	switch (call->opcode) {
	case FUSE_LOOKUP:	return look(path);
	case FUSE_GETATTR:	return ask_attributes(path);
	case FUSE_SETATTR:	return chmod(path, 0700);
	case FUSE_STATFS:	return statfs(path, &(struct statfs) {});
	case FUSE_MKNOD:	return mknod(path, S_IFREG | 0644, 0);
	case FUSE_UNLINK:	return unlink(path);
	case FUSE_MKDIR:	return mkdir(path, 0755);
	case FUSE_SYMLINK:	return symlink("target", path);
	case FUSE_LINK:		return link(path, call->new);
	case FUSE_RMDIR:	return rmdir(path);
	case FUSE_RENAME:	return rename(path, call->new);
	case FUSE_RENAME2:	return renameat2(AT_FDCWD, path, AT_FDCWD, call->new, call->flags);
	case FUSE_READDIRPLUS:	return listed(path, "config") - 1;
	case FUSE_CREATE:	return close(open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644));
	}
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (call->opcode == FUSE_READ)
		ret = read(fd, &byte, 1);
	close(fd);
	return ret;
}

static void *call_run(void *arg)
{
	struct call *call = arg;

	call->err = make_call(call) < 0 ? -errno : 0;
	return NULL;
}

/*
 * Let a thread make a system call, and notify when the server has its request: in the
 * handler, unless the notification may wait for that request.
 */
static int notify_during(struct call *call, bool may_wait, enum what what, fuse_ino_t dir,
			 fuse_ino_t child, const char *name)
{
	struct __test_metadata *_metadata = test;
	pthread_t caller;

	alarm(LIMIT);
	note = (typeof(note)) { what, dir, child, name };
	srv.change = call->change;
	srv.at_stop = may_wait ? let_notify : server_notify;
	srv.stop = call->opcode;
	ASSERT_EQ(0, pthread_create(&caller, NULL, call_run, call));
	server_stopped(_metadata);
	if (may_wait)
		server_notify();
	pthread_join(caller, NULL);
	alarm(LIMIT);
	ASSERT_TRUE(!srv.hung)
		TH_LOG("%s of \"%s\" waits, or sends a request: %d s", whats[what], name, LIMIT);
	return note.answer;
}

static int notify(enum what what, fuse_ino_t dir, fuse_ino_t child, const char *name)
{
	struct call call = { FUSE_STATFS, "." };

	return notify_during(&call, false, what, dir, child, name);
}

FIXTURE(inval_entry) {
	int first;	/* file descriptor of the test */
};

FIXTURE_SETUP(inval_entry)
{
	const char *problem = new_namespaces() ?: server_mount();

	if (problem)
		SKIP(return, "%s: %s", problem, strerror(errno));
	test = _metadata;
	server_add("~file", S_IFREG);
	server_add("~dir", S_IFDIR);
	server_add("~dir/file", S_IFREG);
	server_run(_metadata);
	ASSERT_EQ(0, chdir(MNT));
	EXPECT_EQ(0, look("~file"));
	EXPECT_EQ(0, look("~dir/file"));
	EXPECT_EQ(-ENOENT, look("~none"));
	self->first = hold("/");
}

FIXTURE_TEARDOWN(inval_entry)
{
	if (!srv.hung) {
		EXPECT_EQ(0, asks("~file"));
		EXPECT_EQ(0, asks("~dir/file"));
		EXPECT_EQ(0, asks("~none"));
	}
	close_range(self->first, ~0U, 0);
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
		EXPECT_LE(0, open(names[what], O_RDONLY | O_CLOEXEC));
	}
}

/* A kind of entry, and what its directory is like. */
struct kind {
	const char *name;
	mode_t type;
	bool expired;
	bool removed;	/* the directory, and the entry before, without a notification */
	bool mount;	/* something is mounted on it, */
	bool below;	/* or on a directory in it */
};

/* What each notification does to such an entry. */
static void notified(struct __test_metadata *_metadata, const struct kind *kind)
{
	bool directory = kind->type == S_IFDIR, stays, deletes, unlinked;
	char parent[40] = "", path[48], below[56], point[56];
	fuse_ino_t dir, entry;
	enum what what;
	int fd;

	for (what = INVAL; what <= DELETE_OTHER && !_metadata->exit_code; what++) {
		stays = what == EXPIRE;
		deletes = what == DELETE;
		unlinked = deletes || (what == INVAL && !directory);
		snprintf(parent, sizeof(parent), "%s, %s", kind->name, whats[what]);
		snprintf(path, sizeof(path), "%s/entry", parent);
		dir = server_add(parent, S_IFDIR);
		entry = server_add(path, kind->type);
		hold(parent);
		fd = hold(path);
		EXPECT_EQ(0, asks(path));
		/* Names in a directory do not prevent a delete if they are not in use. */
		if (directory) {
			snprintf(below, sizeof(below), "%s/none", path);
			EXPECT_EQ(-ENOENT, look(below));
			snprintf(below, sizeof(below), "%s/file", path);
			server_add(below, S_IFREG);
			EXPECT_EQ(0, look(below));
		}
		snprintf(point, sizeof(point), "%s%s", path, kind->below ? "/sub" : "");
		if (kind->below)
			server_add(point, S_IFDIR);
		if (kind->mount)
			ASSERT_EQ(0, mount("none", point, "tmpfs", 0, NULL));
		if (kind->expired)
			EXPECT_EQ(0, notify(EXPIRE, dir, 0, "entry"));
		if (kind->removed || unlinked)
			server_remove(ROOT, path);
		if (kind->removed)
			EXPECT_EQ(0, rmdir(parent));

		EXPECT_EQ(what == DELETE_OTHER ? -ENOENT : 0, notify(what, dir, entry, "entry"));
		EXPECT_EQ(stays, !gone(fd));
		EXPECT_EQ(deletes, !links(fd));
		if (directory)
			EXPECT_EQ(!deletes, alive(fd));
		if (kind->mount)
			EXPECT_EQ(stays ? 0 : -1, umount2(point, 0));
		if (kind->removed)
			EXPECT_EQ(-ENOENT, notify(INVAL, dir, 0, "never"));
		if (kind->mount || kind->removed)
			continue;

		/* A directory takes along what is cached below it. */
		EXPECT_EQ(directory && !stays && !deletes ? 2 : 1, asks(directory ? below : path));
		EXPECT_EQ(0, asks(path));
		/* An expired name that the server confirms stays the same entry. */
		if (stays)
			EXPECT_FALSE(gone(fd));
		EXPECT_EQ(unlinked ? -ENOENT : 0, look(path));
	}
	if (_metadata->exit_code)
		TH_LOG("%s", parent);
}

TEST_F(inval_entry, positive_notified)
{
	notified(_metadata, &(struct kind){ "file", S_IFREG });
	/* What has expired is still cached, and can be invalidated. */
	notified(_metadata, &(struct kind){ "expired", S_IFREG, .expired = true });
}

TEST_F(inval_entry, directory_notified)
{
	fuse_ino_t busy;
	int fd;

	notified(_metadata, &(struct kind){ "directory", S_IFDIR });

	/* A child that is in use keeps its directory alive, but not the name of it. */
	busy = server_add("busy", S_IFDIR);
	server_add("busy/file", S_IFREG);
	fd = hold("busy");
	hold("busy/file");
	EXPECT_EQ(-ENOTEMPTY, notify(DELETE, ROOT, busy, "busy"));
	EXPECT_TRUE(gone(fd));
	EXPECT_TRUE(alive(fd));
}

/* What is mounted there is detached with the name, but not if that only expires. */
TEST_F(inval_entry, mount_point)
{
	notified(_metadata, &(struct kind){ "mount", S_IFDIR, .mount = true });
}

TEST_F(inval_entry, mount_below)
{
	notified(_metadata, &(struct kind){ "below", S_IFDIR, .mount = true, .below = true });
}

/* The directory was removed, but is still in use. Notifications do what they always do. */
TEST_F(inval_entry, parent_removed_file)
{
	notified(_metadata, &(struct kind){ "file", S_IFREG, .removed = true });
}

TEST_F(inval_entry, parent_removed_directory)
{
	notified(_metadata, &(struct kind){ "directory", S_IFDIR, .removed = true });
}

/* A rename that the kernel made: the entry is known by its new name only. */
TEST_F(inval_entry, renamed)
{
	fuse_ino_t to = server_add("to", S_IFDIR);

	server_add("old", S_IFREG);
	EXPECT_EQ(0, rename("old", "new"));
	EXPECT_EQ(-ENOENT, notify(INVAL, ROOT, 0, "old"));
	EXPECT_EQ(0, asks("new"));
	EXPECT_EQ(0, notify(INVAL, ROOT, 0, "new"));
	EXPECT_EQ(1, asks("new"));

	/* The same if it is in another directory then. */
	EXPECT_EQ(0, rename("new", "to/new"));
	EXPECT_EQ(-ENOENT, notify(INVAL, ROOT, 0, "new"));
	EXPECT_EQ(0, asks("to/new"));
	EXPECT_EQ(0, notify(INVAL, to, 0, "new"));
	EXPECT_EQ(1, asks("to/new"));

	/* After an exchange, only the entry that has the notified name is dropped. */
	server_add("one", S_IFREG);
	EXPECT_EQ(0, renameat2(AT_FDCWD, "one", AT_FDCWD, "to/new", RENAME_EXCHANGE));
	EXPECT_EQ(0, notify(INVAL, ROOT, 0, "one"));
	EXPECT_EQ(0, asks("to/new"));
	EXPECT_EQ(1, asks("one"));
}

/* The name is not cached, or there is no such directory. */
TEST_F(inval_entry, not_cached)
{
	server_add("file", S_IFREG);
	look(".");
	EXPECT_EQ(-ENOENT, notify(INVAL, ROOT, 0, "file"));
	/* Its directory may have changed, all the same. */
	EXPECT_EQ(1, asks_for(FUSE_GETATTR, "."));
	EXPECT_EQ(-ENOENT, notify(INVAL, 4711, 0, "file"));
	EXPECT_EQ(-ENOTDIR, notify(INVAL, server_find(ROOT, "~file", 5), 0, "file"));
	EXPECT_EQ(0, asks_for(FUSE_GETATTR, "."));
}

/*
 * A server with one thread may notify in each of its handlers, also about
 * a cached name in the directory of that request. See libfuse issue 341.
 */
TEST_F(inval_entry, at_server)
{
	/* What the server does not implement fails, as SETATTR does. */
	static const struct call calls[] = {
		{ FUSE_LOOKUP, "dir/none" },		{ FUSE_GETATTR, "dir" },
		{ FUSE_SETATTR, "dir" },		{ FUSE_MKNOD, "dir/new" },
		{ FUSE_UNLINK, "dir/new" },		{ FUSE_MKDIR, "dir/new" },
		{ FUSE_RENAME, "dir/new", "dir/next" },
		{ FUSE_RENAME2, "dir/next", "dir/new", RENAME_NOREPLACE },
		{ FUSE_RMDIR, "dir/new" },		{ FUSE_READDIRPLUS, "dir" },
		{ FUSE_CREATE, "dir/new" },		{ FUSE_SYMLINK, "dir/symlink" },
		{ FUSE_LINK, "dir/new", "dir/link" },	{ FUSE_OPEN, "dir/file" },
		{ FUSE_READ, "dir/file" },
	};
	fuse_ino_t dir = server_add("dir", S_IFDIR);

	server_add("dir/file", S_IFREG);
	for (int i = 0; i < ARRAY_SIZE(calls); i++) {
		struct call call = calls[i];

		EXPECT_EQ(0, look("dir/file"));
		EXPECT_EQ(0, notify_during(&call, false, EXPIRE_AND_INVAL, dir, 0, "file"))
			TH_LOG("at request %u", call.opcode);
	}
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
	{ { FUSE_GETATTR, "dir" }, true, true },
	{ { FUSE_CREATE, "dir/config" } },
	{ { FUSE_MKNOD, "dir/config" } },
	{ { FUSE_MKDIR, "dir/config" } },
	{ { FUSE_SYMLINK, "dir/config" } },
	{ { FUSE_LINK, "dir/other", "dir/config" } },
	{ { FUSE_RENAME, "dir/other", "dir/config" } },
	{ { FUSE_RENAME2, "dir/other", "dir/config", RENAME_EXCHANGE }, true },
};

/*
 * The server has its answer. Before it sends it, the name appears or is removed, and is
 * notified. The caller gets the old answer, but the next one has to ask, also for the
 * attributes of the directory.
 */
TEST_F(inval_entry, late_answer)
{
	int i, answer;

	for (i = 0; i < 2 * ARRAY_SIZE(lates); i++) {
		const struct late *late = &lates[i / 2];
		enum what what = i % 2 ? EXPIRE : INVAL;
		fuse_ino_t dir = server_add("dir", S_IFDIR);
		struct call call = late->call;

		server_add("dir/other", S_IFREG);
		EXPECT_EQ(0, look("dir/other"));
		if (late->there)
			server_add("dir/config", S_IFREG);
		if (late->known) {
			EXPECT_EQ(0, look("dir/config"));
			EXPECT_EQ(0, notify(EXPIRE, dir, 0, "config"));
		}

		call.change = "dir/config";
		answer = notify_during(&call, true, what, dir, 0, "config");
		EXPECT_TRUE(answer == 0 || answer == -ENOENT);
		EXPECT_EQ(late->call.err, call.err);
		EXPECT_EQ(call.err ? 0 : -ENOENT, look("dir/config"))
			TH_LOG("%s, late answer to request %u", whats[what], call.opcode);
		if (call.opcode == FUSE_GETATTR)
			EXPECT_EQ(1, asks_for(FUSE_GETATTR, "dir"));
		EXPECT_EQ(0, rename("dir", "was"));
	}
}

TEST_HARNESS_MAIN
