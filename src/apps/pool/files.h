// Devices as fsck and dump read them: plain files, locked against a writer, never written.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "dataplane/pool/fsck/fsck.h"

namespace stoa::apps::pool {

// An open file or block device.
class FileSource final : public fsck::Source {
public:
    // `lock`: holds a shared lock until closed. Errors: busy (someone has it open for writing),
    // io, invalid_argument (neither file nor block device).
    static Result<std::unique_ptr<FileSource>> open(const std::string& path, bool lock);

    FileSource(const FileSource&) = delete;
    FileSource& operator=(const FileSource&) = delete;
    ~FileSource() override;

    [[nodiscard]] uint64_t size_bytes() const override { return size_bytes_; }
    bool read(uint64_t offset_bytes, MutableBytes into) override;
    [[nodiscard]] const std::string& name() const override { return path_; }

private:
    FileSource(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}

    std::string path_;
    int fd_;
    uint64_t size_bytes_ = 0;
};

struct Files {
    std::vector<std::unique_ptr<FileSource>> owned;
    std::vector<fsck::Source*> sources;
};

// All of `paths`, or the first error.
Result<Files> open_files(const std::vector<std::string>& paths, bool lock);

}  // namespace stoa::apps::pool
