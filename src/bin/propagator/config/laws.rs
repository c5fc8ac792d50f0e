//! What holds for every configuration, whatever was given. The fuzz target `config` and the tests
//! run it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;

use super::{Config, ConfigArgs, Problems, Purpose, build, keys};

/// What no text that is meant to be seen may hold.
const MARK: &str = "Zq7";

/// Secret keys with values that bear the mark and are what is expected.
const MARKED: &[(&str, &str)] = &[
    ("AMQP_PASSWORD", "Zq7"),
    ("PROPAGATION_SECRET", "Zq7"),
    ("HMAC_SECRET_TOKEN", "Zq7"),
    ("REDIS_URL", "redis://:Zq7@localhost/"),
    ("PEERS", "orders=redis://:Zq7@localhost/"),
    ("DATABASE_URL", "sqlite:Zq7"),
    ("ADMIN_TOKEN", "Zq7-Zq7-Zq7-Zq7-Zq7"),
];

type Variables = BTreeMap<String, String>;

/// The text is a TOML file; after a line `---`, variables as `NAME=value`; after another one, a
/// secret that stands in the file `secret`. It is taken or refused without a panic, what is shown of
/// it makes the same configuration again, and nothing secret is ever seen.
pub(crate) fn config(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let mut parts = text.split("\n---\n");
    let mut part = || parts.next().unwrap_or_default();
    let (file, variables, secret) = (part(), part(), part());
    let pairs = variables.lines().filter_map(|line| line.split_once('='));
    let given: Variables = pairs.map(|(name, value)| (name.into(), value.into())).collect();
    if let Ok(config) = load(file, &given, secret, Purpose::Serve) {
        assert!(
            load(file, &given, secret, Purpose::Operate).is_ok(),
            "fit to serve, not to operate"
        );
        shown_makes_the_same(file, &given, secret, &config);
    }
    if !text.contains(MARK) {
        secrets_stay_hidden(file, given);
    }
}

fn load(
    file: &str,
    variables: &Variables,
    secret: &str,
    purpose: Purpose,
) -> Result<Config, Problems> {
    let arguments = ConfigArgs { file: Some("peer.toml".into()), ..ConfigArgs::default() };
    let environment = |name: &str| variables.get(name).map(OsString::from);
    let files = |path: &Path| match path.to_str() {
        Some("peer.toml") => Ok(file.to_owned()),
        Some("secret") => Ok(secret.to_owned()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    build::load(&arguments, &environment, &files, purpose)
}

/// Given as variables, over the file, so that secrets stay where they were.
fn shown_makes_the_same(file: &str, given: &Variables, secret: &str, config: &Config) {
    let mut variables = given.clone();
    for shown in config.shown() {
        // An empty variable counts as none.
        if let Some(value) = shown.value.as_ref().filter(|value| !value.is_empty()) {
            variables.insert(shown.key.name.to_owned(), value.clone());
        }
    }
    let values = |config: &Config| -> Vec<Option<String>> {
        config.shown().iter().map(|shown| shown.value.clone()).collect()
    };
    let again = load(file, &variables, secret, Purpose::Serve);
    assert!(again.is_ok(), "what was shown is refused: {:?}", again.err());
    if let Ok(again) = again {
        assert_eq!(values(&again), values(config));
        assert_eq!(again.http.trusted_proxies, config.http.trusted_proxies);
        assert_eq!(again.http.cors_origins, config.http.cors_origins);
        assert_eq!(again.sync_interval, config.sync_interval);
    }
}

/// Neither in what is wrong, nor in what is shown, nor in a log of the whole.
fn secrets_stay_hidden(file: &str, mut variables: Variables) {
    for (name, value) in MARKED {
        variables.remove(&format!("{name}_FILE"));
        variables.insert((*name).to_owned(), (*value).to_owned());
    }
    let seen = match load(file, &variables, MARK, Purpose::Serve) {
        Ok(config) => format!("{:?} {config:?}", config.shown()),
        Err(problems) => format!("{problems} {problems:?}"),
    };
    assert!(!seen.contains(MARK), "a secret is seen");
    // The same texts where they are not what is expected, and in a file of their own.
    for key in keys::ALL.iter().filter(|key| key.secret) {
        variables.remove(key.name);
        variables.insert(key.file_variable(), "secret".to_owned());
    }
    if let Err(problems) = load(file, &variables, MARK, Purpose::Operate) {
        assert!(!problems.to_string().contains(MARK), "a secret is in a problem");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_laws_hold_for_the_corpus() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/config");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            config(&std::fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count >= 5, "the corpus was not found");
    }

    #[test]
    fn the_mark_is_in_every_secret_that_any_text_may_be() {
        let marked: Vec<&str> = MARKED.iter().map(|(name, _)| *name).collect();
        for key in keys::ALL.iter().filter(|key| key.secret && !key.name.contains("_KEY")) {
            assert!(marked.contains(&key.name) || key.name.contains("PASSPHRASE"), "{}", key.name);
        }
    }
}
