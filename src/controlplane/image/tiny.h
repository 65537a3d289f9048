// The tiny image: a Linux that boots in seconds and knows how to be a good guest.
//
// A kernel and an initrd, put together from Debian packages without installing anything: the cloud
// kernel, busybox, the guest agent and mke2fs. It has drivers for all virtio devices and NVMe,
// gets its addresses by DHCP, mounts an ext4 file system labelled `stoa-data` (or the one on
// /dev/vda) at /mnt, has a shell on the serial port, heeds the power button, and runs the guest
// agent with freezing, exec, files and shutdown. `stoa.hostname=NAME` on the kernel's command line
// names it. How it behaves: tiny_guest_test.cc.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "controlplane/async/async.h"

namespace stoa::image {

constexpr std::string_view kKernelFile = "kernel";
constexpr std::string_view kInitrdFile = "initrd";
constexpr std::string_view kTinyCommandLine = "console=ttyS0 quiet panic=-1 no_timer_check";
constexpr uint64_t kTinyMemoryBytesMin = uint64_t{128} << 20;

struct TinyOptions {
    // Where `kernel` and `initrd` appear, the initrd last: ROOT/stoad/images/ID. Made if missing.
    std::string directory;
    // .deb files are looked for here first (PACKAGE_VERSION_amd64.deb; of several the newest);
    // what is missing is put here. Made if missing.
    std::string package_directory;
    bool may_download = true;  // by apt-get download, as whoever runs this program
    // Scratch space of about 200 MiB, of nobody else; removed at the end.
    std::string scratch_directory;
};

// `done` of `total` parts of the work, and what goes on. False: give up.
using TinyProgress = std::function<bool(uint64_t done, uint64_t total, std::string_view text)>;

// Builds it in some seconds. An image that is there already is kept as it is; what an attempt that
// was cut short has left is replaced.
// Errors: not_found (packages: names them and says what to do; or a program), io, no_space,
// corrupt (a package lacks what it should have), cancelled.
Async<> build_tiny(TinyOptions options, TinyProgress progress);

// Whether `kernel` and `initrd` are there. Blocks for a moment.
[[nodiscard]] bool has_image_files(const std::string& directory);

// The packages that it is made of; the kernel's is found through "linux-image-cloud-amd64".
[[nodiscard]] const std::vector<std::string>& tiny_packages();

}  // namespace stoa::image
