// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Entering network namespaces: what happens when a thread cannot come back. The way back is
 * replaced by a descriptor that is no namespace, as setns(2) then fails the same way as without
 * the capability.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/netns.h"

static void test_nothing_to_do(void **state)
{
	struct vns_err err = { "" };

	(void)state;
	assert_int_equal(vns_netns_enter(-1, &err), -1);
	assert_false(vns_netns_failed(-1));
	assert_int_equal(vns_netns_leave(-1, &err), 0);
}

static void test_no_namespace(void **state)
{
	struct vns_err err = { "" };
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), token;

	(void)state;
	token = vns_netns_enter(fd, &err);
	assert_true(vns_netns_failed(token));
	assert_true(vns_netns_error(token) == -EINVAL || vns_netns_error(token) == -EPERM);
	assert_non_null(strstr(err.text, "namespace"));
	close(fd);
}

/* Returns the codes of leaving and of what follows. */
static void *strand(void *arg)
{
	int *code = arg;
	struct vns_err err = { "" };

	code[0] = vns_netns_leave(open("/dev/null", O_RDONLY | O_CLOEXEC), &err);
	code[1] = vns_netns_error(vns_netns_enter(-1, &err));
	code[2] = strstr(err.text, "could not return") != NULL;
	return NULL;
}

static void test_stranded_thread(void **state)
{
	struct vns_err err = { "" };
	int code[3] = { 0 };
	pthread_t t;

	(void)state;
	assert_int_equal(pthread_create(&t, NULL, strand, code), 0);
	pthread_join(t, NULL);
	assert_int_equal(code[0], -ENOTRECOVERABLE);
	assert_int_equal(code[1], -ENOTRECOVERABLE);
	assert_true(code[2]);
	/* only that thread */
	assert_int_equal(vns_netns_enter(-1, &err), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_to_do),
		cmocka_unit_test(test_no_namespace),
		cmocka_unit_test(test_stranded_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
