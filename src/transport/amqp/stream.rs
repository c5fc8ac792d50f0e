//! The socket of a link: watched while it lives, cut when its link ends.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What the client library reads and writes: a watched stream, perhaps inside TLS.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// A TCP stream that tells when it last received something and when it was dropped.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TcpStream,
    last_read: Arc<LastRead>,
    // The client library drops the stream when its I/O thread ends, whatever the cause. That makes
    // this the one sign of the end that is never missing.
    _dropped: DropGuard,
}

impl Watched {
    /// Connects, without Nagle's delay.
    ///
    /// # Errors
    /// Whatever the resolver or the socket says.
    pub(super) async fn connect(address: impl ToSocketAddrs) -> io::Result<(Self, Line)> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let stream = stream.into_std()?;
        let socket = stream.try_clone()?;
        let last_read = Arc::new(LastRead::default());
        let dropped = CancellationToken::new();
        let line = Line { socket, last_read: last_read.clone(), dropped: dropped.clone() };
        let stream = TcpStream::from_std(stream)?;
        let watched = Self { stream, last_read, _dropped: dropped.drop_guard() };
        Ok((watched, line))
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.last_read.touch();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The near end of a [`Watched`] stream. Dropping it cuts the stream, so that no thread of the
/// client library can stay behind waiting on it.
#[derive(Debug)]
pub(super) struct Line {
    socket: std::net::TcpStream,
    last_read: Arc<LastRead>,
    dropped: CancellationToken,
}

impl Line {
    /// How long ago something was received; from the connect on when nothing was.
    pub(super) fn silence(&self) -> Duration {
        self.last_read.elapsed()
    }

    /// Cancelled once the stream was dropped.
    pub(super) fn dropped(&self) -> &CancellationToken {
        &self.dropped
    }

    /// Cuts the stream. A second time does nothing.
    pub(super) fn cut(&self) {
        // The only error is that the socket is no longer connected, which is what is wanted.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.cut();
    }
}

/// A point in time that two threads share, in milliseconds since the connect.
#[derive(Debug)]
struct LastRead {
    connected: Instant,
    millis: AtomicU64,
}

impl Default for LastRead {
    fn default() -> Self {
        Self { connected: Instant::now(), millis: AtomicU64::new(0) }
    }
}

impl LastRead {
    fn touch(&self) {
        let now = u64::try_from(self.connected.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.millis.store(now, Ordering::Relaxed);
    }

    fn elapsed(&self) -> Duration {
        let last = Duration::from_millis(self.millis.load(Ordering::Relaxed));
        self.connected.elapsed().saturating_sub(last)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (Watched, Line, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(Watched::connect(address), listener.accept());
        let (watched, line) = near.unwrap();
        (watched, line, far.unwrap().0)
    }

    #[tokio::test]
    async fn a_received_byte_ends_the_silence() {
        let (mut watched, line, mut far) = pair().await;
        while line.silence() < Duration::from_millis(30) {
            tokio::task::yield_now().await;
        }
        far.write_all(b"x").await.unwrap();
        let before = Instant::now();
        assert_eq!(watched.read_u8().await.unwrap(), b'x');
        // Whole milliseconds are stored: one of them may have been cut off.
        assert!(line.silence() <= before.elapsed() + Duration::from_millis(1));
    }

    #[tokio::test]
    async fn dropping_the_stream_is_told_to_its_line() {
        let (watched, line, _far) = pair().await;
        assert!(!line.dropped().is_cancelled());
        drop(watched);
        assert!(line.dropped().is_cancelled());
    }

    #[tokio::test]
    async fn dropping_the_line_ends_a_read_that_waits() {
        let (mut watched, line, _far) = pair().await;
        let read = tokio::spawn(async move { watched.read(&mut [0; 8]).await });
        drop(line);
        assert_eq!(read.await.unwrap().unwrap(), 0);
    }

    #[tokio::test]
    async fn small_writes_are_not_delayed() {
        let (watched, _line, _far) = pair().await;
        assert!(watched.stream.nodelay().unwrap());
    }
}
