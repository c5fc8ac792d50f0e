//! A lane: one channel that publishes batches and settles each before the next. What a queue does
//! not confirm in time is left to a straggler, and the lane goes on with a new channel.

use std::sync::Arc;
use std::time::Duration;

use lapin::Channel;
use lapin::options::ConfirmSelectOptions;
use tokio::time::{sleep, timeout};

use super::batch::Batch;
use super::describe::{channel_error_code, describe};
use super::link::Link;
use super::publisher::{CurrentLink, Request, Requests};
use super::quiet::silenced;
use super::straggler::{Place, STALL, Stragglers};
use crate::transport::PublishError;

/// Messages in flight on one lane. No timer fills a batch: it is what waits when the lane is free.
const BATCH: usize = 128;

/// One lane.
pub(super) struct Lane {
    requests: Requests,
    current: CurrentLink,
    stragglers: Stragglers,
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

/// How the wait for a batch ended.
enum Waited {
    /// All outcomes are there.
    Complete,
    /// Some are not, and there is a place for the batch to wait for them.
    Stalled(Place),
    /// The link has ended.
    Lost,
    /// All callers have given up.
    TooLong,
}

impl Lane {
    pub(super) fn new(
        requests: Requests,
        current: CurrentLink,
        stragglers: Stragglers,
        patience: Duration,
    ) -> Self {
        Self {
            requests,
            current,
            stragglers,
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
        let taken = requests.recv_many(&mut self.pending, BATCH).await;
        drop(requests);
        // They may have waited since before their queue became slow.
        self.stragglers.divert(&mut self.pending);
        taken > 0
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
    async fn publish_batch(&mut self, link: &Arc<Link>, channel: &Channel) {
        let size = if self.singly > 0 { 1 } else { self.pending.len() };
        let rest = self.pending.split_off(size);
        let requests = std::mem::replace(&mut self.pending, rest);
        let mut batch = Batch::publish(channel, requests, self.next_id);
        self.next_id += size as u64;
        let waited = self.wait_for(&mut batch, link).await;
        let error = batch.error();
        if matches!(waited, Waited::Complete) && error.is_none() {
            self.stragglers.prompt(&batch);
        }
        batch.settle();
        match waited {
            Waited::Complete => {
                self.singly = self.singly.saturating_sub(1);
                self.take_back(batch);
                if let Some(error) = error {
                    self.after_error(link, size, &error);
                }
            }
            Waited::Stalled(place) => {
                self.singly = self.singly.saturating_sub(1);
                self.channel = None;
                self.stragglers.leave(batch, link.clone(), place);
            }
            Waited::Lost => self.take_back(batch),
            Waited::TooLong => {
                let all_written = batch.written()();
                self.take_back(batch);
                self.give_up(link, all_written);
            }
        }
    }

    async fn wait_for(&self, batch: &mut Batch, link: &Link) -> Waited {
        let all_written = batch.written();
        let patience = sleep(self.patience);
        tokio::pin!(patience);
        loop {
            tokio::select! {
                biased;
                () = link.ended().cancelled() => return Waited::Lost,
                more = batch.news() => if !more {
                    return Waited::Complete;
                },
                () = &mut patience => return Waited::TooLong,
                // Begins anew after each confirm.
                place = self.stalled(link, &all_written) => return Waited::Stalled(place),
            }
        }
    }

    /// Waits until the broker has had all of a batch for a while and could have confirmed it, and
    /// there is a place to leave the batch.
    async fn stalled(&self, link: &Link, all_written: &(impl Fn() -> bool + Sync)) -> Place {
        loop {
            sleep(STALL).await;
            let blocked = link.blocked().borrow().is_some();
            // Otherwise it is the connection that waits, and no queue is to blame.
            if all_written()
                && !blocked
                && let Some(place) = self.stragglers.place().await
            {
                return place;
            }
        }
    }

    /// What is not settled stays pending, before the rest.
    fn take_back(&mut self, batch: Batch) {
        let rest = std::mem::replace(&mut self.pending, batch.into_requests());
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
