#include "controlplane/image/planner.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "controlplane/image/steps.h"
#include "controlplane/image/tiny.h"
#include "controlplane/task/record_step.h"

namespace stoa::image {

namespace {

using ImageRecord = model::Record<model::Image>;

constexpr size_t kCommandLineMax = 2047;
constexpr uint64_t kTinyBuildBytes = uint64_t{60} << 20;  // with what is fetched

template <class Arguments>
model::Step make_step(const Arguments& arguments, std::string text) {
    return {std::string(Arguments::kType), to_json(arguments), std::move(text)};
}

task::Plan plan_for(const Uuid& image, std::string_view verb) {
    task::Plan plan;
    plan.verb = fmt::format("image.{}", verb);
    plan.target = fmt::format("image/{}", image.to_string());
    return plan;
}

Error wrong(std::string_view field, std::string_view why) {
    return {ErrorCode::invalid_argument, fmt::format("{}: {}", field, why)};
}

Result<void> check_command_line(std::string_view text) {
    const bool is_plain = std::ranges::none_of(
        text, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; });
    if (is_plain && text.size() <= kCommandLineMax) return {};
    return wrong(
        "command_line",
        fmt::format("at most {} characters, none of them control characters", kCommandLineMax));
}

Result<void> check_path(std::string_view field, std::string_view path) {
    if (path.starts_with('/') && !path.contains('\0')) return {};
    return wrong(field, "must be an absolute path");
}

Result<ImageRecord> new_image(const PlanContext& context, const std::string& name,
                              const model::Labels& labels) {
    const Result<void> named = model::check_name(name);
    if (!named.ok()) return named.error().with_context("name");
    const Result<void> labelled = model::check_labels(labels);
    if (!labelled.ok()) return labelled.error().with_context("labels");
    ImageRecord image;
    image.id = context.ids.next();
    image.name = name;
    image.labels = labels;
    image.created_ns = context.ids.now_ns();
    image.spec.has_kernel = true;
    return image;
}

// The record is made by the intent; it goes if a step fails.
task::Plan plan_creation(const ImageRecord& image, std::string_view verb) {
    task::Plan plan = plan_for(image.id, verb);
    records::create(plan.intent, image);
    plan.steps.push_back(
        task::RecordStep<model::Image>::step(image.id, fmt::format("note image {}", image.name)));
    return plan;
}

}  // namespace

Result<task::Plan> plan_image_build(const PlanContext& context, const model::ImageBuild& request) {
    if (request.recipe != "tiny") {
        return wrong("recipe", fmt::format("\"{}\" is not known; there is tiny", request.recipe));
    }
    if (!request.pool.empty()) return wrong("pool", "the tiny image has no disk: leave it out");
    TRY_ASSIGN(ImageRecord image, new_image(context, request.name, request.labels));
    image.spec.command_line = std::string(kTinyCommandLine);
    image.spec.os = "tiny";
    image.spec.source = "debian packages";
    image.spec.memory_bytes_min = kTinyMemoryBytesMin;
    task::Plan plan = plan_creation(image, "build");
    plan.steps.push_back(
        make_step(ImageBuildStep{image.id},
                  fmt::format("build image {} out of packages of the distribution", image.name)));
    plan.bytes = kTinyBuildBytes;
    return plan;
}

Result<task::Plan> plan_image_import(const PlanContext& context,
                                     const model::ImageImport& request) {
    if (!request.disk_path.empty() || !request.pool.empty()) {
        return Error(ErrorCode::unsupported,
                     "disk_path: images are made of a kernel and an initrd so far");
    }
    TRY(check_path("kernel_path", request.kernel_path));
    if (!request.initrd_path.empty()) TRY(check_path("initrd_path", request.initrd_path));
    TRY(check_command_line(request.command_line));
    TRY_ASSIGN(ImageRecord image, new_image(context, request.name, request.labels));
    image.spec.command_line = request.command_line;
    image.spec.os = request.os;
    image.spec.source = request.kernel_path;
    image.spec.memory_bytes_min = request.memory_bytes_min;
    task::Plan plan = plan_creation(image, "import");
    plan.steps.push_back(
        make_step(ImageKernelStep{image.id, request.kernel_path, request.initrd_path},
                  fmt::format("copy {}{}{}", request.kernel_path,
                              request.initrd_path.empty() ? "" : " and ", request.initrd_path)));
    return plan;
}

Result<task::Plan> plan_image_set(const PlanContext& context, std::string_view name,
                                  const model::ImageSet& request) {
    TRY_ASSIGN(const ImageRecord* image, context.records.find<model::Image>(name));
    ImageRecord wanted = *image;
    if (request.name) {
        TRY(model::check_name(*request.name));
        wanted.name = *request.name;
    }
    if (request.labels) {
        TRY(model::check_labels(*request.labels));
        wanted.labels = *request.labels;
    }
    if (request.command_line) {
        TRY(check_command_line(*request.command_line));
        wanted.spec.command_line = *request.command_line;
    }
    if (request.os) wanted.spec.os = *request.os;
    if (request.memory_bytes_min) wanted.spec.memory_bytes_min = *request.memory_bytes_min;
    task::Plan plan = plan_for(image->id, "set");
    if (to_json(wanted) != to_json(*image)) records::replace(plan.intent, *image, wanted);
    return plan;
}

std::string users_of(const records::Records& records, const ImageRecord& image) {
    std::string users;
    const auto add = [&users](std::string one) {
        if (!users.empty()) users += ", ";
        users += one;
    };
    for (const auto& [id, vm] : records.all<model::Vm>()) {
        if (vm.spec.direct_boot && vm.spec.direct_boot->image == image.id) {
            add(fmt::format("kernel of vm {}", vm.name));
        }
        for (const model::VmDisk& disk : vm.spec.disks) {
            if (image.spec.snapshot && disk.volume == *image.spec.snapshot) {
                add(fmt::format("disk {} of vm {}", disk.name, vm.name));
            }
        }
    }
    return users;
}

Result<task::Plan> plan_image_delete(const PlanContext& context, std::string_view name) {
    TRY_ASSIGN(const ImageRecord* image, context.records.find<model::Image>(name));
    const std::string users = users_of(context.records, *image);
    if (!users.empty()) {
        return Error(ErrorCode::in_use, fmt::format("image {} is used as {}", image->name, users));
    }
    task::Plan plan = plan_for(image->id, "delete");
    // Written anew, so that whoever planned with the image as it was must look again.
    records::replace(plan.intent, *image, *image);
    model::ImageStatus status = image->status;
    status.state = model::StorageState::deleted;
    records::put_status<model::Image>(plan.intent, image->id, status);
    plan.steps.push_back(make_step(ImageRemoveStep{image->id},
                                   fmt::format("remove the files of image {}", image->name)));
    plan.steps.push_back(task::ForgetStep<model::Image>::step(
        image->id, fmt::format("forget image {}", image->name)));
    plan.point_of_no_return = 0;
    return plan;
}

}  // namespace stoa::image
