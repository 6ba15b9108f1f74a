//! What a configuration may contain, and the errors for everything else.

use super::*;
use delivery::QueueSettings;
use driver_api::error::Chain;
use std::fs;
use std::time::Duration;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn load(&self, text: &str, options: &[&str]) -> Result<Config, String> {
        let path = self.put("lanner.yaml", text);
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        Config::load(Some(&path), &options)
            .map(|loaded| loaded.config)
            .map_err(|error| Chain(&error).to_string())
    }
}

fn load(text: &str) -> Result<Config, String> {
    Folder::new().load(text, &[])
}

fn with(text: &str, options: &[&str]) -> Config {
    Folder::new().load(text, options).unwrap()
}

#[test]
fn a_file_is_read() {
    let config =
        load("rules_files: [a.yaml, b.yaml]\njson_output: true\nrule_matching: all\n").unwrap();
    assert_eq!(
        config.rules_files,
        [PathBuf::from("a.yaml"), PathBuf::from("b.yaml")]
    );
    assert!(config.json_output);
    assert_eq!(config.rule_matching, Some(Matching::All));
}

#[test]
fn an_empty_file_says_nothing() {
    assert_eq!(load("\n# nothing\n").unwrap(), Config::default());
}

#[test]
fn an_unknown_key_is_told_with_its_line_and_the_nearest_known_one() {
    let error = load("priority: debug\njson_outptu: true\n").unwrap_err();
    assert!(
        error.contains("lanner.yaml:2: there is no key `json_outptu`"),
        "{error}"
    );
    assert!(error.contains("did you mean `json_output`?"), "{error}");
}

