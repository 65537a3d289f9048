#include "controlplane/image/tiny.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "controlplane/async/worker.h"
#include "controlplane/host/files.h"
#include "controlplane/image/cpio.h"
#include "controlplane/image/modules.h"
#include "controlplane/image/packages.h"
#include "controlplane/image/tiny_init.h"

namespace stoa::image {

namespace {

namespace fs = std::filesystem;

constexpr size_t kFileBytesMax = size_t{64} << 20;
constexpr std::string_view kLibraries = "lib/x86_64-linux-gnu";

// In the image at the same place.
constexpr std::array<std::string_view, 3> kPrograms = {
    "usr/sbin/qemu-ga",
    "sbin/mke2fs",
    "sbin/resize2fs",
};
constexpr std::array<std::string_view, 15> kSharedLibraries = {
    "libc.so.6",       "libm.so.6",    "libpthread.so.0",     "libdl.so.2",
    "libudev.so.1",    "libnuma.so.1", "liburing.so.2",       "libglib-2.0.so.0",
    "libpcre2-8.so.0", "libe2p.so.2",  "libgmodule-2.0.so.0", "libext2fs.so.2",
    "libblkid.so.1",   "libuuid.so.1", "libcom_err.so.2",
};

// What some kernel has built in, or not at all, is left out; without the first four there is no
// good guest.
constexpr size_t kNeededModules = 4;
constexpr std::array<std::string_view, 18> kModules = {
    "virtio_pci",  "virtio_blk", "virtio_net", "virtio_console", "virtio_rng", "virtio_balloon",
    "virtio_scsi", "virtio_mem", "sd_mod",     "sr_mod",         "isofs",      "button",
    "evdev",       "pvpanic",    "ata_piix",   "ahci",           "nvme",       "ext4",
};

constexpr std::array<std::string_view, 19> kDirectories = {
    "bin",      "dev",   "etc", "etc/acpi", "etc/acpi/PWRF", "lib", "lib/modules",
    kLibraries, "lib64", "mnt", "proc",     "root",          "run", "sbin",
    "sys",      "tmp",   "usr", "usr/sbin", "var",
};

// Puts the files of one build together. On a Worker's thread.
class Assembly {
public:
    Assembly(std::string root, std::string target)
        : root_(std::move(root)), target_(std::move(target)) {}

    Result<void> write_image() {
        TRY(find_kernel());
        TRY(find_modules());
        TRY_ASSIGN(const std::string kernel, read(fmt::format("boot/vmlinuz-{}", kernel_version_)));
        TRY_ASSIGN(const std::string initrd, make_initrd());
        TRY(host::make_directories(target_, 0755));
        // The initrd is the sign that all is there.
        const auto path = [&](std::string_view name) {
            return fmt::format("{}/{}", target_, name);
        };
        TRY(host::remove_file(path(kInitrdFile)));
        const host::WriteOptions readable{.mode = 0644, .owner = {}, .durable = true};
        TRY(host::replace_file(path(kKernelFile), kernel, readable));
        return host::replace_file(path(kInitrdFile), initrd, readable);
    }

private:
    Result<std::string> read(std::string_view name) {
        auto content = host::read_file(fmt::format("{}/{}", root_, name), kFileBytesMax);
        if (content.ok()) return content;
        return Error(ErrorCode::corrupt,
                     fmt::format("the packages lack {}: {}", name, content.error().message()));
    }

    Result<void> find_kernel() {
        TRY_ASSIGN(const auto versions, host::list_directory(root_ + "/lib/modules"));
        if (versions.size() != 1) {
            return Error(ErrorCode::corrupt,
                         fmt::format("{} kernels in the packages; one is needed", versions.size()));
        }
        kernel_version_ = versions.front();
        return {};
    }

    // Paths of all modules, by name; and the order of those that we want.
    Result<void> find_modules() {
        const std::string directory = fmt::format("lib/modules/{}", kernel_version_);
        std::error_code code;
        fs::recursive_directory_iterator at(fmt::format("{}/{}/kernel", root_, directory), code);
        for (; !code && at != fs::recursive_directory_iterator(); at.increment(code)) {
            if (at->path().extension() != ".ko") continue;
            module_files_[module_name(at->path().string())] =
                fs::relative(at->path(), root_, code).string();
        }
        if (code) return Error(ErrorCode::io, fmt::format("{}: {}", directory, code.message()));
        TRY_ASSIGN(const std::string built_in, read(directory + "/modules.builtin"));
        for (size_t i = 0; i < kNeededModules; ++i) {
            const std::string name(kModules.at(i));
            if (module_files_.contains(name) || built_in.contains(name + ".ko")) continue;
            return Error(ErrorCode::corrupt,
                         fmt::format("kernel {} has no module {}", kernel_version_, name));
        }
        return order_modules();
    }

