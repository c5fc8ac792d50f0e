use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

const NEEDED: [(&str, &str); 2] = [("AMQP_QUEUE", "orders"), ("PROPAGATION_SECRET", "s3cret-p")];

/// A file of its own, gone with the value.
struct TempFile(PathBuf);

impl TempFile {
    fn new(content: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("propagator-config-{}-{count}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    fn text(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    std::fs::read_to_string(path)
}

fn load(
    file: Option<&TempFile>,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> Result<Config, Problems> {
    let environment: BTreeMap<&str, &str> = environment.iter().copied().collect();
    let arguments = ConfigArgs {
        file: file.map(|file| file.0.clone()),
        flags: flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect(),
    };
    let get = |name: &str| environment.get(name).map(|value| OsString::from(*value));
    build::load(&arguments, &get, &read, Purpose::Serve)
}

fn with(extra: &[(&'static str, &'static str)]) -> Result<Config, Problems> {
    load(None, &[&NEEDED[..], extra].concat(), &[])
}

fn problems(extra: &[(&'static str, &'static str)]) -> Vec<String> {
    with(extra).unwrap_err().lines().to_vec()
}

#[test]
fn the_least_configuration_is_a_receive_only_peer_on_loopback() {
    let config = with(&[]).unwrap();
    assert_eq!(config.queue.as_str(), "orders");
    assert!(config.database.is_none() && config.http.admin_token.is_none());
    assert!(config.http.host.is_loopback());
    assert_eq!((config.broker.port, config.broker.vhost.as_str()), (5672, "hmac-credentials"));
    assert_eq!(
        (config.http_namespace.as_str(), config.message_namespace.as_str()),
        ("hmac:http", "hmac:message")
    );
    assert_eq!((config.sync_interval, config.overlap), (Some(Duration::from_secs(5)), None));
}

#[test]
fn flags_go_before_the_environment_and_that_before_the_file() {
    let file = TempFile::new(
        "amqp_host = 'file'\namqp_user = 'file'\namqp_vhost = 'file'\namqp_port = 1\n",
    );
    let environment =
        [&NEEDED[..], &[("AMQP_HOST", "env"), ("AMQP_USER", "env"), ("AMQP_VHOST", "")]].concat();
    let config = load(Some(&file), &environment, &[("AMQP_HOST", "flag")]).unwrap();
    let broker = &config.broker;
    assert_eq!((broker.host.as_str(), broker.user.as_str()), ("flag", "env"));
    // An empty variable is none.
    assert_eq!((broker.vhost.as_str(), broker.port), ("file", 1));
    let source =
        |name| config.shown().iter().find(|s| s.key.name == name).unwrap().source.to_string();
    assert_eq!(source("AMQP_HOST"), "flag");
    assert_eq!(source("AMQP_USER"), "environment");
    assert_eq!(source("AMQP_PORT"), format!("file {}", file.text()));
    assert_eq!(source("PORT"), "default");
}

#[test]
fn a_stronger_source_gives_a_secret_in_either_form() {
    let file = TempFile::new("amqp_user = 'peer'\namqp_password = 'weak'\n");
    let secret = TempFile::new("strong\n");
    let environment = [&NEEDED[..], &[("AMQP_PASSWORD_FILE", secret.text())]].concat();
    let config = load(Some(&file), &environment, &[]).unwrap();
    assert_eq!(config.broker.password.expose(), "strong");
    let other = TempFile::new("stronger\r\n");
    let config = load(Some(&file), &environment, &[("AMQP_PASSWORD", other.text())]).unwrap();
    assert_eq!(config.broker.password.expose(), "stronger");
}

#[test]
fn all_problems_are_told_at_once_with_their_sources() {
    let file = TempFile::new(
        "port = 'http'\namqp_hots = 'x'\nlog_format = 1.5\npropagation_secret_file = '/nowhere/s3cret'\n",
    );
    let found = load(Some(&file), &[("SYNC_INTERVAL", "soon")], &[("AMQP_PORT", "0")]).unwrap_err();
    let found = found.to_string();
    let path = file.text();
    for expected in [
        format!("amqp_hots (file {path}): unknown key"),
        format!("log_format (file {path}): expected a text, a number"),
        format!("PORT (file {path}): expected a port from 0 to 65535"),
        "AMQP_PORT (flag): expected a port from 1 to 65535".to_owned(),
        "SYNC_INTERVAL (environment): expected a duration".to_owned(),
        "AMQP_QUEUE: missing; expected 1 to 200 letters".to_owned(),
        format!("PROPAGATION_SECRET (file {path}): the file /nowhere/s3cret cannot be read"),
    ] {
        assert!(found.contains(&expected), "{expected}\n---\n{found}");
    }
}

#[test]
fn no_value_is_repeated_when_it_is_wrong() {
    let file = TempFile::new("propagation_secret = unquoted-s3cret\n");
    let found = load(Some(&file), &NEEDED, &[]).unwrap_err().to_string();
    assert!(found.ends_with("is not valid TOML at line 1"), "{found}");
    let wrong = [
        ("REDIS_URL", "http://:s3cret@host"),
        ("DATABASE_URL", "oracle://u:s3cret@host"),
        ("DATABASE_KEY", "s3cret"),
        ("DATABASE_PASSPHRASE", "s3cret"),
        ("ADMIN_TOKEN", "s3cret"),
        ("PEERS", "a=s3cret"),
        ("AMQP_HOST", ""),
        ("TRUSTED_PROXIES", "10.0.0.0/33"),
        ("LOG", "=s3cret=,"),
    ];
    let found = problems(&wrong);
    assert_eq!(found.len(), 8, "{found:#?}");
    assert!(!found.concat().contains("s3cret"), "{found:#?}");
}

#[test]
fn an_element_of_a_list_is_one_and_no_list_itself() {
    let given = |list: &str| load(Some(&TempFile::new(list)), &NEEDED, &[]);
    assert!(given("trusted_proxies = ['10.0.0.1', '9.9.9.9']").is_ok());
    let wrong = given("trusted_proxies = ['10.0.0.1, 9.9.9.9']").unwrap_err();
    assert!(wrong.lines()[0].starts_with("TRUSTED_PROXIES"), "{wrong}");
}

#[test]
fn a_variable_that_is_no_text_is_wrong_and_not_absent() {
    let get = |name: &str| match name {
        "HMAC_SECRET_TOKEN" => Some(OsString::from_vec(vec![b's', 0xff])),
        _ => NEEDED.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(*value)),
    };
    let found = build::load(&ConfigArgs::default(), &get, &read, Purpose::Serve).unwrap_err();
    assert_eq!(found.lines(), ["HMAC_SECRET_TOKEN (environment): expected UTF-8 text"]);
}

#[test]
fn a_file_that_is_empty_or_cannot_be_read_is_told_at_the_start() {
    let found = problems(&[("HMAC_SECRET_TOKEN_FILE", "/dev/null")]);
    assert_eq!(found, ["HMAC_SECRET_TOKEN (environment): the file /dev/null is empty"]);
    for key in ["AMQP_CA_FILE", "AMQP_CLIENT_KEY"] {
        let found = problems(&[(key, "/nowhere/x.pem")]);
        let begin = format!("{key} (environment): the file /nowhere/x.pem cannot be read: ");
        assert!(found[0].starts_with(&begin), "{found:?}");
    }
}

#[test]
fn a_value_and_a_file_for_one_secret_in_one_source_are_one_too_many() {
    let found = problems(&[("AMQP_PASSWORD", "a"), ("AMQP_PASSWORD_FILE", "/dev/null")]);
    assert_eq!(
        found,
        ["AMQP_PASSWORD (environment): given twice, the second time as AMQP_PASSWORD_FILE"]
    );
}

#[test]
fn beyond_loopback_it_listens_with_an_admin_token_only() {
    let found = problems(&[("HOST", "0.0.0.0")]);
    assert!(
        found[0].starts_with("HOST (environment): expected loopback, or ADMIN_TOKEN"),
        "{found:?}"
    );
    assert!(with(&[("HOST", "0.0.0.0"), ("ADMIN_TOKEN", "0123456789abcdef")]).is_ok());
    assert!(with(&[("HOST", "::1")]).is_ok());
    let arguments = ConfigArgs::default();
    let get = |name: &str| match name {
        "HOST" => Some(OsString::from("0.0.0.0")),
        _ => NEEDED.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(*value)),
    };
    assert!(build::load(&arguments, &get, &read, Purpose::Operate).is_ok());
}

#[test]
fn default_credentials_are_for_loopback_unless_asked_for() {
    let found = problems(&[("AMQP_HOST", "broker.example")]);
    assert!(
        found[0].starts_with("AMQP_USER (default): broker user: expected credentials of its own"),
        "{found:?}"
    );
    assert!(
        with(&[("AMQP_HOST", "broker.example"), ("AMQP_ALLOW_DEFAULT_CREDENTIALS", "true")])
            .is_ok()
    );
}

#[test]
fn tls_has_its_own_port_and_takes_a_certificate_with_its_key_only() {
    let config = with(&[("AMQP_PROTOCOL", "amqps"), ("AMQP_CA_FILE", "/dev/null")]).unwrap();
    assert_eq!(config.broker.port, 5671);
    assert_eq!(config.broker.tls.unwrap().ca_file.unwrap(), PathBuf::from("/dev/null"));
    let found = problems(&[("AMQP_PROTOCOL", "amqps"), ("AMQP_CLIENT_KEY", "/dev/null")]);
    assert!(
        found[0].starts_with("AMQP_CLIENT_KEY (environment): expected the path of a file, and"),
        "{found:?}"
    );
}

#[test]
fn peers_come_as_pairs_or_as_a_table() {
    let text = with(&[("PEERS", "a=redis://h:1, b=redis://:s3cret@h:2/3")]).unwrap();
    let file = TempFile::new("[peers]\na = 'redis://h:1'\nb = 'redis://:s3cret@h:2/3'\n");
    let table = load(Some(&file), &NEEDED, &[]).unwrap();
    for config in [text, table] {
        let peers: Vec<_> =
            config.peers.iter().map(|p| (p.name.as_str(), p.redis_url.expose())).collect();
        assert_eq!(peers, [("a", "redis://h:1"), ("b", "redis://:s3cret@h:2/3")]);
    }
    assert!(
        problems(&[("PEERS", "a=redis://h:1 a=redis://h:2")])[0]
            .starts_with("PEERS (environment): expected")
    );
}

#[test]
fn lists_come_as_text_or_as_a_list() {
    let file = TempFile::new("cors_origins = ['https://a.example', 'http://localhost:3000']\n");
    let list = load(Some(&file), &NEEDED, &[]).unwrap();
    let text = with(&[("CORS_ORIGINS", "https://a.example,http://localhost:3000")]).unwrap();
    assert_eq!(list.http.cors_origins, text.http.cors_origins);
    assert_eq!(text.http.cors_origins, ["https://a.example", "http://localhost:3000"]);
    assert!(with(&[("CORS_ORIGINS", "*")]).is_err());
}

#[test]
fn a_database_has_a_key_or_a_passphrase_but_not_both() {
    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let url = ("DATABASE_URL", "sqlite:/tmp/x.db");
    let keys = |extra: &[(&'static str, &'static str)]| with(extra).unwrap().database.unwrap().keys;
    assert!(keys(&[url]).is_none());
    assert!(keys(&[url, ("DATABASE_KEY", KEY)]).is_some());
    assert!(keys(&[url, ("DATABASE_PASSPHRASE", "correct horse battery")]).is_some());
    let both =
        problems(&[url, ("DATABASE_KEY", KEY), ("DATABASE_PASSPHRASE", "correct horse battery")]);
    assert!(both[0].contains("not both"), "{both:?}");
}

#[test]
fn an_old_key_has_its_own_name_and_a_new_one_beside_it() {
    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const OLD: (&str, &str) = ("DATABASE_OLD_PASSPHRASE", "correct horse battery");
    let (new, id) = (("DATABASE_KEY", KEY), ("DATABASE_KEY_ID", "second"));
    let old_id = ("DATABASE_OLD_KEY_ID", "first");
    assert!(with(&[new, id, OLD, old_id]).is_ok());
    for wrong in
        [&[new, id, OLD][..], &[OLD, old_id], &[new, ("DATABASE_KEY_ID", "first"), OLD, old_id]]
    {
        let environment = [&NEEDED[..], wrong].concat();
        let found = load(None, &environment, &[]).unwrap_err();
        assert!(found.lines()[0].starts_with("DATABASE_OLD_KEY_ID ("), "{found}");
    }
}

#[test]
fn debug_and_what_is_shown_have_no_secret_in_them() {
    let config = with(&[
        ("AMQP_USER", "peer"),
        ("AMQP_PASSWORD", "s3cret-a"),
        ("HMAC_SECRET_TOKEN", "s3cret-b"),
        ("REDIS_URL", "redis://:s3cret-c@h"),
        ("PEERS", "a=redis://:s3cret-d@h"),
        ("DATABASE_URL", "postgres://u:s3cret-e@h/d"),
        ("DATABASE_PASSPHRASE", "s3cret-f-and-more"),
        ("ADMIN_TOKEN", "s3cret-g-and-more"),
    ])
    .unwrap();
    let seen = format!("{config:?} {:#?} {:?}", config, config.shown());
    assert!(!seen.contains("s3cret"), "{seen}");
    assert!(seen.contains("peer"), "{seen}");
}
