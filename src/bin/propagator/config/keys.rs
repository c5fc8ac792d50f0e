//! Every key of the configuration, once: file, environment, flags, help, `--check` and the document
//! all follow from this table.

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name in the environment.
    pub(crate) name: &'static str,
    /// What it is about.
    pub(crate) group: Group,
    /// Whether its value must not be seen: then it has no flag, but `…_FILE` beside it.
    pub(crate) secret: bool,
    /// What holds when it is not given.
    pub(crate) default: Fallback,
    /// What a value must be: "expected …".
    pub(crate) expects: &'static str,
    /// What it does.
    pub(crate) help: &'static str,
}

/// What holds for a key that is not given.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fallback {
    /// This text, as if it had been given.
    Text(&'static str),
    /// Something that depends on other keys, in words.
    Otherwise(&'static str),
    /// It has to be given.
    Required,
}

/// What keys are about, in the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Broker,
    Peer,
    Store,
    Database,
    Http,
    Running,
}

impl Key {
    /// Its name in a TOML file.
    pub(crate) fn in_file(&self) -> String {
        self.name.to_ascii_lowercase()
    }

    /// The name of the variable that names a file with its value.
    pub(crate) fn file_variable(&self) -> String {
        format!("{}_FILE", self.name)
    }

    /// Its flag, without the dashes.
    pub(crate) fn flag(&self) -> String {
        let file = if self.secret { "-file" } else { "" };
        format!("{}{file}", self.name.to_ascii_lowercase().replace('_', "-"))
    }
}

impl Group {
    /// Its heading.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Broker => "Broker",
            Self::Peer => "Peer",
            Self::Store => "Redis",
            Self::Database => "Database",
            Self::Http => "HTTP",
            Self::Running => "Running",
        }
    }
}

macro_rules! keys {
    ($($name:ident $group:ident $secret:literal $default:expr, $expects:literal, $help:literal;)*) => {
        $(pub(crate) static $name: Key = Key {
            name: stringify!($name),
            group: Group::$group,
            secret: $secret,
            default: $default,
            expects: $expects,
            help: $help,
        };)*

        /// All keys.
        pub(crate) static ALL: &[&Key] = &[$(&$name),*];
    };
}

use Fallback::{Otherwise, Required, Text};

