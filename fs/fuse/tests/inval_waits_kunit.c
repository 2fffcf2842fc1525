// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of what a notification waits for
 *
 * From where may a server notify? While a request is at the server, unanswered, the
 * task that sent it may hold locks. Each parameter is such a request: "MKDIR.other" is
 * a MKDIR of another name in the directory of the name that is notified. In each state
 * that the name can have in the cache, every notification is sent while the request is
 * at the server, and has to return before that is answered. If it does not, the log says
 * which lock it sleeps on:
 *
 *	states: file directory negative not_cached
 *	waits: DELETE, i_rwsem of the directory: file directory
 *
 * The first line says in which states of the name there is such a request.
 *
 * INVAL_ENTRY, expire only or not, must not wait; nor must a DELETE, if no positive
 * dentry is cached for the name. If one is, the DELETE may wait for i_rwsem of the
 * directory and of the entry. What other notifications wait for is only reported.
 */

#include <linux/fs.h>
#include <linux/namei.h>
#include <linux/pagemap.h>
#include <linux/path.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/statfs.h>
#include <linux/xattr.h>

#include <kunit/test.h>
#include <kunit/thread.h>

#include "fixture_i.h"

/* What the name is. */
enum waits_state {
	WAITS_FILE,
	WAITS_DIRECTORY,	/* with a file in it */
	WAITS_NEGATIVE,
	WAITS_NOT_CACHED,	/* and there is nothing */
	WAITS_STATES
};

static const char * const waits_states[] = { "file", "directory", "negative", "not_cached" };

/* What it is that a notification waits for. */
enum waits_lock {
	WAITS_NOTHING,
	WAITS_DIR_LOCK,
	WAITS_ENTRY_LOCK,
	WAITS_FOLIO,
	WAITS_UNKNOWN,
	WAITS_LOCKS
};

static const char * const waits_locks[] = {
	"nothing", "i_rwsem of the directory", "i_rwsem of the entry", "lock of a folio",
	"something else",
};

union waits_message {
	struct fuse_notify_poll_wakeup_out poll;
	struct fuse_notify_inval_inode_out inval;
	struct fuse_notify_retrieve_out retrieve;
	struct {
		struct fuse_notify_store_out head;
		u64 data;
	} store;
	struct {
		struct fuse_notify_prune_out head;
		u64 nodeid;
	} prune;
};

/* Those about the name come first. */
enum waits_notification_nr {
	WAITS_INVAL,
	WAITS_EXPIRE,
	WAITS_DELETE,
	WAITS_MESSAGES,
};

static const struct waits_notification {
	const char *name;
	unsigned int flags;		/* or the code, if it is a message */
	union waits_message message;	/* about the node of the name, or the directory */
	size_t size;			/* of the message */
	size_t at;			/* offset of its nodeid */
} waits_notifications[] = {
	[WAITS_INVAL]	= { "INVAL_ENTRY" },
	[WAITS_EXPIRE]	= { "expire only", FUSE_EXPIRE_ONLY },
	[WAITS_DELETE]	= { "DELETE" },
	{ "INVAL_INODE", FUSE_NOTIFY_INVAL_INODE, { .inval.off = -1 },
	  sizeof_field(union waits_message, inval), offsetof(union waits_message, inval.ino) },
	{ "INVAL_INODE with data", FUSE_NOTIFY_INVAL_INODE, { .inval.off = 0 },
	  sizeof_field(union waits_message, inval), offsetof(union waits_message, inval.ino) },
	{ "STORE", FUSE_NOTIFY_STORE, { .store.head.size = sizeof(u64) },
	  sizeof_field(union waits_message, store),
	  offsetof(union waits_message, store.head.nodeid) },
	{ "RETRIEVE", FUSE_NOTIFY_RETRIEVE, { .retrieve.size = 1 },
	  sizeof_field(union waits_message, retrieve),
	  offsetof(union waits_message, retrieve.nodeid) },
	{ "PRUNE", FUSE_NOTIFY_PRUNE, { .prune.head.count = 1 },
	  sizeof_field(union waits_message, prune),
	  offsetof(union waits_message, prune.nodeid) },
	{ "POLL", FUSE_NOTIFY_POLL, {}, sizeof_field(union waits_message, poll) },
	{ "INC_EPOCH", FUSE_NOTIFY_INC_EPOCH },
};

static int waits_do_message(struct fuse_fx_op *op)
{
	const struct waits_notification *n = op->data;
	union waits_message message = n->message;

	memcpy((char *)&message + n->at, &op->child, sizeof(op->child));
	return fuse_fx_send(op->fx, n->flags, &message, n->size);
}

/* Calls that send many requests about something, of which one is held. */

