#include <gtest/gtest.h>

#include "controlplane/machine/autostart.h"

namespace stoa::machine {
namespace {

class AutostartTest : public ::testing::Test {
protected:
    VmRecord& add(const std::string& name, uint32_t order) {
        const Uuid id = Uuid::from_random(1, ++count_);
        VmRecord& vm = vms_[id];
        vm.id = id;
        vm.name = name;
        vm.spec.start_order = order;
        vm.spec.power = model::Power::on;
        vm.status.host = host_;
        names_[id] = name;
        return vm;
    }
    std::string text(const std::vector<AutostartGroup>& groups) const {
        std::string text;
        for (const AutostartGroup& group : groups) {
            for (const Uuid& id : group.vms) text += names_.at(id) + " ";
            text += "+" + std::to_string(group.delay_seconds) + "; ";
        }
        return text;
    }

    const Uuid host_ = Uuid::from_random(7, 7);
    records::Table<model::Vm> vms_;
    std::map<Uuid, std::string> names_;
    uint64_t count_ = 0;
};

TEST_F(AutostartTest, lower_orders_first_and_names_within_one) {
    add("web2", 20);
    add("web1", 20).spec.start_delay_seconds = 5;
    add("database", 10).spec.start_delay_seconds = 30;
    EXPECT_EQ(text(autostart_groups(vms_, host_)), "database +30; web1 web2 +5; ");
}

TEST_F(AutostartTest, only_those_that_are_wanted_on_or_always_are) {
    add("was-off", 1).spec.power = model::Power::off;
    VmRecord& always = add("always", 1);
    always.spec.power = model::Power::off;
    always.spec.autostart = model::Autostart::always;
    add("never", 1).spec.autostart = model::Autostart::never;
    add("deleted", 1).status.state = model::VmState::deleted;
    add("elsewhere", 1).status.host = Uuid::from_random(8, 8);
    EXPECT_EQ(text(autostart_groups(vms_, host_)), "always +0; ");
}

TEST_F(AutostartTest, guests_are_shut_down_in_the_reverse_order) {
    add("database", 10).status.state = model::VmState::running;
    add("web", 20).status.state = model::VmState::paused;
    add("idle", 30).status.state = model::VmState::off;
    EXPECT_EQ(text(shutdown_groups(vms_, host_)), "web +0; database +0; ");
}

}  // namespace
}  // namespace stoa::machine
