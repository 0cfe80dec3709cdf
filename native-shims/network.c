/* SPDX-License-Identifier: MIT
 *
 * Queries of the network namespace: segmentation by devices, IPsec policies, drops of a TAP.
 *
 * Not performance-critical: called at start and after a change.
 */
#include "netlink.h"
#include "shim.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/ethtool.h>
#include <linux/if.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/xfrm.h>

/* Runs an ethtool query on a device. */
static int ask_device(const char *name, void *question)
{
	struct ifreq request = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return -errno;
	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	request.ifr_data = question;
	err = ioctl(fd, SIOCETHTOOL, &request) ? -errno : 0;
	close(fd);
	return err;
}

/**
 * device_driver() - driver name of a network device (ethtool): veth, virtio_net, e1000e …
 * @driver:	receives the name with a terminating zero
 *
 * #syscalls socket ioctl
 * Return: length of the name in bytes; -ENODEV no such device; -EOPNOTSUPP a device without a
 * driver name, such as lo.
 */
int device_driver(const char *name, uint8_t driver[DRIVER_NAME_SIZE])
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	int err = ask_device(name, &info);

	if (err)
		return err;
	_Static_assert(sizeof(info.driver) == DRIVER_NAME_SIZE, "same size as ethtool's");
	memcpy(driver, info.driver, DRIVER_NAME_SIZE);
	driver[DRIVER_NAME_SIZE - 1] = 0;
	return (int)strlen((const char *)driver);
}

#define FEATURES_MAX 256

struct feature_names {
	struct ethtool_gstrings head;
	char names[FEATURES_MAX][ETH_GSTRING_LEN];
};

struct feature_count {
	struct ethtool_sset_info head;
	uint32_t count;
};

struct feature_bits {
	struct ethtool_gfeatures head;
	struct ethtool_get_features_block blocks[FEATURES_MAX / 32];
};

static int is_active(const struct feature_names *names, const struct feature_bits *bits, const char *wanted)
{
	for (uint32_t k = 0; k < names->head.len && k < FEATURES_MAX; k++)
		if (!strncmp(names->names[k], wanted, ETH_GSTRING_LEN))
			return bits->blocks[k / 32].active >> (k % 32) & 1;
	return 0;
}

/**
 * tunnel_segmentation() - query segmentation of tunnelled superframes by a device
 * @device:	device name
 *
 * #syscalls socket ioctl close
 * Return: enabled features, TUNNEL_GSO and TUNNEL_GSO_CSUM as a bit mask; else a negative errno.
 */
int tunnel_segmentation(const char *device)
{
	static const uint32_t blocks = FEATURES_MAX / 32;
	struct feature_count count = { .head = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ull << ETH_SS_FEATURES } };
	struct feature_names names = { .head = { .cmd = ETHTOOL_GSTRINGS, .string_set = ETH_SS_FEATURES } };
	struct feature_bits bits = { .head = { .cmd = ETHTOOL_GFEATURES, .size = blocks } };
	int err = ask_device(device, &count);

	/*
	 * The kernel accepts a request only for the exact number of its features, and writes all of
	 * them.
	 */
	if (!err && count.count > FEATURES_MAX)
		err = -E2BIG;
	names.head.len = count.count;
	if (!err)
		err = ask_device(device, &names);
	if (!err)
		err = ask_device(device, &bits);
	if (err)
		return err;
	return (is_active(&names, &bits, "tx-udp_tnl-segmentation") ? TUNNEL_GSO : 0) |
	       (is_active(&names, &bits, "tx-udp_tnl-csum-segmentation") ? TUNNEL_GSO_CSUM : 0);
}

/**
 * watch_clear() - discard the pending messages of a watch
 *
 * #syscalls recv
 * Return: 0.
 */
int watch_clear(int fd)
{
	char message[8192];

	/* ENOBUFS reports that messages were lost. A lost message indicates a change, too. */
	while (recv(fd, message, sizeof(message), MSG_DONTWAIT) >= 0 || errno == ENOBUFS)
		;
	return 0;
}