/* There is no such name before this, nor after it. */
static int waits_use_name(struct fuse_fx_op *op)
{
	const char *name = op->path[0];
	struct fuse_fx_op follow = { .fx = op->fx, .path = { name }, .flags = LOOKUP_FOLLOW };
	struct fuse_fx_op create = { .fx = op->fx, .path = { name }, .flags = O_RDWR | O_CREAT };

	fuse_fx_do_symlink(op);
	fuse_fx_do_stat(&follow);
	fuse_fx_unlink(op->fx, name);
	fuse_fx_mkdir(op->fx, name);
	fuse_fx_rmdir(op->fx, name);
	fuse_fx_mknod(op->fx, name);
	fuse_fx_rename(op->fx, name, "out/new", 0);
	fuse_fx_link(op->fx, "out/new", name);
	fuse_fx_unlink(op->fx, name);
	fuse_fx_rename(op->fx, "out/new", name, 0);
	fuse_fx_unlink(op->fx, name);
	fuse_fx_do_open(&create);
	return fuse_fx_unlink(op->fx, name);
}

static int waits_use_node(struct fuse_fx_op *op)
{
	struct fuse_conn *fc = fuse_fx_conn(op->fx);
	struct kstatfs statfs;
	struct path path;
	int err;

	err = fuse_fx_do_getattr(op) ?: fuse_fx_do_chmod(op);
	if (err)
		return err;
	err = vfs_path_lookup(op->fx->mnt->mnt_root, op->fx->mnt, op->path[0], 0, &path);
	if (err)
		return err;
	vfs_statfs(&path, &statfs);
	fc->no_getxattr = 0;
	vfs_getxattr(&nop_mnt_idmap, path.dentry, "user.waits", NULL, 0);
	vfs_setxattr(&nop_mnt_idmap, path.dentry, "user.waits", "", 0, 0);
	vfs_removexattr(&nop_mnt_idmap, path.dentry, "user.waits");
	fc->default_permissions = 0;
	err = inode_permission(&nop_mnt_idmap, d_inode(path.dentry), MAY_READ | MAY_ACCESS);
	fc->default_permissions = 1;
	path_put(&path);
	return err;
}

/* Its attributes have expired when its i_rwsem is held, and a permission is checked. */
static int waits_use_expired(struct fuse_fx_op *op)
{
	struct path path;
	int err;

	op->fx->server->attr_valid = 0;
	err = fuse_fx_do_getattr(op);
	if (!err)
		err = vfs_path_lookup(op->fx->mnt->mnt_root, op->fx->mnt, op->path[0], 0, &path);
	if (err)
		return err;
	vfs_setxattr(&nop_mnt_idmap, path.dentry, "user.waits", "", 0, 0);
	path_put(&path);
	return 0;
}

/* Writes a part of a page that is not cached: its folio stays locked meanwhile. */
static int waits_use_file(struct fuse_fx_op *op)
{
	struct path root = { .mnt = op->fx->mnt, .dentry = op->fx->mnt->mnt_root };
	struct file *file = file_open_root(&root, op->path[0], O_RDWR, 0);
	loff_t written = 0, read = 0;
	char byte = 0;

	if (IS_ERR(file))
		return PTR_ERR(file);
	/* Is there a security.capability, which a write has to remove? */
	fuse_fx_conn(op->fx)->no_getxattr = 0;
	kernel_write(file, &byte, 1, &written);
	kernel_read(file, &byte, 1, &read);
	vfs_llseek(file, 0, SEEK_DATA);
	vfs_fallocate(file, 0, 0, 1);
	vfs_fsync(file, 0);
	fuse_fx_close_file(file);
	return 0;
}

