#pragma once
/* Logging of programs: "level component: message key=value", stderr, monotonic ms. Error = a person
 * must act; warn = we go on, and say so. Secrets never reach a log. A message is one line: control
 * characters are escaped, what passes 511 bytes is cut and marked. */
#include "tb/error.h"

enum tb_log_level { TB_LOG_ERROR, TB_LOG_WARN, TB_LOG_INFO, TB_LOG_DEBUG };

/* spec: "info", or "info,apdu=debug": default level, then components. json: one object per line. */
int tb_log_setup(const char *spec, int json, struct tb_error *e) TB_CHECKED;
/* True when a message would be written: lets callers skip costly formatting. */
int tb_log_enabled(const char *component, enum tb_log_level level);
void tb_log(const char *component, enum tb_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define tb_error_log(component, ...) tb_log(component, TB_LOG_ERROR, __VA_ARGS__)
#define tb_warn(component, ...)      tb_log(component, TB_LOG_WARN, __VA_ARGS__)
#define tb_info(component, ...)      tb_log(component, TB_LOG_INFO, __VA_ARGS__)
#define tb_debug(component, ...)                                                                   \
    do {                                                                                           \
        if (tb_log_enabled(component, TB_LOG_DEBUG))                                               \
            tb_log(component, TB_LOG_DEBUG, __VA_ARGS__);                                          \
    } while (0)
