//! One connection to the broker, from its connect to its end. It never comes back: the supervisor
//! makes a new one, and whoever holds the old one can only harm the old one.

use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_rs::Runtime;
use futures_util::{Stream, StreamExt};
use lapin::auth::AuthProvider;
use lapin::protocol::constants::REPLY_SUCCESS;
use lapin::types::{LongString, ShortString};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{AsyncTcpStream, Connection, ConnectionProperties, Event};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};
use tokio_util::sync::CancellationToken;

use super::describe::describe;
use super::quiet::{Quiet, silence_this_thread, silenced};
use super::stream::{ByteStream, Line, Watched};
use super::tls;
use crate::broker::BrokerOptions;
use crate::secret::BrokerPassword;

/// Frames of this size keep the client library's four buffers at a megabyte each; a longer body goes
/// out in several frames.
const FRAME_MAX: u32 = 32 * 1024;

/// How long the broker may take to open a channel.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);

/// How long the cause of an end may come after the end itself.
const CAUSE_DEADLINE: Duration = Duration::from_millis(100);

/// One connection.
pub(super) struct Link {
    connection: Connection,
    line: Line,
    ended: CancellationToken,
    cause: OnceLock<String>,
    blocked: watch::Receiver<Option<String>>,
}

impl Link {
    /// Connects and logs in, within the connect deadline.
    ///
    /// # Errors
    /// What went wrong, without any secret.
    ///
    /// # Cancellation
    /// Nothing stays behind.
    pub(super) async fn connect(
        options: &BrokerOptions,
        name: &str,
    ) -> Result<(Arc<Self>, Monitor), String> {
        let deadline = options.connect_deadline;
        timeout(deadline, silenced(Self::open(options, name)))
            .await
            .unwrap_or_else(|_| Err(format!("no connection within {deadline:?}")))
    }

    async fn open(options: &BrokerOptions, name: &str) -> Result<(Arc<Self>, Monitor), String> {
        let (host, port) = (options.host.as_str(), options.port);
        // The line is dropped, and so the socket cut, when the login fails or takes too long: only
        // then does the I/O thread of the attempt end.
        let (stream, line) = Watched::connect((host, port))
            .await
            .map_err(|error| format!("{host}:{port}: {error}"))?;
        let stream = tls::secure(stream, options).await?;
        let connection = Connection::connector(
            uri(options)?,
            Quiet::current(),
            hand_over(stream),
            properties(options, name),
        )
        .await
        .map_err(|error| describe(&error))?;
        let events = Box::pin(connection.events_listener());
        let (block, blocked) = watch::channel(None);
        let link = Arc::new(Self {
            connection,
            line,
            ended: CancellationToken::new(),
            cause: OnceLock::new(),
            blocked,
        });
        let monitor = Monitor { link: link.clone(), events, block };
        Ok((link, monitor))
    }

    /// The connection itself.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Ends the link. The first cause given is the one that is reported.
    pub(super) fn end(&self, cause: impl Into<String>) {
        let _ = self.cause.set(cause.into());
        self.ended.cancel();
        self.line.cut();
    }

    /// Cancelled when the link has ended.
    pub(super) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Why the broker takes no messages at the moment, where it said so.
    pub(super) fn blocked(&self) -> watch::Receiver<Option<String>> {
        self.blocked.clone()
    }

    /// Says goodbye and ends the link, after `grace` without an answer.
    pub(super) async fn close(&self, grace: Duration) {
        let goodbye = self.connection.close(REPLY_SUCCESS, ShortString::from("bye"));
        // An error means that the connection is gone already.
        let _ = timeout(grace, silenced(goodbye)).await;
        self.end("closed");
    }

    /// Whether the broker answers now. Asks for a channel, which no queue has a part in.
    pub(super) async fn answers(&self) -> bool {
        let opened = timeout(ANSWER_DEADLINE, silenced(self.connection.create_channel())).await;
        match opened {
            Ok(Ok(channel)) => {
                let goodbye = channel.close(REPLY_SUCCESS, ShortString::from("heard"));
                // It answered; whether it also says goodbye is of no interest.
                let _ = timeout(ANSWER_DEADLINE, silenced(goodbye)).await;
                true
            }
            // No number is left, for example: the broker is not to blame for that.
            Ok(Err(_)) => self.connection.status().connected(),
            Err(_) => false,
        }
    }

    /// For how long nothing was received.
    pub(super) fn silence(&self) -> Duration {
        self.line.silence()
    }

