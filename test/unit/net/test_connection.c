/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of net/connection.h, what comes in, each on both backends: frames are whole however their
 * bytes were cut, pauses lose nothing, hostile and large frames stay within bounds.
 */

#include "test/lib/check_main.h"
#include "test/unit/net/connection_pair.h"

#include <sys/socket.h>

/* ---------------------------------------------------------------- frames in */

START_TEST(a_frame_comes_whole_wherever_its_bytes_were_cut)
{
    begin(_i);
    uint8_t frame[100];
    size_t length = frame_make(frame, 40, 1);

    for (size_t cut = 1; cut < length; cut++) {
        client_writes(frame, cut);
        await_server_bytes();
        ck_assert_uint_eq(server.frames_count, cut - 1);
        client_writes(frame + cut, length - cut);
        await_server_frames(cut);
        ck_assert_mem_eq(server.frames + (cut - 1) * length, frame, length);
    }

    ck_assert_int_eq(server.malformed, 0);
    finish();
}
END_TEST

START_TEST(a_frame_that_comes_byte_by_byte_is_one_frame)
{
    begin(_i);
    uint8_t frame[100];
    size_t length = frame_make(frame, 40, 1);

    for (size_t i = 0; i < length; i++) {
        ck_assert_uint_eq(server.frames_count, 0);
        client_writes(frame + i, 1);
        await_server_bytes();
    }

    ck_assert_uint_eq(server.frames_count, 1);
    ck_assert_mem_eq(server.frames, frame, length);
    finish();
}
END_TEST

START_TEST(frames_that_come_together_are_handed_over_one_by_one)
{
    begin(_i);
    size_t length;
    uint8_t *frames = frames_make(1000, 33, &length);

    client_writes(frames, length);
    await_server_frames(1000);

    ck_assert_uint_eq(server.frames_count, 1000);
    ck_assert_uint_eq(server.frames_bytes, length);
    ck_assert_mem_eq(server.frames, frames, length);
    free(frames);
    finish();
}
END_TEST

START_TEST(a_frame_and_a_half_are_one_frame_now_and_one_later)
{
    begin(_i);
    uint8_t frame[100];
    size_t length = frame_make(frame, 40, 1);
    client_writes(frame, length);
    client_writes(frame, length / 2);
    await_server_bytes();
    ck_assert_uint_eq(server.frames_count, 1);

    client_writes(frame + length / 2, length - length / 2);
    client_writes(frame, length);
    await_server_frames(3);

    for (size_t i = 0; i < 3; i++) {
        ck_assert_mem_eq(server.frames + i * length, frame, length);
    }
    finish();
}
END_TEST

/* Sizes around those at which buffers, parts and preferred receives change their ways. */
static const size_t BODY_BYTES[] = {0,      1,      1000,   1024,   4096,    32768,   65500,  65536,
                                    100000, 262100, 262144, 300000, 1048576, 4194304, 8388594};

START_TEST(frames_of_all_sizes_come_whole)
{
    size_t body_bytes = BODY_BYTES[_i / NET_WORLD_KINDS];
    begin(_i % NET_WORLD_KINDS);
    size_t count = body_bytes < 1000000 ? 7 : 2;
    size_t length;
    uint8_t *frames = frames_make(count, body_bytes, &length);

    client_writes(frames, length);
    await_server_frames(count);

    ck_assert_uint_eq(server.frames_bytes, length);
    ck_assert_mem_eq(server.frames, frames, length);
    ck_assert_int_eq(server.malformed, 0);
    free(frames);
    finish();
    /* Nothing is kept of it: asserted when the pool was destroyed. */
}
END_TEST

START_TEST(a_frame_above_the_limit_is_malformed_when_its_header_is_there)
{
    begin(_i);
    server.connection.frame_bytes_max = 1000;
    uint8_t frame[2000];
    (void)frame_make(frame, 1000, 0);

    client_writes(frame, 20);
    net_world_await(&world, &server.is_closed);

    ck_assert_int_eq(server.malformed, 1);
    ck_assert_str_eq(server.why, "the frame is too long");
    ck_assert_int_eq(server.how, CONNECTION_END_MALFORMED);
    ck_assert_uint_eq(server.frames_count, 0);
    finish();
}
END_TEST

