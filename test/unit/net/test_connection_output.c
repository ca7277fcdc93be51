/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of net/connection.h, what goes out and how it ends, each on both backends: order, one send
 * a turn, what was borrowed is given back once, finishing, closing, silence.
 */

#include "test/lib/check_main.h"
#include "test/unit/net/connection_pair.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <unistd.h>

/* --------------------------------------------------------------------- out */

static int released;

static void count_release(void *owner)
{
    ck_assert_ptr_eq(owner, &released);
    released++;
}

static const struct output_hold HOLD = {count_release, &released};

START_TEST(bytes_and_ranges_leave_in_the_order_in_which_they_were_queued)
{
    begin(_i);
    released = 0;
    size_t length;
    uint8_t *frames = frames_make(400, 2000, &length);
    size_t one = length / 400;
    for (size_t i = 0; i < 400; i++) {
        if (i % 3 == 0) {
            connection_write_range(&client.connection, frames + i * one, one, HOLD);
        } else if (i % 3 == 1) {
            uint8_t *room = connection_reserve(&client.connection, one + 100);
            memcpy(room, frames + i * one, one);
            connection_commit(&client.connection, one);
        } else {
            connection_write(&client.connection, frames + i * one, 100);
            connection_write_range(&client.connection, frames + i * one + 100, one - 100, HOLD);
        }
    }
    ck_assert_uint_eq(connection_unsent_bytes(&client.connection), length);
    ck_assert_int_eq(released, 0);

    await_server_frames(400);
    net_world_pass(&world, 10);

    ck_assert_mem_eq(server.frames, frames, length);
    ck_assert_int_eq(released, 134 + 133);
    ck_assert_uint_eq(connection_unsent_bytes(&client.connection), 0);
    free(frames);
    finish();
}
END_TEST

START_TEST(a_range_is_read_where_it_lies_however_short_it_is)
{
    begin(_i);
    released = 0;
    uint8_t frame[100];
    size_t length = frame_make(frame, 40, 1);

    connection_write_range(&client.connection, frame, length, HOLD);
    ck_assert_int_eq(released, 0);
    (void)frame_make(frame, 40, 2);
    await_server_frames(1);

    ck_assert_int_eq(released, 1);
    ck_assert_mem_eq(server.frames, frame, length);
    finish();
}
END_TEST

START_TEST(what_is_queued_in_a_turn_leaves_in_one_send)
{
    begin(_i);
    uint8_t frame[100];
    size_t length = frame_make(frame, 40, 1);
    uint64_t sends = reactor_counters(world.reactor)->sends;
    for (int i = 0; i < 100; i++) {
        client_writes(frame, length);
    }

    await_server_frames(100);

    ck_assert_uint_eq(reactor_counters(world.reactor)->sends, sends + 1);
    finish();
}
END_TEST

START_TEST(a_flush_sends_at_once)
{
    begin(_i);
    uint8_t frame[100];
    size_t length = frame_make(frame, 40, 1);
    client_writes(frame, length);
    uint64_t sends = reactor_counters(world.reactor)->sends;

    inside_call = true;
    connection_flush(&client.connection);
    inside_call = false;

    ck_assert_uint_eq(reactor_counters(world.reactor)->sends, sends + 1);
    await_server_frames(1);
    finish();
}
END_TEST

START_TEST(borrowed_ranges_are_released_once_when_the_connection_is_closed_over_them)
{
    begin(_i);
    released = 0;
    connection_pause(&server.connection);
    size_t length;
    uint8_t *frames = frames_make(40, 500000, &length);
    for (size_t i = 0; i < 40; i++) {
        connection_write_range(&client.connection, frames + i * (length / 40), length / 40, HOLD);
    }
    net_world_pass(&world, 20);
    ck_assert_int_lt(released, 40);

    connection_close(&client.connection);
    connection_write_range(&client.connection, frames, length / 40, HOLD);
    net_world_await(&world, &client.is_closed);

    ck_assert_int_eq(released, 41);
    free(frames);
    finish();
}
END_TEST

