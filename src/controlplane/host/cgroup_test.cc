// Trees of plain files show what is found where; real groups of this machine show that it works.
#include "controlplane/host/cgroup.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "controlplane/host/cgroup_places.h"
#include "controlplane/host/files.h"
#include "controlplane/host/test_host.h"

using namespace stoa;
using namespace stoa::host;

namespace {

class CgroupTest : public testing::Test {
protected:
    // Plain files in place of a mounted hierarchy.
    std::string make_tree(const std::string& name, const std::vector<std::string>& files) {
        const std::string mount = directory_.file(name);
        EXPECT_TRUE(make_directories(mount).ok());
        for (const std::string& one : files) {
            const size_t equals = one.find('=');
            const std::string path = mount + "/" + one.substr(0, equals);
            EXPECT_TRUE(make_directories(path.substr(0, path.rfind('/'))).ok());
            EXPECT_TRUE(replace_file(path, one.substr(equals + 1)).ok());
        }
        return mount;
    }
    CgroupPlace place(const std::string& mounts, const std::string& own) {
        EXPECT_TRUE(replace_file(directory_.file("mountinfo"), mounts).ok());
        EXPECT_TRUE(replace_file(directory_.file("own"), own).ok());
        return {.own = directory_.file("own"), .mounts = directory_.file("mountinfo")};
    }

    TestDirectory directory_;
    asio::io_context loop_;
};

}  // namespace

TEST_F(CgroupTest, places_are_found_through_roots_and_odd_lines) {
    const auto found = find_hierarchies(
        "30 25 0:26 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw\n"
        "31 25 0:27 /docker/abc /sys/fs/cgroup/memory ro shared:9 - cgroup cgroup rw,memory\n"
        "32 25 0:28 / /sys/fs/cg\\040roup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
        "33 25 0:29 / /again rw - cgroup cgroup rw,cpu,cpuacct\n"
        "nonsense\n\n34 - cgroup\n",
        "3:cpu,cpuacct:/a/b\n2:memory:/docker/abc/below\n0::/../x\nodd\n");
    ASSERT_EQ(found.size(), 3U);
    EXPECT_TRUE(found[0].is_unified);
    EXPECT_EQ(found[0].own, "/sys/fs/cgroup/unified");
    EXPECT_EQ(found[1].own, "/sys/fs/cgroup/memory/below");
    EXPECT_EQ(found[2].own, "/sys/fs/cg roup/cpu/a/b");
    EXPECT_EQ(found[2].controllers, (std::set<std::string>{"cpu", "cpuacct"}));
}

TEST_F(CgroupTest, v2_at_the_root_passes_controllers_down) {
    const std::string mount =
        make_tree("v2", {"cgroup.controllers=cpu memory pids\n", "cgroup.subtree_control=",
                         "cgroup.procs=", "system.slice/stoad.service/memory.max=8589934592\n",
                         "system.slice/memory.max=max\n"});
    const CgroupPlace where = place("30 25 0:26 / " + mount + " rw - cgroup2 cgroup2 rw\n",
                                    "0::/system.slice/stoad.service\n");
    const CgroupTree tree = CgroupTree::find("1a2b3c4d", where);
    EXPECT_TRUE(tree.available());
    EXPECT_TRUE(tree.has_memory() && tree.has_cpu() && tree.has_pids());
    EXPECT_TRUE(tree.missing().empty());
    EXPECT_EQ(own_memory_limit_bytes(where), uint64_t{8} << 30);
    // Outside of stoad's unit: it can be restarted while guests run.
    EXPECT_EQ(tree.get("vms/x").directories(),
              std::vector<std::string>{mount + "/stoa/1a2b3c4d/vms/x"});
}

TEST_F(CgroupTest, a_v2_namespace_with_processes_at_its_root_says_what_is_missing) {
    const std::string mount = make_tree(
        "v2", {"cgroup.controllers=memory\n", "cgroup.subtree_control=", "cgroup.procs=1\n",
               "cgroup.events=populated 1\n"});
    const CgroupTree tree = CgroupTree::find(
        "1a2b3c4d", place("30 25 0:26 / " + mount + " rw - cgroup2 cgroup2 rw\n", "0::/\n"));
    EXPECT_TRUE(tree.available());
    EXPECT_FALSE(tree.has_memory());
    EXPECT_EQ(tree.missing().size(), 3U);
}