#[test]
fn unknown_keys_deep_down_are_told_all_at_once() {
    let error = load(
        "outputs:\n  - plugin: output-file\n    deadlin: 5s\n    spool:\n      syze: 1M\nwebserver:\n  enable: true\n",
    )
    .unwrap_err();
    for part in [
        "lanner.yaml:3: there is no key `outputs[0].deadlin`; did you mean `deadline`?",
        "lanner.yaml:5: there is no key `outputs[0].spool.syze`; did you mean `size`?",
        "lanner.yaml:7: there is no key `webserver.enable`; did you mean `enabled`?",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_value_of_the_wrong_type_is_told_with_its_line() {
    let error = load("driver: auto\noutputs_queue:\n  capacity: lots\n").unwrap_err();
    assert!(
        error.contains("lanner.yaml:3: outputs_queue.capacity:") && error.contains("lots"),
        "{error}"
    );
    let error = load("outputs:\n- plugin: p\n  deadline: soon\n").unwrap_err();
    assert!(
        error.contains("lanner.yaml:3") && error.contains("a time is such as"),
        "{error}"
    );
}

#[test]
fn a_key_that_is_set_twice_is_an_error() {
    let error = load("priority: debug\npriority: error\n").unwrap_err();
    assert!(
        error.contains("lanner.yaml:2: `priority` was set before"),
        "{error}"
    );
}

#[test]
fn secrets_come_from_files_and_are_never_shown() {
    let folder = Folder::new();
    let secret = folder.put("secret", "hunter2\n");
    let config = folder
        .load(
            &format!(
                "outputs:\n- plugin: output-http\n  settings:\n    token: ${{file:{}}}\n",
                secret.display()
            ),
            &[],
        )
        .unwrap();
    assert_eq!(config.outputs[0].settings["token"], "hunter2");
    let error = folder
        .load(
            &format!(
                "outputs_queue:\n  capacity: ${{file:{}}}\n",
                secret.display()
            ),
            &[],
        )
        .unwrap_err();
    assert!(
        !error.contains("hunter2") && error.contains("not shown"),
        "{error}"
    );
}

#[test]
fn what_the_environment_fills_in_has_a_type_unless_it_is_quoted() {
    let config = with(
        "outputs:\n- plugin: p\n  settings:\n    a: ${NO_SUCH:-5}\n    b: \"${NO_SUCH:-5}\"\n",
        &[],
    );
    assert_eq!(config.outputs[0].settings["a"], 5);
    assert_eq!(config.outputs[0].settings["b"], "5");
    let error = load("driver: ${LANNER_NO_SUCH}\n").unwrap_err();
    assert!(
        error.contains("lanner.yaml:1") && error.contains("LANNER_NO_SUCH"),
        "{error}"
    );
}

#[test]
fn options_set_append_and_go_first() {
    let config = with(
        "json_output: false\nrules_files: [a]\noutputs:\n- plugin: p\n",
        &[
            "json_output=true",
            "rules_files[]=b",
            "rules_files[0]=c",
            "outputs[0].spool.size=1M",
            "webserver={enabled: true, listen_port: 1}",
            "file_output.filename=/x y",
        ],
    );
    assert!(config.json_output);
    assert_eq!(config.rules_files, [PathBuf::from("c"), PathBuf::from("b")]);
    let spool = config.outputs[0].spool.as_ref().unwrap();
    assert_eq!(spool.size, Some(Size(1 << 20)));
    assert_eq!(
        (config.webserver.enabled, config.webserver.listen_port),
        (true, 1)
    );
    assert_eq!(config.file_output.settings["filename"], "/x y");
}

#[test]
fn an_option_that_makes_no_sense_is_told() {
    let folder = Folder::new();
    for (option, part) in [
        ("json_output", "is not KEY=VALUE"),
        ("json_outptu=true", "did you mean `json_output`"),
        ("rules_files[7]=x", "has 0 entries only"),
        ("rules_files[x]=x", "is no number"),
        ("a..b=x", "a name is missing"),
        ("config_files[]=x.yaml", "by the configuration file alone"),
        ("json_output=maybe", "-o json_output: json_output"),
    ] {
        let error = folder.load("", &[option]).unwrap_err();
        assert!(error.contains(part), "{option}: {error}");
    }
}

#[test]
fn included_files_append_replace_or_add() {
    let folder = Folder::new();
    folder.put("d/1.yaml", "rules_files: [b]\npriority: error\n");
    folder.put("d/2.yml", "priority: alert\n");
    folder.put("d/ignored.txt", "nonsense: [");
    folder.put("over.yaml", "rules_files: [only]\n");
    folder.put("add.yaml", "rules_files: [never]\njson_output: true\n");
    let config = folder
        .load("rules_files: [a]\nconfig_files: [d]\n", &[])
        .unwrap();
    assert_eq!(config.rules_files, [PathBuf::from("a"), PathBuf::from("b")]);
    assert_eq!(config.priority.priority(), plugin_host::Priority::Alert);
    let config = folder
        .load(
            "rules_files: [a]\nconfig_files:\n- {path: over.yaml, strategy: override}\n- {path: add.yaml, strategy: add-only}\n",
            &[],
        )
        .unwrap();
    assert_eq!(config.rules_files, [PathBuf::from("only")]);
    assert!(config.json_output);
    let error = folder.load("config_files: [none.yaml]\n", &[]).unwrap_err();
    assert!(error.contains("none.yaml"), "{error}");
    folder.put("bad.yaml", "\n\nnope: 1\n");
    let error = folder.load("config_files: [bad.yaml]\n", &[]).unwrap_err();
    assert!(
        error.contains("bad.yaml:3: there is no key `nope`"),
        "{error}"
    );
}

#[test]
fn falcos_keys_become_outputs() {
    let config = load(
        "json_output: true\nstdout_output: {enabled: false}\nfile_output: {enabled: true, filename: /x, keep_alive: true}\n",
    )
    .unwrap();
    let outputs = config.all_outputs();
    assert_eq!(outputs.len(), 1);
    assert_eq!(outputs[0].plugin, "output-file");
    let settings: serde_json::Value = serde_json::from_str(&outputs[0].settings_json()).unwrap();
    assert_eq!(
        settings,
        serde_json::json!({"filename": "/x", "keep_alive": true, "json": true})
    );
    assert_eq!(Config::default().all_outputs()[0].plugin, "output-console");
}

#[test]
fn outputs_have_their_own_queue_and_spool() {
    let config = load(
        "outputs_queue: {capacity: 7}\noutputs:\n- plugin: a\n  spool: {}\n- plugin: a\n  name: b\n  queue: 9\n  deadline: 2s\n  rate: 5\n  spool: {age: 1h, size: 2G, fsync: never, path: /s}\n",
    )
    .unwrap();
    let queues: Vec<_> = config
        .outputs
        .iter()
        .map(|output| output.queue(&config))
        .collect();
    assert_eq!((queues[0].queue, queues[1].queue), (7, 9));
    assert_eq!(queues[1].deadline, Duration::from_secs(2));
    assert_eq!(queues[1].rate.map(|rate| rate.burst), Some(1000));
    let spool = queues[0].spool.as_ref().unwrap();
    assert_eq!(spool.path, Path::new("/var/lib/lanner/spool/a.redb"));
    assert!(spool.fsync);
    let spool = queues[1].spool.as_ref().unwrap();
    assert_eq!(
        (spool.size, spool.fsync, spool.age),
        (2 << 30, false, Some(Duration::from_secs(3600)))
    );
    let error = load("outputs:\n- plugin: a\n- plugin: a\n").unwrap_err();
    assert!(error.contains("two outputs are called \"a\""), "{error}");
    let error = load("outputs:\n- plugin: a\n  name: ../x\n").unwrap_err();
    assert!(error.contains("is not made of"), "{error}");
}

#[test]
fn a_value_of_the_wrong_type_is_told_in_words() {
    for (text, expected) in [
        (
            "webserver: {listen_port: 99999}",
            "webserver.listen_port: invalid value: integer `99999`, expected a whole number from 0 to 65535",
        ),
        (
            "outputs_queue: {capacity: -1}",
            "invalid value: integer `-1`, expected a whole number that is not negative",
        ),
        (
            "heartbeat: {interval: 2}",
            "heartbeat.interval: invalid type: integer `2`, expected a time with its unit, such as 10s or 5m",
        ),
        (
            "outputs: [{plugin: p, spool: {size: [1]}}]",
            "invalid type: sequence, expected a size such as 4096, 64K, 64M or 1G",
        ),
        (
            "webserver: 3",
            "invalid type: integer `3`, expected a map of keys",
        ),
    ] {
        let error = load(text).unwrap_err();
        assert!(error.ends_with(expected), "{error}");
    }
    // what came from elsewhere is not shown, but what is expected is
    let folder = Folder::new();
    let secret = folder.put("secret", "12, expected 34");
    let port = format!(
        "webserver: {{listen_port: \"${{file:{}}}\"}}",
        secret.display()
    );
    let error = folder.load(&port, &[]).unwrap_err();
    assert!(
        error.ends_with("does not fit here; expected a whole number from 0 to 65535"),
        "{error}"
    );
}

#[test]
fn yes_and_no_are_read_where_a_boolean_is_expected_and_nowhere_else() {
    let config =
        load("json_output: yes\nstdout_output: {enabled: off}\nstatic_fields: {a: \"no\"}\n");
    let config = config.unwrap();
    assert!(config.json_output && !config.stdout_output.enabled);
    assert_eq!(config.static_fields["a"], "no");
}

#[test]
fn limits_of_a_rule_go_before_those_of_all() {
    let config = load("alert_limits:\n  rate: 2\n  deduplicate: 10s\n  rules:\n    R: {rate: 0, deduplicate: 0s}\n    S: {max_burst: 3}\n").unwrap();
    let limits = &config.alert_limits;
    assert_eq!(limits.of("R"), delivery::RuleLimit::default());
    assert_eq!(limits.of("S").rate.map(|rate| rate.burst), Some(3));
    assert_eq!(limits.of("T").deduplicate, Some(Duration::from_secs(10)));
}

#[test]
fn a_file_that_others_may_write_is_refused_for_root() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let path = folder.put("lanner.yaml", "");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let result = Config::load(Some(&path), &[]);
    if nix::unistd::geteuid().is_root() {
        let error = Chain(&result.unwrap_err()).to_string();
        assert!(
            error.contains("may write to") && error.contains("chmod go-w"),
            "{error}"
        );
    } else {
        assert!(result.is_ok(), "it is the user's own business");
    }
}

#[test]
fn a_folder_to_which_others_may_add_files_is_refused_for_root() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    folder.put("d/1.yaml", "");
    fs::set_permissions(
        folder.0.path().join("d"),
        fs::Permissions::from_mode(0o1777),
    )
    .unwrap();
    let result = folder.load("config_files: [d]\n", &[]);
    assert_eq!(
        result.is_err(),
        nix::unistd::geteuid().is_root(),
        "{result:?}"
    );
}

