// On real files, made by the tools of others or byte by byte: what is found, and that nothing is
// found any more once it is wiped.
#include "dataplane/io/blkid/signatures.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "dataplane/io/device_file.h"
#include "dataplane/io/memory_device.h"
#include "dataplane/io/test_directory.h"

namespace stoa::io::blkid {
namespace {

using Words = std::vector<std::string>;

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kSizeBytes = 64 * kMiB;

// The CRC of GPT: CRC-32 of IEEE 802.3.
uint32_t crc32(ConstBytes bytes) {
    uint32_t crc = ~uint32_t{0};
    for (const std::byte byte : bytes) {
        crc ^= std::to_integer<uint32_t>(byte);
        for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320U : 0);
    }
    return ~crc;
}

class SignaturesTest : public testing::Test {
protected:
    SignaturesTest() {
        auto reactor = Reactor::create();
        CHECK(reactor.ok());
        reactor_ = *std::move(reactor);
        DeviceFileOptions options;
        options.create = true;
        options.size_bytes = kSizeBytes;
        static_cast<void>(open(options));
        device_.reset();
    }
    ~SignaturesTest() override { device_.reset(); }

    DeviceFile& open(const DeviceFileOptions& options = {}) {
        device_.reset();
        auto opened = DeviceFile::open(*reactor_, path_, options);
        CHECK(opened.ok());
        device_ = *std::move(opened);
        return *device_;
    }
    Words found() {
        if (!device_) open();
        Signatures signatures(*reactor_);
        Words words;
        const Result<void> done = reactor_->run(find_into(signatures, *device_, words));
        EXPECT_TRUE(done.ok()) << done.error().message();
        return words;
    }
    void wipe() {
        if (!device_) open();
        Signatures signatures(*reactor_);
        const Result<void> done = reactor_->run(signatures.wipe(*device_));
        EXPECT_TRUE(done.ok()) << done.error().message();
    }
    // Runs a tool of the distribution on the file.
    void run(const std::string& command) const {
        const std::string line = command + " " + path_ + " >/dev/null 2>&1";
        ASSERT_EQ(::system(line.c_str()), 0) << line;
    }
    void put(uint64_t offset_bytes, ConstBytes bytes) {
        AlignedBuffer block(4096);
        const uint64_t start = offset_bytes / 4096 * 4096;
        if (!device_) open();
        EXPECT_TRUE(reactor_->run(transfer(DeviceOp::read, start, block.bytes())).ok());
        std::memcpy(block.data() + (offset_bytes - start), bytes.data(), bytes.size());
        EXPECT_TRUE(reactor_->run(transfer(DeviceOp::write, start, block.bytes())).ok());
    }
    Task<Result<void>> transfer(DeviceOp op, uint64_t start, MutableBytes block) {
        EXPECT_EQ(op == DeviceOp::read ? co_await device_->read(start, block)
                                       : co_await device_->write(start, block),
                  0);
        co_return Result<void>{};
    }
    static Task<Result<void>> find_into(Signatures& signatures, Device& device, Words& words) {
        CO_TRY_ASSIGN(words, co_await signatures.find(device));
        co_return Result<void>{};
    }
    void put_partition_table();