START_TEST(malformed_bytes_are_told_once_and_the_last_answer_reaches_the_peer)
{
    net_world_seed = (uint64_t)_i;
    begin(_i < NET_WORLD_KERNEL_KINDS ? _i : REACTOR_SIMULATED);
    server.says_bye = true;
    /* More than is read before the answer is sent: what is unread at a close makes a reset. */
    static uint8_t bytes[1 << 20];
    size_t length = frame_make(bytes, 100, 0);
    memset(bytes + length, 0xc1, sizeof(bytes) - length);

    client_writes(bytes, sizeof(bytes));
    net_world_await(&world, &client.is_closed);
    net_world_await(&world, &server.is_closed);

    ck_assert_uint_eq(server.frames_count, 1);
    ck_assert_int_eq(server.malformed, 1);
    ck_assert_int_eq(server.how, CONNECTION_END_MALFORMED);
    ck_assert_uint_eq(client.frames_count, 1);
    ck_assert_mem_eq(client.frames, BYE, sizeof(BYE));
    ck_assert_int_eq(client.how, CONNECTION_END_PEER);
    finish();
}
END_TEST

START_TEST(a_kept_buffer_keeps_its_frame)
{
    begin(_i);
    server.keeps = true;
    uint8_t frame[2000];
    for (size_t i = 0; i < 60; i++) {
        size_t length = frame_make(frame, 100 + i * 20, (uint8_t)i);
        client_writes(frame, length);
        await_server_frames(i + 1);
    }

    for (size_t i = 0; i < 60; i++) {
        size_t length = frame_make(frame, 100 + i * 20, (uint8_t)i);
        ck_assert_uint_eq(server.kept_frames[i].length, length);
        ck_assert_mem_eq(server.kept_frames[i].data, frame, length);
        buffer_unref(server.kept[i]);
    }
    finish();
}
END_TEST

START_TEST(an_idle_connection_holds_no_buffer_and_little_memory)
{
    begin(_i);
    server.echoes = true;
    size_t length;
    uint8_t *frames = frames_make(50, 3000, &length);
    client_writes(frames, length);
    await_client_frames(50);
    net_world_pass(&world, 10);

    ck_assert_ptr_null(server.connection.part);
    ck_assert_ptr_null(server.connection.held);
    ck_assert_ptr_null(server.connection.block);
    ck_assert_uint_le(sizeof(struct connection), 1024);
    /* What the reactor receives into: one buffer, or the four that it lent to the kernel. */
    size_t lent = world.kind == REACTOR_URING ? 4 : 1;
    ck_assert_uint_le(buffer_pool_bytes(reactor_buffers(world.reactor)), lent * BUFFER_BYTES);
    free(frames);
    finish();
}
END_TEST

/* Nine frames of 1.5 MiB want more memory than the pool has, on their own connection. */
START_TEST(a_large_frame_waits_for_memory_and_goes_on)
{
    prepare(_i, 12 * 256 * 1024);
    open_ends();
    server.keeps = true;
    size_t length;
    uint8_t *frames = frames_make(9, 1200000, &length);

    client_writes(frames, length);
    size_t given = 0;
    for (int i = 0; i < 2000 && server.frames_count < 9; i++) {
        net_world_pass(&world, 2);
        if (given < server.kept_count) {
            buffer_unref(server.kept[given++]);
        }
    }

    ck_assert_uint_eq(server.frames_count, 9);
    ck_assert_mem_eq(server.frames, frames, length);
    ck_assert_uint_le(buffer_pool_bytes_peak(reactor_buffers(world.reactor)), 12 * 256 * 1024);
    while (given < server.kept_count) {
        buffer_unref(server.kept[given++]);
    }
    free(frames);
    finish();
}
END_TEST

enum { CROWD = 12 };

static struct end crowd[2 * CROWD];

