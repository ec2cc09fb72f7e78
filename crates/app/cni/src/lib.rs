//! The CNI plugin: speaks the protocol of CNI specification 1.1 on one side and asks the agent on
//! the other.
//!
//! ```text
//!   runtime ──► CNI_* variables, configuration on stdin ──► agent.sock (one JSON line)
//!   runtime ◄── result or error on stdout ◄── answer (one JSON line)
//! ```
//!
//! It holds no state, touches no interface, and decides nothing.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The versions of the specification that results can be written in.
const VERSIONS: [&str; 5] = ["0.3.1", "0.4.0", "1.0.0", "1.1.0", "0.3.0"];
const NEWEST: &str = "1.1.0";
/// Longer than the agent waits for anything; runtimes give up after minutes.
const PATIENCE: Duration = Duration::from_secs(60);
const LONGEST_CONFIGURATION: u64 = 1 << 20;

/// The network configuration that the runtime gives on standard input.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    #[serde(default)]
    cni_version: Option<String>,
    #[serde(default)]
    name: String,
    #[serde(default = "default_socket")]
    agent_socket: String,
    /// What ADD returned.
    #[serde(default)]
    prev_result: Value,
    /// What is attached to the network, for GC.
    #[serde(default, rename = "cni.dev/valid-attachments")]
    valid_attachments: Option<Value>,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            cni_version: None,
            name: String::new(),
            agent_socket: default_socket(),
            prev_result: Value::Null,
            valid_attachments: None,
        }
    }
}

fn default_socket() -> String {
    "/run/ocicat/agent.sock".to_owned()
}

/// An error as the specification writes it (section 5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Failure {
    code: u32,
    msg: String,
    #[serde(default)]
    details: String,
}

#[derive(Debug, Deserialize)]
struct Answer {
    ok: bool,
    #[serde(default)]
    result: Value,
    error: Option<Failure>,
}

impl Failure {
    fn new(code: u32, msg: &str, details: impl ToString) -> Self {
        Self {
            code,
            msg: msg.to_owned(),
            details: details.to_string(),
        }
    }
}

/// Runs the plugin with the process's environment and standard streams.
#[must_use]
pub fn main() -> ExitCode {
    let variables: BTreeMap<String, String> = std::env::vars()
        .filter(|(name, _)| name.starts_with("CNI_"))
        .collect();
    let mut input = Vec::new();
    let read = std::io::stdin()
        .take(LONGEST_CONFIGURATION)
        .read_to_end(&mut input);
    let result = match read {
        Ok(_) => run(&variables, &input),
        Err(error) => Err((NEWEST.to_owned(), Failure::new(5, "standard input", error))),
    };
    let (output, code) = match result {
        Ok(Value::Null) => return ExitCode::SUCCESS,
        Ok(result) => (result, ExitCode::SUCCESS),
        Err((version, failure)) => {
            let mut output = json!(failure);
            output["cniVersion"] = json!(version);
            (output, ExitCode::FAILURE)
        }
    };
    let mut stdout = std::io::stdout();
    let written = writeln!(stdout, "{output}").and_then(|()| stdout.flush());
    if written.is_err() {
        ExitCode::FAILURE
    } else {
        code
    }
}

/// What to print, or the version and error to print. `Null` prints nothing.
fn run(variables: &BTreeMap<String, String>, input: &[u8]) -> Result<Value, (String, Failure)> {
    let command = variables.get("CNI_COMMAND").map_or("", String::as_str);
    let configuration: Configuration = match serde_json::from_slice(input) {
        Ok(configuration) => configuration,
        // VERSION may come without a configuration.
        Err(_) if command == "VERSION" && input.trim_ascii().is_empty() => Configuration::default(),
        Err(error) => {
            let failure = Failure::new(6, "cannot decode the network configuration", error);
            return Err((NEWEST.to_owned(), failure));
        }
    };
    let version = configuration
        .cni_version
        .clone()
        .unwrap_or_else(|| "0.3.1".to_owned());
    let fail = |failure| (version.clone(), failure);
    if command == "VERSION" {
        return Ok(json!({ "cniVersion": version, "supportedVersions": VERSIONS }));
    }
    if !VERSIONS.contains(&version.as_str()) {
        let details = format!("{version}; supported: {}", VERSIONS.join(", "));
        return Err(fail(Failure::new(1, "incompatible CNI version", details)));
    }
    let socket = &configuration.agent_socket;
    if command == "STATUS" {
        // Code 50: ADD would fail.
        let status = ask(socket, &json!({ "op": "status" }));
        let down = |failure: Failure| Failure {
            code: 50,
            ..failure
        };
        return status.map(|_| Value::Null).map_err(down).map_err(fail);
    }
    let request = request(command, variables, &configuration).map_err(fail)?;
    let mut result = ask(socket, &request).map_err(fail)?;
    if command != "ADD" {
        return Ok(Value::Null);
    }
    result["cniVersion"] = json!(version);
    if version.starts_with("0.") {
        mark_families(&mut result);
    }
    Ok(result)
}

