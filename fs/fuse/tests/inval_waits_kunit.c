// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of what a notification waits for
 *
 * Each parameter is a request that is at the server, unanswered: the task that sent it may
 * hold locks. "MKDIR.other" is a MKDIR of another name in the directory of the name that is
 * notified. In each state that the name can have in the cache, every notification is sent
 * meanwhile, and has to return. The log has a line for each state in which there is such a
 * request, and for each lock that a notification waits for:
 *
 *	state: file
 *	waits: DELETE, i_rwsem of the directory: file
 *
 * INVAL_ENTRY, expire only or not, must not wait; nor must a DELETE, if no positive
 * dentry is cached for the name. If one is, the DELETE may wait for i_rwsem of the
 * directory and of the entry. What other notifications wait for is only reported.
 */

#include <linux/namei.h>
#include <linux/pagemap.h>
#include <linux/statfs.h>

#include "fixture.h"

/* What the name is; the directory has a file in it. */
enum waits_state { WAITS_FILE, WAITS_DIRECTORY, WAITS_NEGATIVE, WAITS_NOT_CACHED };

static const char * const waits_states[] = { "file", "directory", "negative", "not_cached" };

static const struct waits_notification {
	const char *name;
	enum fuse_notify_code code;
	int arg;		/* flags of an INVAL_ENTRY, or offset of an INVAL_INODE */
} waits_notifications[] = {
	{ "INVAL_ENTRY", FUSE_NOTIFY_INVAL_ENTRY },
	{ "expire only", FUSE_NOTIFY_INVAL_ENTRY, FUSE_EXPIRE_ONLY },
	{ "DELETE", FUSE_NOTIFY_DELETE },
	{ "INVAL_INODE", FUSE_NOTIFY_INVAL_INODE, -1 },
	{ "INVAL_INODE with data", FUSE_NOTIFY_INVAL_INODE },
	{ "STORE", FUSE_NOTIFY_STORE },
	{ "RETRIEVE", FUSE_NOTIFY_RETRIEVE },
	{ "PRUNE", FUSE_NOTIFY_PRUNE },
	{ "POLL", FUSE_NOTIFY_POLL },
	{ "INC_EPOCH", FUSE_NOTIFY_INC_EPOCH },
};

/* Notify about the name, or about its node, or about the directory if there is none. */
static int waits_notify(struct fuse_fx_op *op)
{
	const struct waits_notification *n = op->data;
	u64 nodeid = op->child ?: op->parent;
	struct fuse_notify_inval_inode_out inval = { .ino = nodeid, .off = n->arg };
	struct fuse_notify_retrieve_out retrieve = { .nodeid = nodeid, .size = 1 };
	struct fuse_notify_poll_wakeup_out poll = {};
	struct {
		struct fuse_notify_store_out head;
		u64 data;
	} store = { .head.nodeid = nodeid, .head.size = sizeof(u64) };
	struct {
		struct fuse_notify_prune_out head;
		u64 nodeid;
	} prune = { .head.count = 1, .nodeid = nodeid };
	const struct {
		const void *data;
		size_t size;
	} messages[] = {
		[FUSE_NOTIFY_POLL]		= { &poll, sizeof(poll) },
		[FUSE_NOTIFY_INVAL_INODE]	= { &inval, sizeof(inval) },
		[FUSE_NOTIFY_STORE]		= { &store, sizeof(store) },
		[FUSE_NOTIFY_RETRIEVE]		= { &retrieve, sizeof(retrieve) },
		[FUSE_NOTIFY_PRUNE]		= { &prune, sizeof(prune) },
	};

	if (n->code == FUSE_NOTIFY_INVAL_ENTRY)
		return fuse_fx_notify(op->fx, op->parent, 0, "name", n->arg);
	if (n->code == FUSE_NOTIFY_DELETE)
		return fuse_fx_notify(op->fx, op->parent, nodeid, "name", 0);
	return fuse_fx_send(op->fx, n->code, messages[n->code].data, messages[n->code].size, NULL);
}

/* Send many requests about something, of which one is held. */
static int waits_use_name(struct fuse_fx_op *op)
{
	const char *name = op->path[0];

	fuse_fx_do_symlink(op);
	FUSE_FX_CALL(stat, op->fx, .path = { name }, .flags = LOOKUP_FOLLOW);
	fuse_fx_unlink(op->fx, name);
	fuse_fx_mkdir(op->fx, name);
	fuse_fx_rmdir(op->fx, name);
	fuse_fx_mknod(op->fx, name);
	fuse_fx_rename(op->fx, name, "out/new", 0);
	fuse_fx_link(op->fx, "out/new", name);
	fuse_fx_unlink(op->fx, name);
	fuse_fx_rename(op->fx, "out/new", name, 0);
	fuse_fx_unlink(op->fx, name);
	FUSE_FX_CALL(open, op->fx, .path = { name }, .flags = O_RDWR | O_CREAT);
	return fuse_fx_unlink(op->fx, name);
}

