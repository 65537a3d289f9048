// Each type of step: done once and twice, undone when it was never, partly and wholly done, and
// with stoa-blockd killed meanwhile.
#include "controlplane/storage/steps.h"

#include <functional>

#include "controlplane/storage/test_storage.h"

namespace stoa::storage {
namespace {

// What a plan's last step does, and how it is told.
struct StepCase {
    std::string name;
    std::function<void(class StepsTest&)> prepare;
    std::function<Result<task::Plan>(StepsTest&)> plan;
    std::function<bool(StepsTest&)> is_made;
    std::function<bool(StepsTest&)> is_unmade;
    bool can_be_undone = true;
    bool is_done_known = true;
    // The effect without the record of it.
    std::function<void(StepsTest&, const model::Step&)> make_half = {};
};

class StepsTest : public StorageTest, public ::testing::WithParamInterface<size_t> {
public:
    using StorageTest::await;
    using StorageTest::blockd;
    using StorageTest::context;
    using StorageTest::daemon_;
    using StorageTest::execute;
    using StorageTest::in_pool;
    using StorageTest::make_pool;
    using StorageTest::make_snapshot;
    using StorageTest::make_volume;
    using StorageTest::pool;
    using StorageTest::pool_request;
    using StorageTest::records;
    using StorageTest::snapshot;
    using StorageTest::snapshots_in_pool;
    using StorageTest::volume;
    using StorageTest::volume_request;

