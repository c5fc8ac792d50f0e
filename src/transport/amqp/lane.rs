//! A lane: one channel that publishes batches and settles each before the next.
//!
//! The client library attaches returned messages to the wrong confirms when several are in flight;
//! only the id inside a returned message is right. A return comes before the confirm of its own
//! message, and each confirm hands out one return that waits. So once every confirm of a batch is
//! there, so is every return, and the ids tell exactly which messages had no queue.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::time::{sleep, timeout};

use super::describe::{channel_error_code, describe};
use super::link::Link;
use super::publisher::{CurrentLink, Request, Requests};
use super::quiet::silenced;
use crate::transport::PublishError;

/// Messages in flight on one lane. No timer fills a batch: it is what waits when the lane is free.
const BATCH: usize = 128;

const PERSISTENT: u8 = 2;

/// One lane.
pub(super) struct Lane {
    requests: Requests,
    current: CurrentLink,
    /// As long as a caller waits. After that, all callers of a batch have given up.
    patience: Duration,
    channel: Option<Channel>,
    link: Option<Arc<Link>>,
    /// Taken over and not settled, over the end of a channel or a link too.
    pending: Vec<Request>,
    /// So many of `pending` go out one by one, because one of them closes the channel.
    singly: usize,
    next_id: u64,
}

impl Lane {
    pub(super) fn new(requests: Requests, current: CurrentLink, patience: Duration) -> Self {
        Self {
            requests,
            current,
            patience,
            channel: None,
            link: None,
            pending: Vec::new(),
            singly: 0,
            next_id: 0,
        }
    }

    /// Serves requests until there are none and there will be none.
    pub(super) async fn run(mut self) {
        loop {
            if self.drop_abandoned() && !self.take().await {
                return;
            }
            let Some((link, channel)) = self.ready().await else {
                return;
            };
            // Getting ready may have taken longer than the callers wait.
            if !self.drop_abandoned() {
                self.publish_batch(&link, &channel).await;
            }
        }
    }

    /// Drops the requests whose callers have gone. True when none is left.
    fn drop_abandoned(&mut self) -> bool {
        self.pending.retain(|request| !request.reply.is_closed());
        self.singly = self.singly.min(self.pending.len());
        self.pending.is_empty()
    }

    /// Waits for requests. False: there will be none.
    async fn take(&mut self) -> bool {
        let mut requests = self.requests.lock().await;
        requests.recv_many(&mut self.pending, BATCH).await > 0
    }

    /// Waits for a link that is up and not blocked, with a channel on it. `None`: there will be
    /// none.
    async fn ready(&mut self) -> Option<(Arc<Link>, Channel)> {
        loop {
            let link = self.live_link().await?;
            // Not to pile up messages in the client library, which would not write them.
            let mut blocked = link.blocked();
            tokio::select! {
                () = link.ended().cancelled() => continue,
                _ = blocked.wait_for(Option::is_none) => {}
            }
            if let Some(channel) = self.usable_channel(&link) {
                return Some((link, channel));
            }
            let opened = timeout(self.patience, silenced(open_channel(&link))).await;
            match opened {
                Ok(Ok(channel)) => {
                    self.channel = Some(channel);
                    self.link = Some(link);
                }
                Ok(Err(error)) => link.end(format!("no channel: {}", describe(&error))),
                Err(_) => link.end("no channel: the broker does not answer"),
            }
        }
    }

    async fn live_link(&mut self) -> Option<Arc<Link>> {
        let alive = |link: &Option<Arc<Link>>| {
            link.as_ref().is_some_and(|link| !link.ended().is_cancelled())
        };
        let current = self.current.wait_for(alive).await.ok()?;
        current.clone()
    }

    fn usable_channel(&self, link: &Arc<Link>) -> Option<Channel> {
        let same_link = self.link.as_ref().is_some_and(|own| Arc::ptr_eq(own, link));
        let channel = self.channel.as_ref()?;
        (same_link && channel.status().connected()).then(|| channel.clone())
    }

    /// Publishes what is pending, or the first of it, and settles what the broker has decided.
    async fn publish_batch(&mut self, link: &Link, channel: &Channel) {
        let size = if self.singly > 0 { 1 } else { self.pending.len() };
        let first_id = self.next_id;
        self.next_id += size as u64;
        let written = AtomicUsize::new(0);
        let batch = &self.pending[..size];
        let outcomes = tokio::select! {
            outcomes = silenced(publish_all(channel, batch, first_id, &written)) => outcomes,
            () = link.ended().cancelled() => return,
            () = sleep(self.patience) => {
                self.give_up(link, written.into_inner() == size);
                return;
            }
        };
        self.singly = self.singly.saturating_sub(1);
        let error = outcomes.iter().find_map(|outcome| outcome.error.clone());
        self.settle(first_id, outcomes);
        if let Some(error) = error {
            self.after_error(link, size, &error);
        }
    }

    /// Answers the callers whose message's fate is certain; the others stay pending.
    fn settle(&mut self, first_id: u64, outcomes: Vec<Outcome>) {
        let fates = fates(first_id, &outcomes);
        let rest = self.pending.split_off(fates.len());
        let batch = std::mem::replace(&mut self.pending, Vec::with_capacity(rest.len()));
        for (request, fate) in batch.into_iter().zip(fates) {
            match fate {
                // A caller who has gone needs no answer.
                Some(fate) => drop(request.reply.send(fate)),
                None => self.pending.push(request),
            }
        }
        self.pending.extend(rest);
    }

