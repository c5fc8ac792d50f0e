//! From what was given to a configuration.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use hmac_propagator::auth::TrustedProxies;
use hmac_propagator::broker::{BrokerOptions, ClientCertificate, TlsOptions};
use hmac_propagator::id::PeerQueue;
use hmac_propagator::secret::{BrokerPassword, PropagationSecret, SecretToken};

use super::arguments::ConfigArgs;
use super::hidden::Hidden;
use super::keys;
use super::layers::{self, Environment, Files};
use super::problem::Problems;
use super::reader::{self, Reader, of_length};
use super::shown::Shown;
use super::{Config, Http, Log, LogFormat, OtherPeer, Purpose, database};

pub(super) fn load(
    arguments: &ConfigArgs,
    environment: Environment<'_>,
    files: Files<'_>,
    purpose: Purpose,
) -> Result<Config, Problems> {
    let mut problems = Problems::default();
    let given = layers::gather(arguments, environment, files, &mut problems);
    let shown = Shown::all(&given);
    let mut reader = Reader { given, problems };
    let config = read(&mut reader, purpose, shown);
    reader.problems.none(config)
}

/// All parts are read before the first missing one ends it, so that all problems are known.
fn read(reader: &mut Reader, purpose: Purpose, shown: Vec<Shown>) -> Option<Config> {
    let broker = broker(reader);
    let queue = reader.text(&keys::AMQP_QUEUE, |text| PeerQueue::new(text).ok());
    let propagation_secret =
        reader.text(&keys::PROPAGATION_SECRET, |text| PropagationSecret::new(text).ok());
    let secret_token = reader.text(&keys::HMAC_SECRET_TOKEN, |text| Some(SecretToken::new(text)));
    let sync_interval = reader.text(&keys::SYNC_INTERVAL, interval);
    let sources = reader.list(&keys::SOURCES, |text| PeerQueue::new(text).ok());
    let overlap = reader.text(&keys::OVERLAP, overlap);
    let redis_url = reader.text(&keys::REDIS_URL, redis_url);
    let namespaces = namespaces(reader);
    let peers = peers(reader);
    let database = database::read(reader);
    let http = http(reader, purpose);
    let log = log(reader);
    let shutdown_deadline = reader.text(&keys::SHUTDOWN_DEADLINE, deadline);
    let (http_namespace, message_namespace) = namespaces?;
    Some(Config {
        broker: broker?,
        queue: queue?,
        propagation_secret: propagation_secret?,
        secret_token: secret_token?,
        sync_interval: sync_interval?,
        sources: sources?,
        overlap: overlap?,
        redis_url: redis_url?,
        http_namespace,
        message_namespace,
        peers: peers?,
        database: database?,
        http: http?,
        log: log?,
        shutdown_deadline: shutdown_deadline?,
        shown,
    })
}

fn broker(reader: &mut Reader) -> Option<BrokerOptions> {
    let host = reader.text(&keys::AMQP_HOST, |text| of_length(text, 255));
    let port = reader.optional(&keys::AMQP_PORT, |text| text.parse().ok().filter(|port| *port > 0));
    let user = reader.text(&keys::AMQP_USER, |text| of_length(text, 128));
    let password = reader.text(&keys::AMQP_PASSWORD, |text| Some(BrokerPassword::new(text)));
    let vhost = reader.text(&keys::AMQP_VHOST, |text| of_length(text, 255));
    let allow = reader.text(&keys::AMQP_ALLOW_DEFAULT_CREDENTIALS, |text| text.parse().ok());
    let secure = reader.text(&keys::AMQP_PROTOCOL, |text| match text {
        "amqp" => Some(false),
        "amqps" => Some(true),
        _ => None,
    });
    let tls = tls(reader);
    let secure = secure?;
    let port: u16 = port?.unwrap_or(if secure { 5671 } else { 5672 });
    let mut options = BrokerOptions::new(user?, password?).address(host?, port).vhost(vhost?);
    options.allow_default_credentials = allow?;
    if secure {
        options.tls = Some(tls?);
    }
    // All that is left to be wrong is what depends on several keys.
    if let Err(error) = options.validate() {
        let source = reader.source(&keys::AMQP_USER);
        let hint = keys::AMQP_ALLOW_DEFAULT_CREDENTIALS.name;
        reader.problems.about(&keys::AMQP_USER, &source, format_args!("{error} ({hint}=true)"));
        return None;
    }
    Some(options)
}