#[test]
fn hostile_texts_are_errors_and_no_panics() {
    for text in [
        "[",
        "a: *b",
        "- x",
        "a: {b: [",
        "? [a]\n: b",
        "a: b\n---\nc: d\n",
        "a: ${",
        "5",
    ] {
        assert!(load(text).is_err(), "{text:?}");
    }
    let bomb = (0..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, at| {
        format!("{text}a{}: &a{} [*a{at}, *a{at}]\n", at + 1, at + 1)
    });
    let error = load(&bomb).unwrap_err();
    assert!(error.contains("more than 16 MiB"), "{error}");
    let chain = (0..1000).fold("a0: &a0 [x]\n".to_owned(), |text, at| {
        format!("{text}a{}: &a{} [[*a{at}]]\n", at + 1, at + 1)
    });
    let error = load(&chain).unwrap_err();
    assert!(error.contains("nested more than"), "{error}");
    let option = format!("a{}=1", "[0]".repeat(20_000));
    let error = Config::load(None, &[option]).unwrap_err();
    assert!(Chain(&error).to_string().contains("nested more than"));
    let deep = "[".repeat(1000) + &"]".repeat(1000);
    assert!(load(&format!("rules_files: {deep}")).is_err());
}

#[test]
fn the_schema_knows_every_key_of_the_defaults() {
    let schema = schema();
    let defaults = serde_json::to_value(Config::default()).unwrap();
    for key in defaults.as_object().unwrap().keys() {
        assert!(schema["properties"][key].is_object(), "{key}");
        assert!(
            schema["properties"][key]["description"].is_string(),
            "{key} is described"
        );
    }
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn a_sum_that_is_none_is_told_with_its_file() {
    let error = load("plugin_sums: {libx.so: abc}\n").unwrap_err();
    assert!(
        error.contains("lanner.yaml:1") && error.contains("libx.so"),
        "{error}"
    );
}

#[test]
fn a_heartbeat_is_on_and_has_a_shortest_interval() {
    assert!(load("json_output: true\n").unwrap().heartbeat.enabled);
    let config = load("heartbeat: {enabled: false, interval: 100ms}\n").unwrap();
    assert!(!config.heartbeat.enabled);
    let error = load("json_output: true\nheartbeat: {interval: 99ms}\n").unwrap_err();
    assert!(error.contains("heartbeat"), "{error}");
    assert!(error.contains("at least 100ms"), "{error}");
}

/// A configuration of the page. The first part is about the server, the second about the page.
fn page_config(server: &str, page: &str) -> String {
    let parts = |first: &str, rest: &str| match (first, rest) {
        (first, "") => first.to_owned(),
        (first, rest) => format!("{first}, {rest}"),
    };
    let page = parts("enabled: true", page);
    let on = if server.contains("enabled:") {
        ""
    } else {
        "enabled: true, "
    };
    format!(
        "webserver: {{{on}{}}}",
        parts(&format!("page: {{{page}}}"), server)
    )
}

#[test]
fn a_page_that_strangers_could_see_is_refused() {
    let token = "token: 0123456789abcdef";
    let other = "listen_address: 192.0.2.1";
    for (server, page, part) in [
        ("enabled: false", "", "set `enabled: true` beside it"),
        (other, "", "the page needs a `token` there"),
        (other, "open: true", "the page needs a `token` there"),
        (
            "listen_address: 0.0.0.0",
            "",
            "the page needs a `token` there",
        ),
        ("listen_address: '::'", "", "the page needs a `token` there"),
        (
            "listen_address: somewhere",
            "",
            "the page needs a `token` there",
        ),
        ("", "token: short", "at least 16 characters"),
        ("", "token: ''", "at least 16 characters"),
        ("", "token: '0123456789 abcdef'", "at least 16 characters"),
        ("", &format!("{token}, open: true"), "it is not `open`"),
        ("", "hosts: ['http://x']", "is not the name of a host"),
        ("", "hosts: ['x:1']", "is not the name of a host"),
        ("k8s_healthz_endpoint: /", "", "is a path of the page"),
        ("k8s_healthz_endpoint: /page/x", "", "is a path of the page"),
    ] {
        let text = page_config(server, page);
        let error = load(&text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
        // what is off is not looked at
        let text = text.replace("page: {enabled: true", "page: {enabled: false");
        load(&text).unwrap();
    }
    for (server, page) in [
        ("", ""),
        ("", "open: true"),
        ("listen_address: 127.1.2.3", "hosts: [watch.example]"),
        ("listen_address: localhost", ""),
        ("listen_address: '::1'", "open: true"),
        (other, token),
        ("listen_address: 0.0.0.0, unix_socket: /run/x", ""),
    ] {
        let text = page_config(server, page);
        load(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}

#[test]
fn the_schema_names_the_default_times_of_outputs() {
    let defaults = QueueSettings::new("any");
    let schema = schema();
    for (key, default) in [
        ("deadline", defaults.deadline),
        ("retry_first", defaults.retry_first),
        ("retry_max", defaults.retry_max),
    ] {
        let text = &schema["$defs"]["OutputConfig"]["properties"][key]["description"];
        let named = format!("{} by default", humantime::format_duration(default));
        assert!(text.as_str().unwrap().contains(&named), "{key}: {text}");
    }
}
