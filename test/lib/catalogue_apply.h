/* SPDX-License-Identifier: Apache-2.0 */
/* catalogue_apply.h - what a shard's log does with an operation on a catalogue; for C tests and fuzz targets. */
#ifndef TEST_LIB_CATALOGUE_APPLY_H
#define TEST_LIB_CATALOGUE_APPLY_H

#include "broker/catalogue.h"
#include "proto/base/contract.h"
#include "proto/cursor.h"

/* Applies an operation; false: it was not understood. */
NODISCARD static inline bool catalogue_apply(struct catalogue *catalogue, struct bytes operation)
{
    struct view *view = &catalogue->view;
    struct cursor fields = cursor_over(operation);
    uint32_t count;
    uint32_t number;
    return cursor_take_array(&fields, &count) && cursor_take_u32(&fields, &number) &&
           view->operations->apply_operation(view, number, &fields, 0, false);
}

#endif