    TestDirectory directory_;
    const std::string path_ = directory_.file("device");
    std::unique_ptr<Reactor> reactor_;
    std::unique_ptr<DeviceFile> device_;
};

// GPT with its protective MBR, and its backup in the last sector.
void SignaturesTest::put_partition_table() {
    const uint64_t sectors = kSizeBytes / 512;
    std::array<std::byte, 16384> entries{};
    store_le(entries.data(), uint64_t{0x4A});  // some type, some uuid
    store_le(entries.data() + 16, uint64_t{0x4B});
    store_le(entries.data() + 32, uint64_t{2048});
    store_le(entries.data() + 40, uint64_t{4095});
    for (const bool backup : {false, true}) {
        std::array<std::byte, 512> header{};
        std::byte* h = header.data();
        std::memcpy(h, "EFI PART", 8);
        store_le(h + 8, uint32_t{0x10000});
        store_le(h + 12, uint32_t{92});
        store_le(h + 24, backup ? sectors - 1 : uint64_t{1});
        store_le(h + 32, backup ? uint64_t{1} : sectors - 1);
        store_le(h + 40, uint64_t{34});
        store_le(h + 48, sectors - 34);
        store_le(h + 56, uint64_t{0x4C});
        store_le(h + 72, backup ? sectors - 33 : uint64_t{2});
        store_le(h + 80, uint32_t{128});
        store_le(h + 84, uint32_t{128});
        store_le(h + 88, crc32(entries));
        store_le(h + 16, crc32(ConstBytes(header).first(92)));
        put((backup ? sectors - 1 : 1) * 512, header);
        for (size_t i = 0; i < entries.size(); i += 512) {
            put((backup ? sectors - 33 : 2) * 512 + i, ConstBytes(entries).subspan(i, 512));
        }
    }
    std::array<std::byte, 66> boot{};
    store_le<uint8_t>(boot.data() + 4, 0xEE);
    store_le<uint32_t>(boot.data() + 8, 1);
    store_le(boot.data() + 12, static_cast<uint32_t>(sectors - 1));
    store_le<uint16_t>(boot.data() + 64, 0xAA55);
    put(446, boot);
}

TEST_F(SignaturesTest, an_empty_device_has_none) {
    EXPECT_EQ(found(), Words{});
    wipe();
    EXPECT_EQ(found(), Words{});
}

TEST_F(SignaturesTest, file_systems_are_named_and_gone_once_wiped) {
    for (const auto& [tool, name] :
         {std::pair{"mkfs.ext4 -q -F", "file system ext4"}, std::pair{"mkswap", "swap"}}) {
        device_.reset();
        run(tool);
        EXPECT_EQ(found(), Words{name});
        wipe();
        EXPECT_EQ(found(), Words{}) << name;
        device_.reset();
        EXPECT_EQ(::system(("blkid -p " + path_ + " >/dev/null").c_str()) / 256, 2) << name;
    }
}

TEST_F(SignaturesTest, a_partition_table_goes_with_its_backup_at_the_end) {
    put_partition_table();
    EXPECT_EQ(found(), Words{"partition table gpt"});
    // What overwrites the start alone leaves the backup to be found.
    put(0, std::array<std::byte, 4096>{});
    EXPECT_EQ(found(), Words{"partition table gpt"});
    put_partition_table();
    wipe();
    EXPECT_EQ(found(), Words{});
}

TEST_F(SignaturesTest, what_lies_beside_each_other_is_all_found) {
    run("mkfs.ext4 -q -F");
    std::array<std::byte, 512> label{};  // LVM2, in the second sector
    std::memcpy(label.data(), "LABELONE", 8);
    store_le<uint64_t>(label.data() + 8, 1);
    store_le<uint32_t>(label.data() + 20, 32);
    std::memcpy(label.data() + 24, "LVM2 001", 8);
    put(512, label);
    EXPECT_EQ(found(), (Words{"part of a volume group or RAID (LVM2_member)", "file system ext4"}));
    wipe();
    EXPECT_EQ(found(), Words{});
}

TEST_F(SignaturesTest, a_device_that_is_open_for_reading_only_is_looked_at_too) {
    run("mkfs.ext4 -q -F");
    DeviceFileOptions options;
    options.read_only = true;
    open(options);
    EXPECT_EQ(found(), Words{"file system ext4"});
}

TEST_F(SignaturesTest, a_device_in_memory_has_nothing_of_others) {
    auto memory = MemoryDevice::create(*reactor_, "memory", {.size_bytes = kMiB});
    ASSERT_TRUE(memory.ok());
    std::memcpy((*memory)->content().data() + 0x438, "\x53\xEF", 2);
    Signatures signatures(*reactor_);
    Words words;
    EXPECT_TRUE(reactor_->run(find_into(signatures, **memory, words)).ok());
    EXPECT_EQ(words, Words{});
    EXPECT_TRUE(reactor_->run(signatures.wipe(**memory)).ok());
}

}  // namespace
}  // namespace stoa::io::blkid