/* With flags, attributes expire at once: the next GETATTR is sent for setxattr(). */
static int waits_use_node(struct fuse_fx_op *op)
{
	struct fuse_conn *fc = fuse_fx_conn(op->fx);
	struct kstatfs statfs;
	struct path path;
	int err;

	if (op->flags)
		op->fx->server->attr_valid = 0;
	err = fuse_fx_do_getattr(op) ?: fuse_fx_do_chmod(op) ?:
	      vfs_path_lookup(op->fx->mnt->mnt_root, op->fx->mnt, op->path[0], 0, &path);
	if (err)
		return err;
	vfs_setxattr(&nop_mnt_idmap, path.dentry, "user.waits", "", 0, 0);
	vfs_removexattr(&nop_mnt_idmap, path.dentry, "user.waits");
	fc->no_getxattr = 0;
	vfs_getxattr(&nop_mnt_idmap, path.dentry, "user.waits", NULL, 0);
	vfs_statfs(&path, &statfs);
	fc->default_permissions = 0;
	err = inode_permission(&nop_mnt_idmap, d_inode(path.dentry), MAY_READ | MAY_ACCESS);
	fc->default_permissions = 1;
	path_put(&path);
	return err;
}

/* Open it with these flags, and use what is open. */
static int waits_use_open(struct fuse_fx_op *op)
{
	struct file *file = file_open_root_mnt(op->fx->mnt, op->path[0], op->flags, 0);
	loff_t written = 0, read = 0;
	char byte = 0;

	if (IS_ERR(file))
		return PTR_ERR(file);
	if (op->flags & O_DIRECTORY) {
		fuse_fx_read_dir(file, "");
	} else {
		/* Is there a security.capability, which a write has to remove? */
		fuse_fx_conn(op->fx)->no_getxattr = 0;
		/* A part of a page that is not cached: its folio stays locked meanwhile. */
		kernel_write(file, &byte, 1, &written);
		kernel_read(file, &byte, 1, &read);
		vfs_llseek(file, 0, SEEK_DATA);
		vfs_fallocate(file, 0, 0, 1);
	}
	vfs_fsync(file, 0);
	fuse_fx_close_file(file);
	return 0;
}

#define OP(_name)	BIT_ULL(FUSE_##_name)
#define OF_DIRECTORY	(OP(OPENDIR) | OP(READDIR) | OP(READDIRPLUS) | OP(FSYNCDIR) |	\
			 OP(RELEASEDIR))
#define OF_FILE		(OP(OPEN) | OP(READ) | OP(WRITE) | OP(LSEEK) | OP(FALLOCATE) |	\
			 OP(FSYNC) | OP(FLUSH) | OP(RELEASE))
#define OF_NODE		(OP(GETATTR) | OP(SETATTR) | OP(STATFS) | OP(GETXATTR) |	\
			 OP(SETXATTR) | OP(REMOVEXATTR) | OP(ACCESS))
#define OF_NAME		(OP(LOOKUP) | OP(CREATE) | OP(MKNOD) | OP(MKDIR) | OP(SYMLINK) |	\
			 OP(READLINK) | OP(LINK) | OP(UNLINK) | OP(RMDIR) | OP(RENAME))

/*
 * Calls whose requests are held, one at a time: about the directory of the name, the name,
 * another name beside it, a child of it if it is a directory, or a name elsewhere.
 */
