/* SPDX-License-Identifier: MIT */
/* The object store: sessions, lifetimes by locks, collection, tools and the generation. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "store/store.h"

static struct store s;

static void fresh(void)
{
	static char dir[64];

	if (!*dir) {
		strcpy(dir, "/dev/shm/limpet-test-XXXXXX");
		if (!mkdtemp(dir))
			abort();
		if (store_open_path(&s, dir, STORE_CREATE))
			abort();
	}
}

static int make(enum object_kind kind, u32 prog, u32 event, u32 map, u32 *ret_id)
{
	u64 size = PAGE_SIZE * 2;
	int err = 0, fd = store_new(&s, kind, size, ret_id);
	struct object_header *h;

	if (fd < 0)
		return fd;
	h = store_map_fd(fd, true, &size, &err);
	store_head(h, kind, *ret_id, size);
	if (kind == OBJ_LINK) {
		struct link_file *l = (struct link_file *)h;

		l->live = 1;
	}
	munmap(h, size);
	fd = store_publish(&s, kind, *ret_id, fd);
	if (fd >= 0 && map)
		err = store_ref(&s, kind, *ret_id, OBJ_MAP, map);
	else if (fd >= 0 && prog)
		err = store_ref(&s, kind, *ret_id, OBJ_PROG, prog);
	if (fd >= 0 && event && !err)
		err = store_ref(&s, OBJ_EVENT, event, kind, *ret_id);
	return err ? err : fd;
}

TEST(held_objects_stay_and_released_ones_go)
{
	u32 id, found;
	enum object_kind kind;
	int fd, copy;

	fresh();
	fd = make(OBJ_BTF, 0, 0, 0, &id);
	REQUIRE(fd >= 0);
	CHECK_EQ(store_collect(&s), 0);
	CHECK_EQ(store_identify(&s, fd, &kind, &found), 0);
	CHECK_EQ(kind, OBJ_BTF);
	CHECK_EQ(found, id);
	copy = dup(fd);
	close(fd);
	CHECK_EQ(store_collect(&s), 0);
	close(copy);
	CHECK_EQ(store_collect(&s), 1);
	CHECK_EQ(store_hold(&s, OBJ_BTF, id), -ENOENT);
}

TEST(a_link_keeps_its_program_and_maps)
{
	u32 map, prog, link, generation;
	struct link_file *l;
	int m, p, k, err;
	u64 size;

	fresh();
	m = make(OBJ_MAP, 0, 0, 0, &map);
	p = make(OBJ_PROG, 0, 0, map, &prog);
	k = make(OBJ_LINK, prog, 0, 0, &link);
	REQUIRE(m >= 0 && p >= 0 && k >= 0);
	close(m);
	close(p);
	CHECK_EQ(store_collect(&s), 0);
	l = store_map_object(&s, OBJ_LINK, link, &size, &err);
	REQUIRE(l);
	close(k);
	generation = s.file->generation;
	CHECK_EQ(store_collect(&s), 3);
	CHECK_EQ(l->live, 0);
	CHECK(s.file->generation != generation);
	munmap(l, size);
}

TEST(an_event_keeps_the_links_on_it)
{
	u32 map, prog, event, link;
	int m, p, e, k;

	fresh();
	m = make(OBJ_MAP, 0, 0, 0, &map);
	p = make(OBJ_PROG, 0, 0, map, &prog);
	e = make(OBJ_EVENT, 0, 0, 0, &event);
	k = make(OBJ_LINK, prog, event, 0, &link);
	REQUIRE(m >= 0 && p >= 0 && e >= 0 && k >= 0);
	close(m);
	close(p);
	close(k);
	CHECK_EQ(store_collect(&s), 0);
	close(e);
	CHECK_EQ(store_collect(&s), 4);
}

TEST(a_killed_tool_releases_everything)
{
	u32 pids[4], id;
	int status, ready[2];
	char c;
	pid_t pid;

	fresh();
	REQUIRE(!pipe(ready));
	pid = fork();
	if (!pid) {
		store_tool_add(&s, (u32)getpid());
		make(OBJ_BTF, 0, 0, 0, &id);
		if (write(ready[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	REQUIRE(read(ready[0], &c, 1) == 1);
	CHECK_EQ(store_tools(&s, pids, 4), 1);
	CHECK_EQ(pids[0], pid);
	CHECK_EQ(store_collect(&s), 0);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	CHECK_EQ(store_tools(&s, pids, 4), 0);
	CHECK_EQ(store_collect(&s), 1);
}

TEST(names_and_owners_are_checked)
{
	char path[100];
	struct store other;

	CHECK_EQ(store_path("a/b", path, sizeof(path)), -EINVAL);
	CHECK_EQ(store_path("..", path, sizeof(path)), -EINVAL);
	CHECK_EQ(store_open_path(&other, "/dev/shm", 0), -EPERM);
	CHECK_EQ(store_open_path(&other, "/dev/shm/limpet-none", 0), -ENOENT);
}

/* Who owns the directory above a session could put another in its place. */
TEST(a_session_below_anothers_directory_is_refused)
{
	char dir[] = "/dev/shm/limpet-test-XXXXXX", path[64];
	struct store other;

	if (geteuid())
		SKIP("giving a directory away needs root");
	REQUIRE(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/default", dir);
	REQUIRE(!mkdir(path, 0700) && !chown(dir, 65534, 65534));
	CHECK_EQ(store_open_path(&other, path, STORE_CREATE | STORE_OWN), -EPERM);
	REQUIRE(!chown(path, 65534, 65534) && !chown(dir, 0, 0));
	CHECK_EQ(store_open_path(&other, path, STORE_CREATE | STORE_OWN), -EPERM);
	REQUIRE(!chmod(dir, 0777) && !chown(path, 0, 0));
	CHECK_EQ(store_open_path(&other, path, STORE_CREATE), -EPERM);
	CHECK(!rmdir(path) && !rmdir(dir));
}

TEST(pins_are_found_and_removed)
{
	enum object_kind kind;
	char path[SESSION_PATH_MAX + 16];
	u32 id, found;
	int fd;

	fresh();
	fd = make(OBJ_PROG, 0, 0, 0, &id);
	snprintf(path, sizeof(path), "%s/a_pin", s.path);
	REQUIRE(fd >= 0 && !store_pin(&s, OBJ_PROG, id, path));
	close(fd);
	CHECK_EQ(store_collect(&s), 0);
	CHECK_EQ(store_pin_object(&s, path, &kind, &found), 0);
	CHECK(kind == OBJ_PROG && found == id);
	CHECK_EQ(store_unpin(&s, path), 0);
	CHECK_EQ(store_hold(&s, OBJ_PROG, id), -ENOENT);
	CHECK_EQ(store_pin_object(&s, path, &kind, &found), -ENOENT);
}

/* Somebody who died between an object's end and that of its references. */
TEST(stray_references_are_collected)
{
	u32 map, prog;
	int m, p;
	char name[64];

	fresh();
	m = make(OBJ_MAP, 0, 0, 0, &map);
	p = make(OBJ_PROG, 0, 0, map, &prog);
	REQUIRE(m >= 0 && p >= 0);
	close(m);
	close(p);
	snprintf(name, sizeof(name), "bpf-prog.%u", prog);
	CHECK_EQ(unlinkat(s.dir_fd, name, 0), 0);
	CHECK_EQ(store_release(&s, OBJ_MAP, map), 0);
	CHECK_EQ(store_collect(&s), 1);
	CHECK_EQ(store_hold(&s, OBJ_MAP, map), -ENOENT);
}

TEST(waiting_sees_a_change)
{
	u32 seen;

	fresh();
	seen = s.file->generation;
	CHECK_EQ(store_wait(&s, seen, 10), -ETIMEDOUT);
	store_changed(&s);
	CHECK_EQ(store_wait(&s, seen, 1000), 0);
}

TEST(the_session_is_removed)
{
	char name[SESSION_PATH_MAX];

	fresh();
	CHECK_EQ(unlinkat(s.dir_fd, "refs", AT_REMOVEDIR), 0);
	CHECK_EQ(unlinkat(s.dir_fd, "session", 0), 0);
	snprintf(name, sizeof(name), "%s", s.path);
	store_close(&s);
	CHECK_EQ(rmdir(name), 0);
}

TEST_MAIN()
