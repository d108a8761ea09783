/*
 * lab-nfswrite URL < file: writes standard input to a file over NFS with
 * libnfs, then commits it to stable storage (COMMIT, RFC 7530 section 16.3).
 *
 * The program nfs-cp of Debian 12 (libnfs 4.0.0) cannot write more than about
 * 4 KiB in one NFSv4 call: its encoder runs out of room and the call never
 * leaves the client. So this one writes in small pieces, and it says whether
 * the commit was done, which nfs-cp leaves to close.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>
#include <nfsc/libnfs.h>

static int failed(struct nfs_context *nfs, const char *what)
{
	fprintf(stderr, "lab-nfswrite: %s: %s\n", what, nfs_get_error(nfs));
	return 1;
}

int main(int argc, char **argv)
{
	char piece[3072];
	struct nfs_context *nfs;
	struct nfs_url *url;
	struct nfsfh *file;
	uint64_t total = 0;
	size_t n;

	if (argc != 2) {
		fprintf(stderr, "usage: lab-nfswrite 'nfs://HOST/PATH?version=4' < file\n");
		return 2;
	}
	nfs = nfs_init_context();
	if (nfs == NULL) {
		fprintf(stderr, "lab-nfswrite: no memory\n");
		return 1;
	}
	url = nfs_parse_url_full(nfs, argv[1]);
	if (url == NULL)
		return failed(nfs, "read the URL");
	if (nfs_mount(nfs, url->server, url->path) != 0)
		return failed(nfs, "mount");
	if (nfs_open2(nfs, url->file, O_CREAT | O_WRONLY, 0644, &file) != 0)
		return failed(nfs, "open");
	while ((n = fread(piece, 1, sizeof piece, stdin)) > 0) {
		size_t done = 0;

		while (done < n) {
			int wrote = nfs_write(nfs, file, n - done, piece + done);

			if (wrote <= 0)
				return failed(nfs, "write");
			done += wrote;
		}
		total += n;
	}
	if (ferror(stdin)) {
		fprintf(stderr, "lab-nfswrite: read standard input: %s\n", strerror(errno));
		return 1;
	}
	if (nfs_fsync(nfs, file) != 0)
		return failed(nfs, "commit");
	if (nfs_close(nfs, file) != 0)
		return failed(nfs, "close");
	nfs_destroy_url(url);
	nfs_destroy_context(nfs);
	printf("%llu bytes written and committed\n", (unsigned long long)total);
	return 0;
}
