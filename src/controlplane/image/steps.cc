#include "controlplane/image/steps.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "controlplane/async/worker.h"
#include "controlplane/host/files.h"
#include "controlplane/image/tiny.h"
#include "controlplane/model/storage.h"
#include "controlplane/task/record_step.h"

namespace stoa::image {

namespace {

namespace fs = std::filesystem;
using model::StorageState;

constexpr size_t kFileBytesMax = size_t{256} << 20;  // kernel, initrd: held in memory

// What the steps have in common: their settings, and the record's status.
template <class Arguments>
class ImageStep : public task::StepType {
public:
    ImageStep(records::Records& its_records, ImageSettings its_settings)
        : records(its_records), settings(std::move(its_settings)) {}

    [[nodiscard]] std::string_view name() const final { return Arguments::kType; }
    Async<bool> is_done(task::StepContext& context) final {
        Arguments arguments;
        CO_TRY(from_json(context.step().arguments, arguments));
        co_return done(arguments);
    }
    Async<> run(task::StepContext& context) final {
        Arguments arguments;
        CO_TRY(from_json(context.step().arguments, arguments));
        co_return co_await make(std::move(arguments), context);
    }
    Async<> undo(task::StepContext& context) final {
        Arguments arguments;
        CO_TRY(from_json(context.step().arguments, arguments));
        co_return co_await take_back(arguments.image);
    }

protected:
    virtual bool done(const Arguments& arguments) = 0;
    virtual Async<> make(Arguments arguments, task::StepContext& context) = 0;
    virtual Async<> take_back(Uuid image) = 0;

    [[nodiscard]] std::string directory(const Uuid& image) const {
        return image_directory(settings.images_directory, image);
    }
    [[nodiscard]] bool is_ready(const Uuid& image) const {
        const auto* record = records.get<model::Image>(image);
        return record != nullptr && record->status.state == StorageState::ready;
    }
    Async<> set_ready(Uuid image) {
        if (records.get<model::Image>(image) == nullptr) {
            co_return Error(ErrorCode::not_found,
                            fmt::format("image {} has no record any more", image.to_string()));
        }
        model::ImageStatus status;
        status.state = StorageState::ready;
        state::Txn txn;
        records::put_status<model::Image>(txn, image, status);
        const auto committed = co_await records.commit(std::move(txn));
        if (!committed.ok()) co_return committed.error();
        co_return Result<void>();
    }
    Async<> remove_files(Uuid image) {
        Worker worker;
        const std::string path = directory(image);
        co_return co_await worker.run([&] { return host::remove_tree(path); });
    }

    records::Records& records;
    ImageSettings settings;
};

class BuildType final : public ImageStep<ImageBuildStep> {
public:
    using ImageStep::ImageStep;

protected:
    bool done(const ImageBuildStep& step) override {
        return is_ready(step.image) && has_image_files(directory(step.image));
    }
    Async<> make(ImageBuildStep step, task::StepContext& context) override {
        TinyOptions options;
        options.directory = directory(step.image);
        options.package_directory = settings.package_directory;
        options.may_download = settings.may_download;
        options.scratch_directory = scratch(step.image);
        CO_TRY(co_await build_tiny(
            std::move(options), [&context](uint64_t done, uint64_t total, std::string_view text) {
                context.progress(done, total, text);
                return !context.cancel_wanted();
            }));
        co_return co_await set_ready(step.image);
    }
    Async<> take_back(Uuid image) override {
        Worker worker;
        const std::string path = scratch(image);
        CO_TRY(co_await worker.run([&] { return host::remove_tree(path); }));
        co_return co_await remove_files(image);
    }

private:
    [[nodiscard]] std::string scratch(const Uuid& image) const {
        return directory(image) + ".scratch";
    }
};

// Copies that are whole, or not there; the initrd first, so that a kernel means all.
Result<void> copy_files(const ImageKernelStep& step, const std::string& directory) {
    TRY(host::make_directories(directory, 0755));
    const host::WriteOptions readable{.mode = 0644, .owner = {}, .durable = true};
    if (!step.initrd_path.empty()) {
        TRY_ASSIGN(const std::string initrd, host::read_file(step.initrd_path, kFileBytesMax));
        TRY(host::replace_file(fmt::format("{}/{}", directory, kInitrdFile), initrd, readable));
    }
    TRY_ASSIGN(const std::string kernel, host::read_file(step.kernel_path, kFileBytesMax));
    return host::replace_file(fmt::format("{}/{}", directory, kKernelFile), kernel, readable);
}

class KernelType final : public ImageStep<ImageKernelStep> {
public:
    using ImageStep::ImageStep;

protected:
    bool done(const ImageKernelStep& step) override {
        std::error_code ignored;
        return is_ready(step.image) &&
               fs::exists(fmt::format("{}/{}", directory(step.image), kKernelFile), ignored);
    }
    Async<> make(ImageKernelStep step, task::StepContext& context) override {
        context.progress(0, 0, "copying kernel and initrd");
        Worker worker;
        const std::string path = directory(step.image);
        CO_TRY(co_await worker.run([&] { return copy_files(step, path); }));
        co_return co_await set_ready(step.image);
    }
    Async<> take_back(Uuid image) override { co_return co_await remove_files(image); }
};

class RemoveType final : public ImageStep<ImageRemoveStep> {
public:
    using ImageStep::ImageStep;

protected:
    bool done(const ImageRemoveStep& step) override {
        std::error_code ignored;
        return !fs::exists(directory(step.image), ignored);
    }
    Async<> make(ImageRemoveStep step, task::StepContext& /*context*/) override {
        co_return co_await remove_files(step.image);
    }
    Async<> take_back(Uuid /*image*/) override { co_return Result<void>(); }
};

}  // namespace

std::string image_directory(std::string_view images_directory, const Uuid& image) {
    return fmt::format("{}/{}", images_directory, image.to_string());
}

std::vector<std::unique_ptr<task::StepType>> make_steps(records::Records& records,
                                                        ImageSettings settings) {
    std::vector<std::unique_ptr<task::StepType>> steps;
    steps.push_back(std::make_unique<BuildType>(records, settings));
    steps.push_back(std::make_unique<KernelType>(records, settings));
    steps.push_back(std::make_unique<RemoveType>(records, std::move(settings)));
    steps.push_back(std::make_unique<task::RecordStep<model::Image>>(records));
    steps.push_back(std::make_unique<task::ForgetStep<model::Image>>(records));
    return steps;
}

}  // namespace stoa::image
