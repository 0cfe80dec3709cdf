/* SPDX-License-Identifier: MIT
 *
 * Refusal of offloads to one process, as a library for LD_PRELOAD.
 *
 * System calls that request a refused offload fail here; all other calls reach libc and the kernel.
 *
 *   REFUSE       NAME=ERRNO, separated by commas; names as in src/exchange/offloads.ts
 *   REFUSE_FROM  a file: refuse as soon as it exists; not set: refuse from the start
 *   REFUSE_LOG   a file, to which one byte is appended per refusal
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>

#define UDP_SEGMENT_OPTION 103
#define UDP_GRO_OPTION 104
#define GSO_UDP_L4 5
#define TUN_DEVICE makedev(10, 200)

#define NEXT(function) ((__typeof__(function) *)dlsym(RTLD_NEXT, #function))

static const struct {
	const char *name;
	unsigned long bit;
} tap_offloads[] = {
	{ "TUN_F_CSUM", 0x01 },    { "TUN_F_TSO4", 0x02 }, { "TUN_F_TSO6", 0x04 },
	{ "TUN_F_TSO_ECN", 0x08 }, { "TUN_F_USO4", 0x20 }, { "TUN_F_USO6", 0x40 },
};

/* The errno that a name is refused with now; 0: it is not refused. */
static int refused(const char *name)
{
	const char *rules = getenv("REFUSE"), *from = getenv("REFUSE_FROM");
	size_t len = strlen(name);

	if (from && access(from, F_OK))
		return 0;
	for (const char *rule = rules; rule; rule = strchr(rule, ',')) {
		rule += *rule == ',';
		if (!strncmp(rule, name, len) && rule[len] == '=')
			return atoi(rule + len + 1);
	}
	return 0;
}

static int refuse(int err)
{
	int fd = open(getenv("REFUSE_LOG"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (write(fd, ".", 1) != 1)
		abort();
	close(fd);
	errno = err;
	return -1;
}

static int is_train(const struct msghdr *header)
{
	const struct cmsghdr *control = CMSG_FIRSTHDR(header);

	return control && control->cmsg_level == IPPROTO_UDP && control->cmsg_type == UDP_SEGMENT_OPTION;
}

ssize_t sendmsg(int fd, const struct msghdr *header, int flags)
{
	int err = is_train(header) ? refused("UDP_SEGMENT") : 0;

	return err ? refuse(err) : NEXT(sendmsg)(fd, header, flags);
}

/*
 * Like the kernel, sends the messages that precede a refused message. The next call begins with the
 * refused message and returns the error.
 */
int sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags)
{
	int err = refused("UDP_SEGMENT");
	unsigned int good = 0;

	while (good < count && !(err && is_train(&messages[good].msg_hdr)))
		good++;
	return count && !good ? refuse(err) : NEXT(sendmmsg)(fd, messages, good, flags);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	int err = 0;

	if (level == IPPROTO_UDP && name == UDP_GRO_OPTION)
		err = refused("UDP_GRO");
	else if (level == IPPROTO_UDP && name == UDP_SEGMENT_OPTION)
		err = refused("UDP_SEGMENT");
	return err ? refuse(err) : NEXT(setsockopt)(fd, level, name, value, len);
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;
	unsigned long value;

	va_start(arguments, request);
	value = va_arg(arguments, unsigned long);
	va_end(arguments);
	for (size_t i = 0; request == TUNSETOFFLOAD && i < sizeof(tap_offloads) / sizeof(tap_offloads[0]); i++) {
		int err = value & tap_offloads[i].bit ? refused(tap_offloads[i].name) : 0;

		if (err)
			return refuse(err);
	}
	return NEXT(ioctl)(fd, request, value);
}

/* The offload that a write to a TAP requires; NULL when it writes no superframe to a TAP. */
static const char *superframe(int fd, const struct iovec *iov)
{
	const struct virtio_net_hdr *header = iov->iov_base;
	struct stat status;

	if (iov->iov_len != sizeof(*header) || fstat(fd, &status) || !S_ISCHR(status.st_mode) ||
	    status.st_rdev != TUN_DEVICE)
		return NULL;
	switch (header->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return "GSO_TCP";
	case GSO_UDP_L4:
		return "GSO_UDP_L4";
	default:
		return NULL;
	}
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	const char *kind = count > 0 ? superframe(fd, iov) : NULL;
	int err = kind ? refused(kind) : 0;

	return err ? refuse(err) : NEXT(writev)(fd, iov, count);
}