static bool crowd_has_frames(void *context)
{
    (void)context;
    for (int i = 0; i < CROWD; i++) {
        if (crowd[2 * i].frames_count < 1) {
            return false;
        }
    }
    return true;
}

static bool crowd_is_closed(void *context)
{
    (void)context;
    for (int i = 0; i < 2 * CROWD; i++) {
        if (!crowd[i].is_closed) {
            return false;
        }
    }
    return true;
}

/* Each has begun before the first one can end: without a rule they would wait for each other. */
START_TEST(large_frames_on_many_connections_all_end_in_little_memory)
{
    net_world_init_sized(&world, _i, 24 * 256 * 1024);
    size_t length;
    uint8_t *frame = frames_make(1, 1300000, &length);
    for (int i = 0; i < 2 * CROWD; i++) {
        memset(&crowd[i], 0, sizeof(crowd[i]));
        crowd[i].connection.events = &events;
        crowd[i].connection.frame_bytes_max = FRAME_BYTES_MAX;
        crowd[i].frames = malloc(length);
    }
    for (int i = 0; i < CROWD; i++) {
        int sockets[2];
        int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
        ck_assert_int_eq(socketpair(AF_UNIX, type, 0, sockets), 0);
        connection_open(&crowd[2 * i].connection, world.reactor, sockets[0]);
        connection_open(&crowd[2 * i + 1].connection, world.reactor, sockets[1]);
        connection_write(&crowd[2 * i + 1].connection, frame, 300000);
    }
    net_world_pass(&world, 100);

    for (int i = 0; i < CROWD; i++) {
        connection_write(&crowd[2 * i + 1].connection, frame + 300000, length - 300000);
    }
    ck_assert(net_world_run(&world, crowd_has_frames, NULL, NET_WORLD_PATIENCE_MS));

    for (int i = 0; i < CROWD; i++) {
        ck_assert_mem_eq(crowd[2 * i].frames, frame, length);
    }
    ck_assert_uint_le(buffer_pool_bytes_peak(reactor_buffers(world.reactor)), 24 * 256 * 1024);
    for (int i = 0; i < 2 * CROWD; i++) {
        connection_close(&crowd[i].connection);
    }
    ck_assert(net_world_run(&world, crowd_is_closed, NULL, NET_WORLD_PATIENCE_MS));
    for (int i = 0; i < 2 * CROWD; i++) {
        free(crowd[i].frames);
    }
    free(frame);
    net_world_deinit(&world);
}
END_TEST

START_TEST(a_frame_that_no_memory_could_ever_hold_is_malformed)
{
    prepare(_i, 12 * 256 * 1024);
    open_ends();
    uint8_t frame[32];
    (void)frame_make(frame, 0, 0);
    frame[10] = 0x60; /* bin32 of 6 MiB, twice what there is */

    client_writes(frame, 13);
    net_world_await(&world, &server.is_closed);

    ck_assert_int_eq(server.malformed, 1);
    finish();
}
END_TEST

/* ------------------------------------------------------------ pause, resume */

START_TEST(a_paused_connection_hands_over_nothing_and_loses_nothing)
{
    begin(_i);
    server.pauses = true;
    size_t length;
    uint8_t *frames = frames_make(300, 1000, &length);
    client_writes(frames, length);

    for (size_t i = 1; i <= 300; i++) {
        await_server_frames(i);
        ck_assert_uint_eq(server.frames_count, i);
        if (i % 50 == 0) {
            net_world_pass(&world, 2);
            ck_assert_uint_eq(server.frames_count, i);
        }
        inside_call = true;
        connection_resume(&server.connection);
        inside_call = false;
    }

    ck_assert_mem_eq(server.frames, frames, length);
    free(frames);
    finish();
}
END_TEST

