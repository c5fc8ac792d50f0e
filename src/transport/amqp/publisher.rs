//! Publishing: bounded queues of requests, served by a few lanes with a channel each. What goes to
//! queues that were slow to confirm has a lane of its own.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lapin::types::ShortString;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::health::Report;
use super::lane::Lane;
use super::link::Link;
use super::slow::SlowQueues;
use super::straggler::Stragglers;
use super::supervisor::Duty;
use crate::transport::PublishError;

/// Channels that publish side by side. More of them add little: one connection carries all.
const LANES: usize = 4;

/// Requests that wait for a lane, and as many for the slow lane; further callers wait for a place, each until its deadline.
const WAITING: usize = 1024;

/// The publish side's link, once there was one. It may have ended.
pub(super) type CurrentLink = watch::Receiver<Option<Arc<Link>>>;

/// One message and the caller who waits for its fate.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) queue: ShortString,
    /// Shared with the publish that is under way.
    pub(super) body: Arc<Vec<u8>>,
    pub(super) reply: oneshot::Sender<Result<(), PublishError>>,
}

/// What the lanes share: whoever is idle takes what waits.
pub(super) type Requests = Arc<tokio::sync::Mutex<mpsc::Receiver<Request>>>;

/// The callers' end.
#[derive(Debug)]
pub(super) struct Publisher {
    /// `None` once closed. The lanes end when all senders are gone and nothing waits.
    senders: Mutex<Option<Senders>>,
    slow: Arc<SlowQueues>,
    deadline: Duration,
}

#[derive(Debug)]
struct Senders {
    requests: mpsc::Sender<Request>,
    slow_requests: mpsc::Sender<Request>,
}

impl Publisher {
    /// A publisher and the lanes that serve it; each lane is to be run. `tasks` gets what the lanes
    /// leave behind, until `shutdown`.
    pub(super) fn new(
        deadline: Duration,
        link: &CurrentLink,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> (Self, Vec<Lane>) {
        let (requests, receiver) = channel();
        let (slow_requests, slow_receiver) = channel();
        let slow = Arc::<SlowQueues>::default();
        let stragglers =
            Stragglers::new(slow.clone(), slow_requests.clone(), tasks.clone(), shutdown.clone());
        let lane = |requests: &Requests, stragglers| {
            Lane::new(requests.clone(), link.clone(), stragglers, deadline)
        };
        let slow_lane = lane(&slow_receiver, stragglers.of_slow_lane());
        let lanes = (0..LANES).map(|_| lane(&receiver, stragglers.clone()));
        let lanes = lanes.chain([slow_lane]).collect();
        let senders = Mutex::new(Some(Senders { requests, slow_requests }));
        (Self { senders, slow, deadline }, lanes)
    }

    /// Publishes one message. The deadline is enforced here, whatever the lanes are stuck in.
    pub(super) async fn publish(
        &self,
        queue: ShortString,
        body: Vec<u8>,
    ) -> Result<(), PublishError> {
        let requests = self.sender_for(&queue).ok_or(PublishError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let request = Request { queue, body: Arc::new(body), reply };
        timeout(self.deadline, async {
            let accepted = requests.send(request).await;
            // Not held while waiting: close waits for the last sender.
            drop(requests);
            accepted.map_err(|_| PublishError::Closed)?;
            answer.await.unwrap_or(Err(PublishError::Unavailable))
        })
        .await
        .unwrap_or(Err(PublishError::Unavailable))
    }

    /// Refuses new messages. What was accepted is still served.
    pub(super) fn close(&self) {
        self.senders().take();
    }

    /// Whether a queue kept others waiting lately.
    pub(super) fn is_slow(&self, queue: &ShortString) -> bool {
        self.slow.contains(queue, Instant::now())
    }

    /// `None` once closed.
    fn sender_for(&self, queue: &ShortString) -> Option<mpsc::Sender<Request>> {
        let slow = self.is_slow(queue);
        let senders = self.senders();
        let Senders { requests, slow_requests } = senders.as_ref()?;
        Some(if slow { slow_requests } else { requests }.clone())
    }

    fn senders(&self) -> std::sync::MutexGuard<'_, Option<Senders>> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn channel() -> (mpsc::Sender<Request>, Requests) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (sender, Arc::new(tokio::sync::Mutex::new(receiver)))
}

/// Hands each new link to the lanes, and reports when the broker blocks it.
pub(super) struct PublishDuty {
    pub(super) current: watch::Sender<Option<Arc<Link>>>,
}

#[async_trait]
impl Duty for PublishDuty {
    async fn serve(&mut self, link: &Arc<Link>, report: &Report) -> String {
        self.current.send_replace(Some(link.clone()));
        let mut blocked = link.blocked();
        loop {
            let reason = blocked.borrow_and_update().clone();
            match reason {
                None => report.up(),
                Some(reason) => {
                    report.down(&format!("the broker has blocked publishing: {reason}"))
                }
            }
            if blocked.changed().await.is_err() {
                // The monitor is gone, and the supervisor about to notice why.
                std::future::pending::<()>().await;
            }
        }
    }
}