// Name, group, whether it is secret, default; what is expected; what it does.
keys! {
    AMQP_HOST Broker false Text("127.0.0.1"),
        "a host name or an address", "Where the broker is";
    AMQP_PORT Broker false Otherwise("5672, with amqps 5671"),
        "a port from 1 to 65535", "The broker's port";
    AMQP_USER Broker false Text("guest"),
        "1 to 128 bytes", "The broker's user";
    AMQP_PASSWORD Broker true Text("guest"),
        "a text", "The user's password";
    AMQP_ALLOW_DEFAULT_CREDENTIALS Broker false Text("false"),
        "true or false", "Accept guest/guest on a broker that is not on loopback";
    AMQP_PROTOCOL Broker false Text("amqp"),
        "amqp or amqps", "Plain, or over TLS";
    AMQP_VHOST Broker false Text("hmac-credentials"),
        "1 to 255 bytes", "The virtual host";
    AMQP_CA_FILE Broker false Otherwise("the certificates of the operating system"),
        "the path of a file", "PEM file with the certificates to trust (amqps)";
    AMQP_SERVER_NAME Broker false Otherwise("AMQP_HOST"),
        "a host name or an address", "The name that the broker's certificate must bear (amqps)";
    AMQP_CLIENT_CERTIFICATE Broker false Otherwise("none"),
        "the path of a file, and AMQP_CLIENT_KEY beside it", "PEM file with a certificate to show to the broker (amqps)";
    AMQP_CLIENT_KEY Broker false Otherwise("none"),
        "the path of a file, and AMQP_CLIENT_CERTIFICATE beside it", "PEM file with that certificate's key (amqps)";

    AMQP_QUEUE Peer false Required,
        "1 to 200 letters, digits and hyphens", "This peer's name: its queue is hmac-NAME.queue";
    PROPAGATION_SECRET Peer true Required,
        "a non-empty text", "The secret that messages to this peer must carry";
    HMAC_SECRET_TOKEN Peer true Text(""),
        "a text", "The pepper that plain secrets are hashed with; empty: an unkeyed hash";
    SYNC_INTERVAL Peer false Text("5s"),
        "a duration of at least 10ms, as 5s or 1m, or seconds; or 0", "How often `serve` syncs by itself; 0: only when asked";
    SOURCES Peer false Text(""),
        "names of peers, separated by commas", "Peers that send to this one: they are told when its store was lost. Those of the directory need not be named";
    OVERLAP Peer false Text("0"),
        "a duration, as 10m, or seconds, at most 30days; or 0", "For how long after a rotation requests signed with the old secret are accepted; 0: not at all";

    REDIS_URL Store true Text("redis://127.0.0.1:6379/"),
        "redis://[user:password@]host[:port][/db] (rediss: over TLS)", "The Redis of this peer";
    HTTP_NAMESPACE Store false Text("hmac:http"),
        "1 to 128 bytes without white space", "What the keys of HTTP credentials begin with in Redis";
    MESSAGE_NAMESPACE Store false Text("hmac:message"),
        "1 to 128 bytes without white space, other than HTTP_NAMESPACE", "What the keys of message credentials begin with in Redis";
    PEERS Store true Text(""),
        "name=redis-url pairs, separated by commas or white space (in a file also a table)", "Other peers whose stores the page shows";

    DATABASE_URL Database true Otherwise("none: receive-only"),
        "sqlite:path, postgres://user:password@host/database or mysql://user:password@host/database", "The database of a peer that decides";
    DATABASE_KEY Database true Otherwise("none"),
        "64 hexadecimal digits, or a passphrase in DATABASE_PASSPHRASE, not both", "The key that encrypts what must stay readable in the database";
    DATABASE_PASSPHRASE Database true Otherwise("none"),
        "at least 12 characters, or a key in DATABASE_KEY, not both", "A passphrase in place of that key";
    DATABASE_KEY_ID Database false Text("database-key"),
        "1 to 128 letters, digits, dots, hyphens and underscores", "Names key or passphrase: another name for each new one";
    DATABASE_OLD_KEY Database true Otherwise("none"),
        "64 hexadecimal digits, or a passphrase in DATABASE_OLD_PASSPHRASE, not both", "The key before, until `propagator encrypt` has run";
    DATABASE_OLD_PASSPHRASE Database true Otherwise("none"),
        "at least 12 characters, or a key in DATABASE_OLD_KEY, not both", "A passphrase in place of that key";
    DATABASE_OLD_KEY_ID Database false Otherwise("none"),
        "the name of the old key or passphrase, other than DATABASE_KEY_ID, and a new one beside it", "What the old key or passphrase was named";

    HOST Http false Text("127.0.0.1"),
        "an IP address or localhost", "Where `serve` listens";
    PORT Http false Text("8080"),
        "a port from 0 to 65535", "The port; 0: any that is free";
    ADMIN_TOKEN Http true Otherwise("none: loopback only"),
        "at least 16 visible ASCII characters", "What the admin routes want as `Authorization: Bearer`";
    CALL_TARGET_ORIGINS Http false Text(""),
        "origins separated by commas, as https://orders.example:8443", "Where signed test calls may go";
    CORS_ORIGINS Http false Text(""),
        "origins separated by commas, as https://console.example", "Pages of other origins that may call";
    TRUSTED_PROXIES Http false Text(""),
        "addresses and blocks separated by commas, as 10.0.0.0/8", "Proxies whose x-forwarded-for counts";

    LOG_FORMAT Running false Text("text"),
        "text or json", "How the log is written, on standard error";
    LOG Running false Text("info"),
        "a filter, as info or info,hmac_propagator=debug", "What is logged";
    SHUTDOWN_DEADLINE Running false Text("10s"),
        "a duration from 1s to 10m, or seconds", "How long a graceful stop may take";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_in_the_table_twice_or_is_the_file_variant_of_another() {
        let mut names: Vec<String> = ALL.iter().map(|key| key.name.to_owned()).collect();
        names.extend(ALL.iter().filter(|key| key.secret).map(|key| key.file_variable()));
        let before = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), before);
    }

    #[test]
    fn a_secret_has_no_flag_for_its_value() {
        assert_eq!(AMQP_PASSWORD.flag(), "amqp-password-file");
        assert_eq!(AMQP_HOST.flag(), "amqp-host");
    }
}
