use std::future::Future;
use std::time::Duration;

use lapin::options::{
    BasicGetOptions, BasicNackOptions, BasicPublishOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Queue};

use crate::error::{Context, Error, Result};

const BOUND: Duration = Duration::from_secs(20);

/// What a test does to the queues of one virtual host, on a connection of its own.
///
/// Every operation has its own channel, because AMQP closes a channel on a refusal.
pub struct Queues(Connection);

/// A message taken out of a queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The bytes as they were published.
    pub body: Vec<u8>,
    /// The AMQP properties, among them delivery mode, content type and headers.
    pub properties: BasicProperties,
    /// Whether it had been delivered before.
    pub redelivered: bool,
}

impl Queues {
    pub(super) async fn connect(url: &str) -> Result<Self> {
        let connecting = Connection::connect(url, ConnectionProperties::default());
        bounded("connect", connecting).await.map(Self)
    }

    /// Declares a queue as the wire contract wants it: durable and without arguments.
    ///
    /// # Errors
    ///
    /// When it exists with other arguments.
    pub async fn declare(&self, name: &str) -> Result<()> {
        self.declare_with(name, FieldTable::default()).await
    }

    /// Declares a durable queue with arguments.
    ///
    /// # Errors
    ///
    /// When it exists with other arguments.
    pub async fn declare_with(&self, name: &str, arguments: FieldTable) -> Result<()> {
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        let channel = self.channel().await?;
        bounded(name, channel.queue_declare(short(name)?, options, arguments)).await.map(drop)
    }

    /// Deletes a queue with all it holds, also under its consumers.
    ///
    /// # Errors
    ///
    /// When the broker is away.
    pub async fn delete(&self, name: &str) -> Result<()> {
        let channel = self.channel().await?;
        let options = QueueDeleteOptions::default();
        bounded(name, channel.queue_delete(short(name)?, options)).await.map(drop)
    }

    /// Drops the ready messages of a queue and returns how many there were.
    ///
    /// # Errors
    ///
    /// When the queue does not exist.
    pub async fn purge(&self, name: &str) -> Result<u32> {
        let channel = self.channel().await?;
        bounded(name, channel.queue_purge(short(name)?, QueuePurgeOptions::default())).await
    }

    /// How many messages are ready, those at a consumer not among them. `None`: no such queue.
    ///
    /// # Errors
    ///
    /// When the broker is away.
    pub async fn count(&self, name: &str) -> Result<Option<u32>> {
        Ok(self.look(name).await?.map(|queue| queue.message_count()))
    }

    /// How many consumers a queue has. `None`: no such queue.
    ///
    /// # Errors
    ///
    /// When the broker is away.
    pub async fn consumers(&self, name: &str) -> Result<Option<u32>> {
        Ok(self.look(name).await?.map(|queue| queue.consumer_count()))
    }

    /// Publishes to a queue with the properties of the wire contract, and awaits the confirm.
    ///
    /// # Errors
    ///
    /// When the message was returned, refused or not confirmed.
    pub async fn publish(&self, queue: &str, body: &[u8]) -> Result<()> {
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/json".into());
        self.publish_with(queue, body, properties).await
    }

    /// Publishes to a queue with other properties, and awaits the confirm.
    ///
    /// # Errors
    ///
    /// When the message was returned, refused or not confirmed.
    pub async fn publish_with(
        &self,
        queue: &str,
        body: &[u8],
        properties: BasicProperties,
    ) -> Result<()> {
        let channel = self.channel().await?;
        let name = short(queue)?;
        let publishing = async {
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            let options = BasicPublishOptions { mandatory: true, ..Default::default() };
            channel.basic_publish("".into(), name, options, body, properties).await?.await
        };
        match bounded(queue, publishing).await? {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_)) => Err(Error::new(format!("{queue}: no such queue"))),
            other => Err(Error::new(format!("{queue}: not confirmed but {other:?}"))),
        }
    }

    /// Takes the first ready message out of a queue.
    ///
    /// # Errors
    ///
    /// When the queue does not exist.
    pub async fn get(&self, name: &str) -> Result<Option<Message>> {
        let channel = self.channel().await?;
        let options = BasicGetOptions { no_ack: true };
        let got = bounded(name, channel.basic_get(short(name)?, options)).await?;
        Ok(got.map(|got| Message {
            body: got.delivery.data,
            properties: got.delivery.properties,
            redelivered: got.delivery.redelivered,
        }))
    }

    /// The bodies of all ready messages, which stay in the queue, in their order. They count as
    /// delivered before from then on.
    ///
    /// # Errors
    ///
    /// When the queue does not exist.
    pub async fn peek(&self, name: &str) -> Result<Vec<Vec<u8>>> {
        let channel = self.channel().await?;
        let (mut bodies, mut last) = (Vec::new(), None);
        let options = BasicGetOptions { no_ack: false };
        while let Some(got) = bounded(name, channel.basic_get(short(name)?, options)).await? {
            bodies.push(got.delivery.data);
            last = Some(got.delivery.acker);
        }
        if let Some(last) = last {
            let all = BasicNackOptions { multiple: true, requeue: true };
            bounded(name, last.nack(all)).await?;
        }
        // The close is answered when the broker has seen the line before.
        bounded(name, channel.close(200, "looked".into())).await?;
        Ok(bodies)
    }

    async fn look(&self, name: &str) -> Result<Option<Queue>> {
        let channel = self.channel().await?;
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let looking = channel.queue_declare(short(name)?, options, FieldTable::default());
        match tokio::time::timeout(BOUND, looking).await.context(name)? {
            Ok(queue) => Ok(Some(queue)),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(error).context(name),
        }
    }

    async fn channel(&self) -> Result<Channel> {
        bounded("channel", self.0.create_channel()).await
    }
}

/// No operation may outlast the test; a paused or blocked broker would otherwise hold it for ever.
async fn bounded<T>(doing: &str, work: impl Future<Output = lapin::Result<T>>) -> Result<T> {
    tokio::time::timeout(BOUND, work).await.context(doing)?.context(doing)
}

fn short(name: &str) -> Result<ShortString> {
    ShortString::try_new(name).map_err(|_| Error::new(format!("{name} is longer than 255 bytes")))
}

fn is_not_found(error: &lapin::Error) -> bool {
    const NOT_FOUND: u16 = 404;
    matches!(error.kind(), lapin::ErrorKind::ProtocolError(error) if error.get_id() == NOT_FOUND)
}