/// What is wrong with a variable, if anything (specification, section 2).
fn fault(name: &str, value: &str) -> Option<&'static str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    match name {
        _ if value.is_empty() => Some("is needed and not set"),
        "CNI_CONTAINERID" => {
            let begins = value.starts_with(|c: char| c.is_ascii_alphanumeric());
            let fits = begins && value.chars().all(is_word);
            (!fits).then_some("expected a letter or digit, then letters, digits, '_', '.' or '-'")
        }
        "CNI_IFNAME" => {
            let forbidden = |c: char| c == '/' || c == ':' || c.is_whitespace();
            let fits = value.len() <= 15 && !matches!(value, "." | "..");
            (!fits || value.contains(forbidden)).then_some(
                "expected the name of an interface: at most 15 bytes, no '/', ':' or space",
            )
        }
        "CNI_NETNS" => {
            (!std::path::Path::new(value).exists()).then_some("there is no such network namespace")
        }
        _ => None,
    }
}

fn request(
    command: &str,
    variables: &BTreeMap<String, String>,
    configuration: &Configuration,
) -> Result<Value, Failure> {
    let needed: &[&str] = match command {
        "ADD" | "CHECK" => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
        "DEL" => &["CNI_CONTAINERID", "CNI_IFNAME"],
        "GC" => {
            let Some(valid) = &configuration.valid_attachments else {
                let details = "cni.dev/valid-attachments is needed for GC";
                return Err(Failure::new(7, "invalid network configuration", details));
            };
            return Ok(json!({
                "op": "cni",
                "command": command,
                "network": configuration.name,
                "valid": valid,
            }));
        }
        other => {
            let details = format!("{other:?}: expected ADD, DEL, CHECK, STATUS, GC or VERSION");
            return Err(Failure::new(4, "CNI_COMMAND", details));
        }
    };
    let get = |name: &str| variables.get(name).map_or("", String::as_str);
    for name in needed {
        if let Some(fault) = fault(name, get(name)) {
            return Err(Failure::new(4, name, format!("{:?}: {fault}", get(name))));
        }
    }
    let mut arguments = BTreeMap::new();
    for pair in get("CNI_ARGS").split(';').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| Failure::new(4, "CNI_ARGS", format!("{pair:?}: expected NAME=VALUE")))?;
        arguments.insert(name, value);
    }
    Ok(json!({
        "op": "cni",
        "command": command,
        "containerId": get("CNI_CONTAINERID"),
        "netns": get("CNI_NETNS"),
        "ifname": get("CNI_IFNAME"),
        "args": arguments,
        "network": configuration.name,
        "prevResult": configuration.prev_result,
    }))
}

fn ask(socket: &str, request: &Value) -> Result<Value, Failure> {
    let down = |error: std::io::Error| {
        Failure::new(
            11,
            "the agent does not answer",
            format!("{socket}: {error}"),
        )
    };
    let mut stream = UnixStream::connect(socket).map_err(down)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(down)?;
    writeln!(stream, "{request}").map_err(down)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).map_err(down)?;
    let answer: Answer = serde_json::from_str(&line)
        .map_err(|error| Failure::new(11, "the agent's answer cannot be read", error))?;
    match answer {
        Answer {
            ok: true, result, ..
        } => Ok(result),
        Answer {
            error: Some(failure),
            ..
        } => Err(failure),
        Answer { .. } => Err(Failure::new(11, "the agent gave no reason", "")),
    }
}

