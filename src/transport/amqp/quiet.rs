//! Keeps the client library's own log output away from secrets.
//!
//! lapin logs what it handles: at TRACE every frame, the one with the password included, and at
//! WARN every returned message with its body. Both hold secrets, and a library cannot filter the
//! subscriber of the application. So all of lapin runs without a subscriber: its tasks through the
//! [`Quiet`] runtime, its I/O thread through [`silence_this_thread`]. What matters of its output is
//! reported by the link that it serves.
//!
//! Side effect: an application without any `tracing` subscriber that relies on the `log` feature of
//! `tracing` no longer gets log records once a connection was made, because `tracing` then counts a
//! subscriber as set. Such an application has to set a subscriber that forwards to `log`.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use async_rs::traits::{Executor, Reactor, RuntimeKit};
use async_rs::util::Task;
use async_rs::{Runtime, Tokio, TokioRuntime};
use futures_util::Stream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};
use tracing::dispatcher::{DefaultGuard, Dispatch, set_default};
use tracing::instrument::{WithDispatch, WithSubscriber};

use super::stream::{ByteStream, Watched};

/// Runs a future without a subscriber.
pub(super) fn silenced<F: Future>(future: F) -> WithDispatch<F> {
    future.with_subscriber(Dispatch::none())
}

/// Takes the subscriber away from the calling thread until it ends.
pub(super) fn silence_this_thread() {
    thread_local! {
        static SILENCE: RefCell<Option<DefaultGuard>> = const { RefCell::new(None) };
    }
    SILENCE.with_borrow_mut(|guard| {
        guard.get_or_insert_with(|| set_default(&Dispatch::none()));
    });
}

/// The current tokio runtime, whose tasks run without a subscriber.
#[derive(Clone, Debug)]
pub(super) struct Quiet(TokioRuntime);

impl Quiet {
    /// Bound to the runtime of the caller.
    pub(super) fn current() -> Runtime<Self> {
        Runtime::new(Self(Runtime::tokio_current()))
    }
}

impl RuntimeKit for Quiet {}

impl Executor for Quiet {
    type Task<T: Send + 'static> = <Tokio as Executor>::Task<T>;

    fn block_on<T, F: Future<Output = T>>(&self, future: F) -> T {
        self.0.block_on(future)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        future: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn(silenced(future))
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        work: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn_blocking(work)
    }
}

impl Reactor for Quiet {
    type TcpStream = Compat<Box<dyn ByteStream>>;
    type Sleep = <Tokio as Reactor>::Sleep;

    /// Not needed: the link connects its socket itself.
    #[allow(refining_impl_trait)]
    fn register<H: Read + Write + Send + 'static>(&self, _: H) -> io::Result<Self::TcpStream> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, period: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(period)
    }

    #[allow(clippy::manual_async_fn, reason = "an async fn would borrow self, which is forbidden")]
    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        async move {
            let (stream, _) = Watched::connect(address).await?;
            let stream: Box<dyn ByteStream> = Box::new(stream);
            Ok(stream.compat())
        }
    }
}