    Result<void> order_modules() {
        std::map<std::string, std::vector<std::string>> needs;
        std::vector<std::string> open(kModules.begin(), kModules.end());
        while (!open.empty()) {
            const std::string name = std::move(open.back());
            open.pop_back();
            const auto file = module_files_.find(name);
            if (file == module_files_.end() || needs.contains(name)) continue;
            TRY_ASSIGN(const std::string content, read(file->second));
            TRY_ASSIGN(needs[name], module_needs(content));
            open.insert(open.end(), needs[name].begin(), needs[name].end());
        }
        TRY_ASSIGN(modules_, load_order({kModules.begin(), kModules.end()}, needs));
        return {};
    }

    Result<std::string> make_initrd() {
        CpioWriter initrd;
        for (const std::string_view name : kDirectories) initrd.directory(name);
        initrd.character_device("dev/console", 0600, 5, 1);
        initrd.symlink("var/run", "/run");
        initrd.symlink("sbin/mkfs.ext4", "mke2fs");
        initrd.file("init", init_script(modules_), 0755);
        initrd.file("etc/udhcpc.script", dhcp_script(), 0755);
        initrd.file("etc/acpi/PWRF/00000080", power_button_script(), 0755);
        initrd.file("sbin/shutdown", shutdown_script(), 0755);
        initrd.file("etc/os-release", os_release(kernel_version_), 0644);
        initrd.file("etc/passwd", "root::0:0:root:/root:/bin/sh\n", 0644);
        initrd.file("etc/group", "root:x:0:\n", 0644);
        TRY_ASSIGN(const std::string busybox, read("bin/busybox"));
        initrd.file("bin/busybox", busybox, 0755);
        for (const std::string_view name : kPrograms) {
            TRY_ASSIGN(const std::string program, read(name));
            initrd.file(name, program, 0755);
        }
        TRY(add_libraries(initrd));
        for (const std::string& module : modules_) {
            TRY_ASSIGN(const std::string content, read(module_files_.at(module)));
            initrd.file(fmt::format("lib/modules/{}.ko", module), content, 0644);
        }
        return initrd.finish();
    }

    // Debian has them in /lib or in /usr/lib.
    Result<void> add_libraries(CpioWriter& initrd) {
        for (const std::string_view name : kSharedLibraries) {
            std::string from = fmt::format("{}/{}", kLibraries, name);
            std::error_code ignored;
            if (!fs::exists(fmt::format("{}/{}", root_, from), ignored)) from = "usr/" + from;
            TRY_ASSIGN(const std::string library, read(from));
            initrd.file(fmt::format("{}/{}", kLibraries, name), library, 0755);
        }
        constexpr std::string_view kLoader = "ld-linux-x86-64.so.2";
        TRY_ASSIGN(const std::string loader, read(fmt::format("{}/{}", kLibraries, kLoader)));
        initrd.file(fmt::format("lib64/{}", kLoader), loader, 0755);
        return {};
    }

    std::string root_;    // of the unpacked packages
    std::string target_;  // directory of the image
    std::string kernel_version_;
    std::map<std::string, std::string> module_files_;
    std::vector<std::string> modules_;
};

Error given_up() { return {ErrorCode::cancelled, "given up"}; }

// Into a directory that is there and empty.
Async<> build_in(Worker& worker, TinyOptions options, std::string root, TinyProgress progress) {
    const auto& names = tiny_packages();
    const uint64_t total = names.size() + 2;
    if (!progress(0, total, "fetching packages")) co_return given_up();
    CO_TRY_ASSIGN(const auto files,
                  co_await fetch_packages(names, options.package_directory, options.may_download));
    for (size_t i = 0; i < files.size(); ++i) {
        if (!progress(1 + i, total, "unpacking " + names[i])) co_return given_up();
        CO_TRY(co_await unpack(files[i], root));
    }
    if (!progress(total - 1, total, "writing kernel and initrd")) co_return given_up();
    Assembly assembly(root, options.directory);
    co_return co_await worker.run([&] { return assembly.write_image(); });
}

}  // namespace

const std::vector<std::string>& tiny_packages() {
    static const std::vector<std::string> kPackages = {
        "linux-image-*", "busybox-static", "qemu-guest-agent", "e2fsprogs", "libc6",
        "libglib2.0-0",  "libnuma1",       "libudev1",         "liburing2", "libpcre2-8-0",
        "libext2fs2",    "libcom-err2",    "libblkid1",        "libuuid1"};
    return kPackages;
}

bool has_image_files(const std::string& directory) {
    std::error_code ignored;
    return fs::exists(fmt::format("{}/{}", directory, kKernelFile), ignored) &&
           fs::exists(fmt::format("{}/{}", directory, kInitrdFile), ignored);
}

Async<> build_tiny(TinyOptions options, TinyProgress progress) {
    if (has_image_files(options.directory)) co_return Result<void>();
    Worker worker;
    const std::string scratch = options.scratch_directory;
    CO_TRY(co_await worker.run([&]() -> Result<void> {
        TRY(host::remove_tree(scratch));
        return host::make_directories(scratch, 0700);
    }));
    const Result<void> built = co_await build_in(worker, std::move(options), scratch, progress);
    const Result<void> removed = co_await worker.run([&] { return host::remove_tree(scratch); });
    if (!built.ok()) co_return built.error().with_context("the tiny image");
    co_return removed;
}

}  // namespace stoa::image
