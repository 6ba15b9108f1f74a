//! Why keys of Falco's have no counterpart.

const LOGGING: &str =
    "lanner logs to standard error, or to the journal if standard error is the journal";
const PLUGINS: &str = "Falco's plugins do not fit lanner; the plugin `container` is not needed, as lanner asks container \
                       runtimes itself";
const BUFFER: &str = "use `lanner run --buffer BYTES`, 8M for each CPU by default";
const FAILED_CALLS: &str = "lanner captures calls that fail, too; rules test `evt.failed`";
const NO_TLS: &str =
    "lanner's web server speaks no TLS; let it listen at 127.0.0.1, behind a proxy that does";

/// Why lanner has no such key. `None`: there is no particular reason. `key` includes the keys above it: `a.b`.
pub(super) fn why_not(key: &str) -> Option<&'static str> {
    let why = match key {
        "plugins" | "load_plugins" | "plugins_hostinfo" => PLUGINS,
        "rules" => "rules are switched off in a rule file: `- rule: NAME` with `enabled: false`",
        "output_timeout" => "each entry of `outputs` has a `deadline` of its own, 10s by default",
        "outputs.rate" | "outputs.max_burst" => {
            "lanner has no limit for all alerts together; `alert_limits` has one for each rule, and each entry of `outputs` \
             can have a `rate`"
        }
        "log_stderr" | "log_syslog" | "libs_logger" => LOGGING,
        "metrics" => "the numbers are at /metrics: set `webserver: {enabled: true}`",
        "base_syscalls" => "lanner captures what the rules and its state need",
        "falco_libs" => "the size of lanner's state follows from the host",
        "syscall_event_timeouts" => "lanner has no such limit: without events it waits",
        "buffer_format_base64" => "lanner writes buffers as text with escapes",
        "container_engines" => "lanner finds container runtimes by their sockets",
        "metadata_download" => {
            "lanner asks the container runtimes of its host, and no server of Kubernetes"
        }
        "syscall_buf_size_preset" => BUFFER,
        "syscall_drop_failed_exit" => FAILED_CALLS,
        "modern_bpf" => "lanner has a buffer for each CPU",
        "syscall_event_drops.simulate_drops" => "it is for tests of Falco itself",
        "http_output.max_consecutive_timeouts" => {
            "lanner tries again, with growing pauses, until the alert is delivered"
        }
        "outputs_queue.recovery" => {
            "lanner goes on without the alerts that a full queue has no room for, and counts them"
        }
        "webserver.threadiness" => "lanner's web server has one thread",
        "webserver.ssl_enabled" | "webserver.ssl_certificate" => NO_TLS,
        "webserver.k8s_audit_endpoint" => "lanner reads no audit log of Kubernetes",
        _ => return None,
    };
    Some(why)
}

/// Why there is no key like this one below `engine.KIND`.
pub(super) fn of_engine(key: &str) -> &'static str {
    match key {
        "buf_size_preset" => BUFFER,
        "drop_failed_exit" => FAILED_CALLS,
        "cpus_for_each_buffer" => "lanner has a buffer for each CPU",
        "capture_file" => "use `lanner run --replay FILE`",
        "probe" => "lanner has its programs in itself",
        "disable_iterators" => "lanner reads /proc instead of iterators of the kernel",
        _ => "lanner has no such key",
    }
}