START_TEST(a_connection_can_be_closed_while_paused_with_frames_waiting)
{
    begin(_i);
    server.pauses = true;
    size_t length;
    uint8_t *frames = frames_make(300, 1000, &length);
    client_writes(frames, length);
    await_server_frames(1);

    inside_call = true;
    connection_close(&server.connection);
    connection_close(&server.connection);
    inside_call = false;
    net_world_await(&world, &server.is_closed);

    ck_assert_uint_eq(server.frames_count, 1);
    ck_assert_int_eq(server.how, CONNECTION_END_OWNER);
    free(frames);
    finish();
}
END_TEST

START_TEST(no_frame_follows_a_close_from_within_a_frame)
{
    begin(_i);
    server.closes = true;
    size_t length;
    uint8_t *frames = frames_make(300, 10, &length);

    client_writes(frames, length);
    net_world_await(&world, &server.is_closed);

    ck_assert_uint_eq(server.frames_count, 1);
    ck_assert_int_eq(server.closed, 1);
    free(frames);
    finish();
}
END_TEST

START_TEST(echoes_of_random_sizes_come_back_byte_for_byte)
{
    begin(_i);
    server.echoes = true;
    uint8_t *sent = malloc(8 << 20);
    size_t length = 0;
    size_t count = 0;
    while (length < (4 << 20)) {
        uint64_t chance = reactor_random(world.reactor);
        size_t body_bytes = chance % 16 == 0 ? chance % 200000 : chance % 2000;
        length += frame_make(sent + length, body_bytes, (uint8_t)count);
        count++;
    }

    for (size_t at = 0; at < length;) {
        size_t step = 1 + reactor_random(world.reactor) % 300000;
        step = step < length - at ? step : length - at;
        client_writes(sent + at, step);
        net_world_turn(&world);
        at += step;
    }
    await_client_frames(count);

    ck_assert_uint_eq(client.frames_bytes, length);
    ck_assert_mem_eq(client.frames, sent, length);
    free(sent);
    finish();
}
END_TEST

static Suite *connection_suite(void)
{
    Suite *suite = suite_create("net/connection");
    TCase *frames = tcase_create("frames");
    TCase *pause = tcase_create("pause");
    const int kinds = NET_WORLD_KINDS;
    const int sizes = kinds * (int)(sizeof(BODY_BYTES) / sizeof(BODY_BYTES[0]));

    tcase_add_loop_test(frames, a_frame_comes_whole_wherever_its_bytes_were_cut, 0, kinds);
    tcase_add_loop_test(frames, a_frame_that_comes_byte_by_byte_is_one_frame, 0, kinds);
    tcase_add_loop_test(frames, frames_that_come_together_are_handed_over_one_by_one, 0, kinds);
    tcase_add_loop_test(frames, a_frame_and_a_half_are_one_frame_now_and_one_later, 0, kinds);
    tcase_add_loop_test(frames, frames_of_all_sizes_come_whole, 0, sizes);
    tcase_add_loop_test(frames, a_frame_above_the_limit_is_malformed_when_its_header_is_there, 0,
                        kinds);
    tcase_add_loop_test(frames, malformed_bytes_are_told_once_and_the_last_answer_reaches_the_peer,
                        0, 31);
    tcase_add_loop_test(frames, a_kept_buffer_keeps_its_frame, 0, kinds);
    tcase_add_loop_test(frames, an_idle_connection_holds_no_buffer_and_little_memory, 0, kinds);
    tcase_add_loop_test(frames, a_large_frame_waits_for_memory_and_goes_on, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(frames, large_frames_on_many_connections_all_end_in_little_memory, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(frames, a_frame_that_no_memory_could_ever_hold_is_malformed, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(frames, echoes_of_random_sizes_come_back_byte_for_byte, 0, kinds);
    tcase_add_loop_test(pause, a_paused_connection_hands_over_nothing_and_loses_nothing, 0, kinds);
    tcase_add_loop_test(pause, a_connection_can_be_closed_while_paused_with_frames_waiting, 0,
                        kinds);
    tcase_add_loop_test(pause, no_frame_follows_a_close_from_within_a_frame, 0, kinds);
    suite_add_tcase(suite, frames);
    suite_add_tcase(suite, pause);
    return suite;
}

TEST_MAIN(connection_suite)
