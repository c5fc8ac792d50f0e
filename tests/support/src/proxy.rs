use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::error::{Context, Result};

/// What a [`Proxy`] does with what passes through it. Data is held back, never lost, as TCP would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Passes everything on at once.
    Pass,
    /// Holds every chunk for this long, in both directions.
    Delay(Duration),
    /// Accepts and keeps connections and passes nothing on, not even that a side has closed.
    BlackHole,
    /// Passes on what clients send, and holds what the server answers.
    HoldReplies,
    /// Holds what clients send, and passes on what the server sends.
    HoldRequests,
    /// Closes each new connection at once; those that are open go on as with [`Mode::Pass`].
    CloseNew,
}

/// A TCP proxy whose behaviour a test switches while connections are open.
pub struct Proxy {
    address: SocketAddr,
    control: watch::Sender<Control>,
    accepted: Arc<AtomicUsize>,
    task: AbortHandle,
}

#[derive(Clone, Copy)]
struct Control {
    mode: Mode,
    /// Connections of an older generation are reset.
    generation: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

impl Proxy {
    /// Starts a proxy to `upstream` on a free port of loopback, in [`Mode::Pass`].
    ///
    /// # Errors
    ///
    /// When it cannot listen.
    pub async fn start(upstream: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("the proxy cannot listen")?;
        let address = listener.local_addr().context("the proxy has no address")?;
        let control = watch::Sender::new(Control { mode: Mode::Pass, generation: 0 });
        let accepted = Arc::new(AtomicUsize::new(0));
        let accepting = accept(listener, upstream, control.subscribe(), Arc::clone(&accepted));
        let task = tokio::spawn(accepting).abort_handle();
        Ok(Self { address, control, accepted, task })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Switches all connections, open and new.
    pub fn set_mode(&self, mode: Mode) {
        self.control.send_modify(|control| control.mode = mode);
    }

    /// Resets (RST) all connections that are open now, at both ends.
    pub fn reset_connections(&self) {
        self.control.send_modify(|control| control.generation += 1);
    }

    /// How many connections were accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The task owns the connections' tasks, which end with it.
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    upstream: SocketAddr,
    control: watch::Receiver<Control>,
    accepted: Arc<AtomicUsize>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // An error of accept is that of one client, which has gone again.
            Ok((client, _)) = listener.accept() => {
                accepted.fetch_add(1, Ordering::SeqCst);
                if control.borrow().mode != Mode::CloseNew {
                    let mut own = control.clone();
                    own.mark_unchanged();
                    let born = own.borrow().generation;
                    connections.spawn(serve(client, upstream, own, born));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection until both directions have ended, one has failed, or it is reset.
async fn serve(
    mut client: TcpStream,
    upstream: SocketAddr,
    mut control: watch::Receiver<Control>,
    born: u64,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut resets = control.clone();
    let mut reset =
        pin!(async { resets.wait_for(|control| control.generation != born).await.map(drop) });
    let server = tokio::select! {
        biased;
        _ = &mut reset => None,
        () = permission(&mut control, Direction::ToServer) => TcpStream::connect(upstream).await.ok(),
    };
    let Some(mut server) = server else {
        return client.set_zero_linger();
    };
    server.set_nodelay(true)?;
    let whole = tokio::select! {
        biased;
        _ = reset => false,
        forwarded = forward(&mut client, &mut server, control) => forwarded.is_ok(),
    };
    if !whole {
        // Closing then resets the connection instead of ending it in good order.
        client.set_zero_linger()?;
        server.set_zero_linger()?;
    }
    Ok(())
}

async fn forward(
    client: &mut TcpStream,
    server: &mut TcpStream,
    control: watch::Receiver<Control>,
) -> io::Result<()> {
    // Borrowed halves: the owned ones would send FIN when they are dropped, before any reset.
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let up = copy(from_client, to_server, control.clone(), Direction::ToServer);
    let down = copy(from_server, to_client, control, Direction::ToClient);
    tokio::try_join!(up, down).map(drop)
}

async fn copy(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut control: watch::Receiver<Control>,
    direction: Direction,
) -> io::Result<()> {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut chunk).await?;
        permission(&mut control, direction).await;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&chunk[..length]).await?;
    }
}

/// Returns when the current mode lets data pass in this direction.
async fn permission(control: &mut watch::Receiver<Control>, direction: Direction) {
    loop {
        let mode = control.borrow_and_update().mode;
        match mode {
            Mode::Pass | Mode::CloseNew => return,
            Mode::HoldReplies if direction == Direction::ToServer => return,
            Mode::HoldRequests if direction == Direction::ToClient => return,
            Mode::Delay(delay) => return tokio::time::sleep(delay).await,
            Mode::BlackHole | Mode::HoldReplies | Mode::HoldRequests => {
                // The sender is gone when the proxy is dropped, which aborts this task.
                if control.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{Instant, timeout};

    const BOUND: Duration = Duration::from_secs(10);
    const MOMENT: Duration = Duration::from_millis(50);

    /// A server that answers with what it receives.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        address
    }

    async fn client() -> (Proxy, TcpStream) {
        let proxy = Proxy::start(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(ask(&mut stream).await, 7);
        (proxy, stream)
    }

    async fn ask(stream: &mut TcpStream) -> u8 {
        stream.write_u8(7).await.unwrap();
        timeout(BOUND, stream.read_u8()).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn a_black_hole_holds_data_back_and_loses_none() {
        let (proxy, mut stream) = client().await;
        proxy.set_mode(Mode::BlackHole);
        stream.write_u8(9).await.unwrap();
        assert!(timeout(MOMENT, stream.read_u8()).await.is_err());
        proxy.set_mode(Mode::Pass);
        assert_eq!(timeout(BOUND, stream.read_u8()).await.unwrap().unwrap(), 9);
    }

    #[tokio::test]
    async fn held_replies_arrive_once_they_are_let_through() {
        let (proxy, mut stream) = client().await;
        proxy.set_mode(Mode::HoldReplies);
        stream.write_u8(9).await.unwrap();
        assert!(timeout(MOMENT, stream.read_u8()).await.is_err());
        proxy.set_mode(Mode::Pass);
        assert_eq!(timeout(BOUND, stream.read_u8()).await.unwrap().unwrap(), 9);
    }

    #[tokio::test]
    async fn held_requests_are_lost_with_their_connection() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap()).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        proxy.set_mode(Mode::HoldRequests);
        server.write_u8(1).await.unwrap();
        assert_eq!(timeout(BOUND, stream.read_u8()).await.unwrap().unwrap(), 1);
        stream.write_u8(2).await.unwrap();
        assert!(timeout(MOMENT, server.read_u8()).await.is_err());
        proxy.reset_connections();
        proxy.set_mode(Mode::Pass);
        assert!(timeout(BOUND, server.read_u8()).await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_delay_holds_each_chunk_in_both_directions() {
        let (proxy, mut stream) = client().await;
        proxy.set_mode(Mode::Delay(MOMENT));
        let before = Instant::now();
        ask(&mut stream).await;
        assert!(before.elapsed() >= 2 * MOMENT);
    }

    #[tokio::test]
    async fn a_reset_ends_open_connections_and_new_ones_work() {
        let (proxy, mut stream) = client().await;
        proxy.reset_connections();
        let error = timeout(BOUND, stream.read_u8()).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let mut again = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(ask(&mut again).await, 7);
        assert_eq!(proxy.accepted(), 2);
    }

    #[tokio::test]
    async fn a_reset_ends_connections_inside_a_black_hole() {
        let (proxy, mut stream) = client().await;
        proxy.set_mode(Mode::BlackHole);
        stream.write_u8(9).await.unwrap();
        proxy.reset_connections();
        assert!(timeout(BOUND, stream.read_u8()).await.unwrap().is_err());
    }

    #[tokio::test]
    async fn close_new_refuses_new_connections_and_keeps_the_open_one() {
        let (proxy, mut stream) = client().await;
        proxy.set_mode(Mode::CloseNew);
        let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(timeout(BOUND, refused.read_u8()).await.unwrap().is_err());
        assert_eq!(ask(&mut stream).await, 7);
    }
}
