/* SPDX-License-Identifier: Apache-2.0 */

/*
 * check_main.h - what every Check program has in common. Include it once, in the file of the suite.
 *
 * The program writes TAP or plain text as the environment says (CK_TAP_LOG_FILE_NAME, CK_VERBOSITY).
 * `CK_RUN_CASE=<case>` runs one case alone, `CK_FORK=no` keeps everything in one process for a debugger.
 */

#ifndef TEST_LIB_CHECK_MAIN_H
#define TEST_LIB_CHECK_MAIN_H

#include <check.h>

#include <stdlib.h>

#define TEST_MAIN(suite_of)                               \
    int main(void)                                        \
    {                                                     \
        SRunner *runner = srunner_create(suite_of());     \
        srunner_run_all(runner, CK_ENV);                  \
        int failed = srunner_ntests_failed(runner);       \
        srunner_free(runner);                             \
        return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE; \
    }

#endif
