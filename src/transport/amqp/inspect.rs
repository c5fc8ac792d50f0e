//! A look at the broker on a connection of its own.

use std::time::Duration;

use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel};
use tokio::time::timeout;

use super::describe::{channel_error_code, describe};
use super::link::Link;
use super::queue_name;
use super::quiet::silenced;
use crate::broker::BrokerOptions;
use crate::broker::view::{BrokerFault, BrokerStage, BrokerView, QueueState};
use crate::id::PeerQueue;

/// No peer has a queue of this name: peers' queues begin with `hmac-`.
const NOBODY: &str = "hmac.inspect.nobody";

const NOT_FOUND: u16 = 404;

const GOODBYE: Duration = Duration::from_secs(1);

/// See [`crate::inspect::broker`].
pub(crate) async fn inspect(
    options: &BrokerOptions,
    own: &PeerQueue,
    queues: &[PeerQueue],
) -> Result<BrokerView, BrokerFault> {
    // Its monitor must live as long: with it go the events of the connection.
    let (link, _monitor) = Link::connect(options, "inspect").await.map_err(fault)?;
    let look = Look { link: &link, deadline: options.declare_deadline };
    let own_state = look.queue(own).await;
    let view = BrokerView {
        publishing: look.publishing().await,
        reading: look.reading(own, &own_state).await,
        queues: look.queues(queues).await,
        own: own_state,
    };
    link.close(GOODBYE).await;
    Ok(view)
}

/// The broker begins what it says with the name of its code.
fn fault(reason: String) -> BrokerFault {
    let stage = if reason.starts_with("ACCESS_REFUSED") {
        BrokerStage::Login
    } else if reason.starts_with("NOT_ALLOWED") {
        BrokerStage::VirtualHost
    } else {
        BrokerStage::Connect
    };
    BrokerFault { stage, reason }
}

struct Look<'a> {
    link: &'a Link,
    deadline: Duration,
}

impl Look<'_> {
    async fn queues(&self, queues: &[PeerQueue]) -> Vec<(PeerQueue, QueueState)> {
        let mut seen = Vec::with_capacity(queues.len());
        for queue in queues {
            seen.push((queue.clone(), self.queue(queue).await));
        }
        seen
    }

    /// Asks on a channel of its own, since a refusal closes it.
    async fn queue(&self, queue: &PeerQueue) -> QueueState {
        let asking = async {
            let channel = self.link.connection().create_channel().await?;
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(queue_name(queue), options, FieldTable::default()).await
        };
        match timeout(self.deadline, silenced(asking)).await {
            Ok(Ok(queue)) => QueueState::There {
                ready: queue.message_count(),
                consumers: queue.consumer_count(),
            },
            Ok(Err(error)) if channel_error_code(&error) == Some(NOT_FOUND) => QueueState::Missing,
            Ok(Err(error)) => QueueState::Refused(describe(&error)),
            Err(_) => QueueState::Silent,
        }
    }

    /// Publishes a message that no queue takes: the broker gives it back.
    async fn publishing(&self) -> Result<(), String> {
        let publishing = async {
            let channel = self.link.connection().create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            publish(&channel).await
        };
        self.answer(publishing).await
    }

    /// Asks for a message of the own queue where nobody else does. One that comes goes back with the
    /// end of its channel.
    async fn reading(&self, own: &PeerQueue, state: &QueueState) -> Option<Result<(), String>> {
        if !matches!(state, QueueState::There { consumers: 0, .. }) {
            return None;
        }
        let reading = async {
            let channel = self.link.connection().create_channel().await?;
            channel.basic_get(queue_name(own), BasicGetOptions::default()).await.map(drop)
        };
        Some(self.answer(reading).await)
    }

    async fn answer(&self, asking: impl Future<Output = lapin::Result<()>>) -> Result<(), String> {
        match timeout(self.deadline, silenced(asking)).await {
            Ok(answered) => answered.map_err(|error| describe(&error)),
            Err(_) => Err(format!("no answer within {:?}", self.deadline)),
        }
    }
}

async fn publish(channel: &Channel) -> lapin::Result<()> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let (exchange, to) = (ShortString::default(), ShortString::from(NOBODY));
    let confirm = channel.basic_publish(exchange, to, options, b"", BasicProperties::default());
    confirm.await?.await.map(drop)
}