static const struct waits_call {
	const char *about;
	int (*fn)(struct fuse_fx_op *op);
	const char *path[2];
	u64 opcodes;		/* as bits */
	unsigned int flags;
	unsigned int skip;	/* so many requests with the opcode come first */
	u32 opcode;		/* that is held */
} waits_calls[] = {
	{ "elsewhere", fuse_fx_do_mkdir, { "new" }, OP(MKDIR) },
	{ "directory", waits_use_open, { "dir" }, OF_DIRECTORY, O_DIRECTORY },
	{ "directory", waits_use_node, { "dir" }, OF_NODE },
	{ "directory, expired", waits_use_node, { "dir" }, OP(GETATTR), 1, 1 },
	{ "directory", fuse_fx_do_rmdir, { "dir" }, OP(RMDIR) },
	{ "directory", fuse_fx_do_rename, { "dir", "out/new" }, OP(RENAME) },
	{ "other", waits_use_name, { "dir/new" }, OF_NAME },
	{ "other to here", waits_use_name, { "dir/new" }, OP(RENAME), .skip = 1 },
	{ "name", fuse_fx_do_stat, { "dir/name" }, OP(LOOKUP) },
	{ "name again", fuse_fx_do_stat, { "dir/name" }, OP(LOOKUP), LOOKUP_REVAL, 1 },
	{ "name", fuse_fx_do_open, { "dir/name" }, OP(CREATE), O_RDWR | O_CREAT },
	{ "name", fuse_fx_do_mknod, { "dir/name" }, OP(MKNOD) },
	{ "name", fuse_fx_do_mkdir, { "dir/name" }, OP(MKDIR) },
	{ "name", fuse_fx_do_symlink, { "dir/name" }, OP(SYMLINK) },
	{ "name", fuse_fx_do_link, { "out/side", "dir/name" }, OP(LINK) },
	{ "name to elsewhere", fuse_fx_do_link, { "dir/name", "out/new" }, OP(LINK) },
	{ "name", fuse_fx_do_unlink, { "dir/name" }, OP(UNLINK) },
	{ "name", fuse_fx_do_rmdir, { "dir/name" }, OP(RMDIR) },
	{ "name", fuse_fx_do_rename, { "dir/name", "dir/new" }, OP(RENAME) },
	{ "name to elsewhere", fuse_fx_do_rename, { "dir/name", "out/new" }, OP(RENAME) },
	{ "name to here", fuse_fx_do_rename, { "out/side", "dir/name" }, OP(RENAME) },
	{ "name", waits_use_node, { "dir/name" }, OF_NODE },
	{ "name, expired", waits_use_node, { "dir/name" }, OP(GETATTR), 1, 1 },
	{ "name", waits_use_open, { "dir/name" }, OF_FILE, O_RDWR },
	{ "name, written", waits_use_open, { "dir/name" }, OP(GETXATTR), O_RDWR },
	{ "name", waits_use_open, { "dir/name" }, OF_DIRECTORY, O_DIRECTORY },
	{ "child", waits_use_name, { "dir/name/new" }, OF_NAME },
	{ "child", waits_use_node, { "dir/name/child" }, OF_NODE },
	{ "child", waits_use_open, { "dir/name/child" }, OF_FILE, O_RDWR },
};

static bool waits_for_folio(struct inode *inode)
{
	struct folio *folio = filemap_get_folio(inode->i_mapping, 0);
	bool waits = !IS_ERR(folio) && folio_test_locked(folio) && folio_test_waiters(folio);

	if (!IS_ERR(folio))
		folio_put(folio);
	return waits;
}

/* What does the thread wait for, if it does not end? Nobody else waits for these locks. */
static const char *waits_for(struct kunit_thread *thread, struct inode *dir, struct inode *entry)
{
	unsigned long limit = jiffies + HZ;

	while (kunit_thread_wait(thread) != KUNIT_THREAD_ENDED) {
		if (rwsem_is_contended(&dir->i_rwsem))
			return "i_rwsem of the directory";
		if (entry && rwsem_is_contended(&entry->i_rwsem))
			return "i_rwsem of the entry";
		if (entry && waits_for_folio(entry))
			return "lock of a folio";
		if (time_after(jiffies, limit))
			return "something else";
		yield();
	}
	return NULL;
}

/* Returns false if there is no such request in this state of the name. */
static bool waits_try(struct fuse_fixture *fx, const struct waits_call *c,
		      enum waits_state state, const struct waits_notification *n)
{
	struct fuse_fx_op call = { .path = { c->path[0], c->path[1] }, .flags = c->flags };
	struct fuse_fx_op notify = { .data = (void *)n };
	struct kunit_thread *calls, *notifies;
	struct inode *dir, *entry;
	unsigned long limit = jiffies + KUNIT_THREAD_LIMIT;
	struct fuse_fake_hook *hold;
	const char *lock;

