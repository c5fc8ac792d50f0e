//! The command `propagator`, run as a user runs it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

struct Ran {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn json(&self) -> Value {
        assert_eq!(self.status, 0, "{}", self.stderr);
        serde_json::from_str(&self.stdout).unwrap()
    }
}

fn run(arguments: &[&str], stdin: &[u8]) -> Ran {
    run_with(arguments, stdin, &[])
}

fn run_with(arguments: &[&str], stdin: &[u8], environment: &[(&str, &str)]) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_propagator"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may have ended by now.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    let output = child.wait_with_output().unwrap();
    Ran {
        status: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn vectors(file: &str) -> Vec<Value> {
    let path = format!("{}/tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let mut vectors: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let Value::Array(cases) = vectors["cases"].take() else { panic!("no cases") };
    assert!(!cases.is_empty());
    cases
}

fn directory(name: &str) -> std::path::PathBuf {
    let name = format!("propagator-cli-{}-{name}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap()
}

#[test]
fn messages_of_the_vectors_come_out_as_the_reference_made_them() {
    for case in vectors("message.json") {
        let (client, key) = (text(&case, "clientId"), text(&case, "secretHash"));
        let arguments = ["sign", "message", "--client-id", client, "--secret-hash", key];
        let ran = run(&arguments, text(&case, "messageJson").as_bytes());
        let expected = json!({
            "canonical": case["canonical"],
            "messageHash": case["messageHash"],
            "signature": case["signature"],
        });
        assert_eq!(ran.json(), expected, "{}", case["id"]);
        let hex = key.len() == 64 && key.bytes().all(|b| b.is_ascii_hexdigit());
        assert_eq!(ran.stderr.contains("not 64 hexadecimal digits"), !hex, "{}", ran.stderr);
    }
}

#[test]
fn requests_of_the_vectors_come_out_as_the_reference_made_them() {
    for case in vectors("request.json") {
        let timestamp = case["timestamp"].to_string();
        let nonce = text(&case, "nonce");
        let method = format!("--method={}", text(&case, "method"));
        let path = format!("--path={}", text(&case, "path"));
        let (nonce_argument, key) =
            (format!("--nonce={nonce}"), format!("--secret-hash={}", text(&case, "secret")));
        let ran = run(
            &[
                "sign",
                "request",
                &method,
                &path,
                "--timestamp",
                &timestamp,
                &nonce_argument,
                &key,
                "--body-file",
                "-",
            ],
            text(&case, "body").as_bytes(),
        );
        let signature = text(&case, "expectedHex");
        let json = ran.json();
        assert_eq!(json["signature"], signature, "{}", case["id"]);
        let headers = json!({"x-timestamp": timestamp, "x-nonce": nonce, "x-signature": signature});
        assert_eq!(json["headers"], headers);
        assert_eq!(json["canonical"].as_str().unwrap().matches('\n').count(), 4);
    }
}

#[test]
fn hashes_of_the_vectors_come_out_as_the_reference_made_them() {
    let directory = directory("hashes");
    for case in vectors("hash.json") {
        let token = case["secretToken"].as_str().unwrap_or_default();
        // No argument can hold a NUL; a file can hold every token.
        let file = directory.join("token");
        std::fs::write(&file, token).unwrap();
        let from_file = ["hash", "--token-file", file.to_str().unwrap()];
        let ran = run(&from_file, text(&case, "secret").as_bytes());
        if !token.contains('\0') {
            let given = run(&["hash", "--token", token], text(&case, "secret").as_bytes());
            assert_eq!(given.stdout, ran.stdout);
        }
        assert_eq!(ran.stdout.trim_end(), text(&case, "expectedHex"), "{}", case["id"]);
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_line_end_is_part_of_the_secret_unless_trimmed() {
    let hash = |arguments: &[&str], secret: &str| run(arguments, secret.as_bytes()).stdout;
    assert_ne!(hash(&["hash"], "s\n"), hash(&["hash"], "s"));
    assert_eq!(hash(&["hash", "--trim"], "s\r\n"), hash(&["hash"], "s"));
    let with_token = run_with(&["hash"], b"s", &[("PROPAGATOR_SECRET_TOKEN", "t")]).stdout;
    assert_eq!(with_token, hash(&["hash", "--token", "t"], "s"));
    assert_ne!(with_token, hash(&["hash"], "s"));
}

#[test]
fn a_secret_can_come_from_a_file_standard_input_or_the_environment() {
    let key = "ab".repeat(32);
    let directory = directory("keys");
    let file = directory.join("key");
    std::fs::write(&file, format!("{key}\n")).unwrap();
    let message = directory.join("message");
    std::fs::write(&message, "{\"a\":1}").unwrap();
    let (file, message) = (file.to_str().unwrap(), message.to_str().unwrap());

    let base = ["sign", "message", "--client-id", "c"];
    let expected = run(&[&base[..], &["--secret-hash", &key]].concat(), b"{\"a\":1}").json();
    let from_file = run(&[&base[..], &["--secret-hash-file", file]].concat(), b"{\"a\":1}");
    let from_stdin = ["--secret-hash-file", "-", "--message-file", message];
    let from_stdin = run(&[&base[..], &from_stdin].concat(), key.as_bytes());
    let from_environment = run_with(&base, b"{\"a\":1}", &[("PROPAGATOR_SECRET_HASH", &key)]);
    for ran in [from_file, from_stdin, from_environment] {
        assert_eq!((ran.json(), ran.stderr), (expected.clone(), String::new()));
    }
    let help = run_with(&["sign", "message", "--help"], b"", &[("PROPAGATOR_SECRET_HASH", &key)]);
    assert!(help.status == 0 && !help.stdout.contains(&key));
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn what_cannot_be_signed_is_said_on_standard_error_without_the_secret() {
    let secret = "a-very-secret-key";
    for (arguments, stdin, expected) in [
        (vec!["sign", "message", "--client-id", "c"], "{", "the message cannot be signed"),
        (vec!["sign", "request", "--method", "GET", "--path", "//"], "", "--path cannot be signed"),
        (
            vec!["sign", "request", "--method=GET", "--path=/", "--timestamp=1e3"],
            "",
            "decimal milliseconds",
        ),
        (
            vec!["sign", "request", "--method=GET", "--path=/", "--body-file=/nonexistent"],
            "",
            "cannot read /nonexistent",
        ),
        (
            vec!["sign", "message", "--client-id", "c", "--secret-hash-file", "-"],
            "x",
            "only one thing can come from standard input",
        ),
    ] {
        let ran = run_with(&arguments, stdin.as_bytes(), &[("PROPAGATOR_SECRET_HASH", secret)]);
        assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
        assert!(!ran.stderr.contains(secret), "{}", ran.stderr);
    }
    let missing = run(&["sign", "message", "--client-id", "c"], b"1");
    assert!(missing.status == 2 && missing.stderr.contains("the secret hash is missing"));
}

#[test]
fn any_text_is_a_key_be_it_an_option_by_its_look() {
    let sign = |key: &str| {
        let arguments = ["sign", "message", "--client-id", "-c", "--secret-hash", key];
        run(&arguments, b"1").json()
    };
    let plain = run(&["sign", "message", "--client-id=-c", "--secret-hash=--help"], b"1").json();
    assert_eq!(sign("--help"), plain);
    assert_ne!(sign("ab"), sign("AB"));
}

#[test]
fn time_and_nonce_are_made_when_they_are_not_given() {
    let arguments =
        ["sign", "request", "--method=get", "--path=/", "--client-id=c", "--secret-hash=k"];
    let [one, other] = [0; 2].map(|_| run(&arguments, b"").json());
    assert_ne!(one["headers"]["x-nonce"], other["headers"]["x-nonce"]);
    assert_eq!(one["headers"]["x-client-id"], "c");
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let made: u128 = text(&one["headers"], "x-timestamp").parse().unwrap();
    assert!(now.abs_diff(made) < 60_000);
    assert!(text(&one, "canonical").starts_with("GET\n/\n"));
}

const REQUEST: [&str; 7] = [
    "explain",
    "request",
    "--method=POST",
    "--path=/a?b=1",
    "--timestamp=1700000000000",
    "--nonce=n",
    "--body-file=-",
];

fn explain(more: &[&str], body: &str) -> Value {
    let key = ["--secret-hash", &"ab".repeat(32)].map(str::to_owned);
    let arguments: Vec<&str> = REQUEST
        .into_iter()
        .chain(key.iter().map(String::as_str))
        .chain(more.iter().copied())
        .collect();
    run(&arguments, body.as_bytes()).json()
}

/// The signature of a text with the key of these tests.
fn signed(text: &str) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice("ab".repeat(32).as_bytes()).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn explain_names_the_part_of_a_canonical_text_that_differs() {
    let ours = explain(&[], "x");
    assert_eq!(ours["difference"], Value::Null);
    assert_eq!(ours["hash"].as_str().unwrap().len(), 64);
    let canonical = text(&ours, "canonical");
    assert_eq!(explain(&["--canonical", canonical], "x")["difference"], Value::Null);
    let other = canonical.replace("/a?b=1", "/a?b=2");
    let difference = &explain(&["--canonical", &other], "x")["difference"];
    assert_eq!((&difference["in"], &difference["part"]), (&"canonical".into(), &"path".into()));
    assert_eq!(difference["offset"], "POST\n/a?b=".len());
    let difference = &explain(&["--canonical", canonical], "y")["difference"];
    assert_eq!(difference["part"], "body hash");
}

#[test]
fn explain_compares_nothing_with_a_nonce_and_a_time_of_its_own() {
    for left_out in ["--timestamp=1700000000000", "--nonce=n"] {
        let key = "ab".repeat(32);
        let given: Vec<&str> = REQUEST.into_iter().filter(|part| *part != left_out).collect();
        for compared in ["--signature=00", "--canonical=x"] {
            let arguments = [&given[..], &["--secret-hash", &key, compared]].concat();
            let ran = run(&arguments, b"x");
            assert_ne!(ran.status, 0, "{}", ran.stdout);
            assert!(ran.stderr.contains("--timestamp and --nonce"), "{}", ran.stderr);
        }
    }
}

#[test]
fn explain_recognises_common_mistakes_by_their_signature() {
    let ours = explain(&[], "x");
    let right = text(&ours, "signature");
    assert_eq!(explain(&["--signature", right], "x")["difference"], Value::Null);
    assert_eq!(explain(&["--signature", &right.to_uppercase()], "x")["difference"], Value::Null);

    // Signed by somebody whose body had no line end, seen by somebody whose body has one.
    let difference = &explain(&["--signature", right], "x\n")["difference"];
    assert_eq!(difference["cause"], "its body has a line end less");
    assert_eq!((&difference["in"], &difference["given"]), (&"signature".into(), &right.into()));
    let unknown = &explain(&["--signature", &"0".repeat(64)], "x")["difference"];
    assert_eq!(unknown["cause"], Value::Null);
    assert!(text(unknown, "hint").contains("--canonical"));
    let base64 = &explain(&["--signature", "WvLTlMzrRGCE2mJ9xX0cRA=="], "x")["difference"];
    assert_eq!(base64["cause"], "it is not 64 hexadecimal digits, as every signature is");
    let canonical = text(&ours, "canonical");
    let keys = explain(&["--signature", &"0".repeat(64), "--canonical", canonical], "x");
    assert_eq!(keys["difference"]["cause"], "the texts are the same, so the keys differ");
}

#[test]
fn explain_recognises_what_was_signed_in_another_form() {
    let ours = explain(&[], "x");
    let canonical = text(&ours, "canonical");
    let (hash, empty) = (text(&ours, "hash"), "");
    let forms = [
        (canonical.replace("/a?", "/a/?"), "its path has a slash more or less at its end"),
        (
            canonical.replace("1700000000000\nn", "n\n1700000000000"),
            "its timestamp and nonce are in each other's place",
        ),
        (canonical.replace('\n', "|"), "its parts are joined with | instead of a line feed"),
        (canonical.replace(hash, empty), "it has nothing in the place of the body's hash"),
    ];
    for (form, mistake) in forms {
        assert_ne!(form, canonical);
        let given = signed(&form);
        let difference = &explain(&["--signature", &given], "x")["difference"];
        assert_eq!(difference["cause"], mistake);
    }
}

#[test]
fn a_secret_that_ends_with_a_line_end_is_hashed_with_it_and_that_is_told() {
    for (secret, more, warning) in [
        (&b"secret\n"[..], &["hash"][..], "--trim leaves it out"),
        (b"", &["hash"], "the secret is empty"),
    ] {
        let ran = run(more, secret);
        assert_eq!((ran.status, ran.stdout.trim().len()), (0, 64));
        assert!(ran.stderr.contains(warning), "{}", ran.stderr);
    }
    let ran = run(&["hash", "--trim"], b"secret\n");
    assert_eq!((ran.stderr.as_str(), ran.stdout), ("", run(&["hash"], b"secret").stdout));
}

#[test]
fn explain_recognises_a_message_signed_as_the_documentation_of_node_says() {
    let key = "ab".repeat(32);
    let base = ["explain", "message", "--client-id", "c", "--secret-hash", &key];
    let ours = run(&base, b"{\"b\":1,\"a\":2}").json();
    assert_eq!(ours["canonical"], r#"{"a":2,"b":1}"#);
    assert_eq!(text(&ours, "payload"), format!("c\n{}", text(&ours, "hash")));
    let documented = signed(&text(&ours, "payload").replace('\n', "|"));
    let with = [&base[..], &["--signature", &documented]].concat();
    let difference = &run(&with, b"{\"b\":1,\"a\":2}").json()["difference"];
    assert_eq!(difference["cause"], "it joins client and hash with | instead of a line feed");
    let with = [&base[..], &["--canonical", r#"{"b":1,"a":2}"#]].concat();
    let difference = &run(&with, b"{\"b\":1,\"a\":2}").json()["difference"];
    assert_eq!((&difference["in"], &difference["offset"]), (&"canonical".into(), &2.into()));
}