    /// How much silence means that the broker is gone: two heartbeats.
    fn patience(&self) -> Duration {
        let heartbeat = self.connection.configuration().heartbeat();
        Duration::from_secs(u64::from(heartbeat.max(1)) * 2)
    }
}

/// Notices the end of a link and its blocking.
pub(super) struct Monitor {
    link: Arc<Link>,
    events: std::pin::Pin<Box<dyn Stream<Item = Event> + Send>>,
    block: watch::Sender<Option<String>>,
}

impl Monitor {
    /// Watches until the link is lost, and says why.
    ///
    /// # Cancellation
    /// Events that were already taken are lost: do not run it again.
    pub(super) async fn lost(mut self) -> String {
        let link = self.link.clone();
        tokio::select! {
            () = link.ended.cancelled() => {}
            () = link.line.dropped().cancelled() => {}
            cause = silence(&link) => return cause,
            cause = self.follow_events() => return cause,
        }
        match link.cause.get() {
            Some(cause) => cause.clone(),
            None => self.cause_of_the_end().await,
        }
    }

    /// The error event of a dying connection and the end of its I/O thread come in either order.
    async fn cause_of_the_end(&mut self) -> String {
        timeout(CAUSE_DEADLINE, self.follow_events())
            .await
            .unwrap_or_else(|_| "the connection was lost".into())
    }

    /// Follows the events up to the first that means the end of the connection.
    async fn follow_events(&mut self) -> String {
        while let Some(event) = self.events.next().await {
            match event {
                Event::ConnectionBlocked(reason) => {
                    self.block.send_replace(Some(reason));
                }
                Event::ConnectionUnblocked => {
                    self.block.send_replace(None);
                }
                // A channel error is an event too; it is the business of the channel's owner.
                Event::Error(error) if !self.link.connection.status().connected() => {
                    return describe(&error);
                }
                _ => {}
            }
        }
        std::future::pending().await
    }
}

/// Waits until nothing was received for two heartbeats. The client library checks the same, but
/// only every half heartbeat, so that it may be half a heartbeat late.
async fn silence(link: &Link) -> String {
    let patience = link.patience();
    while let Some(rest) = patience.checked_sub(link.line.silence()) {
        // Never zero, lest it spins in the last microseconds.
        sleep(rest.max(Duration::from_millis(1))).await;
    }
    format!("the broker was silent for {patience:?}")
}

/// The password is not in here: the client library may print this.
fn uri(options: &BrokerOptions) -> Result<AMQPUri, String> {
    // The library panics on a longer one; the options are checked, but not by this module.
    ShortString::try_new(options.vhost.as_str()).map_err(|error| format!("vhost: {error}"))?;
    let heartbeat = options.heartbeat.as_secs().clamp(1, 60);
    Ok(AMQPUri {
        scheme: AMQPScheme::AMQP,
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo { username: options.user.clone(), password: String::new() },
            host: options.host.clone(),
            port: options.port,
        },
        vhost: options.vhost.clone(),
        query: AMQPQueryString {
            frame_max: Some(FRAME_MAX),
            heartbeat: u16::try_from(heartbeat).ok(),
            ..AMQPQueryString::default()
        },
    })
}

fn properties(options: &BrokerOptions, name: &str) -> ConnectionProperties {
    ConnectionProperties::default().with_connection_name(name.into()).with_auth_provider(Plain {
        user: options.user.clone(),
        password: options.password.clone(),
    })
}

type Secured = Box<dyn ByteStream>;

/// Gives the connected stream to the I/O thread, on which this closure runs. Without auto-recovery
/// it is called once.
fn hand_over(
    stream: Secured,
) -> impl AsyncFn(AMQPUri, Runtime<Quiet>) -> lapin::Result<AsyncTcpStream<Compat<Secured>>>
+ Send
+ Sync
+ 'static {
    let stream = Mutex::new(Some(stream));
    async move |_, _| {
        silence_this_thread();
        let taken = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        match taken {
            Some(stream) => Ok(AsyncTcpStream::Plain(stream.compat())),
            None => Err(io::Error::from(io::ErrorKind::NotConnected).into()),
        }
    }
}

/// SASL PLAIN (RFC 4616).
struct Plain {
    user: String,
    password: BrokerPassword,
}

impl AuthProvider for Plain {
    fn mechanism(&self) -> ShortString {
        "PLAIN".into()
    }

    fn auth_starter(&self) -> Result<LongString, String> {
        Ok(format!("\0{}\0{}", self.user, self.password.expose()).into())
    }
}