/// Before 1.0 each address says its family.
fn mark_families(result: &mut Value) {
    for ip in result["ips"].as_array_mut().into_iter().flatten() {
        let is_v6 = ip["address"]
            .as_str()
            .is_some_and(|address| address.contains(':'));
        ip["version"] = json!(if is_v6 { "6" } else { "4" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    /// An agent that answers one request with `answer` and returns the request.
    fn agent(name: &str, answer: &str) -> (String, std::thread::JoinHandle<Value>) {
        let path = std::env::temp_dir().join(format!("ocicat-cni-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let answer = answer.to_owned();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap())
                .read_line(&mut line)
                .unwrap();
            writeln!(stream, "{answer}").unwrap();
            serde_json::from_str(&line).unwrap()
        });
        (path.display().to_string(), thread)
    }

    #[test]
    fn add_passes_the_runtimes_words_on_and_the_result_back() {
        let answer =
            r#"{"ok":true,"result":{"ips":[{"address":"10.0.0.1/32"},{"address":"fd00::1/128"}]}}"#;
        let (socket, thread) = agent("add", answer);
        let config = json!({ "cniVersion": "0.4.0", "name": "n", "type": "ocicat-cni", "agentSocket": socket });
        let variables = variables(&[
            ("CNI_COMMAND", "ADD"),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_NETNS", "/proc/self/ns/net"),
            ("CNI_IFNAME", "eth0"),
            (
                "CNI_ARGS",
                "IgnoreUnknown=1;K8S_POD_NAME=web;K8S_POD_NAMESPACE=shop",
            ),
        ]);
        let result = run(&variables, config.to_string().as_bytes()).unwrap();
        let request = thread.join().unwrap();
        assert_eq!(request["args"]["K8S_POD_NAME"], "web");
        assert_eq!(request["command"], "ADD");
        assert_eq!(result["cniVersion"], "0.4.0");
        assert_eq!(result["ips"][1]["version"], "6");
    }

    #[test]
    fn errors_of_the_agent_keep_their_code() {
        let (socket, thread) = agent(
            "error",
            r#"{"ok":false,"error":{"code":101,"msg":"no address"}}"#,
        );
        let config = json!({ "cniVersion": "1.1.0", "agentSocket": socket });
        let variables = variables(&[
            ("CNI_COMMAND", "DEL"),
            ("CNI_CONTAINERID", "c"),
            ("CNI_IFNAME", "eth0"),
        ]);
        let (version, failure) = run(&variables, config.to_string().as_bytes()).unwrap_err();
        thread.join().unwrap();
        assert_eq!((version.as_str(), failure.code), ("1.1.0", 101));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let config = br#"{"cniVersion":"1.1.0","agentSocket":"/nonexistent"}"#;
        let code =
            |pairs: &[(&str, &str)], config: &[u8]| run(&variables(pairs), config).unwrap_err().1;
        let add = [
            ("CNI_COMMAND", "ADD"),
            ("CNI_CONTAINERID", "c"),
            ("CNI_IFNAME", "eth0"),
        ];
        assert_eq!(code(&add, config).msg, "CNI_NETNS");
        assert_eq!(code(&[("CNI_COMMAND", "JUMP")], config).code, 4);
        assert_eq!(code(&add, b"{").code, 6);
        assert_eq!(code(&add, br#"{"cniVersion":"9.9.9"}"#).code, 1);
        let netns = |path| [add[0], add[1], add[2], ("CNI_NETNS", path)];
        assert_eq!(code(&netns("/proc/self/ns/net"), config).code, 11);
        assert_eq!(code(&netns("/x"), config).msg, "CNI_NETNS");
        for (name, value) in [("CNI_CONTAINERID", "c/.."), ("CNI_IFNAME", "a:b")] {
            let mut wrong = netns("/proc/self/ns/net");
            let at = wrong.iter().position(|(other, _)| *other == name).unwrap();
            wrong[at].1 = value;
            let failure = code(&wrong, config);
            assert_eq!((failure.code, failure.msg.as_str()), (4, name));
        }
        assert_eq!(code(&[("CNI_COMMAND", "STATUS")], config).code, 50);
        assert_eq!(code(&[("CNI_COMMAND", "GC")], config).code, 7);
    }

    #[test]
    fn gc_says_what_is_still_attached() {
        let (socket, thread) = agent("gc", r#"{"ok":true}"#);
        let valid = json!([{ "containerID": "c1", "ifname": "eth0" }]);
        let config = json!({
            "cniVersion": "1.1.0", "name": "n", "agentSocket": socket,
            "cni.dev/valid-attachments": valid,
        });
        let done = run(
            &variables(&[("CNI_COMMAND", "GC")]),
            config.to_string().as_bytes(),
        );
        let request = thread.join().unwrap();
        assert_eq!(done.unwrap(), Value::Null);
        assert_eq!(
            (&request["network"], &request["valid"]),
            (&json!("n"), &valid)
        );
    }

    #[test]
    fn version_needs_no_agent() {
        let result = run(&variables(&[("CNI_COMMAND", "VERSION")]), b"").unwrap();
        assert!(
            result["supportedVersions"]
                .as_array()
                .unwrap()
                .contains(&json!("1.1.0"))
        );
    }
}