START_TEST(drained_is_told_once_after_the_mark_was_passed)
{
    prepare(_i, NET_WORLD_BUFFERS_BYTES);
    client.connection.unsent_high = 1 << 20;
    open_ends();
    size_t length;
    uint8_t *frames = frames_make(400, 10000, &length);
    client_writes(frames, length);
    ck_assert_int_eq(client.drained, 0);

    await_server_frames(400);
    net_world_pass(&world, 10);
    ck_assert_int_eq(client.drained, 1);

    client_writes(frames, length / 400);
    await_server_frames(401);
    net_world_pass(&world, 10);
    ck_assert_int_eq(client.drained, 1);
    free(frames);
    finish();
}
END_TEST

START_TEST(what_is_written_to_a_closed_connection_is_dropped)
{
    begin(_i);
    connection_close(&client.connection);

    uint8_t *room = connection_reserve(&client.connection, CONNECTION_RESERVE_MAX);
    memset(room, 0x93, CONNECTION_RESERVE_MAX);
    connection_commit(&client.connection, CONNECTION_RESERVE_MAX);
    connection_flush(&client.connection);
    connection_finish(&client.connection);
    connection_pause(&client.connection);
    connection_resume(&client.connection);

    ck_assert_uint_eq(connection_unsent_bytes(&client.connection), 0);
    net_world_await(&world, &client.is_closed);
    ck_assert_uint_eq(server.connection.bytes_in, 0);
    finish();
}
END_TEST

START_TEST(a_part_of_a_file_leaves_in_its_place)
{
    begin(_i);
    released = 0;
    char path[] = "/tmp/ternmq-test-connection-XXXXXX";
    int file = mkstemp(path);
    ck_assert_int_ge(file, 0);
    (void)unlink(path);
    size_t length;
    uint8_t *frames = frames_make(9, 700000, &length);
    size_t one = length / 9;
    ck_assert_int_eq(pwrite(file, frames, length, 4096), (ssize_t)length);

    for (size_t i = 0; i < 9; i += 3) {
        client_writes(frames + i * one, one);
        connection_write_file(&client.connection, file, 4096 + (i + 1) * one, one, HOLD);
        connection_write_range(&client.connection, frames + (i + 2) * one, one, HOLD);
    }
    await_server_frames(9);
    net_world_pass(&world, 10);

    ck_assert_mem_eq(server.frames, frames, length);
    ck_assert_int_eq(released, 6);
    ck_assert_uint_eq(reactor_counters(world.reactor)->sendfiles, 3);
    (void)close(file);
    free(frames);
    finish();
}
END_TEST

static uint32_t segments_sent(int socket)
{
    struct tcp_info info;
    socklen_t length = sizeof(info);
    ck_assert_int_eq(getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &length), 0);
    return info.tcpi_data_segs_out;
}

START_TEST(the_head_before_a_part_of_a_file_leaves_in_one_segment_with_it)
{
    begin(_i);
    char path[] = "/tmp/ternmq-test-connection-XXXXXX";
    int file = mkstemp(path);
    (void)unlink(path);
    uint8_t frame[4000];
    size_t length = frame_make(frame, 3000, 1);
    ck_assert_int_eq(write(file, frame + 40, length - 40), (ssize_t)(length - 40));
    uint32_t segments = segments_sent(client_socket);

    client_writes(frame, 40);
    connection_write_file(&client.connection, file, 0, length - 40, (struct output_hold){0});
    await_server_frames(1);

    ck_assert_mem_eq(server.frames, frame, length);
    ck_assert_uint_eq(segments_sent(client_socket) - segments, 1);
    (void)close(file);
    finish();
}
END_TEST

START_TEST(a_file_that_is_too_short_ends_the_connection_with_EIO)
{
    begin(_i);
    released = 0;
    char path[] = "/tmp/ternmq-test-connection-XXXXXX";
    int file = mkstemp(path);
    (void)unlink(path);
    ck_assert_int_eq(write(file, "short", 5), 5);

    connection_write_file(&client.connection, file, 0, 5000, HOLD);
    net_world_await(&world, &client.is_closed);

    ck_assert_int_eq(client.how, CONNECTION_END_ERROR);
    ck_assert_int_eq(client.error, EIO);
    ck_assert_int_eq(released, 1);
    (void)close(file);
    finish();
}
END_TEST