TEST_F(CgroupTest, a_memory_limit_of_v1_around_us_holds_for_guests) {
    const std::string memory =
        make_tree("memory", {"box/memory.limit_in_bytes=1073741824\n", "box/cgroup.procs="});
    const std::string cpu = make_tree("cpu", {"box/cgroup.procs="});
    const CgroupTree tree =
        CgroupTree::find("1a2b3c4d", place("30 25 0:26 / " + memory +
                                               " rw - cgroup cgroup rw,memory\n31 25 0:27 / " +
                                               cpu + " rw - cgroup cgroup rw,cpu\n",
                                           "2:memory:/box\n1:cpu:/box\n"));
    EXPECT_EQ(tree.get("helpers").directories(),
              (std::vector<std::string>{memory + "/box/stoa/1a2b3c4d/helpers",
                                        cpu + "/stoa/1a2b3c4d/helpers"}));
    EXPECT_FALSE(tree.has_pids());
}

TEST_F(CgroupTest, without_any_everything_is_left_out_and_said) {
    const CgroupTree tree = CgroupTree::find("1a2b3c4d", place("", ""));
    EXPECT_FALSE(tree.available());
    EXPECT_EQ(tree.missing(), std::vector<std::string>{"no control groups are mounted"});
    const auto group = tree.create("vms/x");
    ASSERT_TRUE(group.ok());
    EXPECT_TRUE(group->set({.memory_max_bytes = 1, .cpu_weight = 1, .pids_max = 1}).ok());
    EXPECT_TRUE(group->pids().empty());
    EXPECT_TRUE(run(loop_, group->kill_all()).ok());
    EXPECT_TRUE(group->remove().ok());
    EXPECT_TRUE(tree.list("vms").empty());
}

TEST_F(CgroupTest, names_stay_inside) {
    const CgroupTree tree = CgroupTree::find("1a2b3c4d");
    for (const char* name : {"", "../x", "vms/../../x", "/vms", "vms/", "a b", "vms/.hidden"}) {
        EXPECT_EQ(tree.create(name).error().code(), ErrorCode::invalid_argument) << name;
        EXPECT_TRUE(tree.get(name).directories().empty()) << name;
    }
}

TEST_F(CgroupTest, a_real_group_limits_counts_kills_and_goes) {
    const std::string instance = "7e57" + std::to_string(::getpid() % 9000 + 1000);
    const CgroupTree tree = CgroupTree::find(instance);
    if (!tree.available()) GTEST_SKIP() << tree.missing().front();
    const auto group = tree.create("vms/one");
    if (!group.ok()) GTEST_SKIP() << "this machine: " << group.error().message();
    ASSERT_TRUE(group->exists());
    EXPECT_TRUE(tree.create("vms/one").ok()) << "again";
    const auto limits =
        group->set({.memory_max_bytes = uint64_t{256} << 20, .cpu_weight = 200, .pids_max = 50});
    EXPECT_TRUE(limits.ok()) << limits.error().message();
    EXPECT_TRUE(group->set({.memory_max_bytes = 0, .pids_max = 0}).ok());
    EXPECT_EQ(group->set({.cpu_weight = 0}).error().code(), ErrorCode::invalid_argument);

    const pid_t child = ::fork();
    if (child == 0) {
        ::pause();
        ::_exit(0);
    }
    ASSERT_TRUE(group->add(child).ok());
    const auto pids = group->pids();
    EXPECT_NE(std::ranges::find(pids, child), pids.end());
    if (tree.has_memory()) EXPECT_TRUE(group->use().memory_bytes.has_value());
    EXPECT_EQ(group->remove().error().code(), ErrorCode::in_use);
    EXPECT_EQ(tree.list("vms"), std::vector<std::string>{"one"});
    std::thread reaper([child] { ::waitpid(child, nullptr, 0); });
    EXPECT_TRUE(run(loop_, group->kill_all()).ok());
    reaper.join();
    EXPECT_TRUE(group->pids().empty());
    EXPECT_TRUE(group->remove().ok());
    EXPECT_FALSE(group->exists());
    EXPECT_TRUE(group->remove().ok()) << "again";
    EXPECT_TRUE(tree.remove().ok());
    EXPECT_FALSE(tree.get("vms").exists());
}
