{
  "targets": [
    {
      "target_name": "vtepd_shim",
      "sources": ["module.c", "args.c", "layout.c", "tap.c", "tap_write.c", "bpf.c", "steer.c", "flow.c", "udp.c", "send.c", "outbox.c", "path_errors.c", "segment.c", "tunnel.c", "tunnel_device.c", "netlink.c", "network.c", "background.c", "coalesce.c", "thread.c", "notify.c", "wait.c", "poll.c", "checksum.c"],
      "defines": ["_GNU_SOURCE", "NAPI_VERSION=8"],
      "cflags!": ["-O3", "-fno-omit-frame-pointer"],
      "cflags": ["-std=gnu11", "-O2", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"]
    }
  ]
}