/* The peer has gone, and sendfile has no way to leave the signal out. */
START_TEST(sending_to_a_peer_that_has_gone_is_an_error_and_no_signal)
{
    begin(_i);
    char path[] = "/tmp/ternmq-test-connection-XXXXXX";
    int file = mkstemp(path);
    (void)unlink(path);
    ck_assert_int_eq(ftruncate(file, 1 << 22), 0);
    reactor_receive_pause(world.reactor, &client.connection.receive);
    connection_close(&server.connection);
    net_world_await(&world, &server.is_closed);

    for (int i = 0; i < 20 && !client.is_closed; i++) {
        connection_write_file(&client.connection, file, 0, 1 << 22, (struct output_hold){0});
        net_world_pass(&world, 10);
    }

    ck_assert(client.is_closed);
    ck_assert_int_eq(client.how, CONNECTION_END_ERROR);
    (void)close(file);
    finish();
}
END_TEST

/* --------------------------------------------------------------------- ends */

START_TEST(a_finished_connection_sends_what_is_queued_before_it_closes)
{
    begin(_i);
    size_t length;
    uint8_t *frames = frames_make(400, 10000, &length);
    client_writes(frames, length);

    inside_call = true;
    connection_finish(&client.connection);
    inside_call = false;
    client_writes(frames, length);
    await_server_frames(400);
    net_world_await(&world, &server.is_closed);
    net_world_await(&world, &client.is_closed);

    ck_assert_uint_eq(server.frames_bytes, length);
    ck_assert_int_eq(server.how, CONNECTION_END_PEER);
    ck_assert_int_eq(client.how, CONNECTION_END_OWNER);
    free(frames);
    finish();
}
END_TEST

START_TEST(a_finish_does_not_wait_for_ever_for_a_peer_that_does_not_read)
{
    begin(REACTOR_SIMULATED);
    connection_pause(&server.connection);
    size_t length;
    uint8_t *frames = frames_make(400, 10000, &length);
    client_writes(frames, length);
    uint64_t begun_ms = reactor_now_ms(world.reactor);

    connection_finish(&client.connection);
    net_world_await(&world, &client.is_closed);

    ck_assert_uint_ge(reactor_now_ms(world.reactor) - begun_ms, 5000);
    ck_assert_uint_le(reactor_now_ms(world.reactor) - begun_ms, 5100);
    free(frames);
    finish();
}
END_TEST

START_TEST(a_finish_with_nothing_queued_closes_soon_even_if_the_peer_stays)
{
    begin(REACTOR_SIMULATED);
    uint64_t begun_ms = reactor_now_ms(world.reactor);
    connection_pause(&server.connection); /* it does not see the end */

    connection_finish(&client.connection);
    net_world_await(&world, &client.is_closed);

    ck_assert_uint_le(reactor_now_ms(world.reactor) - begun_ms, 300);
    finish();
}
END_TEST

START_TEST(the_peers_close_is_told_as_such_after_its_last_frame)
{
    begin(_i);
    uint8_t frame[100];
    size_t length = frame_make(frame, 40, 1);
    client_writes(frame, length);
    connection_finish(&client.connection);

    net_world_await(&world, &server.is_closed);

    ck_assert_uint_eq(server.frames_count, 1);
    ck_assert_int_eq(server.how, CONNECTION_END_PEER);
    ck_assert_int_eq(server.error, 0);
    finish();
}
END_TEST

START_TEST(a_silent_connection_is_closed_after_its_idle_time_and_not_before)
{
    prepare(_i, NET_WORLD_BUFFERS_BYTES);
    server.connection.idle_ms = 600; /* a busy machine may not run us for a while */
    open_ends();
    uint8_t frame[100];
    size_t length = frame_make(frame, 40, 1);
    for (int i = 0; i < 5; i++) {
        net_world_pass(&world, 150);
        ck_assert(!server.is_closed);
        client_writes(frame, length);
    }
    uint64_t last_ms = reactor_now_ms(world.reactor);

    net_world_await(&world, &server.is_closed);

    ck_assert_int_eq(server.how, CONNECTION_END_IDLE);
    ck_assert_uint_ge(reactor_now_ms(world.reactor) - last_ms, 590);
    finish();
}
END_TEST

