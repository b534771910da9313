//! Ids for idempotent producers, taken from ZooKeeper in blocks of 1,000 (`ZkProducerIdManager`).

use client::zookeeper::znodes::ProducerIdBlock;
use client::zookeeper::{CreateMode, ZkError, paths};
use tokio::sync::Mutex;

use crate::control::ZooKeeper;

/// Times a block is asked for again because another broker took one at the same moment.
const RACES_MAX: usize = 100;

/// Hands out ids that no other producer of the cluster has.
pub struct ProducerIds {
    broker: i32,
    zookeeper: ZooKeeper,
    /// What is left of the block. A tokio mutex: it is held while the next block is fetched.
    left: Mutex<Option<ProducerIdBlock>>,
}

impl ProducerIds {
    /// Ids for the producers of this broker.
    #[must_use]
    pub fn new(broker: i32, zookeeper: ZooKeeper) -> ProducerIds {
        ProducerIds { broker, zookeeper, left: Mutex::new(None) }
    }

    /// A new id.
    ///
    /// # Errors
    /// The session's, while there is no block left.
    pub async fn next(&self) -> Result<i64, ZkError> {
        let mut left = self.left.lock().await;
        let block = match left.take() {
            Some(block) => block,
            None => self.next_block().await?,
        };
        *left = (block.first < block.last).then(|| ProducerIdBlock { first: block.first + 1, ..block });
        Ok(block.first)
    }

    async fn next_block(&self) -> Result<ProducerIdBlock, ZkError> {
        let path = paths::LATEST_PRODUCER_ID_BLOCK;
        let session = self.zookeeper.session();
        let used_up = || ZkError::BadZnode { path: path.to_owned(), why: "producer ids are used up".to_owned() };
        let mut races = 0;
        loop {
            races += 1;
            let (written, block) = match session.try_get_data(path).await? {
                Some((data, stat)) => {
                    let block =
                        ProducerIdBlock::next(ProducerIdBlock::parse(path, &data)?, self.broker).ok_or_else(used_up)?;
                    (session.set_data(path, block.to_json(), stat.version).await.map(|_| ()), block)
                }
                None => {
                    let block = ProducerIdBlock::next(None, self.broker).ok_or_else(used_up)?;
                    (session.create(path, block.to_json(), CreateMode::Persistent).await.map(|_| ()), block)
                }
            };
            match written {
                Ok(()) => return Ok(block),
                // A block whose write was lost on the way is simply never used.
                Err(error)
                    if races < RACES_MAX
                        && (error.is_bad_version() || error.is_node_exists() || error.is_no_node()) => {}
                Err(error) => return Err(error),
            }
        }
    }
}