    /// The channel, or more, is gone. What is pending goes out again on the next one.
    fn after_error(&mut self, link: &Link, size: usize, error: &lapin::Error) {
        self.channel = None;
        let channel_only = link.connection().status().connected()
            && !link.ended().is_cancelled()
            && channel_error_code(error).is_some();
        match (channel_only, size) {
            (false, _) => link.end(describe(error)),
            // Alone in its batch: it was this message that the broker closed the channel for.
            (true, 1) if !self.pending.is_empty() => {
                let request = self.pending.remove(0);
                tracing::warn!(reason = describe(error), "the broker refused a message");
                drop(request.reply.send(Err(PublishError::Refused)));
            }
            (true, _) => self.singly = size.min(self.pending.len()),
        }
    }

    /// No confirm for so long that all callers have gone.
    fn give_up(&mut self, link: &Link, all_written: bool) {
        // Dropping the channel closes it, so that late confirms and returns meet nobody.
        self.channel = None;
        let blocked = link.blocked().borrow().is_some();
        // A blocked link will be taken up again when the broker unblocks it. One that takes no
        // bytes without being blocked is of no use, and its backlog in the client library would
        // grow with every batch.
        if !all_written && !blocked {
            link.end("the broker takes no messages");
        }
    }
}

async fn open_channel(link: &Link) -> lapin::Result<Channel> {
    let channel = link.connection().create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// What became of one publish.
#[derive(Debug, Default)]
struct Outcome {
    /// The broker's decision: true for ack. `None`: it will not come.
    confirmed: Option<bool>,
    /// The id of the returned message that came with the confirm, seldom this publish's own.
    returned: Option<u64>,
    error: Option<lapin::Error>,
}

async fn publish_all(
    channel: &Channel,
    batch: &[Request],
    first_id: u64,
    written: &AtomicUsize,
) -> Vec<Outcome> {
    let publishes = batch.iter().zip(first_id..).map(|(request, id)| async move {
        publish_one(channel, request, id, written)
            .await
            .unwrap_or_else(|error| Outcome { error: Some(error), ..Outcome::default() })
    });
    join_all(publishes).await
}

async fn publish_one(
    channel: &Channel,
    request: &Request,
    id: u64,
    written: &AtomicUsize,
) -> lapin::Result<Outcome> {
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    let default_exchange = ShortString::default();
    let queue = request.queue.clone();
    let confirm = channel
        .basic_publish(default_exchange, queue, options, &request.body, properties(id))
        .await?;
    written.fetch_add(1, Ordering::Relaxed);
    let confirmation = confirm.await?;
    let confirmed = match confirmation {
        Confirmation::Ack(_) => Some(true),
        Confirmation::Nack(_) => Some(false),
        // Cannot be on a channel with confirms; it would prove nothing.
        Confirmation::NotRequested => None,
    };
    let returned = confirmation.take_message().and_then(|message| {
        let id = message.properties.message_id().as_ref()?;
        id.as_str().parse().ok()
    });
    Ok(Outcome { confirmed, returned, error: None })
}

fn properties(id: u64) -> BasicProperties {
    BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/json".into())
        .with_headers(FieldTable::default())
        // Twenty digits at most.
        .with_message_id(id.to_string().into())
}

/// The fate of each message of a batch; `None` where it is not certain.
///
/// A return and a nack are certain in themselves. An ack is so only when no confirm of the batch is
/// missing: the return of the acked message may wait for the missing one.
fn fates(first_id: u64, outcomes: &[Outcome]) -> Vec<Option<Result<(), PublishError>>> {
    let complete = outcomes.iter().all(|outcome| outcome.confirmed.is_some());
    let returned: HashSet<u64> = outcomes.iter().filter_map(|o| o.returned).collect();
    let fate = |(outcome, id): (&Outcome, u64)| match outcome.confirmed {
        _ if returned.contains(&id) => Some(Err(PublishError::Unroutable)),
        Some(false) => Some(Err(PublishError::Refused)),
        Some(true) if complete => Some(Ok(())),
        Some(true) | None => None,
    };
    outcomes.iter().zip(first_id..).map(fate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(confirmed: Option<bool>, returned: Option<u64>) -> Outcome {
        Outcome { confirmed, returned, error: None }
    }

    #[test]
    fn a_return_counts_for_the_id_it_names_and_not_for_the_confirm_it_came_with() {
        let outcomes =
            [outcome(Some(true), Some(12)), outcome(Some(true), None), outcome(Some(true), None)];
        let fates = fates(10, &outcomes);
        assert!(matches!(fates[0], Some(Ok(()))));
        assert!(matches!(fates[1], Some(Ok(()))));
        assert!(matches!(fates[2], Some(Err(PublishError::Unroutable))));
    }

    #[test]
    fn a_nack_is_a_refusal() {
        let fates = fates(0, &[outcome(Some(false), None), outcome(Some(true), None)]);
        assert!(matches!(fates[0], Some(Err(PublishError::Refused))));
        assert!(matches!(fates[1], Some(Ok(()))));
    }

    #[test]
    fn an_ack_proves_nothing_while_a_confirm_of_its_batch_is_missing() {
        let outcomes = [
            outcome(Some(true), None),
            outcome(None, None),
            outcome(Some(true), Some(3)),
            outcome(None, None),
        ];
        let fates = fates(0, &outcomes);
        assert!(fates[0].is_none());
        assert!(fates[1].is_none());
        assert!(fates[2].is_none());
        assert!(matches!(fates[3], Some(Err(PublishError::Unroutable))));
    }
}