START_TEST(a_frame_that_never_ends_is_silence_though_bytes_of_it_come)
{
    prepare(_i, NET_WORLD_BUFFERS_BYTES);
    server.connection.idle_ms = 60;
    open_ends();
    uint8_t frame[1000];
    size_t length = frame_make(frame, 900, 1);
    ck_assert_uint_gt(length, 100);

    for (size_t i = 0; i < 100 && !server.is_closed; i++) {
        client_writes(frame + i, 1);
        net_world_pass(&world, 5);
    }

    ck_assert(server.is_closed);
    ck_assert_int_eq(server.how, CONNECTION_END_IDLE);
    finish();
}
END_TEST

START_TEST(an_exempt_connection_may_be_silent)
{
    prepare(_i, NET_WORLD_BUFFERS_BYTES);
    server.connection.idle_ms = 20;
    server.connection.idle_exempt = true;
    open_ends();

    net_world_pass(&world, 100);
    ck_assert(!server.is_closed);

    server.connection.idle_exempt = false;
    net_world_await(&world, &server.is_closed);
    ck_assert_int_eq(server.how, CONNECTION_END_IDLE);
    finish();
}
END_TEST

START_TEST(a_peer_that_takes_no_answers_is_silent_though_its_requests_wait)
{
    prepare(_i, NET_WORLD_BUFFERS_BYTES);
    server.connection.idle_ms = 50;
    open_ends();
    connection_pause(&client.connection);
    connection_pause(&server.connection);
    net_world_pass(&world, 120);
    ck_assert(!server.is_closed); /* it is us who do not listen */

    size_t length;
    uint8_t *frames = frames_make(40, 500000, &length);
    connection_write(&server.connection, frames, length);
    net_world_await(&world, &server.is_closed);

    ck_assert_int_eq(server.how, CONNECTION_END_IDLE);
    free(frames);
    finish();
}
END_TEST

static Suite *connection_output_suite(void)
{
    Suite *suite = suite_create("net/connection_output");
    TCase *out = tcase_create("out");
    TCase *ends = tcase_create("ends");
    const int kinds = NET_WORLD_KINDS;

    tcase_add_loop_test(out, bytes_and_ranges_leave_in_the_order_in_which_they_were_queued, 0,
                        kinds);
    tcase_add_loop_test(out, a_range_is_read_where_it_lies_however_short_it_is, 0, kinds);
    tcase_add_loop_test(out, what_is_queued_in_a_turn_leaves_in_one_send, 0, kinds);
    tcase_add_loop_test(out, a_flush_sends_at_once, 0, kinds);
    tcase_add_loop_test(
        out, borrowed_ranges_are_released_once_when_the_connection_is_closed_over_them, 0, kinds);
    tcase_add_loop_test(out, drained_is_told_once_after_the_mark_was_passed, 0, kinds);
    tcase_add_loop_test(out, what_is_written_to_a_closed_connection_is_dropped, 0, kinds);
    tcase_add_loop_test(out, a_part_of_a_file_leaves_in_its_place, 0, NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(out, the_head_before_a_part_of_a_file_leaves_in_one_segment_with_it, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(out, a_file_that_is_too_short_ends_the_connection_with_EIO, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(out, sending_to_a_peer_that_has_gone_is_an_error_and_no_signal, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(ends, a_finished_connection_sends_what_is_queued_before_it_closes, 0,
                        kinds);
    tcase_add_test(ends, a_finish_does_not_wait_for_ever_for_a_peer_that_does_not_read);
    tcase_add_test(ends, a_finish_with_nothing_queued_closes_soon_even_if_the_peer_stays);
    tcase_add_loop_test(ends, the_peers_close_is_told_as_such_after_its_last_frame, 0, kinds);
    tcase_add_loop_test(ends, a_silent_connection_is_closed_after_its_idle_time_and_not_before, 0,
                        kinds);
    tcase_add_loop_test(ends, a_frame_that_never_ends_is_silence_though_bytes_of_it_come, 0, kinds);
    tcase_add_loop_test(ends, an_exempt_connection_may_be_silent, 0, kinds);
    tcase_add_loop_test(ends, a_peer_that_takes_no_answers_is_silent_though_its_requests_wait, 0,
                        kinds);
    suite_add_tcase(suite, out);
    suite_add_tcase(suite, ends);
    return suite;
}

TEST_MAIN(connection_output_suite)
