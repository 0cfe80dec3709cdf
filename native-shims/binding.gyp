{
  "targets": [
    {
      "target_name": "vtepd_shim",
      "sources": ["module.c", "layout.c", "tap.c", "steer.c", "udp.c", "send.c", "wait.c", "poll.c"],
      "defines": ["_GNU_SOURCE", "NAPI_VERSION=8"],
      "cflags!": ["-O3", "-fno-omit-frame-pointer"],
      "cflags": ["-std=gnu11", "-O2", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"]
    }
  ]
}
