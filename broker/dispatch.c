/* SPDX-License-Identifier: Apache-2.0 */
/* dispatch.c - the table of methods, and what comes before one runs. */
#include "broker/dispatch.h"

#include "broker/admin.h"
#include "broker/call.h"
#include "broker/core.h"
#include "broker/find.h"
#include "broker/group_methods.h"
#include "broker/message_trace.h"
#include "broker/produce.h"
#include "broker/pull.h"
#include "broker/session.h"
#include "broker/topic_methods.h"
#include "proto/base/contract.h"
#include "proto/method.h"
#include "proto/request.h"

#define NS_PER_MS UINT64_C(1000000)

static method_run_fn *const methods[METHOD_COUNT] = {
    [METHOD_BROKER_HELLO] = hello_run,
    [METHOD_PRODUCE] = produce_run,
    [METHOD_PULL] = pull_run,
    [METHOD_BROKER_CANCEL] = cancel_run,
    [METHOD_TOPIC_PUT] = topic_put_run,
    [METHOD_TOPIC_DELETE] = topic_delete_run,
    [METHOD_TOPIC_SHOW] = topic_show_run,
    [METHOD_BROKER_TOPIC_LIST] = topic_list_run,
    [METHOD_GROUP_PUT] = group_put_run,
    [METHOD_GROUP_DELETE] = group_delete_run,
    [METHOD_GROUP_LIST] = group_list_run,
    [METHOD_GROUP_SHOW] = group_show_run,
    [METHOD_GROUP_SEEK] = group_seek_run,
    [METHOD_RECEIVE] = receive_run,
    [METHOD_ACK] = ack_run,
    [METHOD_NACK] = nack_run,
    [METHOD_EXTEND] = extend_run,
    [METHOD_MESSAGE_GET] = message_get_run,
    [METHOD_MESSAGE_TRACE] = message_trace_run,
    [METHOD_STATS] = stats_run,
};

/* A whole value that is no request: with a msgid the sender is told, without one he is not
 * somebody who speaks our language. */
static void refuse_frame(struct session *session, struct call *call, bool has_msgid)
{
    struct core *core = session->core;
    core->counters.malformed++;
    if (has_msgid) {
        call_fail(call, ERROR_MALFORMED);
        return;
    }
    log_limited(&core->log_not_a_frame, reactor_now_ns(core->reactor), LOG_LEVEL_WARN,
                "closed a connection that sent a value which is no request");
    call->one_way = true;
    call_end(call);
    session_close(session);
}

static void refuse_method(struct call *call, struct bytes name)
{
    enum { SHOWN_BYTES = 64 };
    struct refusal refusal;
    refusal_set(&refusal, ERROR_UNKNOWN_METHOD, "there is no method '%.*s'",
                (int)(name.length < SHOWN_BYTES ? name.length : SHOWN_BYTES),
                (const char *)name.data);
    call_refuse(call, &refusal);
}

void dispatch_frame(struct session *session, struct bytes frame, struct buffer *buffer)
{
    struct core *core = session->core;
    struct call *call = call_begin(session, buffer, frame.length);
    struct request request;
    enum error error = request_read(frame, &request);
    call->msgid = request.has_msgid ? request.msgid : 0;
    if (error != OK) {
        refuse_frame(session, call, request.has_msgid);
        return;
    }
    call->one_way = request.type == ENVELOPE_ONE_WAY;

    const struct method *method = method_find(METHOD_SIDE_BROKER, request.method);
    if (method == NULL) {
        refuse_method(call, request.method);
        return;
    }
    struct arguments arguments;
    struct refusal refusal;
    if (arguments_read(method, request.arguments, &arguments, &refusal) != OK) {
        call_refuse(call, &refusal);
        return;
    }
    if (arguments_has(&arguments, ARGUMENT_DEADLINE_MS)) {
        call->deadline_ns =
            call->arrived_ns + arguments_number(&arguments, ARGUMENT_DEADLINE_MS) * NS_PER_MS;
        if (call_is_late(call, core)) {
            call_fail(call, ERROR_DEADLINE);
            return;
        }
    }
    if (call->one_way) {
        core->counters.one_way++;
    } else {
        core->counters.requests++;
    }
    call->method = method->id;
    ASSERT(methods[method->id] != NULL);
    methods[method->id](call, &arguments);
}