    bool has_pool(const std::string& name) {
        const auto list = await(blockd().pool_list());
        EXPECT_TRUE(list.ok());
        return std::ranges::find(list->pools, name, &rpc::PoolStatus::name) != list->pools.end();
    }

protected:
    const StepCase& subject();
    // Prepares, commits the intent and runs all steps but the last.
    model::Step begin() {
        if (subject().prepare) subject().prepare(*this);
        const auto plan = subject().plan(*this);
        EXPECT_TRUE(plan.ok()) << plan.error().message();
        commit_intent(*plan);
        for (size_t i = 0; i + 1 < plan->steps.size(); ++i) {
            EXPECT_TRUE(run(plan->steps[i]).ok());
        }
        return plan->steps.back();
    }
    void expect_ok(const Result<void>& result) {
        EXPECT_TRUE(result.ok()) << result.error().message();
    }
};

model::VolumeSet resized(uint64_t size_bytes, bool force = false) {
    model::VolumeSet set;
    set.size_bytes = size_bytes;
    set.force = force;
    return set;
}

StepCase pool_create_case() {
    return {
        .name = "pool_create",
        .prepare = {},
        .plan = [](StepsTest& t) { return plan_pool_create(t.context(), t.pool_request("fast")); },
        .is_made =
            [](StepsTest& t) {
                return t.has_pool("fast") && t.pool().status.state == model::StorageState::ready;
            },
        .is_unmade =
            [](StepsTest& t) {
                return !t.has_pool("fast") && t.records().all<model::Pool>().empty();
            },
        .make_half =
            [](StepsTest& t, const model::Step& step) {
                PoolCreateStep arguments;
                ASSERT_TRUE(from_json(step.arguments, arguments).ok());
                rpc::PoolCreate request;
                request.name = arguments.name;
                request.uuid = arguments.pool;
                request.devices = {{arguments.devices[0].path, arguments.devices[0].create_bytes}};
                ASSERT_TRUE(t.await(t.blockd().pool_create(request)).ok());
            }};
}

StepCase pool_open_case() {
    return {.name = "pool_open",
            .prepare =
                [](StepsTest& t) {
                    t.make_pool();
                    t.make_volume("db");
                    t.make_snapshot("monday", {"fast/db"});
                    t.execute(plan_pool_delete(t.context(), "fast"));
                },
            .plan =
                [](StepsTest& t) {
                    model::PoolCreate request;
                    request.name = "fast";
                    request.open = true;
                    request.devices = {{t.daemon_.file("fast.img"), 0}};
                    return plan_pool_create(t.context(), request);
                },
            .is_made =
                [](StepsTest& t) {
                    return t.has_pool("fast") && t.volume("fast/db") != nullptr &&
                           t.snapshot("fast/db/monday") != nullptr;
                },
            .is_unmade =
                [](StepsTest& t) {
                    return !t.has_pool("fast") && t.records().all<model::Pool>().empty() &&
                           t.records().all<model::Volume>().empty() &&
                           t.records().all<model::Snapshot>().empty();
                },
            .make_half =
                [](StepsTest& t, const model::Step& /*step*/) {
                    rpc::PoolOpen request;
                    request.devices = {t.daemon_.file("fast.img")};
                    ASSERT_TRUE(t.await(t.blockd().pool_open(request)).ok());
                }};
}

StepCase pool_close_case() {
    return {.name = "pool_close",
            .prepare =
                [](StepsTest& t) {
                    t.make_pool();
                    t.make_volume("db");
                    t.make_snapshot("monday", {"fast/db"});
                },
            .plan = [](StepsTest& t) { return plan_pool_delete(t.context(), "fast"); },
            .is_made =
                [](StepsTest& t) {
                    return !t.has_pool("fast") && t.records().all<model::Pool>().empty() &&
                           t.records().all<model::Volume>().empty() &&
                           t.records().all<model::Snapshot>().empty();
                },
            .is_unmade =
                [](StepsTest& t) {
                    return t.has_pool("fast") && t.volume("fast/db") != nullptr &&
                           t.snapshot("fast/db/monday") != nullptr;
                },
            .can_be_undone = false,
            .make_half =
                [](StepsTest& t, const model::Step& /*step*/) {
                    ASSERT_TRUE(t.await(t.blockd().pool_close(t.pool().id)).ok());
                }};
}

StepCase pool_add_device_case() {
    return {.name = "pool_add_device",
            .prepare = [](StepsTest& t) { t.make_pool(); },
            .plan =
                [](StepsTest& t) {
                    return plan_pool_add_device(t.context(), "fast",
                                                {{t.daemon_.file("more.img"), 128 * kMib}, false});
                },
            .is_made =
                [](StepsTest& t) {
                    const auto status = t.await(t.blockd().pool_get(t.pool().id));
                    return (*status)->devices.size() == 2 && t.pool().spec.devices.size() == 2;
                },
            .is_unmade = [](StepsTest& t) { return t.pool().spec.devices.size() == 1; },
            .can_be_undone = false};
}

StepCase pool_scrub_case() {
    return {.name = "pool_scrub",
            .prepare = [](StepsTest& t) { t.make_pool(); },
            .plan = [](StepsTest& t) { return plan_pool_scrub(t.context(), "fast", {}); },
            .is_made = [](StepsTest& t) { return t.has_pool("fast"); },
            .is_unmade = [](StepsTest& t) { return t.has_pool("fast"); },
            .can_be_undone = false,
            .is_done_known = false};
}

std::vector<StepCase> pool_cases() {
    return {pool_create_case(), pool_open_case(), pool_close_case(), pool_add_device_case(),
            pool_scrub_case()};
}

StepCase volume_create_case() {
    return {.name = "volume_create",
            .prepare = [](StepsTest& t) { t.make_pool(); },
            .plan =
                [](StepsTest& t) {
                    auto request = t.volume_request("db");
                    request.is_protected = true;
                    request.labels[std::string(kVmLabel)] = records::numbered(3).to_string();
                    return plan_volume_create(t.context(), request);
                },
            .is_made =
                [](StepsTest& t) {
                    const auto there = t.in_pool("db");
                    return there && there->is_protected && there->size_bytes == 8 * kMib &&
                           there->tags == "vm=" + records::numbered(3).to_string() &&
                           t.volume("fast/db")->status.state == model::StorageState::ready;
                },
            .is_unmade =
                [](StepsTest& t) { return !t.in_pool("db") && t.volume("fast/db") == nullptr; },
            .make_half =
                [](StepsTest& t, const model::Step& step) {
                    VolumeCreateStep arguments;
                    ASSERT_TRUE(from_json(step.arguments, arguments).ok());
                    rpc::VolumeCreate request;
                    request.pool = "fast";
                    request.name = arguments.name;
                    request.uuid = arguments.volume;
                    request.tags = arguments.tags;
                    request.size_bytes = arguments.size_bytes;
                    ASSERT_TRUE(t.await(t.blockd().volume_create(request)).ok());
                }};
}

StepCase volume_clone_case() {
    return {
        .name = "volume_clone",
        .prepare =
            [](StepsTest& t) {
                t.make_pool();
                t.make_volume("db");
                t.make_snapshot("monday", {"fast/db"});
            },
        .plan =
            [](StepsTest& t) {
                return plan_snapshot_clone(t.context(), "fast/db/monday", {"copy", {}});
            },
        .is_made =
            [](StepsTest& t) {
                const auto there = t.in_pool("copy");
                return there && there->parent.has_value() && there->size_bytes == 8 * kMib &&
                       t.volume("fast/copy")->spec.size_bytes == 8 * kMib &&
                       t.volume("fast/copy")->status.state == model::StorageState::ready;
            },
        .is_unmade =
            [](StepsTest& t) { return !t.in_pool("copy") && t.volume("fast/copy") == nullptr; }};
}

StepCase volume_delete_case() {
    return {
        .name = "volume_delete",
        .prepare =
            [](StepsTest& t) {
                t.make_pool();
                t.make_volume("db");
            },
        .plan = [](StepsTest& t) { return plan_volume_delete(t.context(), "fast/db"); },
        .is_made = [](StepsTest& t) { return !t.in_pool("db") && t.volume("fast/db") == nullptr; },
        .is_unmade = [](StepsTest& t) { return t.in_pool("db") && t.volume("fast/db") != nullptr; },
        .can_be_undone = false};
}

StepCase volume_grow_case() {
    return {
        .name = "volume_grow",
        .prepare =
            [](StepsTest& t) {
                t.make_pool();
                t.make_volume("db");
            },
        .plan =
            [](StepsTest& t) { return plan_volume_set(t.context(), "fast/db", resized(9 * kMib)); },
        .is_made =
            [](StepsTest& t) {
                return t.in_pool("db")->size_bytes == 9 * kMib &&
                       t.volume("fast/db")->spec.size_bytes == 9 * kMib;
            },
        .is_unmade =
            [](StepsTest& t) {
                return t.in_pool("db")->size_bytes == 8 * kMib &&
                       t.volume("fast/db")->spec.size_bytes == 8 * kMib;
            }};
}

StepCase volume_shrink_case() {
    return {.name = "volume_shrink",
            .prepare =
                [](StepsTest& t) {
                    t.make_pool();
                    t.make_volume("db");
                },
            .plan =
                [](StepsTest& t) {
                    return plan_volume_set(t.context(), "fast/db", resized(kMib, true));
                },
            .is_made =
                [](StepsTest& t) {
                    return t.in_pool("db")->size_bytes == kMib &&
                           t.volume("fast/db")->spec.size_bytes == kMib;
                },
            .is_unmade =
                [](StepsTest& t) {
                    return t.in_pool("db")->size_bytes == 8 * kMib &&
                           t.volume("fast/db")->spec.size_bytes == 8 * kMib;
                }};
}

StepCase volume_rename_case() {
    return {
        .name = "volume_rename",
        .prepare =
            [](StepsTest& t) {
                t.make_pool();
                t.make_volume("db");
            },
        .plan =
            [](StepsTest& t) {
                model::VolumeSet set;
                set.name = "sales";
                return plan_volume_set(t.context(), "fast/db", set);
            },
        .is_made =
            [](StepsTest& t) { return t.in_pool("sales") && t.volume("fast/sales") != nullptr; },
        .is_unmade =
            [](StepsTest& t) { return t.in_pool("db") && t.volume("fast/db") != nullptr; }};
}

StepCase volume_protect_case() {
    return {.name = "volume_protect",
            .prepare =
                [](StepsTest& t) {
                    t.make_pool();
                    t.make_volume("db");
                },
            .plan =
                [](StepsTest& t) {
                    model::VolumeSet set;
                    set.is_protected = true;
                    return plan_volume_set(t.context(), "fast/db", set);
                },
            .is_made =
                [](StepsTest& t) {
                    return t.in_pool("db")->is_protected && t.volume("fast/db")->spec.is_protected;
                },
            .is_unmade =
                [](StepsTest& t) {
                    return !t.in_pool("db")->is_protected &&
                           !t.volume("fast/db")->spec.is_protected;
                }};
}

StepCase volume_rollback_case() {
    return {.name = "volume_rollback",
            .prepare =
                [](StepsTest& t) {
                    t.make_pool();
                    t.make_volume("db");
                    t.make_snapshot("monday", {"fast/db"});
                    t.execute(plan_volume_set(t.context(), "fast/db", resized(9 * kMib)));
                },
            .plan =
                [](StepsTest& t) {
                    return plan_snapshot_rollback(t.context(), "fast/db/monday", {"before"});
                },
            .is_made =
                [](StepsTest& t) {
                    return t.in_pool("db")->size_bytes == 8 * kMib &&
                           t.volume("fast/db")->spec.size_bytes == 8 * kMib &&
                           t.snapshot("fast/db/before") != nullptr;
                },
            .is_unmade =
                [](StepsTest& t) {
                    return t.in_pool("db")->size_bytes == 9 * kMib &&
                           t.volume("fast/db")->spec.size_bytes == 9 * kMib;
                },
            .is_done_known = false};
}

std::vector<StepCase> volume_cases() {
    return {volume_create_case(),  volume_clone_case(),   volume_delete_case(),
            volume_grow_case(),    volume_shrink_case(),  volume_rename_case(),
            volume_protect_case(), volume_rollback_case()};
}

std::vector<StepCase> snapshot_cases() {
    const auto two_volumes = [](StepsTest& t) {
        t.make_pool();
        t.make_volume("db");
        t.make_volume("log");
    };
    const auto with_snapshot = [two_volumes](StepsTest& t) {
        two_volumes(t);
        t.make_snapshot("monday", {"fast/db", "fast/log"});
    };
    const auto is_there = [](StepsTest& t) {
        const SnapshotRecord* record = t.snapshot("fast/db/monday");
        return t.snapshots_in_pool() == 2 && record != nullptr &&
               record->status.state == model::StorageState::ready && record->status.taken_ns != 0;
    };
    const auto is_gone = [](StepsTest& t) {
        return t.snapshots_in_pool() == 0 && t.snapshot("fast/db/monday") == nullptr;
    };
    return {
        {.name = "snapshot_create",
         .prepare = two_volumes,
         .plan =
             [](StepsTest& t) {
                 model::SnapshotCreate request;
                 request.name = "monday";
                 request.volumes = {"fast/db", "fast/log"};
                 request.is_protected = true;
                 return plan_snapshot_create(t.context(), request);
             },
         .is_made = is_there,
         .is_unmade = is_gone,
         .make_half =
             [](StepsTest& t, const model::Step& step) {
                 SnapshotCreateStep arguments;
                 ASSERT_TRUE(from_json(step.arguments, arguments).ok());
                 ASSERT_TRUE(
                     t.await(take_snapshots(t.blockd(), arguments.name, arguments.parts)).ok());
             }},
        {.name = "snapshot_delete",
         .prepare = with_snapshot,
         .plan = [](StepsTest& t) { return plan_snapshot_delete(t.context(), "fast/db/monday"); },
         .is_made = is_gone,
         .is_unmade = is_there,
         .can_be_undone = false},
        {.name = "snapshot_protect",
         .prepare = with_snapshot,
         .plan =
             [](StepsTest& t) {
                 model::SnapshotSet set;
                 set.is_protected = true;
                 return plan_snapshot_set(t.context(), "fast/db/monday", set);
             },
         .is_made =
             [](StepsTest& t) {
                 const auto list = t.await(t.blockd().snapshot_list(t.pool().id));
                 return list->snapshots[0].is_protected && list->snapshots[1].is_protected &&
                        t.snapshot("fast/db/monday")->spec.is_protected;
             },
         .is_unmade =
             [](StepsTest& t) {
                 const auto list = t.await(t.blockd().snapshot_list(t.pool().id));
                 return !list->snapshots[0].is_protected && !list->snapshots[1].is_protected &&
                        !t.snapshot("fast/db/monday")->spec.is_protected;
             }},
    };
}

std::vector<StepCase> all_cases() {
    std::vector<StepCase> all = pool_cases();
    for (StepCase& one : volume_cases()) all.push_back(std::move(one));
    for (StepCase& one : snapshot_cases()) all.push_back(std::move(one));
    return all;
}

const StepCase& StepsTest::subject() {
    static const std::vector<StepCase> kCases = all_cases();
    return kCases.at(GetParam());
}

TEST_P(StepsTest, done_twice_it_is_done_once) {
    const model::Step step = begin();
    if (subject().is_done_known) EXPECT_FALSE(is_done(step));
    expect_ok(run(step));
    EXPECT_TRUE(subject().is_made(*this));
    if (subject().is_done_known) EXPECT_TRUE(is_done(step));
    expect_ok(run(step));
    EXPECT_TRUE(subject().is_made(*this));
}

TEST_P(StepsTest, never_done_it_is_undone_without_harm) {
    const model::Step step = begin();
    for (int i = 0; i < 2; ++i) {
        expect_ok(undo(step));
        EXPECT_TRUE(subject().is_unmade(*this));
    }
}

TEST_P(StepsTest, wholly_done_it_is_undone) {
    const model::Step step = begin();
    expect_ok(run(step));
    for (int i = 0; i < 2; ++i) {
        expect_ok(undo(step));
        if (subject().can_be_undone) EXPECT_TRUE(subject().is_unmade(*this));
        else EXPECT_TRUE(subject().is_made(*this));
    }
}

TEST_P(StepsTest, partly_done_it_is_undone_or_finished) {
    if (!subject().make_half) GTEST_SKIP() << "it has no half";
    const model::Step step = begin();
    subject().make_half(*this, step);
    EXPECT_FALSE(is_done(step));
    expect_ok(run(step));
    EXPECT_TRUE(subject().is_made(*this));
}

TEST_P(StepsTest, half_done_it_is_taken_back) {
    if (!subject().make_half) GTEST_SKIP() << "it has no half";
    const model::Step step = begin();
    subject().make_half(*this, step);
    expect_ok(undo(step));
    EXPECT_TRUE(subject().is_unmade(*this));
}

TEST_P(StepsTest, it_is_done_although_the_daemon_is_killed) {
    const model::Step step = begin();
    TestContext making(step);
    expect_ok(await_with_kill(type_of(step).run(making), std::chrono::microseconds(700)));
    EXPECT_TRUE(subject().is_made(*this));
    TestContext again(step);
    expect_ok(await_with_kill(type_of(step).run(again), std::chrono::microseconds(0)));
    EXPECT_TRUE(subject().is_made(*this));
    TestContext back(step);
    expect_ok(await_with_kill(type_of(step).undo(back), std::chrono::microseconds(1500)));
    if (subject().can_be_undone) EXPECT_TRUE(subject().is_unmade(*this));
    else EXPECT_TRUE(subject().is_made(*this));
}

INSTANTIATE_TEST_SUITE_P(All, StepsTest, ::testing::Range<size_t>(0, all_cases().size()),
                         [](const auto& info) { return all_cases().at(info.param).name; });

}  // namespace
}  // namespace stoa::storage