	fx->server->file_size = PAGE_SIZE;
	notify.parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "dir/side", S_IFREG | 0644);
	fuse_fake_add(fx->server, "out", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "out/side", S_IFREG | 0644);
	if (state == WAITS_FILE)
		notify.child = fuse_fake_add(fx->server, "dir/name", S_IFREG | 0644);
	if (state == WAITS_NEGATIVE)
		fuse_fx_stat(fx, "dir/name");
	if (state == WAITS_DIRECTORY) {
		notify.child = fuse_fake_add(fx->server, "dir/name", S_IFDIR | 0755);
		fuse_fake_add(fx->server, "dir/name/child", S_IFREG | 0644);
		fuse_fx_stat(fx, "dir/name/child");
	}
	dir = fuse_fx_hold_inode(fx, "dir");
	entry = notify.child ? fuse_fx_hold_inode(fx, "dir/name") : NULL;

	hold = fuse_fake_hold(fx->server, c->opcode, c->skip, FUSE_FAKE_STOP_BEFORE);
	calls = fuse_fx_run(fx, c->fn, &call);
	/* With several processors the thread may sleep before its request is there, too. */
	while (kunit_thread_wait(calls) != KUNIT_THREAD_ENDED &&
	       !completion_done(&hold->reached) && time_before(jiffies, limit))
		yield();
	if (!completion_done(&hold->reached)) {
		KUNIT_EXPECT_TRUE(fx->test, kunit_thread_join(calls, NULL));
		return false;
	}
	if (n == waits_notifications)
		kunit_info(fx->test, "state: %s\n", waits_states[state]);
	notifies = fuse_fx_run(fx, waits_notify, &notify);
	lock = waits_for(notifies, dir, entry);
	fuse_fake_let_go(fx->server);
	KUNIT_ASSERT_TRUE(fx->test, kunit_thread_join(calls, NULL));
	KUNIT_ASSERT_TRUE(fx->test, kunit_thread_join(notifies, NULL));
	/* Some notifications and some calls make more stale than the fixture knows. */
	fuse_fake_take_back_node(fx->server, 0);
	if (!lock)
		return true;
	kunit_info(fx->test, "waits: %s, %s: %s\n", n->name, lock, waits_states[state]);
	if (n->code == FUSE_NOTIFY_INVAL_ENTRY ||
	    (n->code == FUSE_NOTIFY_DELETE && !(entry && strstarts(lock, "i_rwsem"))))
		fuse_fx_broken(fx, FUSE_FX_NEVER_WAITS, "%s for %s (name: %s)", n->name, lock,
			       waits_states[state]);
	return true;
}

/* Each try has a fixture of its own. */
static void at_server(struct kunit *test)
{
	const struct waits_call *call = test->param_value;
	bool below = strstarts(call->path[0], "dir/name/");
	static struct fuse_fx_score score;
	unsigned int nr, states = 0;
	enum waits_state state;
	struct fuse_fixture *fx;

	score = (struct fuse_fx_score) {};
	for (nr = 0; nr < ARRAY_SIZE(waits_notifications); nr++) {
		for (state = 0; state < ARRAY_SIZE(waits_states); state++) {
			/* The first notification shows in which states there is such a request. */
			if (nr ? !(states & BIT(state)) : below && state != WAITS_DIRECTORY)
				continue;
			KUNIT_ASSERT_EQ(test, fuse_fx_init(test), 0);
			fx = test->priv;
			fx->score = &score;
			if (waits_try(fx, call, state, &waits_notifications[nr]))
				states |= BIT(state);
			else if (nr)
				KUNIT_FAIL(test, "%s: the request did not come again",
					   waits_notifications[nr].name);
			fuse_fx_end(test);
			/* The next one would be skipped, and the test with it, though it failed. */
			if (fuse_fx_left_behind)
				return;
		}
	}
	KUNIT_EXPECT_NE_MSG(test, states, 0, "there is no such request");
}

/* A parameter is a call with one of its opcodes. */
static const void *waits_gen_params(struct kunit *test, const void *prev, char *desc)
{
	static struct waits_call call;
	static unsigned int nr;

	for (nr = prev ? nr + 1 : 0; nr < ARRAY_SIZE(waits_calls) * FUSE_FAKE_OPCODES; nr++) {
		call = waits_calls[nr / FUSE_FAKE_OPCODES];
		call.opcode = nr % FUSE_FAKE_OPCODES;
		if (call.opcodes & BIT_ULL(call.opcode)) {
			scnprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s.%s",
				  fuse_fake_opname(call.opcode), call.about);
			return &call;
		}
	}
	return NULL;
}

static struct kunit_case fuse_inval_waits_cases[] = {
	KUNIT_CASE_PARAM(at_server, waits_gen_params),
	{}
};

static struct kunit_suite fuse_inval_waits_suite = {
	.name		= "fuse_inval_waits",
	.exit		= fuse_fx_exit,
	.test_cases	= fuse_inval_waits_cases,
};

kunit_test_suite(fuse_inval_waits_suite);