static int waits_use_directory(struct fuse_fx_op *op)
{
	struct path root = { .mnt = op->fx->mnt, .dentry = op->fx->mnt->mnt_root };
	struct file *file = file_open_root(&root, op->path[0], O_RDONLY | O_DIRECTORY, 0);
	int err;

	if (IS_ERR(file))
		return PTR_ERR(file);
	fuse_fx_read_dir(file, "", &err);
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
 * Calls whose requests are held, one at a time. They are about the directory of the
 * name, the name, another name beside it, a child of it if it is a directory, or a
 * name above the directory.
 */
static const struct waits_call {
	const char *about;
	int (*fn)(struct fuse_fx_op *op);
	const char *path[2];
	u64 opcodes;		/* as bits */
	unsigned int flags;
	unsigned int skip;	/* so many requests with the opcode come first */
} waits_calls[] = {
	{ "elsewhere", fuse_fx_do_mkdir, { "new" }, OP(MKDIR) },

	{ "directory", waits_use_directory, { "dir" }, OF_DIRECTORY },
	{ "directory", waits_use_node, { "dir" }, OF_NODE },
	{ "directory, expired", waits_use_expired, { "dir" }, OP(GETATTR), .skip = 1 },
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
	{ "name, expired", waits_use_expired, { "dir/name" }, OP(GETATTR), .skip = 1 },
	{ "name", waits_use_file, { "dir/name" }, OF_FILE },
	{ "name, written", waits_use_file, { "dir/name" }, OP(GETXATTR) },
	{ "name", waits_use_directory, { "dir/name" }, OF_DIRECTORY },

	{ "child", waits_use_name, { "dir/name/new" }, OF_NAME },
	{ "child", waits_use_node, { "dir/name/child" }, OF_NODE },
	{ "child", waits_use_file, { "dir/name/child" }, OF_FILE },
};

/* A call and one of its opcodes: the parameter of a test. */
struct waits_request {
	const struct waits_call *call;
	u32 opcode;
};

/* With several processors the thread may sleep before its request is there, too. */
static bool waits_at_server(struct kunit_thread *thread, struct fuse_fake_hook *hold)
{
	unsigned long limit = jiffies + KUNIT_THREAD_LIMIT;

	while (kunit_thread_wait(thread) != KUNIT_THREAD_ENDED &&
	       !completion_done(&hold->reached) && time_before(jiffies, limit))
		yield();
	return completion_done(&hold->reached);
}

static bool waits_for_folio(struct inode *inode)
{
	struct folio *folio = filemap_get_folio(inode->i_mapping, 0);
	bool waits;

	if (IS_ERR(folio))
		return false;
	waits = folio_test_locked(folio) && folio_test_waiters(folio);
	folio_put(folio);
	return waits;
}

/* Nobody but the thread waits for these. */
static enum waits_lock waits_for(struct kunit_thread *thread, struct inode *dir,
				 struct inode *entry)
{
	unsigned long limit = jiffies + HZ;

	while (kunit_thread_wait(thread) != KUNIT_THREAD_ENDED) {
		if (rwsem_is_contended(&dir->i_rwsem))
			return WAITS_DIR_LOCK;
		if (entry && rwsem_is_contended(&entry->i_rwsem))
			return WAITS_ENTRY_LOCK;
		if (entry && waits_for_folio(entry))
			return WAITS_FOLIO;
		if (time_after(jiffies, limit))
			return WAITS_UNKNOWN;
		yield();
	}
	return WAITS_NOTHING;
}

/* Returns the inode that the name leads to, or NULL, and the nodeids in @notify. */
static struct inode *waits_fill(struct fuse_fixture *fx, enum waits_state state,
				struct fuse_fx_op *notify)
{
	bool exists = state == WAITS_FILE || state == WAITS_DIRECTORY;

	fx->server->file_size = PAGE_SIZE;
	notify->parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	notify->child = notify->parent;
	fuse_fake_add(fx->server, "dir/side", S_IFREG | 0644);
	fuse_fake_add(fx->server, "out", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "out/side", S_IFREG | 0644);
	fuse_fx_stat(fx, "dir");
	fuse_fx_stat(fx, "out/side");
	if (exists)
		notify->child = fuse_fake_add(fx->server, "dir/name", state == WAITS_FILE ?
					      S_IFREG | 0644 : S_IFDIR | 0755);
	if (state == WAITS_DIRECTORY)
		fuse_fake_add(fx->server, "dir/name/child", S_IFREG | 0644);
	if (state != WAITS_NOT_CACHED)
		fuse_fx_stat(fx, state == WAITS_DIRECTORY ? "dir/name/child" : "dir/name");
	return exists ? fuse_fx_hold_inode(fx, "dir/name") : NULL;
}

/* Returns false if there is no such request in this state of the name. */
static bool waits_try(struct fuse_fixture *fx, const struct waits_request *request,
		      enum waits_state state, unsigned int nr, enum waits_lock *lock)
{
	const struct waits_call *c = request->call;
	struct fuse_fx_op call = { .path = { c->path[0], c->path[1] }, .flags = c->flags };
	struct fuse_fx_op notify = { .path = { "name" }, .flags = waits_notifications[nr].flags,
				     .data = (void *)&waits_notifications[nr] };
	struct kunit_thread *calls, *notifies;
	struct fuse_fake_hook *hold;
	struct inode *dir, *entry;

	entry = waits_fill(fx, state, &notify);
	dir = fuse_fx_hold_inode(fx, "dir");
	if (nr < WAITS_DELETE)
		notify.child = 0;

	hold = fuse_fake_hold(fx->server, request->opcode, FUSE_FAKE_STOP_BEFORE);
	hold->skip = c->skip;
	calls = fuse_fx_run(fx, c->fn, &call);
	if (!waits_at_server(calls, hold))
		return false;
	notifies = fuse_fx_run(fx, nr < WAITS_MESSAGES ? fuse_fx_do_notify : waits_do_message,
			       &notify);
	*lock = waits_for(notifies, dir, entry);
	fuse_fake_let_go(fx->server);
	KUNIT_ASSERT_TRUE(fx->test, kunit_thread_join(calls, NULL));
	KUNIT_ASSERT_TRUE(fx->test, kunit_thread_join(notifies, NULL));
	/* Some notifications and some calls make more stale than the fixture knows. */
	fuse_fake_take_back_node(fx->server, 0);
	return true;
}

static bool waits_may(unsigned int nr, enum waits_state state, enum waits_lock lock)
{
	if (nr >= WAITS_MESSAGES || lock == WAITS_NOTHING)
		return true;
	return nr == WAITS_DELETE && (state == WAITS_FILE || state == WAITS_DIRECTORY) &&
	       (lock == WAITS_DIR_LOCK || lock == WAITS_ENTRY_LOCK);
}

static void waits_say(struct kunit *test, const char *what, unsigned int states)
{
	char text[64] = "";
	unsigned int i, len = 0;

	for (i = 0; i < WAITS_STATES; i++)
		if (states & BIT(i))
			len += scnprintf(text + len, sizeof(text) - len, " %s", waits_states[i]);
	if (states)
		kunit_info(test, "%s:%s\n", what, text);
}

/* Each try has a fixture of its own. */
static void at_server(struct kunit *test)
{
	unsigned int waited[ARRAY_SIZE(waits_notifications)][WAITS_LOCKS] = {};
	struct waits_request request = *(const struct waits_request *)test->param_value;
	bool below = strstarts(request.call->path[0], "dir/name/");
	static struct fuse_fx_score score;
	unsigned int i, nr, states = 0;
	enum waits_lock lock;
	char text[64];

	score = (struct fuse_fx_score) {};
	for (i = 0; i < ARRAY_SIZE(waits_notifications) * WAITS_STATES; i++) {
		enum waits_state state = i % WAITS_STATES;
		struct fuse_fixture *fx;

		nr = i / WAITS_STATES;
		/*
		 * The first notification has shown in which states there is
		 * such a request. Only a directory has a child.
		 */
		if ((nr && !(states & BIT(state))) || (below && state != WAITS_DIRECTORY))
			continue;
		KUNIT_ASSERT_EQ(test, fuse_fx_init(test), 0);
		fx = test->priv;
		fx->score = &score;
		if (waits_try(fx, &request, state, nr, &lock)) {
			states |= BIT(state);
			waited[nr][lock] |= BIT(state);
			if (!waits_may(nr, state, lock))
				fuse_fx_broken(fx, FUSE_FX_NEVER_WAITS, "%s for %s (name: %s)",
					       waits_notifications[nr].name, waits_locks[lock],
					       waits_states[state]);
		}
		fuse_fx_exit(test);
		test->priv = NULL;
		kunit_cleanup(test);
		current->kunit_test = test;
	}
	KUNIT_EXPECT_NE_MSG(test, states, 0, "there is no such request");
	waits_say(test, "states", states);
	for (nr = 0; nr < ARRAY_SIZE(waits_notifications); nr++) {
		for (lock = WAITS_NOTHING + 1; lock < WAITS_LOCKS; lock++) {
			scnprintf(text, sizeof(text), "waits: %s, %s",
				  waits_notifications[nr].name, waits_locks[lock]);
			waits_say(test, text, waited[nr][lock]);
		}
	}
}

static void waits_describe(struct kunit *test, const void *param, char *desc)
{
	const struct waits_request *request = param;

	scnprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s.%s",
		  fuse_fake_opname(request->opcode), request->call->about);
}

