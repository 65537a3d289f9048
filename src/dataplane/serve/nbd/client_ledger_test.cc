// A flush is believed only if nothing that it covers may be lost.
#include "dataplane/serve/nbd/client_ledger.h"

#include <gtest/gtest.h>

namespace stoa::nbd {
namespace {

bool flush(ClientLedger& ledger) { return ledger.end_flush(ledger.begin_flush()); }

TEST(ClientLedger, a_loss_is_told_once_by_the_next_flush) {
    ClientLedger ledger;
    EXPECT_TRUE(flush(ledger));
    ledger.acknowledge();
    ledger.lose();
    ledger.acknowledge();
    EXPECT_FALSE(flush(ledger));
    EXPECT_TRUE(flush(ledger));
}

TEST(ClientLedger, what_is_durable_is_not_lost) {
    ClientLedger ledger;
    ledger.acknowledge();
    EXPECT_TRUE(flush(ledger));
    ledger.lose();
    EXPECT_TRUE(flush(ledger));
    ledger.acknowledge();
    EXPECT_TRUE(flush(ledger));
}

TEST(ClientLedger, a_loss_during_a_flush_is_its_own_and_those_beside_it) {
    ClientLedger ledger;
    ledger.acknowledge();
    const auto one = ledger.begin_flush();
    const auto other = ledger.begin_flush();
    ledger.lose();
    EXPECT_FALSE(ledger.end_flush(one));
    EXPECT_FALSE(ledger.end_flush(other));
    EXPECT_TRUE(flush(ledger));
}

TEST(ClientLedger, a_flush_does_not_answer_for_what_came_after_it_began) {
    ClientLedger ledger;
    ledger.acknowledge();
    const auto before = ledger.begin_flush();
    ledger.acknowledge();
    ledger.lose();
    static_cast<void>(ledger.end_flush(before));
    EXPECT_FALSE(flush(ledger));
    EXPECT_TRUE(flush(ledger));

    const auto without_work = ledger.begin_flush();
    ledger.acknowledge();
    ledger.lose();
    EXPECT_TRUE(ledger.end_flush(without_work));
    EXPECT_FALSE(flush(ledger));
}

TEST(ClientLedger, each_loss_is_told) {
    ClientLedger ledger;
    ledger.acknowledge();
    ledger.lose();
    const auto first = ledger.begin_flush();
    ledger.acknowledge();
    ledger.lose();
    EXPECT_FALSE(ledger.end_flush(first));
    EXPECT_FALSE(flush(ledger));
    EXPECT_TRUE(flush(ledger));
}

}  // namespace
}  // namespace stoa::nbd
