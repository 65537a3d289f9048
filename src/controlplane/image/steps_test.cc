// Plans about images, and real SIGKILLs of a process that carries one out.
#include "controlplane/image/steps.h"

#include <fstream>

#include "controlplane/image/planner.h"
#include "controlplane/image/tiny.h"
#include "controlplane/records/test_store.h"
#include "controlplane/task/kill_test_harness.h"

namespace stoa::image {
namespace {

namespace fs = std::filesystem;
using model::StorageState;

ImageSettings settings_in(const fs::path& directory) {
    ImageSettings settings;
    settings.images_directory = directory / "images";
    settings.package_directory = directory / "packages";
    settings.may_download = false;
    return settings;
}

// A kernel and an initrd are imported.
class ImportWorld final : public task::KillWorld {
public:
    explicit ImportWorld(fs::path directory) : directory_(std::move(directory)) {}

    AsyncVoid open(asio::any_io_executor /*executor*/, records::Records& records,
                   task::Engine& engine) override {
        for (auto& step : make_steps(records, settings_in(directory_))) engine.add(std::move(step));
        co_return;
    }
    task::Plan plan(const records::Records& records) override {
        std::ofstream(directory_ / "vmlinuz") << "kernel";
        std::ofstream(directory_ / "initrd.img") << "initrd";
        model::ImageImport request;
        request.name = "mine";
        request.kernel_path = directory_ / "vmlinuz";
        request.initrd_path = directory_ / "initrd.img";
        task::Ids ids({.now_ns = 1, .random = 2});
        auto plan = plan_image_import({records, ids}, request);
        EXPECT_TRUE(plan.ok());
        return *std::move(plan);
    }
    AsyncVoid check(records::Records& records, bool is_done) override {
        const auto image = records.find<model::Image>("mine");
        EXPECT_EQ(image.ok(), is_done);
        EXPECT_EQ(image.ok() && (*image)->status.state == StorageState::ready, is_done);
        std::vector<std::string> files;
        std::error_code ignored;
        for (const auto& file : fs::recursive_directory_iterator(directory_ / "images", ignored)) {
            if (file.is_regular_file()) files.push_back(file.path().filename());
        }
        std::ranges::sort(files);
        const std::vector<std::string> all = {"initrd", "kernel"};
        EXPECT_EQ(files, is_done ? all : std::vector<std::string>());
        co_return;
    }

private:
    fs::path directory_;
};

TEST(ImageKillTest, an_import_is_finished_or_undone_wherever_the_process_is_killed) {
    task::run_kill_tests(
        [](const fs::path& directory) { return std::make_unique<ImportWorld>(directory); });
}

class ImagePlanTest : public ::testing::Test {
protected:
    // Commits what the plan wants.
    void commit(task::Plan plan) {
        const auto committed = store_.commit(std::move(plan.intent));
        ASSERT_TRUE(committed.ok()) << committed.error().message();
    }
    PlanContext context() { return {store_.records(), ids_}; }
    void make_tiny() {
        model::ImageBuild request;
        request.name = "tiny";
        const auto plan = plan_image_build(context(), request);
        ASSERT_TRUE(plan.ok());
        commit(*plan);
    }

    records::TestStore store_;
    task::Ids ids_{{.now_ns = 5, .random = 7}};
};

TEST_F(ImagePlanTest, a_build_notes_the_record_and_says_what_it_does) {
    model::ImageBuild request;
    request.name = "tiny";
    const auto plan = plan_image_build(context(), request);
    ASSERT_TRUE(plan.ok());
    ASSERT_EQ(plan->steps.size(), 2U);
    EXPECT_EQ(plan->steps[0].type, "image.record");
    EXPECT_EQ(plan->steps[1].type, "image.build");
    commit(*plan);
    const auto image = store_.records().find<model::Image>("tiny");
    ASSERT_TRUE(image.ok());
    EXPECT_EQ((*image)->status.state, StorageState::creating);
    EXPECT_EQ((*image)->spec.command_line, kTinyCommandLine);
    EXPECT_TRUE((*image)->spec.has_kernel);
}

TEST_F(ImagePlanTest, what_is_wrong_is_named) {
    model::ImageBuild build;
    build.name = "tiny";
    build.recipe = "huge";
    EXPECT_TRUE(plan_image_build(context(), build).error().message().starts_with("recipe:"));
    build.recipe = "tiny";
    build.name = "Tiny";
    EXPECT_TRUE(plan_image_build(context(), build).error().message().starts_with("name:"));
    model::ImageImport import;
    import.name = "x";
    import.kernel_path = "vmlinuz";
    EXPECT_TRUE(plan_image_import(context(), import).error().message().starts_with("kernel_path:"));
    import.kernel_path = "/vmlinuz";
    import.command_line = "a\nb";
    EXPECT_TRUE(
        plan_image_import(context(), import).error().message().starts_with("command_line:"));
    import.disk_path = "/disk.iso";
    EXPECT_EQ(plan_image_import(context(), import).error().code(), ErrorCode::unsupported);
}

TEST_F(ImagePlanTest, a_kernel_that_a_vm_starts_is_not_deleted) {
    make_tiny();
    const Uuid image = (*store_.records().find<model::Image>("tiny"))->id;
    model::Record<model::Vm> vm;
    vm.id = ids_.next();
    vm.name = "web1";
    vm.spec.direct_boot = model::DirectBoot{image, ""};
    task::Plan with_vm;
    records::create(with_vm.intent, vm);
    commit(with_vm);
    const auto refused = plan_image_delete(context(), "tiny");
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().message(), "image tiny is used as kernel of vm web1");
    task::Plan without_vm;
    records::erase(without_vm.intent, *store_.records().get<model::Vm>(vm.id));
    commit(without_vm);
    task::Plan user;
    records::expect(user.intent, *store_.records().get<model::Image>(image));
    records::create(user.intent, vm);
    const auto plan = plan_image_delete(context(), "tiny");
    ASSERT_TRUE(plan.ok());
    commit(*plan);
    EXPECT_EQ(store_.records().get<model::Image>(image)->status.state, StorageState::deleted);
    EXPECT_EQ(plan->steps.back().type, "image.forget");
    // Whoever has planned with the image as it was must look again.
    const auto late = store_.commit(std::move(user.intent));
    ASSERT_FALSE(late.ok());
    EXPECT_EQ(late.error().code(), ErrorCode::conflict);
}

TEST_F(ImagePlanTest, what_is_set_so_already_is_no_change) {
    make_tiny();
    model::ImageSet set;
    set.os = "tiny";
    const auto same = plan_image_set(context(), "tiny", set);
    ASSERT_TRUE(same.ok());
    EXPECT_TRUE(same->intent.puts.empty() && same->steps.empty());
    set.name = "small";
    const auto renamed = plan_image_set(context(), "tiny", set);
    ASSERT_TRUE(renamed.ok());
    commit(*renamed);
    EXPECT_TRUE(store_.records().find<model::Image>("small").ok());
    EXPECT_FALSE(store_.records().find<model::Image>("tiny").ok());
}

}  // namespace
}  // namespace stoa::image