static int waits_init(struct kunit *test)
{
	const unsigned int max = ARRAY_SIZE(waits_calls) * FUSE_FAKE_OPCODES;
	struct waits_request *requests;
	unsigned int i, k, nr = 0;

	requests = kunit_kmalloc_array(test, max, sizeof(*requests), GFP_KERNEL);
	if (!requests)
		return -ENOMEM;
	for (i = 0; i < ARRAY_SIZE(waits_calls); i++)
		for (k = 0; k < FUSE_FAKE_OPCODES; k++)
			if (waits_calls[i].opcodes & BIT_ULL(k))
				requests[nr++] = (struct waits_request) { &waits_calls[i], k };
	fuse_fx_shuffle(requests, nr, sizeof(*requests));
	kunit_register_params_array(test, requests, nr, waits_describe);
	return 0;
}

static struct kunit_case fuse_inval_waits_cases[] = {
	KUNIT_CASE_PARAM_WITH_INIT(at_server, kunit_array_gen_params, waits_init, NULL),
	{}
};

static struct kunit_suite fuse_inval_waits_suite = {
	.name		= "fuse_inval_waits",
	.exit		= fuse_fx_exit,
	.test_cases	= fuse_inval_waits_cases,
};

kunit_test_suite(fuse_inval_waits_suite);
