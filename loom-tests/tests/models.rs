//! Every model holds.

use ringmain_loom_tests::models::{
    batch, doorbell, gaps, hint, join, lossy, pool, room, store_buffer, stream, switch, table,
};

#[test]
fn messages_arrive_in_order_and_whole_over_two_laps() {
    stream::run();
}

#[test]
fn a_batch_is_seen_whole_or_not_at_all() {
    batch::run();
}

#[test]
fn a_batch_behind_a_pad_is_seen_whole_or_not_at_all() {
    batch::run_behind_pad();
}

#[test]
fn losses_are_told_once_at_their_place() {
    gaps::run_open();
}

#[test]
fn losses_are_told_before_the_end_of_a_closed_lane() {
    gaps::run_closed();
}

#[test]
fn losses_are_told_when_the_producer_died() {
    gaps::run_dead();
}

#[test]
fn a_reader_that_comes_later_gets_all_from_then_on() {
    join::run();
}

#[test]
fn a_reader_that_moves_misses_nothing_and_is_told_its_own_losses_only() {
    switch::run();
}

#[test]
fn what_is_left_for_a_reader_that_moves_is_not_written_over() {
    switch::run_over();
}

#[test]
fn an_overtaken_reader_gets_what_was_written_and_the_newest_at_last() {
    lossy::run();
}

#[test]
fn a_reader_overtaken_again_goes_on_at_a_record_that_is_there() {
    lossy::run_resumed();
}

#[test]
fn a_reader_close_behind_a_lossy_producer_misses_nothing() {
    lossy::run_followed();
}

#[test]
fn no_wake_of_a_reader_is_lost_or_repeated() {
    doorbell::run();
}

#[test]
fn no_wake_by_one_of_two_producers_is_lost() {
    doorbell::run_two_wakers();
}

#[test]
fn no_wake_of_a_producer_is_lost_or_repeated() {
    room::run();
}

#[test]
fn fences_forbid_that_both_sides_miss_the_other() {
    store_buffer::run();
}

#[test]
fn a_second_look_finds_what_both_sides_missed() {
    store_buffer::run_with_second_look();
}

#[test]
#[should_panic(expected = "both sides missed the other's store")]
fn without_fences_both_sides_can_miss_the_other() {
    store_buffer::run_without_fences();
}

#[test]
fn a_value_is_given_whole_or_not_at_all() {
    table::run_whole();
}

#[test]
fn the_newest_value_can_be_read_while_a_write_is_under_way() {
    table::run_newest();
}

#[test]
fn a_history_is_whole_while_its_oldest_is_overwritten() {
    table::run_history();
}

#[test]
fn a_value_is_whole_though_its_memory_went_to_another_slot() {
    table::run_moved();
}

#[test]
fn nothing_new_is_missed_and_the_account_is_exact() {
    table::run_news();
}

#[test]
fn what_is_taken_as_seen_was_given() {
    table::run_seen();
}

#[test]
fn a_chunk_is_not_written_before_its_record_is_read() {
    pool::run_read();
}

#[test]
fn a_chunk_is_not_written_while_it_is_held() {
    pool::run_hold();
}

#[test]
fn a_chunk_is_not_written_while_it_was_held_where_another_one_is_now() {
    pool::run_reused();
}

#[test]
fn a_reader_that_leaves_keeps_what_it_holds() {
    pool::run_left();
}

#[test]
fn a_chunk_that_gives_way_is_not_written_while_a_reader_has_it() {
    hint::run();
}

#[test]
fn a_chunk_that_is_read_in_a_lossy_ring_is_not_written_before() {
    hint::run_read();
}

#[test]
fn a_copy_of_a_chunk_that_gives_way_is_whole_or_known_not_to_be() {
    hint::run_copied();
}

#[test]
fn a_chunk_of_a_last_value_is_not_written_while_a_reader_has_it() {
    hint::run_table();
}
