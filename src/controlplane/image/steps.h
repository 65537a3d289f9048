// Steps of tasks about images; each can be done and undone again and again, whoever dies meanwhile.
// An image's files are in a directory of its own that bears its id.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/describe.h"
#include "base/uuid.h"
#include "controlplane/records/records.h"
#include "controlplane/task/step.h"

namespace stoa::image {

struct ImageSettings {
    std::string images_directory;  // ROOT/stoad/images
    std::string package_directory;  // kept between builds: ROOT/stoad/packages
    bool may_download = true;
};

// ROOT/stoad/images/ID: `kernel`, and `initrd` if it has one.
[[nodiscard]] std::string image_directory(std::string_view images_directory, const Uuid& image);

// Builds the tiny image, and says that it is ready. Undone, its files are gone.
struct ImageBuildStep {
    static constexpr std::string_view kType = "image.build";
    Uuid image;
    static constexpr auto fields() {
        return std::tuple(required("image", &ImageBuildStep::image, ""));
    }
};

// Copies a kernel and an initrd, and says that the image is ready. Undone, the copies are gone.
struct ImageKernelStep {
    static constexpr std::string_view kType = "image.kernel";
    Uuid image;
    std::string kernel_path;
    std::string initrd_path;  // empty: none
    static constexpr auto fields() {
        return std::tuple(required("image", &ImageKernelStep::image, ""),
                          required("kernel_path", &ImageKernelStep::kernel_path, ""),
                          optional("initrd_path", &ImageKernelStep::initrd_path, ""));
    }
};

// Removes the files. Cannot be undone.
struct ImageRemoveStep {
    static constexpr std::string_view kType = "image.remove";
    Uuid image;
    static constexpr auto fields() {
        return std::tuple(required("image", &ImageRemoveStep::image, ""));
    }
};

// One of each type, and those of the images' records (task/record_step.h), for Engine::add().
// `records` outlives them.
[[nodiscard]] std::vector<std::unique_ptr<task::StepType>> make_steps(records::Records& records,
                                                                      ImageSettings settings);

}  // namespace stoa::image
