/*
 * cpgload measures broadcast over Corosync's CPG as lab-gabload does over GAB:
 * it joins a group, waits for the other members, and sends; with -l it only
 * joins and takes what comes. It prints one JSON line: messages per second with
 * the flow control of CPG as the only bound, and the time from send to delivery
 * at the sender with one message in flight.
 *
 * cpgload -l | cpgload MEMBERS SIZE SECONDS PINGS
 */
#include <corosync/cpg.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static cpg_handle_t handle;
static uint32_t self;
static uint64_t own, members;

static void deliver(cpg_handle_t h, const struct cpg_name *g, uint32_t node, uint32_t pid, void *msg, size_t len) {
	(void)h, (void)g, (void)msg, (void)len;
	if (node == self && pid == (uint32_t)getpid())
		own++;
}

static void change(cpg_handle_t h, const struct cpg_name *g, const struct cpg_address *all, size_t n,
		   const struct cpg_address *left, size_t nl, const struct cpg_address *joined, size_t nj) {
	(void)h, (void)g, (void)all, (void)left, (void)nl, (void)joined, (void)nj;
	members = n;
}

static void must(cs_error_t e, const char *what) {
	if (e != CS_OK) {
		fprintf(stderr, "cpgload: %s: error %d\n", what, e);
		exit(1);
	}
}

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

/* take waits for one more event, then takes all that is there. */
static void take(int fd) {
	struct pollfd p = {.fd = fd, .events = POLLIN};
	if (poll(&p, 1, 10000) <= 0) {
		fprintf(stderr, "cpgload: nothing came for 10 s\n");
		exit(1);
	}
	must(cpg_dispatch(handle, CS_DISPATCH_ALL), "dispatch");
}

static int ascending(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

int main(int argc, char **argv) {
	int listening = argc == 2 && strcmp(argv[1], "-l") == 0, fd;
	if (!listening && argc != 5) {
		fprintf(stderr, "usage: cpgload -l | cpgload MEMBERS SIZE SECONDS PINGS\n");
		return 2;
	}
	cpg_callbacks_t calls = {.cpg_deliver_fn = deliver, .cpg_confchg_fn = change};
	struct cpg_name group = {.length = 5, .value = "bench"};
	must(cpg_initialize(&handle, &calls), "initialize");
	must(cpg_fd_get(handle, &fd), "fd_get");
	must(cpg_local_get(handle, &self), "local_get");
	must(cpg_join(handle, &group), "join");
	if (listening)
		for (;;)
			must(cpg_dispatch(handle, CS_DISPATCH_ONE), "dispatch");
	uint64_t want = strtoull(argv[1], NULL, 10), sent = 0;
	size_t size = strtoull(argv[2], NULL, 10);
	double lasting = strtod(argv[3], NULL);
	int pings = atoi(argv[4]);
	while (members < want)
		take(fd);
	struct iovec io = {.iov_base = calloc(1, size), .iov_len = size};
	double *times = calloc(pings, sizeof *times);
	for (int i = 0; i < pings; i++) {
		double began = now();
		cs_error_t e;
		while ((e = cpg_mcast_joined(handle, CPG_TYPE_AGREED, &io, 1)) == CS_ERR_TRY_AGAIN)
			;
		must(e, "mcast");
		sent++;
		while (own < sent)
			take(fd);
		times[i] = now() - began;
	}
	qsort(times, pings, sizeof *times, ascending);
	double began = now();
	uint64_t before = sent;
	while (now() - began < lasting) {
		cs_error_t e = cpg_mcast_joined(handle, CPG_TYPE_AGREED, &io, 1);
		if (e == CS_OK)
			sent++;
		else if (e != CS_ERR_TRY_AGAIN)
			must(e, "mcast");
		if (e == CS_ERR_TRY_AGAIN)
			take(fd);
		else
			must(cpg_dispatch(handle, CS_DISPATCH_ALL), "dispatch");
	}
	while (own < sent)
		take(fd);
	double took = now() - began;
	printf("{\"per_second\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"messages\":%llu}\n", (sent - before) / took,
	       times[pings / 2] * 1e6, times[pings * 99 / 100] * 1e6, (unsigned long long)(sent - before));
	return 0;
}
