#include "dataplane/io/blkid/signatures.h"

#include <blkid/blkid.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>

#include "dataplane/io/file_descriptor.h"
#include "dataplane/io/run_in_thread.h"
#include "dataplane/io/system_error.h"

namespace stoa::io::blkid {

namespace {

// Of one device; more are hostile, or a library that goes round in circles.
constexpr int kSignaturesMax = 1000;

struct FreeProbe {
    void operator()(blkid_probe probe) const { blkid_free_probe(probe); }
};

// A probe and the file it reads.
class Probe {
public:
    // The file of `descriptor` is opened once more: its own may be for direct I/O, which the
    // library does not align its buffers for.
    static Result<Probe> open(const std::string& name, int descriptor, bool for_writing) {
        const std::string path = "/proc/self/fd/" + std::to_string(descriptor);
        Probe probe;
        probe.name_ = name;
        probe.file_ =
            FileDescriptor(::open(path.c_str(), (for_writing ? O_RDWR : O_RDONLY) | O_CLOEXEC));
        if (!probe.file_.is_open()) return probe.error("cannot open it once more", errno);
        probe.probe_.reset(blkid_new_probe());
        errno = 0;
        if (probe.probe_ == nullptr ||
            blkid_probe_set_device(probe.probe_.get(), probe.file_.get(), 0, 0) != 0) {
            return probe.error("cannot look for data of others on it", errno);
        }
        blkid_probe_enable_superblocks(probe.get(), 1);
        blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE |
                                                           BLKID_SUBLKS_MAGIC |
                                                           BLKID_SUBLKS_BADCSUM);
        blkid_probe_enable_partitions(probe.get(), 1);
        blkid_probe_set_partitions_flags(probe.get(), BLKID_PARTS_MAGIC | BLKID_PARTS_FORCE_GPT);
        return probe;
    }

    // Goes on to the next signature; false if there is none.
    Result<bool> next() {
        errno = 0;
        const int found = blkid_do_probe(get());
        if (found < 0) return error("cannot look for data of others on it", errno);
        if (found == 0 && ++count_ > kSignaturesMax) {
            return error("has more signatures of others than can be", 0);
        }
        return found == 0;
    }
    [[nodiscard]] std::string value(const char* key) const {
        const char* data = nullptr;
        size_t bytes = 0;
        if (blkid_probe_lookup_value(probe_.get(), key, &data, &bytes) != 0) return "";
        return std::string(std::string_view(data, strnlen(data, bytes)));
    }
    Result<void> wipe() {
        errno = 0;
        if (blkid_do_wipe(get(), 0) != 0) return error("cannot wipe what others left on it", errno);
        return {};
    }
    Result<void> make_durable() {
        if (fsync(file_.get()) != 0) return error("cannot flush it", errno);
        return {};
    }

private:
    [[nodiscard]] blkid_probe get() const { return probe_.get(); }
    [[nodiscard]] Error error(const char* what, int number) const {
        return system_error("device " + name_ + ": " + what, number == 0 ? EIO : number);
    }

    std::string name_;
    FileDescriptor file_;
    std::unique_ptr<std::remove_pointer_t<blkid_probe>, FreeProbe> probe_;
    int count_ = 0;
};

// "file system ext4"
std::string describe(const Probe& probe) {
    if (const std::string table = probe.value("PTTYPE"); !table.empty()) {
        return "partition table " + table;
    }
    const std::string usage = probe.value("USAGE");
    const std::string type = probe.value("TYPE");
    if (usage == "filesystem") return "file system " + type;
    if (usage == "raid") return "part of a volume group or RAID (" + type + ")";
    if (usage == "crypto") return "encrypted volume (" + type + ")";
    return type.empty() ? "signature of another program" : type;
}

Result<std::vector<std::string>> find_all(const std::string& name, int descriptor) {
    TRY_ASSIGN(Probe probe, Probe::open(name, descriptor, false));
    std::vector<std::string> all;
    while (true) {
        TRY_ASSIGN(const bool found, probe.next());
        if (!found) return all;
        std::string words = describe(probe);
        // A table and its backup are one thing to the reader.
        if (std::ranges::find(all, words) == all.end()) all.push_back(std::move(words));
    }
}

Result<void> wipe_all(const std::string& name, int descriptor) {
    TRY_ASSIGN(Probe probe, Probe::open(name, descriptor, true));
    while (true) {
        TRY_ASSIGN(const bool found, probe.next());
        if (!found) return probe.make_durable();
        TRY(probe.wipe());
    }
}

}  // namespace

Task<Result<std::vector<std::string>>> Signatures::find(Device& device) {
    const int descriptor = device.descriptor();
    if (descriptor < 0) co_return std::vector<std::string>{};
    co_return co_await run_in_thread(
        reactor_, [name = device.name(), descriptor] { return find_all(name, descriptor); });
}

Task<Result<void>> Signatures::wipe(Device& device) {
    const int descriptor = device.descriptor();
    if (descriptor < 0) co_return Result<void>{};
    co_return co_await run_in_thread(
        reactor_, [name = device.name(), descriptor] { return wipe_all(name, descriptor); });
}

}  // namespace stoa::io::blkid
