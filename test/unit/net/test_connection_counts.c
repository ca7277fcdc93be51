/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of net/connection.h, what it counts: whether an answer was given to the kernel, each on both
 * backends, also of a connection that ends in the middle.
 */

#include "test/lib/check_main.h"
#include "test/unit/net/connection_pair.h"

#include <unistd.h>

START_TEST(bytes_ranges_and_parts_of_files_count_alike_when_queued_and_when_sent)
{
    begin(_i);
    const struct connection *connection = &client.connection;
    char path[] = "/tmp/ternmq-test-connection-XXXXXX";
    int file = mkstemp(path);
    ck_assert_int_ge(file, 0);
    (void)unlink(path);
    size_t length;
    uint8_t *frames = frames_make(9, 700000, &length);
    size_t one = length / 9;
    ck_assert_int_eq(pwrite(file, frames, length, 0), (ssize_t)length);
    ck_assert_uint_eq(connection_queued_bytes(connection), 0);

    for (size_t i = 0; i < 9; i += 3) {
        client_writes(frames + i * one, one);
        ck_assert_uint_eq(connection_queued_bytes(connection), (i + 1) * one);
        connection_write_range(&client.connection, frames + (i + 1) * one, one,
                               (struct output_hold){0});
        ck_assert_uint_eq(connection_queued_bytes(connection), (i + 2) * one);
        if (_i < NET_WORLD_KERNEL_KINDS) {
            connection_write_file(&client.connection, file, (i + 2) * one, one,
                                  (struct output_hold){0});
        } else {
            client_writes(frames + (i + 2) * one, one);
        }
        ck_assert_uint_eq(connection_queued_bytes(connection), (i + 3) * one);
    }
    ck_assert_uint_lt(connection_sent_bytes(connection), length);
    await_server_frames(9);
    net_world_pass(&world, 10);

    ck_assert_uint_eq(connection_sent_bytes(connection), length);
    ck_assert_uint_eq(connection_queued_bytes(connection), length);
    (void)close(file);
    free(frames);
    finish();
}
END_TEST

static uint64_t queued_at_close;
static uint64_t sent_at_close;

static void on_closed_count(struct connection *connection, enum connection_end how, int error)
{
    queued_at_close = connection_queued_bytes(connection);
    sent_at_close = connection_sent_bytes(connection);
    on_closed(connection, how, error);
}

static const struct connection_events counting_events = {.frame = on_frame,
                                                         .malformed = on_malformed,
                                                         .closed = on_closed_count};

START_TEST(what_was_dropped_at_close_was_queued_and_never_sent)
{
    prepare(_i, NET_WORLD_BUFFERS_BYTES);
    client.connection.events = &counting_events;
    open_ends();
    uint8_t frame[100];
    size_t first = frame_make(frame, 40, 1);
    client_writes(frame, first);
    await_server_frames(1);
    net_world_pass(&world, 10);
    ck_assert_uint_eq(connection_sent_bytes(&client.connection), first);
    connection_pause(&server.connection);
    size_t length;
    uint8_t *frames = frames_make(40, 500000, &length);
    client_writes(frames, length);
    net_world_pass(&world, 20);

    connection_close(&client.connection);
    net_world_await(&world, &client.is_closed);

    ck_assert_uint_eq(queued_at_close, first + length);
    ck_assert_uint_ge(sent_at_close, first);
    ck_assert_uint_lt(sent_at_close, first + length);
    ck_assert_uint_eq(connection_sent_bytes(&client.connection), sent_at_close);
    free(frames);
    finish();
}
END_TEST

/* All was sent before, so its end is where this begins: it must not pass for sent. */
START_TEST(what_is_written_to_a_closing_connection_does_not_pass_for_sent)
{
    begin(_i);
    uint8_t frame[100];
    size_t length = frame_make(frame, 40, 1);
    client_writes(frame, length);
    await_server_frames(1);
    net_world_pass(&world, 10);

    connection_close(&client.connection);
    client_writes(frame, length);
    ck_assert_uint_eq(connection_queued_bytes(&client.connection), 2 * length);
    connection_write_range(&client.connection, frame, length, (struct output_hold){0});
    ck_assert_uint_eq(connection_queued_bytes(&client.connection), 3 * length);
    net_world_await(&world, &client.is_closed);

    ck_assert_uint_eq(connection_sent_bytes(&client.connection), length);
    finish();
}
END_TEST

/* The send in flight did not come to its end, and what of it the kernel took was sent. */
START_TEST(of_a_send_that_was_cut_off_what_the_kernel_took_is_sent)
{
    begin(_i);
    connection_pause(&server.connection);
    size_t length;
    uint8_t *frames = frames_make(40, 500000, &length);
    client_writes(frames, length);
    net_world_pass(&world, 20);
    uint64_t sent = connection_sent_bytes(&client.connection);
    ck_assert(client.connection.send.op.in_flight);

    connection_close(&client.connection);
    net_world_await(&world, &client.is_closed);
    net_world_pass(&world, 20);

    ck_assert_uint_gt(connection_sent_bytes(&client.connection), sent);
    ck_assert_uint_lt(connection_sent_bytes(&client.connection), length);
    free(frames);
    finish();
}
END_TEST

static Suite *connection_counts_suite(void)
{
    Suite *suite = suite_create("net/connection_counts");
    TCase *counts = tcase_create("counts");
    const int kinds = NET_WORLD_KINDS;

    tcase_add_loop_test(
        counts, bytes_ranges_and_parts_of_files_count_alike_when_queued_and_when_sent, 0, kinds);
    tcase_add_loop_test(counts, what_was_dropped_at_close_was_queued_and_never_sent, 0, kinds);
    tcase_add_loop_test(counts, what_is_written_to_a_closing_connection_does_not_pass_for_sent, 0,
                        kinds);
    tcase_add_loop_test(counts, of_a_send_that_was_cut_off_what_the_kernel_took_is_sent, 0, kinds);
    suite_add_tcase(suite, counts);
    return suite;
}

TEST_MAIN(connection_counts_suite)
