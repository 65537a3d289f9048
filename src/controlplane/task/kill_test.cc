// Real SIGKILLs of a process that runs a plan on files, at every border of its steps.
#include <fstream>

#include "controlplane/task/kill_test_harness.h"
#include "controlplane/task/record_step.h"

namespace stoa::task {
namespace {

namespace fs = std::filesystem;

struct PathArguments {
    std::string path;
    static constexpr auto fields() {
        return std::tuple(required("path", &PathArguments::path, ""));
    }
};

fs::path path_of(StepContext& context) {
    PathArguments arguments;
    EXPECT_TRUE(from_json(context.step().arguments, arguments).ok());
    return arguments.path;
}

class MakeDirectory final : public StepType {
public:
    [[nodiscard]] std::string_view name() const override { return "file.directory"; }
    Async<bool> is_done(StepContext& context) override {
        co_return fs::is_directory(path_of(context));
    }
    Async<> run(StepContext& context) override {
        fs::create_directory(path_of(context));
        co_return Result<void>();
    }
    Async<> undo(StepContext& context) override {
        fs::remove(path_of(context));
        co_return Result<void>();
    }
};

// Appends, so that a step that is done twice is seen.
class AppendLine final : public StepType {
public:
    [[nodiscard]] std::string_view name() const override { return "file.append"; }
    Async<bool> is_done(StepContext& context) override { co_return fs::exists(path_of(context)); }
    Async<> run(StepContext& context) override {
        context.result().as_object()["lines"] = 1;
        std::ofstream(path_of(context), std::ios::app) << "line\n";
        co_return Result<void>();
    }
    Async<> undo(StepContext& context) override {
        fs::remove(path_of(context));
        co_return Result<void>();
    }
};

class RemoveFile final : public StepType {
public:
    [[nodiscard]] std::string_view name() const override { return "file.remove"; }
    Async<bool> is_done(StepContext& context) override { co_return !fs::exists(path_of(context)); }
    Async<> run(StepContext& context) override {
        fs::remove(path_of(context));
        co_return Result<void>();
    }
    Async<> undo(StepContext& /*context*/) override {
        ADD_FAILURE() << "undone beyond the point of no return";
        co_return Result<void>();
    }
};

const Uuid kRole = Uuid::from_random(7, 7);

class FileWorld final : public KillWorld {
public:
    explicit FileWorld(const fs::path& directory) : directory_(directory) {}

    AsyncVoid open(asio::any_io_executor /*executor*/, records::Records& records,
                   Engine& engine) override {
        engine.add(std::make_unique<RecordStep<model::Role>>(records));
        engine.add(std::make_unique<MakeDirectory>());
        engine.add(std::make_unique<AppendLine>());
        engine.add(std::make_unique<RemoveFile>());
        co_return;
    }
    Plan plan(const records::Records& /*records*/) override {
        std::ofstream(directory_ / "old") << "old\n";
        Plan plan;
        plan.verb = "file.make";
        plan.target = "role/" + kRole.to_string();
        model::Record<model::Role> role;
        role.id = kRole;
        role.name = "files";
        records::create(plan.intent, role);
        plan.steps.push_back(RecordStep<model::Role>::step(kRole, "notes it"));
        plan.steps.push_back(step("file.directory", "new"));
        plan.steps.push_back(step("file.append", "new/text"));
        plan.steps.push_back(step("file.remove", "old"));
        plan.point_of_no_return = 3;
        return plan;
    }
    AsyncVoid check(records::Records& records, bool is_done) override {
        EXPECT_EQ(fs::exists(directory_ / "new"), is_done);
        EXPECT_EQ(fs::exists(directory_ / "old"), !is_done);
        EXPECT_EQ(records.get<model::Role>(kRole) != nullptr, is_done);
        if (is_done) {
            EXPECT_EQ(fs::file_size(directory_ / "new/text"), 5U);
        }
        co_return;
    }

private:
    [[nodiscard]] model::Step step(std::string type, const std::string& file) const {
        return {std::move(type), to_json(PathArguments{directory_ / file}), "makes " + file};
    }
    fs::path directory_;
};

TEST(KillTest, a_plan_is_finished_or_undone_wherever_the_process_is_killed) {
    run_kill_tests(
        [](const fs::path& directory) { return std::make_unique<FileWorld>(directory); });
}

}  // namespace
}  // namespace stoa::task
