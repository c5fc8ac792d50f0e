//! Publishing: a bounded queue of requests, served by a few lanes with a channel each.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lapin::types::ShortString;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::health::Report;
use super::lane::Lane;
use super::link::Link;
use super::supervisor::Duty;
use crate::transport::PublishError;

/// Channels that publish side by side. More of them add little: one connection carries all.
const LANES: usize = 4;

/// Requests that wait for a lane; further callers wait for a place, each until its deadline.
const WAITING: usize = 1024;

/// The publish side's link, once there was one. It may have ended.
pub(super) type CurrentLink = watch::Receiver<Option<Arc<Link>>>;

/// One message and the caller who waits for its fate.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) queue: ShortString,
    pub(super) body: Vec<u8>,
    pub(super) reply: oneshot::Sender<Result<(), PublishError>>,
}

/// What the lanes share: whoever is idle takes what waits.
pub(super) type Requests = Arc<tokio::sync::Mutex<mpsc::Receiver<Request>>>;

/// The callers' end.
#[derive(Debug)]
pub(super) struct Publisher {
    /// `None` once closed. The lanes end when all senders are gone and nothing waits.
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    deadline: Duration,
}

impl Publisher {
    /// A publisher and the lanes that serve it; each lane is to be run.
    pub(super) fn new(deadline: Duration, link: &CurrentLink) -> (Self, Vec<Lane>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let requests: Requests = Arc::new(tokio::sync::Mutex::new(receiver));
        let lane = |_| Lane::new(requests.clone(), link.clone(), deadline);
        let lanes = (0..LANES).map(lane).collect();
        let publisher = Self { requests: Mutex::new(Some(sender)), deadline };
        (publisher, lanes)
    }

    /// Publishes one message. The deadline is enforced here, whatever the lanes are stuck in.
    pub(super) async fn publish(
        &self,
        queue: ShortString,
        body: Vec<u8>,
    ) -> Result<(), PublishError> {
        let requests = self.requests().clone().ok_or(PublishError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let request = Request { queue, body, reply };
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
        self.requests().take();
    }

    fn requests(&self) -> std::sync::MutexGuard<'_, Option<mpsc::Sender<Request>>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