fn tls(reader: &mut Reader) -> Option<TlsOptions> {
    let ca_file = reader.file(&keys::AMQP_CA_FILE);
    let server_name = reader.optional(&keys::AMQP_SERVER_NAME, |text| of_length(text, 255));
    let chain = reader.file(&keys::AMQP_CLIENT_CERTIFICATE);
    let key = reader.file(&keys::AMQP_CLIENT_KEY);
    let mut options = TlsOptions::default();
    options.client_certificate = match (chain?, key?) {
        (Some(chain_file), Some(key_file)) => Some(ClientCertificate { chain_file, key_file }),
        (None, None) => None,
        (given, _) => {
            let alone = if given.is_some() {
                &keys::AMQP_CLIENT_CERTIFICATE
            } else {
                &keys::AMQP_CLIENT_KEY
            };
            let source = reader.source(alone);
            reader.problems.wrong(alone, &source);
            return None;
        }
    };
    options.ca_file = ca_file?;
    options.server_name = server_name?;
    Some(options)
}

fn interval(text: &str) -> Option<Option<Duration>> {
    let interval = reader::duration(text)?;
    if interval.is_zero() {
        return Some(None);
    }
    (interval >= Duration::from_millis(10)).then_some(Some(interval))
}

fn overlap(text: &str) -> Option<Option<Duration>> {
    const MOST: Duration = Duration::from_secs(30 * 24 * 60 * 60);
    let overlap = reader::duration(text).filter(|overlap| *overlap <= MOST)?;
    Some((!overlap.is_zero()).then_some(overlap))
}

fn deadline(text: &str) -> Option<Duration> {
    let range = Duration::from_secs(1)..=Duration::from_secs(600);
    reader::duration(text).filter(|deadline| range.contains(deadline))
}

fn redis_url(text: &str) -> Option<Hidden> {
    let url = url::Url::parse(text).ok()?;
    let usable = matches!(url.scheme(), "redis" | "rediss") && url.host_str().is_some();
    usable.then(|| Hidden::new(text))
}

fn namespaces(reader: &mut Reader) -> Option<(String, String)> {
    let namespace =
        |text: &str| of_length(text, 128).filter(|name| !name.contains(char::is_whitespace));
    let http = reader.text(&keys::HTTP_NAMESPACE, namespace);
    let message = reader.text(&keys::MESSAGE_NAMESPACE, namespace);
    let (http, message) = (http?, message?);
    // One track's credentials would be let in on the other.
    if http == message {
        let source = reader.source(&keys::MESSAGE_NAMESPACE);
        reader.problems.wrong(&keys::MESSAGE_NAMESPACE, &source);
        return None;
    }
    Some((http, message))
}

fn peers(reader: &mut Reader) -> Option<Vec<OtherPeer>> {
    let pairs = reader.pairs(&keys::PEERS)?;
    let read = pairs.into_iter().map(|(name, url)| {
        let name = of_length(name.trim(), 64)?;
        Some(OtherPeer { name, redis_url: redis_url(url.expose())? })
    });
    let peers: Option<Vec<OtherPeer>> = read.collect();
    let distinct = peers.filter(|peers| {
        peers
            .iter()
            .enumerate()
            .all(|(i, peer)| peers[..i].iter().all(|other| other.name != peer.name))
    });
    if distinct.is_none() {
        let source = reader.source(&keys::PEERS);
        reader.problems.wrong(&keys::PEERS, &source);
    }
    distinct
}

fn http(reader: &mut Reader, purpose: Purpose) -> Option<Http> {
    let host = reader.text(&keys::HOST, |text| match text {
        "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        text => text.parse().ok(),
    });
    let port = reader.text(&keys::PORT, |text| text.parse().ok());
    let admin_token = reader.optional(&keys::ADMIN_TOKEN, |text| {
        let usable = text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_graphic());
        usable.then(|| Hidden::new(text))
    });
    let call_target_origins = reader.list(&keys::CALL_TARGET_ORIGINS, reader::origin);
    let cors_origins = reader.list(&keys::CORS_ORIGINS, reader::origin);
    let trusted_proxies = trusted_proxies(reader);
    let (host, admin_token): (IpAddr, _) = (host?, admin_token?);
    if purpose == Purpose::Serve && !host.is_loopback() && admin_token.is_none() {
        let source = reader.source(&keys::HOST);
        let what = "expected loopback, or ADMIN_TOKEN beside an address that others can reach";
        reader.problems.about(&keys::HOST, &source, what);
        return None;
    }
    Some(Http {
        host,
        port: port?,
        admin_token,
        call_target_origins: call_target_origins?,
        cors_origins: cors_origins?,
        trusted_proxies: trusted_proxies?,
    })
}

fn trusted_proxies(reader: &mut Reader) -> Option<TrustedProxies> {
    let rule = |text: &str| TrustedProxies::parse(&[text]).ok().map(|_| text.to_owned());
    let rules = reader.list(&keys::TRUSTED_PROXIES, rule)?;
    TrustedProxies::parse(&rules).ok()
}

fn log(reader: &mut Reader) -> Option<Log> {
    let format = reader.text(&keys::LOG_FORMAT, |text| match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    });
    let filter = reader.text(&keys::LOG, |text| {
        tracing_subscriber::EnvFilter::try_new(text).ok().map(|_| text.to_owned())
    });
    Some(Log { format: format?, filter: filter? })
}
