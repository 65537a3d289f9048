#include "apps/launch/kvm_guest.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <string>

namespace stoa::apps::launch {

namespace {

constexpr size_t kMemoryBytes = 0x1000;
constexpr uint64_t kMemoryAt = 0x1000;
constexpr uint64_t kOperationsPerTurn = 2;
constexpr uint16_t kPort = 0x510;
// Runs of growing length until one takes long enough to be measured well: emulation is told after
// the first, hardware after the last.
constexpr uint32_t kTurnsFirst = 10'000;
constexpr uint32_t kTurnsMax = 200'000'000;
constexpr uint32_t kGrowth = 10;
constexpr int64_t kLongEnoughNs = 20'000'000;

// Real mode:  again: dec ecx   jnz again   mov dx, kPort   out dx, al   hlt; ecx is given.
// The guest says that it is through, so that a KVM that skips it is not taken for a fast one.
constexpr std::array<uint8_t, 9> kProgram = {0x66, 0x49,                      // dec ecx
                                             0x75, 0xfc,                      // jnz -4
                                             0xba, kPort & 0xff, kPort >> 8,  // mov dx
                                             0xee,                            // out dx, al
                                             0xf4};

int64_t now_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

int fail(const std::string& what, int number) {
    std::printf("{\"error\": \"%s%s%s\"}\n", what.c_str(), number == 0 ? "" : ": ",
                number == 0 ? "" : std::strerror(number));
    return 1;
}

// One virtual CPU in real mode at the program's start. -1 and `what`: errno says why not.
struct Guest {
    int machine = -1;
    int cpu = -1;
    kvm_run* run = nullptr;

    bool create(int kvm, const char*& what) {
        what = "cannot create a virtual machine";
        machine = ::ioctl(kvm, KVM_CREATE_VM, 0);
        if (machine < 0) return false;
        what = "cannot give it memory";
        void* memory = ::mmap(nullptr, kMemoryBytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) return false;
        std::memcpy(memory, kProgram.data(), kProgram.size());
        kvm_userspace_memory_region region{};
        region.guest_phys_addr = kMemoryAt;
        region.memory_size = kMemoryBytes;
        region.userspace_addr = reinterpret_cast<uintptr_t>(memory);
        if (::ioctl(machine, KVM_SET_USER_MEMORY_REGION, &region) != 0) return false;
        what = "cannot create a virtual CPU";
        cpu = ::ioctl(machine, KVM_CREATE_VCPU, 0);
        const int size = ::ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
        if (cpu < 0 || size < static_cast<int>(sizeof(kvm_run))) return false;
        void* shared =
            ::mmap(nullptr, static_cast<size_t>(size), PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
        if (shared == MAP_FAILED) return false;
        run = static_cast<kvm_run*>(shared);
        return true;
    }

    [[nodiscard]] bool set_registers(uint32_t turns) const {
        kvm_sregs special{};
        if (::ioctl(cpu, KVM_GET_SREGS, &special) != 0) return false;
        special.cs.base = 0;
        special.cs.selector = 0;
        if (::ioctl(cpu, KVM_SET_SREGS, &special) != 0) return false;
        kvm_regs registers{};
        registers.rip = kMemoryAt;
        registers.rcx = turns;
        registers.rflags = 2;
        return ::ioctl(cpu, KVM_SET_REGS, &registers) == 0;
    }

    // 0 or errno.
    [[nodiscard]] int run_to_end() const {
        while (::ioctl(cpu, KVM_RUN, 0) != 0) {
            if (errno != EINTR && errno != EAGAIN) return errno;
        }
        return 0;
    }
};

}  // namespace

int probe_kvm(const char* device) {
    const int kvm = ::open(device, O_RDWR | O_CLOEXEC);
    if (kvm < 0) return fail(std::string("cannot open ") + device, errno);
    if (::ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION) {
        return fail(std::string(device) + " is not KVM of API version 12", 0);
    }
    Guest guest;
    const char* what = "";
    if (!guest.create(kvm, what)) return fail(what, errno);
    int64_t took_ns = 0;
    uint32_t turns = kTurnsFirst;
    while (true) {
        if (!guest.set_registers(turns)) return fail("cannot set its registers", errno);
        const int64_t begun_ns = now_ns();
        if (const int error = guest.run_to_end(); error != 0) {
            return fail("the virtual CPU does not run", error);
        }
        took_ns = now_ns() - begun_ns;
        if (guest.run->exit_reason != KVM_EXIT_IO || guest.run->io.port != kPort) {
            return fail("the guest program ended with exit reason " +
                            std::to_string(guest.run->exit_reason) + " instead of its output",
                        0);
        }
        if (took_ns >= kLongEnoughNs || turns >= kTurnsMax) break;
        turns = std::min(turns * kGrowth, kTurnsMax);
    }
    std::printf("{\"operations\": %llu, \"nanoseconds\": %lld}\n",
                static_cast<unsigned long long>(turns * kOperationsPerTurn),
                static_cast<long long>(took_ns));
    return 0;
}

}  // namespace stoa::apps::launch
