//! What a configuration takes from the environment is shown nowhere, whatever goes wrong with it.

use std::process::{Command, Output, Stdio};

use serde_json::{Map, Value, json};

use crate::session::{BIN, Folder};

const VARIABLE: &str = "LANNER_TEST_SECRET";
/// An address, and a text that is none. What a message may show of them are single short words.
const SECRETS: [&str; 2] = [
    "http://me:S3cr3tW0rd@s3cr3thost.invalid:1/S3cr3tPath",
    "S3cr3tName/of \"S3cr3tThing\":S3cr3tPort%",
];
const MARK: &str = "s3cr3t";

fn lanner(secret: &str, args: &[&str]) -> Output {
    Command::new(BIN)
        .args(args)
        .env(VARIABLE, secret)
        .env("LANNER_LOG", "debug")
        .stdin(Stdio::null())
        .output()
        .expect("lanner starts")
}

/// Each output plugin with the schema of its settings.
fn outputs() -> Vec<(String, Value)> {
    let listed = lanner("", &["plugins", "list", "--json"]).stdout;
    let plugins: Vec<Value> = serde_json::from_slice(&listed).expect("JSON");
    let output = |plugin: Value| {
        let name = plugin["name"].as_str()?.to_owned();
        let schema = plugin["settings"]["output"].clone();
        (name.starts_with("output-") && schema.is_object()).then_some((name, schema))
    };
    plugins.into_iter().filter_map(output).collect()
}

/// Settings that the plugin needs, so that only the secret is wrong.
fn needed(plugin: &str, folder: &Folder) -> Map<String, Value> {
    let settings = match plugin {
        "output-http" => json!({"url": "http://127.0.0.1:1/"}),
        "output-nats" => json!({"servers": ["127.0.0.1:1"]}),
        "output-file" => json!({"filename": folder.path("alerts")}),
        "output-program" => json!({"program": "cat > /dev/null"}),
        "output-grpc" => {
            json!({"bind_address": format!("unix://{}", folder.path("grpc").display())})
        }
        _ => json!({}),
    };
    settings.as_object().cloned().unwrap_or_default()
}

/// The secret in the form that a setting has.
fn form(schema: &Value) -> Value {
    let secret = Value::from(format!("${{{VARIABLE}}}"));
    let has = |kind: &str| {
        schema["type"] == kind
            || schema["type"]
                .as_array()
                .is_some_and(|types| types.iter().any(|one| one == kind))
    };
    if has("array") {
        json!([secret])
    } else if has("object") {
        json!({ "x-header": secret })
    } else {
        secret
    }
}

fn shows_nothing(what: &str, output: &Output) {
    for bytes in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(bytes);
        assert!(!text.to_lowercase().contains(MARK), "{what}: {text}");
    }
}

#[test]
fn no_message_shows_what_a_setting_took_from_the_environment() {
    let folder = Folder::new();
    let rules = folder.put(
        "rules.yaml",
        "- rule: R\n  desc: d\n  condition: evt.type = execve\n  output: seen\n  priority: INFO\n",
    );
    let plugins = outputs();
    assert!(plugins.len() >= 6, "{plugins:?}");
    let put = |outputs: &[Value]| {
        let whole = json!({"outputs": outputs, "rules_files": [rules]});
        let config = folder.put("lanner.yaml", &whole.to_string());
        config.to_str().expect("a text").to_owned()
    };
    for secret in SECRETS {
        let mut open = Vec::new();
        for (plugin, schema) in &plugins {
            let properties = schema["properties"].as_object().expect("properties");
            for (key, schema) in properties {
                let mut settings = needed(plugin, &folder);
                settings.insert(key.clone(), form(schema));
                let name = format!("{plugin}.{}", open.len());
                let output = json!({"plugin": plugin, "name": name, "settings": settings});
                let config = put(std::slice::from_ref(&output));
                let checked = lanner(secret, &["config", "check", &config]);
                shows_nothing(&format!("config check, {plugin}: {key}"), &checked);
                // outputs open before the command is looked for
                let args = ["run", "--driver", "ptrace", "-c", &config, "--", "no-such"];
                let opened = lanner(secret, &args);
                shows_nothing(&format!("{plugin}: {key}"), &opened);
                if String::from_utf8_lossy(&opened.stderr).contains("there is no program") {
                    open.push(output);
                }
            }
        }
        assert!(open.len() > 10, "{open:?}");
        // together, because an output that is away is given time at the end
        let config = put(&open);
        let args = ["run", "--driver", "ptrace", "-c", &config, "--", "true"];
        shows_nothing("all", &lanner(secret, &args));
    }
}