/**
 * policy_count() - count the IPsec policies of this network namespace
 *
 * #syscalls socket bind setsockopt sendto recv close
 * Return: the count; 0 also when the kernel lacks IPsec; else a negative errno.
 */
int policy_count(void)
{
	struct {
		struct nlmsghdr head;
		uint32_t flags;
	} question = { .head = { .nlmsg_len = sizeof(question), .nlmsg_type = XFRM_MSG_GETSPDINFO, .nlmsg_flags = NLM_F_REQUEST } };
	struct {
		struct nlmsghdr head;
		uint32_t flags;
		struct nlattr attr;
		struct xfrmu_spdinfo info;
		char rest[512];
	} found;
	int fd = netlink_open(NETLINK_XFRM, NULL, 0);
	ssize_t got;

	if (fd < 0)
		return fd == -EPROTONOSUPPORT ? 0 : fd;
	got = send(fd, &question, sizeof(question), 0);
	if (got >= 0)
		got = recv(fd, &found, sizeof(found), 0); /* queued when send() returns */
	close(fd);
	if (got < 0)
		return -errno;
	if ((size_t)got < offsetof(typeof(found), rest) || found.head.nlmsg_type != XFRM_MSG_NEWSPDINFO ||
	    found.attr.nla_type != XFRMA_SPD_INFO)
		return -EPROTO;
	return (int)(found.info.incnt + found.info.outcnt + found.info.fwdcnt);
}

/* Finds the counters of a device in the attributes of an RTM_NEWLINK message; 0: not present. */
static int find_stats(const struct nlmsghdr *head, size_t len, struct rtnl_link_stats64 *stats)
{
	const char *end = (const char *)head + len;
	const char *at = (const char *)head + NLMSG_LENGTH(NLMSG_ALIGN(sizeof(struct ifinfomsg)));

	while (end - at >= (ptrdiff_t)sizeof(struct rtattr)) {
		const struct rtattr *attr = (const struct rtattr *)at;

		if (attr->rta_len < sizeof(*attr) || attr->rta_len > end - at)
			return 0;
		if (attr->rta_type == IFLA_STATS64 && RTA_PAYLOAD(attr) >= sizeof(*stats)) {
			memcpy(stats, RTA_DATA(attr), sizeof(*stats));
			return 1;
		}
		at += RTA_ALIGN(attr->rta_len);
	}
	return 0;
}

/**
 * device_tx_dropped() - count the frames the kernel dropped on transmit to a device
 * @index:	interface index
 *
 * For a TAP, the count covers frames that found its queue full (tun_net_xmit). The count is 0 when
 * the device is created.
 *
 * #syscalls socket bind setsockopt sendto recv close
 * Return: the count; -ENODEV no such device; else a negative errno.
 */
int64_t device_tx_dropped(int index)
{
	struct {
		struct nlmsghdr head;
		struct ifinfomsg info;
	} question = { .head = { .nlmsg_len = sizeof(question), .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST },
		       .info = { .ifi_index = index } };
	union {
		struct nlmsghdr head;
		struct {
			struct nlmsghdr head;
			struct nlmsgerr error;
		} refusal;
		char bytes[16384];
	} found;
	struct rtnl_link_stats64 stats;
	int fd = netlink_open(NETLINK_ROUTE, NULL, 0);
	ssize_t got;

	if (fd < 0)
		return fd;
	got = send(fd, &question, sizeof(question), 0);
	if (got >= 0)
		got = recv(fd, &found, sizeof(found), 0); /* queued when send() returns */
	if (got < 0)
		got = -errno;
	close(fd);
	if (got < 0)
		return got;
	if ((size_t)got >= sizeof(found.refusal) && found.head.nlmsg_type == NLMSG_ERROR)
		return found.refusal.error.error;
	if (found.head.nlmsg_type != RTM_NEWLINK || !find_stats(&found.head, (size_t)got, &stats))
		return -EPROTO;
	return (int64_t)stats.tx_dropped;
}
